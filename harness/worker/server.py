"""A worker: imports its backend once, then forks a child for each request and enforces the child's deadline.

The controller writes requests to a channel, a line each, and reads answers from it: see `harness.wire`.

A worker for one controller has standard input and output as its channel. A shared worker listens on a socket, on which
each controller opens a channel. When a channel closes, the children of its requests are killed. When standard input
closes, the worker ends, because the process that it belongs to is gone.

Each child adopts the orphans among its descendants, and the worker those of a child that has ended. So whatever is a
child of the worker and not of a request was left behind by a case, and is ended.

If a backend cannot be used after a fork, because CUDA has started before it, the child is a new process, which imports
the backend again: `python -m harness.worker --once FOLDER` reads its one request from standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from harness import processes
from harness.errors import message_of
from harness.temporary import Shared
from harness.wire import Answer, Ended, Failed, How, Ready, Request, Started, decode, encode
from harness.worker import FRAMEWORKS
from harness.worker.output import Output

#: Seconds between two looks at the children.
POLL = 0.01


@dataclass(eq=False)
class _Channel:
    """A connection to a controller: the file descriptors that requests are read from and answers are written to."""

    requests: int
    answers: int
    pending: bytes = b""

    def read(self) -> list[bytes] | None:
        """The complete lines that have come in; None once the channel is closed."""
        try:
            data = os.read(self.requests, 1 << 16)
        except ConnectionResetError:
            return None
        if not data:
            return None
        *lines, self.pending = (self.pending + data).split(b"\n")
        return lines

    def answer(self, answer: Answer) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the next read will notice
            os.write(self.answers, encode(answer))

    def close(self) -> None:
        for descriptor in {self.requests, self.answers}:
            os.close(descriptor)


@dataclass
class _Child:
    id: int
    channel: _Channel
    pid: int
    started: float
    deadline: float
    folder: str
    output: Output
    timed_out: bool = False
    #: A new process, instead of a fork. It is kept, because `subprocess` would wait for one that is dropped.
    fresh: subprocess.Popen[bytes] | None = None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", metavar="FOLDER")  # carry out one request, with this empty folder
    parser.add_argument("--native", action="store_true")  # the backend draws from its own generator
    parser.add_argument("--listen", type=int)  # the descriptor of the socket that a shared worker listens on
    parser.add_argument("--temporary", type=Path)  # a folder for temporary files, which other processes hold as well
    arguments = parser.parse_args()
    if arguments.once is not None:
        _once(Path(arguments.once), native=arguments.native)
    if arguments.listen is not None and os.fork():
        os._exit(0)  # whoever started this process waits for it, but not for the worker, which may live longer
    processes.adopt_orphans()
    temporary = Shared(arguments.temporary)
    first = _Channel(os.dup(0), os.dup(1))
    listener = None if arguments.listen is None else socket.socket(fileno=arguments.listen)
    # Whatever a library prints goes to standard error: standard output belongs to the controller.
    os.dup2(2, 1)
    with open(os.devnull) as null:
        os.dup2(null.fileno(), 0)
    try:
        _prepare(native=arguments.native)
        greeting: Ready | Failed = Ready(os.getpid())
    except Exception as error:
        greeting = Failed(f"{type(error).__name__}: {message_of(error)}")
    if listener is None:
        first.answer(greeting)
    if listener is not None or isinstance(greeting, Ready):  # a shared worker tells everybody why it failed
        _serve(first, listener, greeting, temporary, native=arguments.native)
    temporary.leave()


def _once(folder: Path, *, native: bool) -> NoReturn:
    """Carry out the request on standard input, and end the process."""
    began = time.monotonic()
    request: Request = decode(sys.stdin.readline())
    with open(os.devnull) as null:
        os.dup2(null.fileno(), 0)
    _prepare(native=native)
    from harness.worker import child

    child.main(replace(request, timeout=request.timeout - (time.monotonic() - began)), folder)


def _greet(listener: socket.socket, greeting: Ready | Failed) -> _Channel:
    """Accept a controller's connection as a channel, and send the greeting."""
    descriptor = listener.accept()[0].detach()
    channel = _Channel(descriptor, descriptor)
    channel.answer(greeting)
    return channel


def _prepare(*, native: bool) -> None:
    """Import the backend and what every child needs. This starts neither a device nor a thread: forks would break."""
    import pytest  # noqa: F401 - case files import it, for its marks

    # Imported before any fork, so that no child has to.
    from harness.backends import runtime
    from harness.worker import child, keras_internals, randomness  # noqa: F401

    runtime.current().prepare()

    keras_internals.do_not_import_tensorflow()
    if not native:
        randomness.install()
    _freeze()


def _freeze() -> None:
    """Spare children the search of all of the backend for garbage, which pytest asks for several times as it ends."""
    gc.collect()
    gc.freeze()


