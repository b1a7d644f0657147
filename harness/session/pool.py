"""The controller's side of the wall: worker processes, the jobs that they are given, and the deadlines of both."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness import backends
from harness.session import interpreter, sharing
from harness.target import Target
from harness.wire import Answer, Ended, Failed, How, Ready, Request, Started, Work, decode, encode

#: Seconds a worker has to import its backend.
STARTUP_TIMEOUT = 180.0
#: Seconds after a job's own deadline until its worker is given up.
GRACE = 15.0
#: Variables that keep libraries from starting threads when they are imported, which would make forking unsafe.
_SINGLE_THREADED = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


@dataclass(frozen=True)
class Job:
    """Work for a target's worker.

    Attributes:
        timeout: seconds that it may take.
        output: the file that its standard output and error are written to.
    """

    target: Target
    work: Work
    timeout: float
    output: Path


@dataclass(frozen=True)
class Reply:
    """How a job ended.

    Attributes:
        ended: `exit`, with the status as `code`; `signal`, with the signal's number as `code`; `timeout`; or `worker`
            if its worker could not start, ended, or stopped answering.
        output: the last lines that it printed; for `worker`, what became of the worker.
    """

    job: Job
    ended: How | Literal["worker"]
    code: int
    seconds: float
    output: str

    def describe(self) -> str:
        """How the job ended, as a sentence without its subject, and the last lines of output."""
        if self.ended == "timeout":
            what = f"ran past its limit of {self.job.timeout:g} s and was killed"
        elif self.ended == "signal":
            what = f"was killed by {_signal_name(self.code)}"
        elif self.ended == "exit":
            what = f"ended with status {self.code} before its trace was written"
        else:
            what = "could not run"
        return f"{what}\n{self.output}" if self.output else what


@dataclass
class _Worker:
    """A worker as the pool sees it. `process` is None for a shared worker, which is not a child of this process."""

    target: Target
    channel: socket.socket
    process: subprocess.Popen[bytes] | None
    log: Path
    started: float
    is_ready: bool = False
    failed: str | None = None
    buffer: bytes = b""
    running: dict[int, tuple[Job, float]] = field(default_factory=dict)
    groups: dict[int, int] = field(default_factory=dict)


class Pool:
    """One worker for each target. Use it as a context manager: no process that it started outlives it.

    Args:
        targets: where jobs will run.
        folder: for the output of the workers themselves.
        jobs: the most jobs that run at once, on all workers together.
        native: whether each backend draws from its own generator.
        shared: the folder of a `harness.session.sharing.Host`, to share workers with other processes; None not to.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        folder: Path,
        jobs: int,
        *,
        native: bool = False,
        shared: Path | None = None,
    ) -> None:
        self._jobs = jobs
        self._options = ["--native"] if native else []
        self._shared = shared
        self._ids = 0
        self._selector = selectors.DefaultSelector()
        self._workers: dict[Target, _Worker] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._cache = tempfile.TemporaryDirectory(prefix="harness-cache-", ignore_cleanup_errors=True)
        for target in targets:
            self._workers[target] = self._start(target, folder / f"{target.slug}.txt")

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            self._stop(worker)
        self._selector.close()
        self._cache.cleanup()

    def run(
        self,
        jobs: Iterable[Job],
        on_reply: Callable[[Reply], None],
        *,
        on_start: Callable[[Job], None] = lambda _: None,
        is_wanted: Callable[[Job], bool] = lambda _: True,
    ) -> None:
        """Do jobs in their order, except that one whose worker is not ready waits. Every wanted job gets one reply.

        Args:
            on_reply: called as each job ends.
            on_start: called as each job starts.
            is_wanted: asked just before a job would start; one that is no longer wanted is dropped.
        """
        waiting = deque(jobs)
        while waiting or self._running():
            self._dispatch(waiting, on_reply, on_start, is_wanted)
            if waiting or self._running():
                self._wait(on_reply)

    def why_not(self, target: Target) -> str | None:
        """Why a target's worker cannot run anything; None if it can, or is still starting."""
        return self._workers[target].failed

    def _start(self, target: Target, log: Path) -> _Worker:
        cache = Path(self._cache.name) if self._shared is None else self._shared
        environment = {
            **interpreter.environment(target, cache),
            **_SINGLE_THREADED,
            **backends.get(target.backend).environment_for(target, cache),
            "KERAS_BACKEND": target.backend,
        }
        command = [interpreter.path_of(target), "-P", "-m", "harness.worker", *self._options]
        if self._shared is None:
            channel, process = self._own(command, log, environment)
        else:
            channel, process = self._join(self._shared, target, command, log, environment), None
        channel.setblocking(False)
        worker = _Worker(target, channel, process, log, time.monotonic())
        self._selector.register(channel, selectors.EVENT_READ, worker)
        return worker

    def _own(
        self, command: list[str], log: Path, environment: dict[str, str]
    ) -> tuple[socket.socket, subprocess.Popen[bytes] | None]:
        """Start a worker that serves this pool alone."""
        channel, theirs = socket.socketpair()
        with log.open("wb") as output, theirs:
            process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=output,
                env=environment,
                start_new_session=True,  # so that Ctrl-C reaches the controller only
            )
        return channel, process

    def _join(
        self, folder: Path, target: Target, command: list[str], log: Path, environment: dict[str, str]
    ) -> socket.socket:
        """Connect to a target's shared worker, and start it if it does not run yet."""

        def start(life: socket.socket, listener: socket.socket) -> None:
            with log.open("wb") as output:
                subprocess.run(
                    [*command, "--listen", str(listener.fileno())],
                    stdin=life.fileno(),
                    stdout=output,
                    stderr=output,
                    pass_fds=[listener.fileno()],
                    env=environment,
                    start_new_session=True,
                    check=True,
                )

        return sharing.join(folder, target.slug, start)

    def _dispatch(
        self,
        waiting: deque[Job],
        on_reply: Callable[[Reply], None],
        on_start: Callable[[Job], None],
        is_wanted: Callable[[Job], bool],
    ) -> None:
        later: list[Job] = []
        while waiting and self._running() < self._jobs:
            job = waiting.popleft()
            worker = self._workers[job.target]
            if not worker.is_ready and worker.failed is None:
                later.append(job)
            elif not is_wanted(job):
                continue
            elif worker.failed is not None:
                on_reply(Reply(job, "worker", 0, 0.0, worker.failed))
            else:
                self._send(worker, job, on_reply)
                if worker.failed is None:
                    on_start(job)
        waiting.extendleft(reversed(later))

    def _running(self) -> int:
        return sum(len(worker.running) for worker in self._workers.values())

    def _send(self, worker: _Worker, job: Job, on_reply: Callable[[Reply], None]) -> None:
        self._ids += 1
        worker.running[self._ids] = (job, time.monotonic() + job.timeout + GRACE)
        worker.channel.settimeout(GRACE)
        try:
            worker.channel.sendall(encode(Request(self._ids, job.timeout, job.output, job.work)))
            worker.channel.setblocking(False)
        except TimeoutError:
            self._give_up(worker, "its worker stopped answering", on_reply)
        except (BrokenPipeError, ConnectionResetError):
            worker.channel.setblocking(False)  # the worker has ended, which the next read will notice

    def _wait(self, on_reply: Callable[[Reply], None]) -> None:
        for key, _ in self._selector.select(timeout=0.2):
            worker: _Worker = key.data
            try:
                data = worker.channel.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                how = "" if worker.process is None else f": {_how(worker.process.wait())}"
                self._give_up(worker, f"its worker ended{how}", on_reply)
                continue
            *lines, worker.buffer = (worker.buffer + data).split(b"\n")
            for line in lines:
                self._receive(worker, decode(line), on_reply)
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.failed is not None:
                continue
            if not worker.is_ready and now > worker.started + STARTUP_TIMEOUT:
                self._give_up(worker, f"its worker was not ready after {STARTUP_TIMEOUT:g} s", on_reply)
            elif any(now > deadline for _, deadline in worker.running.values()):
                self._give_up(worker, "its worker stopped answering", on_reply)

    def _receive(self, worker: _Worker, answer: Answer, on_reply: Callable[[Reply], None]) -> None:
        match answer:
            case Ready():
                worker.is_ready = True
            case Failed(reason):
                self._give_up(worker, f"its backend cannot be imported: {reason}", on_reply)
            case Started(number, process):
                worker.groups[number] = process
            case Ended(number, how, code, seconds):
                worker.groups.pop(number, None)
                job, _ = worker.running.pop(number)
                on_reply(Reply(job, how, code, seconds, _last_lines(job.output)))

    def _give_up(self, worker: _Worker, reason: str, on_reply: Callable[[Reply], None]) -> None:
        if worker.failed is None:
            last_words = _last_lines(worker.log)
            worker.failed = f"{reason}\n{last_words}" if last_words else reason
        self._stop(worker)
        for group in worker.groups.values():  # children that a killed worker left running
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        worker.groups.clear()
        running, worker.running = worker.running, {}
        for job, _ in running.values():
            on_reply(Reply(job, "worker", 0, 0.0, worker.failed))

    def _stop(self, worker: _Worker) -> None:
        """Close a worker's channel, at which it kills our children. A worker that is not shared then has 2 s to end."""
        if worker.channel.fileno() == -1:
            return
        self._selector.unregister(worker.channel)
        worker.channel.close()
        if worker.process is None:
            return
        try:
            worker.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


def _how(code: int) -> str:
    return f"killed by {_signal_name(-code)}" if code < 0 else f"status {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_lines(path: Path, count: int = 12) -> str:
    """The last lines of a file of output; empty if nothing was printed.

    In a stack that faulthandler dumped, the frames of the harness and of pytest, and the list of extension modules, are
    left out, because they would push out the lines of the case.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - (1 << 16)))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.rstrip().splitlines() if not _NOT_OF_THE_CASE.match(line)]
    return "\n".join(lines[-count:])


_NOT_OF_THE_CASE = re.compile(
    rf'Extension modules:|  File "(<frozen runpy>|{re.escape(str(Path(__file__).resolve().parents[1]))}|'
    rf".*[/\\](site-packages|{interpreter.FOLDER})[/\\](harness|_pytest|pluggy|pytest)[/\\])"
)
