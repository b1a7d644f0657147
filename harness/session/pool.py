"""The controller's side of the wall: worker processes, the jobs that they are given, and the deadlines of both.

Several threads may have jobs done at once: one records cases while another one replays parts. Whoever waits for jobs
drives the pool, one thread at a time, for all of them; what a thread is told of its jobs, it is told in that thread.

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
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, NoReturn

from harness import backends, processes
from harness.session import interpreter, kept, sharing
from harness.target import Target
from harness.temporary import Shared
from harness.wire import Answer, Ended, Failed, How, Ready, Request, Started, Work, decode, encode

#: Seconds a worker has to import its backend.
STARTUP_TIMEOUT = 180.0
#: Seconds after a job's own deadline until its worker is given up.
GRACE = 15.0
#: How many workers of a target may be lost in a row, with no job ended in between, until no other is started.
MOST_LOST = 5
#: Seconds after which a thread that waits looks again whether it is to go on, and whether anybody drives the pool.
_TURN = 0.2
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


class Abandoned(BaseException):
    """A thread is to wait for its jobs no longer. It is no `Exception`, because it is no failure of whatever waits."""


class Batch:
    """Jobs that a thread waits for, and what it is told of them, in that thread.

    Args:
        on_reply: called as each job ends.
        on_start: called as each job starts.
        on_drop: called with each job that was not wanted any more.
        is_wanted: asked just before a job would start, in whichever thread drives the pool. One that is no longer
            wanted is dropped.

    Attributes:
        left: how much the thread still waits for: jobs, and what else it counts here.
        held: seconds that its jobs were held up by those of other batches, as far as these took the room.
    """

    def __init__(
        self,
        on_reply: Callable[[Reply], None],
        *,
        on_start: Callable[[Job], None] = lambda _: None,
        on_drop: Callable[[Job], None] = lambda _: None,
        is_wanted: Callable[[Job], bool] = lambda _: True,
    ) -> None:
        self._on_reply = on_reply
        self._on_drop = on_drop
        self.on_start = on_start
        self.is_wanted = is_wanted
        self.left = 0
        self.held = 0.0
        #: What the thread is to do: told by any thread.
        self.told: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # What follows is that of the thread that drives the pool, but for the last two.
        self.waiting: deque[_Waiting] = deque()
        self.served = 0
        self.ended = 0
        #: How many ends the thread has taken in. None of its jobs begins before it has taken in all.
        self.taken_in = 0
        self.is_abandoned = False

    def reply(self, reply: Reply) -> None:
        """Take in how a job ended."""
        self.left -= 1
        self._on_reply(reply)
        self.taken_in += 1

    def drop(self, job: Job) -> None:
        """Take in that a job was dropped."""
        self.left -= 1
        self._on_drop(job)
        self.taken_in += 1

    def ends(self, event: Callable[[], None]) -> None:
        """Let the thread take in the end of a job."""
        self.ended += 1
        self.told.put(event)


@dataclass(frozen=True)
class _Waiting:
    """A job that waits for its worker.

    Attributes:
        alone: whether nothing else may run there at the same time.
        again: whether it was given to a worker before, which was lost.
    """

    job: Job
    batch: Batch
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
        #: Held by the thread that drives: what follows is its. It can be taken again, if a signal came as it was taken.
        self._driving = threading.RLock()
        self._added: SimpleQueue[tuple[Batch, list[Job]]] = SimpleQueue()
        self._batches: list[Batch] = []
        #: Jobs whose worker was lost. They go first.
        self._again: deque[_Waiting] = deque()
        self._is_closed = False
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._started: Counter[Target] = Counter()
        self._lost: Counter[Target] = Counter()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._temporary = Shared(shared or Path(tempfile.mkdtemp(prefix="harness-cache-")))
        self._compiled = kept.folder() or self._temporary.folder
        for target in targets:
            self._workers[target] = self._start(target, shared)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._wake()
        self._driving.acquire(timeout=GRACE)  # another thread that drives is about to see that it is closed
        for worker in self._workers.values():
            self._stop(worker)
        self._selector.close()
        self._bell.close()
        self._rope.close()
        self._temporary.leave()

    def run(
        self, jobs: Iterable[Job], on_reply: Callable[[Reply], None], is_stopped: Callable[[], bool] = lambda: False
    ) -> float:
        """Do jobs in their order, except that one whose worker is not ready waits. Every job gets one reply.

        Args:
            on_reply: called as each job ends.
            is_stopped: see `work`.

        Returns:
            The seconds that they were held up by jobs of other threads.

        Raises:
            Abandoned: see `work`.
        """
        batch = Batch(on_reply)
        self.add(batch, jobs)
        self.work(batch, is_stopped)
        return batch.held

    def add(self, batch: Batch, jobs: Iterable[Job]) -> None:
        """Add jobs to a batch, before those that wait in it. Called by the thread that waits for the batch."""
        added = list(jobs)
        batch.left += len(added)
        self._added.put((batch, added))
        self._wake()

    def tell(self, batch: Batch, event: Callable[[], None]) -> None:
        """Have a function called in the thread that waits for a batch. May be called by any thread."""
        batch.told.put(event)
        self._wake()

    def work(self, batch: Batch, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Wait until nothing is left of a batch, and drive the pool while no other thread does.

        Args:
            is_stopped: whether this thread is to wait no longer; asked again and again.

        Raises:
            Abandoned: the thread is to wait no longer, or the pool was closed.
        """
        try:
            while batch.left:
                if self._is_closed or is_stopped():
                    raise Abandoned
                if self._driving.acquire(blocking=False):
                    try:
                        self._turn(batch)
                    finally:
                        self._driving.release()
                else:
                    with contextlib.suppress(Empty):
                        batch.told.get(timeout=_TURN)()
                        self._wake()  # more of its jobs may begin now
                while not batch.told.empty():
                    batch.told.get()()
        finally:
            batch.is_abandoned = True

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
            **backends.get(target.backend).environment_for(target, self._compiled),
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

    def _wake(self) -> None:
        """Let the thread that drives look at what there is to do."""
        with contextlib.suppress(OSError):  # it is woken already, or the pool was closed
            self._rope.send(b"\0")

    def _turn(self, batch: Batch) -> None:
        """Start what can start, and wait a moment for what ends.

        Args:
            batch: of the thread that drives, which does not wait if it has been told something.
        """
        began = time.monotonic()
        self._take_in()
        while self._running() < self._jobs:
            waiting = self._next()
            if waiting is None:
                break
            self._begin(waiting)
        ready = self._selector.select(timeout=0.0 if not batch.told.empty() else _TURN)
        seconds = time.monotonic() - began
        for other in self._batches:
            if other.waiting:
                other.held += seconds * (self._running() - self._running(other)) / self._jobs
        self._receive_from([key.data for key, _ in ready if key.data is not None])

    def _take_in(self) -> None:
        """Take in what was added, and leave out what nobody waits for any more."""
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(1 << 10):
                pass
        while not self._added.empty():
            batch, jobs = self._added.get()
            batch.waiting.extendleft(_Waiting(job, batch) for job in reversed(jobs))
            self._batches += [] if batch in self._batches else [batch]
        self._batches = [batch for batch in self._batches if batch.waiting and not batch.is_abandoned]
        self._again = deque(waiting for waiting in self._again if not waiting.batch.is_abandoned)

    def _next(self) -> _Waiting | None:
        """Take out the job that is to start now, or to be told that it cannot run; None if there is none.

        Of several batches the one goes first of which least runs and, of these, the one that was served longest ago.
        """
        batches = sorted(self._batches, key=lambda batch: (self._running(batch), batch.served))
        kept: set[Target] = set()
        for queue in [self._again, *(batch.waiting for batch in batches if batch.taken_in == batch.ended)]:
            for position, waiting in enumerate(queue):
                target = waiting.job.target
                worker = self._worker_of(target)
                has_room = not worker.running if waiting.alone else not worker.is_kept and target not in kept
                if worker.failed is not None or (worker.number is not None and has_room):
                    del queue[position]
                    return waiting
                if waiting.alone:
                    kept.add(target)
        return None

    def _begin(self, waiting: _Waiting) -> None:
        """Give a job to its worker, if it is still wanted."""
        batch, job, worker = waiting.batch, waiting.job, self._worker_of(waiting.job.target)
        try:
            is_wanted = batch.is_wanted(job)
        except Exception as error:  # it is of the thread that waits, which need not be this one
            batch.ends(partial(_raise, error))
            return
        if not is_wanted:
            batch.ends(partial(batch.drop, job))
        elif worker.failed is not None:
            batch.ends(partial(batch.reply, Reply(job, "worker", 0, 0.0, worker.failed)))
        else:
            self._send(worker, waiting)
            batch.served = self._ids
            if not worker.lost and not waiting.again:
                batch.told.put(partial(batch.on_start, job))

    def _worker_of(self, target: Target) -> _Worker:
        """A target's worker. One that was lost is replaced."""
        if self._workers[target].lost:
            self._workers[target] = self._start(target, None)
        return self._workers[target]

    def _running(self, batch: Batch | None = None) -> int:
        """How many jobs run, of a batch or of all of them."""
        running = [waiting for worker in self._workers.values() for waiting, _ in worker.running.values()]
        return len(running) if batch is None else sum(waiting.batch is batch for waiting in running)

    def _send(self, worker: _Worker, waiting: _Waiting) -> None:
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
            self._lose(worker, "stopped answering")

    def _receive_from(self, workers: Iterable[_Worker]) -> None:
        """Take in what workers answered, and give up those that do not answer."""
        for worker in workers:
            if not self._read(worker):
                self._lose(worker, "ended" if worker.process is None else _how(worker.process.wait()))
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.failed is not None or worker.lost:
                continue
            if worker.number is None and now > worker.started + STARTUP_TIMEOUT:
                self._lose(worker, f"was not ready after {STARTUP_TIMEOUT:g} s")
            elif any(now > deadline for _, deadline in worker.running.values()):
                self._lose(worker, "stopped answering")

    def _read(self, worker: _Worker) -> bool:
        """Take in some of what a worker answered. False if its channel is closed."""
        try:
            data = worker.channel.recv(1 << 16)
        except ConnectionResetError:
            return False
        *lines, worker.buffer = (worker.buffer + data).split(b"\n")
        for line in lines:
            self._receive(worker, decode(line))
        return bool(data)

    def _receive(self, worker: _Worker, answer: Answer) -> None:
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
                reply = Reply(waiting.job, how, code, seconds, _last_lines(waiting.job.output))
                waiting.batch.ends(partial(waiting.batch.reply, reply))

    def _lose(self, worker: _Worker, how: str) -> None:
        """Stop a worker that is gone or does not answer, and see to what it was given.

        Args:
            how: it was lost, as a sentence without its subject.
        """
        with contextlib.suppress(BlockingIOError):
            while worker.failed is None and self._read(worker):
                pass  # what has begun and ended by now
        self._stop(worker)
        if worker.number is None:
            worker.failed = worker.failed or _with(f"its worker {how}", worker.log)
            return
        worker.lost = True
        running, worker.running = worker.running, {}
        begun = [waiting for number, (waiting, _) in running.items() if number in worker.groups]
        # On a shared worker others may have run that this process does not know of.
        told = begun[0] if len(begun) == 1 and worker.process is not None else None
        again = [
            replace(waiting, alone=waiting.alone or number in worker.groups, again=True)
            for number, (waiting, _) in running.items()
            if waiting is not told
        ]
        self._again.extendleft(reversed(again))
        if told is not None or not begun:
            self._lost[worker.target] += 1
        if self._lost[worker.target] == MOST_LOST:
            worker.lost = False
            worker.failed = _with(
                f"{MOST_LOST} workers in a row were lost, and no other is started: the last {how}", worker.log
            )
        if told is not None:
            reason = _with(f"the worker of {worker.target} {how} while it ran this", worker.log)
            reply = Reply(told.job, "lost", 0, 0.0, _with(reason, told.job.output))
            told.batch.ends(partial(told.batch.reply, reply))

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


def _raise(error: Exception) -> NoReturn:
    raise error


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
