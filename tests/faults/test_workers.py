"""Workers that are killed or stopped, what they leave behind, and what was printed in them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.session import pool as module
from harness.session.pool import Batch, Job, Pool, Reply
from harness.target import Target
from harness.wire import Collect
from harness.worker.output import MOST

JAX = Target("jax")
CASE = "from harness import case\n@case\ndef it(record): record('x', 1)\n"
KILLS = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)\n"
#: Holds a lock on a file for as long as it lives, in a session of its own and with no parent of its own.
DAEMON = """
import fcntl, os, sys, time
def leave():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            lock = open({lock!r}, "w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            open({lock!r} + ".held", "w").close()
            time.sleep(600)
        os._exit(0)
    os.wait()
    while not os.path.exists({lock!r} + ".held"):
        time.sleep(0.01)
leave()
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process can adopt others")


@pytest.fixture
def make_pool(project: Any) -> Iterator[Callable[..., Pool]]:
    """Starts pools of one worker on jax."""
    with contextlib.ExitStack() as stack:
        yield lambda jobs=1: stack.enter_context(Pool([JAX], project.folder / "logs", jobs))


def job(project: Any, name: str, text: str, timeout: float = 60.0) -> Job:
    """A job to collect a file, which imports it in a child."""
    file = project.write(f"cases/{name}.py", text)
    return Job(JAX, Collect(file, project.folder, project.folder / f"{name}.json"), timeout, project.folder / name)


def work(pool: Pool, jobs: list[Job], batch: Batch) -> None:
    pool.add(batch, jobs)
    pool.work(batch)


def carried_out(pool: Pool, jobs: list[Job]) -> dict[str, Reply]:
    """The reply to each job, by the name of its file."""
    replies: list[Reply] = []
    started: list[Job] = []
    work(pool, jobs, Batch(replies.append, on_start=started.append))
    assert len(replies) == len(jobs)
    assert all(started.count(item) <= 1 for item in jobs)
    return {reply.job.output.name: reply for reply in replies}


class TestAWorkerIsKilled:
    def test_the_others_go_on_and_the_one_that_ran_is_told(self, project: Any, make_pool: Any) -> None:
        texts = {"before": CASE, "kills": KILLS, "after": CASE}
        replies = carried_out(make_pool(), [job(project, name, text) for name, text in texts.items()])
        assert {name: reply.ended for name, reply in replies.items()} == {
            "before": "exit",
            "kills": "lost",
            "after": "exit",
        }
        assert "the worker of jax was killed by SIGKILL while it ran this" in replies["kills"].describe()

    def test_what_ran_beside_the_one_that_did_it_runs_again(self, project: Any, make_pool: Any) -> None:
        there = project.folder / "there"
        waits = f"import pathlib, time\nthere = pathlib.Path({str(there)!r})\n"
        waits += "if not there.exists():\n    there.touch()\n    time.sleep(60)\n"
        kills = f"import pathlib, time\nwhile not pathlib.Path({str(there)!r}).exists(): time.sleep(0.01)\n{KILLS}"
        replies = carried_out(make_pool(2), [job(project, "kills", kills), job(project, "waits", waits + CASE)])
        assert {name: (reply.ended, reply.code) for name, reply in replies.items()} == {
            "kills": ("lost", 0),
            "waits": ("exit", 0),
        }

    def test_one_that_was_idle_is_replaced_and_nobody_is_told(self, project: Any, make_pool: Any) -> None:
        pid = project.folder / "pid"
        pool = make_pool()
        says = f"import os\nopen({str(pid)!r}, 'w').write(str(os.getppid()))\n{CASE}"
        carried_out(pool, [job(project, "says", says)])
        os.kill(int(pid.read_text()), signal.SIGKILL)
        assert carried_out(pool, [job(project, "after", CASE)])["after"].ended == "exit"

    def test_after_some_in_a_row_no_other_is_started(
        self, project: Any, make_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MOST_LOST", 2)
        texts = {"a": KILLS, "b": CASE, "c": KILLS, "d": KILLS, "e": CASE}
        pool = make_pool()
        replies = carried_out(pool, [job(project, name, text) for name, text in texts.items()])
        assert [replies[name].ended for name in texts] == ["lost", "exit", "lost", "lost", "worker"]
        assert "2 workers in a row were lost" in replies["e"].describe()
        assert pool.why_not(JAX) is not None


class TestNothingIsLeftBehind:
    @linux
    @pytest.mark.parametrize(
        ("end", "timeout"),
        [("", 60.0), ("os._exit(3)", 60.0), ("os.kill(os.getpid(), 9)", 60.0), ("time.sleep(60)", 2.0)],
        ids=["it returns", "it exits", "it is killed", "it runs past its limit"],
    )
    def test_by_a_case_that_started_a_daemon(
        self, project: Any, make_pool: Any, comes_true: Any, end: str, timeout: float
    ) -> None:
        lock = project.folder / "lock"
        carried_out(make_pool(), [job(project, "x", DAEMON.format(lock=str(lock)) + end, timeout)])
        assert Path(f"{lock}.held").exists()
        assert comes_true(lambda: not project.is_held("lock"))

    @linux
    def test_by_a_case_that_killed_its_worker(self, project: Any, make_pool: Any, comes_true: Any) -> None:
        lock = project.folder / "lock"
        carried_out(make_pool(), [job(project, "x", DAEMON.format(lock=str(lock)) + KILLS)])
        assert comes_true(lambda: not project.is_held("lock"))

    @linux
    def test_a_daemon_of_a_case_that_still_runs_is_left_alone(self, project: Any, make_pool: Any) -> None:
        lock, other = project.folder / "lock", project.folder / "other ended"
        waits = f"\nwhile not os.path.exists({str(other)!r}): time.sleep(0.01)\n"
        waits += f"lock = open({str(lock)!r})\ntry:\n    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        waits += "except BlockingIOError:\n    os._exit(0)\nos._exit(1)\n"
        keeps = job(project, "keeps", DAEMON.format(lock=str(lock)) + waits)
        held = f"import os, time\nwhile not os.path.exists({str(lock)!r} + '.held'): time.sleep(0.01)\n"
        replies: dict[str, Reply] = {}

        def receive(reply: Reply) -> None:
            replies[reply.job.output.name] = reply
            other.touch()

        make_pool(2).run([keeps, job(project, "ends", held)], receive)
        assert (replies["keeps"].ended, replies["keeps"].code) == ("exit", 0)

    def test_by_a_run_that_is_interrupted_while_its_worker_is_stopped(
        self, project: Any, comes_true: Callable[..., bool]
    ) -> None:
        lock = project.folder / "lock"
        text = f"import fcntl, os, signal, time\nlock = open({str(lock)!r}, 'w')\nfcntl.flock(lock, fcntl.LOCK_EX)\n"
        text += f"os.kill(os.getppid(), signal.SIGSTOP)\nopen({str(lock)!r} + '.held', 'w')\ntime.sleep(600)\n"

        def leave(_: Job) -> None:
            assert comes_true(Path(f"{lock}.held").exists)
            raise KeyboardInterrupt

        batch = Batch(lambda _: None, on_start=leave)
        with pytest.raises(KeyboardInterrupt), Pool([JAX], project.folder / "logs", 1) as pool:
            work(pool, [job(project, "x", text)], batch)
        assert comes_true(lambda: not project.is_held("lock"))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
    def test_in_the_temporary_folder_by_a_run_that_is_ended(
        self, project: Any, comes_true: Callable[..., bool], number: int
    ) -> None:
        text = "import time\nfrom harness import case\n@case\ndef it():\n    open('running', 'w').close()\n"
        project.write("cases/x.py", f"{text}    time.sleep(60)\n")
        process = project.start("run", "--targets", "jax", "--out", "out", "--precision", "float32")
        assert comes_true((project.folder / "running").exists)
        assert list(project.temporary.glob("harness-*"))
        process.send_signal(number)
        process.communicate(timeout=60)
        assert comes_true(lambda: not list(project.temporary.glob("harness-*")))


class TestOutput:
    def test_of_very_much_the_beginning_and_the_end_are_kept(self, project: Any, make_pool: Any) -> None:
        text = "import os\nos.write(1, b'first words\\n')\nfor _ in range(300): os.write(1, b'x' * 100_000)\n"
        carried_out(make_pool(), [job(project, "x", f"{text}os.write(2, b'\\nlast words')\n")])
        kept = (project.folder / "x").read_bytes()
        told = b"\n[%d bytes of output were left out here by the harness]\n" % (12 + 30_000_000 + 11 - 2 * MOST)
        assert len(kept) == 2 * MOST + len(told)
        assert kept.startswith(b"first words\nxxx")
        assert kept[MOST:].startswith(told)
        assert kept.endswith(b"xxx\nlast words")

    def test_of_what_is_less_all_is_kept(self, project: Any, make_pool: Any) -> None:
        text = f"import os\nfor _ in range(2): os.write(1, b'x' * {MOST})\n"
        carried_out(make_pool(), [job(project, "x", text)])
        assert (project.folder / "x").read_bytes() == b"x" * 2 * MOST

    def test_what_cannot_be_kept_ends_no_worker(self, project: Any, make_pool: Any) -> None:
        pool = make_pool()
        (project.folder / "x").mkdir()  # where the output was to be
        replies = carried_out(pool, [job(project, "x", f"print(1)\n{CASE}"), job(project, "y", CASE)])
        assert {name: (reply.ended, reply.code) for name, reply in replies.items()} == {
            "x": ("exit", 0),
            "y": ("exit", 0),
        }
        assert json.loads((project.folder / "y.json").read_text())["error"] is None
