"""The controller's side of the wall: worker processes, the jobs that they are given, and the deadlines of both.

A worker that is lost, because it was killed or stopped answering, is replaced by a worker of the pool's own, and what
had not begun goes to that. A job that ran alone on it is told that it lost its worker. Of several none is known to have
taken the worker down, so each runs again, alone.
"""

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
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from harness import backends, processes
from harness.session import interpreter, sharing
from harness.target import Target
from harness.temporary import Shared
from harness.wire import Answer, Ended, Failed, How, Ready, Request, Started, Work, decode, encode

#: Seconds a worker has to import its backend.
STARTUP_TIMEOUT = 180.0
#: Seconds after a job's own deadline until its worker is given up.
GRACE = 15.0
#: How many workers of a target may be lost in a row, with no job ended in between, until no other is started.
MOST_LOST = 5
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
        ended: `exit`, with the status as `code`; `signal`, with the signal's number as `code`; `timeout`; `lost` if its
            worker ended or stopped answering while the job ran; or `worker` if the target has no worker to run it.
        output: the last lines that it printed; for `lost` and `worker`, what became of the worker comes first.
    """

    job: Job
    ended: How | Literal["lost", "worker"]
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
        elif self.ended == "lost":
            return f"did not end: {self.output}"
        else:
            what = "could not run"
        return f"{what}\n{self.output}" if self.output else what


@dataclass(frozen=True)
class _Waiting:
    """A job that waits for its worker.

    Attributes:
        alone: whether nothing else may run there at the same time.
        again: whether it was given to a worker before, which was lost.
    """

    job: Job
    alone: bool = False
    again: bool = False


@dataclass
class _Worker:
    """A worker as the pool sees it.

    Attributes:
        process: None for a shared worker, which is not a child of this process.
        number: of the process, once the worker is ready.
        lost: True if it was ready, and is gone.
        failed: why its target can run nothing any more.
        running: the jobs that it was given, by the numbers of their requests, and their deadlines.
        groups: the process groups of those that have begun.
    """

    target: Target
    channel: socket.socket
    process: subprocess.Popen[bytes] | None
    log: Path
    started: float
    number: int | None = None
    lost: bool = False
    failed: str | None = None
    buffer: bytes = b""
    running: dict[int, tuple[_Waiting, float]] = field(default_factory=dict)
    groups: dict[int, int] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """Whether a job runs that must be alone."""
        return any(waiting.alone for waiting, _ in self.running.values())


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
        self._ids = 0
        self._selector = selectors.DefaultSelector()
        self._workers: dict[Target, _Worker] = {}
        self._waiting: deque[_Waiting] = deque()
        self._started: Counter[Target] = Counter()
        self._lost: Counter[Target] = Counter()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._temporary = Shared(shared or Path(tempfile.mkdtemp(prefix="harness-cache-")))
        for target in targets:
            self._workers[target] = self._start(target, shared)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            self._stop(worker)
        self._selector.close()
        self._temporary.leave()

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
        self._waiting = deque(map(_Waiting, jobs))
        while self._waiting or self._running():
            self._dispatch(on_reply, on_start, is_wanted)
            if self._waiting or self._running():
                self._wait(on_reply)

    def why_not(self, target: Target) -> str | None:
        """Why a target's worker cannot run anything; None if it can, or is still starting."""
        return self._workers[target].failed

    def _start(self, target: Target, shared: Path | None) -> _Worker:
        """Start a worker, or connect to the one in the folder `shared`."""
        self._started[target] += 1
        number = self._started[target]
        log = self._folder / (f"{target.slug}.txt" if number == 1 else f"{target.slug}-{number}.txt")
        cache = self._temporary.folder
        environment = {
            **interpreter.environment(target, cache),
            **_SINGLE_THREADED,
            **backends.get(target.backend).environment_for(target, cache),
            "KERAS_BACKEND": target.backend,
        }
        command = [interpreter.path_of(target), "-P", "-m", "harness.worker", *self._options]
        command += ["--temporary", str(cache)]
        if shared is None:
            channel, process = self._own(command, log, environment)
        else:
            channel, process = self._join(shared, target, command, log, environment), None
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
        on_reply: Callable[[Reply], None],
        on_start: Callable[[Job], None],
        is_wanted: Callable[[Job], bool],
    ) -> None:
        later: list[_Waiting] = []
        while self._waiting and self._running() < self._jobs:
            waiting = self._waiting.popleft()
            job, worker = waiting.job, self._worker_of(waiting.job.target)
            is_first = not any(other.alone and other.job.target == job.target for other in later)
            has_room = not worker.running if waiting.alone else not worker.is_kept and is_first
            if worker.failed is None and (worker.number is None or not has_room):
                later.append(waiting)
            elif not is_wanted(job):
                continue
            elif worker.failed is not None:
                on_reply(Reply(job, "worker", 0, 0.0, worker.failed))
            else:
                self._send(worker, waiting, on_reply)
                if not worker.lost and not waiting.again:
                    on_start(job)
        self._waiting.extendleft(reversed(later))

    def _worker_of(self, target: Target) -> _Worker:
        """A target's worker. One that was lost is replaced."""
        if self._workers[target].lost:
            self._workers[target] = self._start(target, None)
        return self._workers[target]

    def _running(self) -> int:
        return sum(len(worker.running) for worker in self._workers.values())

    def _send(self, worker: _Worker, waiting: _Waiting, on_reply: Callable[[Reply], None]) -> None:
        self._ids += 1
        job = waiting.job
        worker.running[self._ids] = (waiting, time.monotonic() + job.timeout + GRACE)
        worker.channel.settimeout(GRACE)
        is_taken = True
        try:
            worker.channel.sendall(encode(Request(self._ids, job.timeout, job.output, job.work)))
        except TimeoutError:
            is_taken = False
        except (BrokenPipeError, ConnectionResetError):
            pass  # the worker has ended, which the next read will notice
        worker.channel.setblocking(False)
        if not is_taken:
            self._lose(worker, "stopped answering", on_reply)

    def _wait(self, on_reply: Callable[[Reply], None]) -> None:
        for key, _ in self._selector.select(timeout=0.2):
            worker: _Worker = key.data
            if not self._read(worker, on_reply):
                self._lose(worker, "ended" if worker.process is None else _how(worker.process.wait()), on_reply)
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.failed is not None or worker.lost:
                continue
            if worker.number is None and now > worker.started + STARTUP_TIMEOUT:
                self._lose(worker, f"was not ready after {STARTUP_TIMEOUT:g} s", on_reply)
            elif any(now > deadline for _, deadline in worker.running.values()):
                self._lose(worker, "stopped answering", on_reply)

    def _read(self, worker: _Worker, on_reply: Callable[[Reply], None]) -> bool:
        """Take in some of what a worker answered. False if its channel is closed."""
        try:
            data = worker.channel.recv(1 << 16)
        except ConnectionResetError:
            return False
        *lines, worker.buffer = (worker.buffer + data).split(b"\n")
        for line in lines:
            self._receive(worker, decode(line), on_reply)
        return bool(data)

    def _receive(self, worker: _Worker, answer: Answer, on_reply: Callable[[Reply], None]) -> None:
        match answer:
            case Ready(number):
                worker.number = number
            case Failed(reason):
                self._stop(worker)
                worker.failed = _with(f"its backend cannot be imported: {reason}", worker.log)
            case Started(number, process):
                worker.groups[number] = process
            case Ended(number, how, code, seconds):
                worker.groups.pop(number, None)
                waiting, _ = worker.running.pop(number)
                self._lost[worker.target] = 0
                on_reply(Reply(waiting.job, how, code, seconds, _last_lines(waiting.job.output)))

    def _lose(self, worker: _Worker, how: str, on_reply: Callable[[Reply], None]) -> None:
        """Stop a worker that is gone or does not answer, and see to what it was given.

        Args:
            how: it was lost, as a sentence without its subject.
        """
        with contextlib.suppress(BlockingIOError):
            while worker.failed is None and self._read(worker, on_reply):
                pass  # what has begun and ended by now
        self._stop(worker)
        if worker.number is None:
            worker.failed = worker.failed or _with(f"its worker {how}", worker.log)
            return
        worker.lost = True
        running, worker.running = worker.running, {}
        begun = [waiting.job for number, (waiting, _) in running.items() if number in worker.groups]
        # On a shared worker others may have run that this process does not know of.
        told = begun[0] if len(begun) == 1 and worker.process is not None else None
        again = [
            replace(waiting, alone=waiting.alone or number in worker.groups, again=True)
            for number, (waiting, _) in running.items()
            if waiting.job is not told
        ]
        self._waiting.extendleft(reversed(again))
        if told is not None or not begun:
            self._lost[worker.target] += 1
        if self._lost[worker.target] == MOST_LOST:
            worker.lost = False
            worker.failed = _with(
                f"{MOST_LOST} workers in a row were lost, and no other is started: the last {how}", worker.log
            )
        if told is not None:
            reason = _with(f"the worker of {worker.target} {how} while it ran this", worker.log)
            on_reply(Reply(told, "lost", 0, 0.0, _with(reason, told.output)))

    def _stop(self, worker: _Worker) -> None:
        """Close a worker's channel, at which it ends our children. A worker that is not shared then has 2 s to end."""
        if worker.channel.fileno() == -1:
            return
        self._selector.unregister(worker.channel)
        worker.channel.close()
        if worker.number is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(worker.number, signal.SIGCONT)  # one that was stopped could not end anything
        if worker.process is not None:
            try:
                worker.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        for group in worker.groups.values():  # what a worker left running that was killed
            processes.end(group)


def _how(code: int) -> str:
    """How a process ended, as a sentence without its subject."""
    return f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with status {code}"


def _with(reason: str, output: Path) -> str:
    """A reason, and the last lines of a file of output."""
    last_words = _last_lines(output)
    return f"{reason}\n{last_words}" if last_words else reason


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