def _import_also(names: Iterable[str]) -> None:
    """Import further frameworks, once for all children to come. None of them starts a device or a thread by that."""
    new = [name for name in names if name not in sys.modules]
    for name in new:
        with contextlib.suppress(Exception):  # a child will say what is wrong with it
            importlib.import_module(name)
    if new:
        _freeze()


def _serve(
    first: _Channel, listener: socket.socket | None, greeting: Ready | Failed, temporary: Shared, *, native: bool
) -> None:
    channels = [first]
    children: list[_Child] = []
    doors = [] if listener is None else [listener]
    while first in channels:
        sources: list[Any] = [*doors, *(channel.requests for channel in channels)]
        sources += [child.output.source for child in children]
        ready, _, _ = select.select(sources, [], [], POLL if children else None)
        for child in [child for child in children if child.output.source in ready]:
            child.output.read()
        channels += [_greet(door, greeting) for door in doors if door in ready]
        for channel in [channel for channel in channels if channel.requests in ready]:
            lines = channel.read()
            if lines is None:
                channels.remove(channel)
                _end([child for child in children if child.channel is channel])
                children = [child for child in children if child.channel is not channel]
                _end_orphans(children)
                channel.close()
                continue
            for line in lines:
                ours = [*doors, *channels, temporary, *(child.output for child in children)]
                children.append(_start(decode(line), channel, ours, temporary.folder, native=native))
        children = [child for child in children if not _has_ended(child, children)]
    _end(children)
    _end_orphans([])


def _end(children: list[_Child]) -> None:
    """Kill children whose controller is gone."""
    for child in children:
        child.timed_out = True  # so that `_kill` also kills a child that does not lead a process group yet
        _kill(child)
        os.waitpid(child.pid, 0)
        child.output.finish()
        shutil.rmtree(child.folder, ignore_errors=True)


def _end_orphans(children: list[_Child]) -> None:
    """Kill what children that have ended left behind. Those that run keep their own descendants."""
    for orphan in processes.children_of(os.getpid()) - {child.pid for child in children}:
        processes.end(orphan)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(orphan, os.WNOHANG)


def _start(request: Request, channel: _Channel, ours: list[Any], temporary: Path, *, native: bool) -> _Child:
    """Start a child for a request, and tell the controller. A fork closes `ours`, all that is the worker's own."""
    from harness.backends import runtime

    folder = tempfile.mkdtemp(prefix="harness-", dir=temporary)
    why_fresh = runtime.current().why_not_fork()
    started = time.monotonic()
    fresh = None
    output = Output(request.output)
    if why_fresh is None:
        pid = _fork(request, folder, channel, output, ours)
    else:
        fresh = _start_fresh(replace(request, fresh_process=why_fresh), folder, output, native=native)
        pid = fresh.pid
        channel.answer(Started(request.id, pid))
    output.begun()
    return _Child(request.id, channel, pid, started, started + request.timeout, folder, output, fresh=fresh)


def _fork(request: Request, folder: str, channel: _Channel, output: Output, ours: list[Any]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        # The child tells this itself before it runs anything, for a case may kill the worker before the worker does.
        channel.answer(Started(request.id, os.getpid()))
        os.dup2(output.sink, 1)
        os.dup2(output.sink, 2)
        output.begun()
        for item in (*ours, output):
            item.close()
        from harness.worker import child

        child.main(request, Path(folder))
    return pid


def _start_fresh(request: Request, folder: str, output: Output, *, native: bool) -> subprocess.Popen[bytes]:
    """Start a process that carries out a request without having been forked."""
    command = [sys.executable, "-P", "-m", "harness.worker", "--once", folder, *(["--native"] if native else [])]
    with tempfile.TemporaryFile() as file:
        file.write(encode(request))
        file.seek(0)
        # It leads a process group from the start, so that it can be killed while it imports.
        return subprocess.Popen(command, stdin=file, stdout=output.sink, stderr=output.sink, process_group=0)


def _has_ended(child: _Child, children: list[_Child]) -> bool:
    """Whether one of the children has ended. Then nothing that it started goes on, and the controller is told."""
    pid, status = os.waitpid(child.pid, os.WNOHANG)
    if pid == 0:
        if time.monotonic() > child.deadline and not child.timed_out:
            child.timed_out = True
            _kill(child)
        return False
    _kill(child)  # and whatever it left running
    _end_orphans(children)
    child.output.finish()
    frameworks = Path(child.folder) / FRAMEWORKS
    further = frameworks.read_text(encoding="utf-8").split() if frameworks.exists() else []
    shutil.rmtree(child.folder, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    how: How = "timeout" if child.timed_out else "signal" if code < 0 else "exit"
    child.channel.answer(Ended(child.id, how, abs(code), time.monotonic() - child.started))
    _import_also(further)
    return True


def _kill(child: _Child) -> None:
    """Kill a child's process group and, if `timed_out`, the child itself, which may not lead the group yet."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.timed_out:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
