"""Shared workers: one for all processes that want it, and none that outlives the process it belongs to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.session.pool import Job, Pool, Reply
from harness.session.sharing import Host
from harness.target import Target
from harness.wire import Collect

JAX = Target("jax")
#: A case file that says which process imported it, and which one that was forked from.
CASE = """
import json, os
open({file!r}, "a").write(json.dumps([os.getpid(), os.getppid()]) + "\\n")
from harness import case
@case
def it(record): record("x", 1)
"""
#: A process that shares a worker: it says when it has collected, and then waits to be told to end.
CLIENT = """
import sys
from pathlib import Path
from harness.session.pool import Job, Pool
from harness.wire import Collect
from harness.target import Target
file, shared, logs = map(Path, sys.argv[1:])
jax = Target("jax")
work = Collect(file, file.parent, logs / "result.json")
with Pool([jax], logs, 1, shared=shared) as pool:
    pool.run([Job(jax, work, 60.0, logs / "output.txt")], lambda reply: print(reply.ended, reply.code, flush=True))
    sys.stdin.read()
"""
#: A host that says where it is, and then waits to be killed.
HOST = """
import sys
from harness.session.sharing import Host
host = Host()
print(host.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


@pytest.fixture
def file(project: Any) -> Path:
    return project.write("cases/x.py", CASE.format(file=str(project.folder / "seen")))


def seen(project: Any) -> list[list[int]]:
    """The processes that have imported the case file, each with the one it was forked from."""
    return [json.loads(line) for line in (project.folder / "seen").read_text().splitlines()]


def start(project: Any, text: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        env=project.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.communicate(timeout=60)


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return b"Z" not in Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0]


def test_processes_share_one_worker(project: Any, file: Path, host: Host) -> None:
    clients = [start(project, CLIENT, file, host.folder, project.folder / f"logs{number}") for number in range(2)]
    assert [said(client) for client in clients] == ["exit 0"] * 2
    end(*clients)
    children, parents = zip(*seen(project), strict=True)
    assert len(set(children)) == 2
    assert len(set(parents)) == 1


def test_a_worker_serves_those_that_come_after_it_was_left(project: Any, file: Path, host: Host) -> None:
    for number in range(2):
        client = start(project, CLIENT, file, host.folder, project.folder / f"logs{number}")
        assert said(client) == "exit 0"
        end(client)
    assert len({parent for _, parent in seen(project)}) == 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="which processes are zombies is read from /proc")
def test_a_worker_ends_with_its_host_however_that_ends(
    project: Any, file: Path, comes_true: Callable[[Callable[[], bool]], bool]
) -> None:
    host = start(project, HOST)
    folder = said(host)
    client = start(project, CLIENT, file, folder, project.folder / "logs")
    assert said(client) == "exit 0"
    ((_, worker),) = seen(project)
    assert lives(worker)
    host.send_signal(signal.SIGKILL)
    end(host)
    assert comes_true(lambda: not lives(worker))
    end(client)


@pytest.mark.skipif(not Path("/proc").exists(), reason="which processes are zombies is read from /proc")
def test_a_worker_that_was_killed_is_started_again(
    project: Any, file: Path, host: Host, comes_true: Callable[[Callable[[], bool]], bool]
) -> None:
    replies: list[Reply] = []
    work = Collect(file, project.folder, project.folder / "r.json")
    for _ in range(2):
        with Pool([JAX], project.folder / "logs", 1, shared=host.folder) as pool:
            pool.run([Job(JAX, work, 60.0, project.folder / "output.txt")], replies.append)
        worker = seen(project)[-1][1]
        os.kill(worker, signal.SIGKILL)
        assert comes_true(lambda worker=worker: not lives(worker))
    assert [reply.ended for reply in replies] == ["exit"] * 2
    assert len({parent for _, parent in seen(project)}) == 2


def test_what_kills_shared_workers_runs_again_on_one_of_the_pools_own_and_is_told(project: Any, host: Host) -> None:
    file = project.write(
        "cases/x.py", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time; time.sleep(60)\n"
    )
    replies: list[Reply] = []
    work = Collect(file, project.folder, project.folder / "r.json")
    with Pool([JAX], project.folder / "logs", 1, shared=host.folder) as pool:
        pool.run([Job(JAX, work, 60.0, project.folder / "output.txt")], replies.append)
    assert replies[0].ended == "lost"
    assert "the worker of jax was killed by SIGKILL while it ran this" in replies[0].output


def test_a_backend_that_cannot_be_imported_is_reported_to_everybody(project: Any, host: Host, monkeypatch: Any) -> None:
    tried = project.folder / "tried"
    trying = f"print(file=open({str(tried)!r}, 'a'))"
    project.write("site/keras.py", f"{trying}\nraise ImportError('there is no keras here')")
    monkeypatch.setenv("PYTHONPATH", project.environment["PYTHONPATH"])
    replies: list[Reply] = []
    work = Collect(Path("x.py"), Path(), Path("r.json"))
    for number in range(2):
        with Pool([JAX], project.folder / f"logs{number}", 1, shared=host.folder) as pool:
            pool.run([Job(JAX, work, 60.0, project.folder / "output.txt")], replies.append)
    assert [reply.ended for reply in replies] == ["worker"] * 2
    assert all("there is no keras here" in reply.output for reply in replies)
    assert tried.read_text() == "\n"  # one worker tried, and told both
