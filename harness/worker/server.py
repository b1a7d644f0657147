"""The warm process: imports its backend once, then forks a child for each request and watches its deadline.

The controller writes requests to a channel, a line each, and reads answers from it: see `harness.wire`.

A worker that is started for one controller has its channel as standard input and output. One that is shared listens on
a socket, on which each controller opens a channel. When a channel closes its children are killed; when standard input
does, those whom the worker served are gone, and it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.wire import Answer, Ended, Failed, How, Ready, Request, Started, decode, encode

#: How often children are looked at, in seconds.
POLL = 0.01


@dataclass(eq=False)
class _Channel:
    """Where requests come in and answers go out."""

    requests: int
    answers: int
    pending: bytes = b""

    def read(self) -> list[bytes] | None:
        """The lines that have come in; None once it is closed."""
        try:
            data = os.read(self.requests, 1 << 16)
        except ConnectionResetError:
            return None
        if not data:
            return None
        *lines, self.pending = (self.pending + data).split(b"\n")
        return lines

    def answer(self, answer: Answer) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # which the next read will tell
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
    timed_out: bool = False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--native", action="store_true")  # the backend keeps its own randomness
    parser.add_argument("--listen", type=int)  # the descriptor of the socket that a shared worker listens on
    arguments = parser.parse_args()
    if arguments.listen is not None and os.fork():
        os._exit(0)  # whoever started it does not wait for it, and need not be the last that it serves
    first = _Channel(os.dup(0), os.dup(1))
    listener = None if arguments.listen is None else socket.socket(fileno=arguments.listen)
    # Whatever a library prints goes to standard error: standard output belongs to the controller.
    os.dup2(2, 1)
    with open(os.devnull) as null:
        os.dup2(null.fileno(), 0)
    try:
        _prepare(native=arguments.native)
        greeting: Ready | Failed = Ready()
    except Exception as error:
        greeting = Failed(f"{type(error).__name__}: {error}")
    if listener is None:
        first.answer(greeting)
    elif isinstance(greeting, Failed):
        _greet(listener, greeting)
    if isinstance(greeting, Ready):
        _serve(first, listener)


def _greet(listener: socket.socket, greeting: Ready | Failed) -> _Channel:
    """Open the channel that somebody has asked for."""
    descriptor = listener.accept()[0].detach()
    channel = _Channel(descriptor, descriptor)
    channel.answer(greeting)
    return channel


def _prepare(*, native: bool) -> None:
    """Import the backend and make ready what every child needs. No runtime may start here, and no thread."""
    import pytest  # noqa: F401 - case files import it, for its marks

    # What every child needs is imported before it is forked.
    from harness.worker import child, keras_internals, randomness  # noqa: F401

    keras_internals.do_not_import_tensorflow()
    if not native:
        randomness.install()


def _serve(first: _Channel, listener: socket.socket | None) -> None:
    channels = [first]
    children: list[_Child] = []
    doors = [] if listener is None else [listener]
    while first in channels:
        sources: list[Any] = [*doors, *(channel.requests for channel in channels)]
        ready, _, _ = select.select(sources, [], [], POLL if children else None)
        channels += [_greet(door, Ready()) for door in doors if door in ready]
        for channel in [channel for channel in channels if channel.requests in ready]:
            lines = channel.read()
            if lines is None:
                channels.remove(channel)
                _end([child for child in children if child.channel is channel])
                children = [child for child in children if child.channel is not channel]
                channel.close()
                continue
            for line in lines:
                child = _start(decode(line), channel, [*doors, *channels])
                children.append(child)
                channel.answer(Started(child.id, child.pid))
        children = [child for child in children if not _has_ended(child)]
    _end(children)


def _end(children: list[_Child]) -> None:
    """Kill children whose controller is gone."""
    for child in children:
        child.timed_out = True  # so that it is killed even before it leads its group
        _kill(child)
        os.waitpid(child.pid, 0)
        shutil.rmtree(child.folder, ignore_errors=True)


def _start(request: Request, channel: _Channel, ours: list[Any]) -> _Child:
    """Fork a child, in which `ours`, sockets and channels, are closed."""
    folder = tempfile.mkdtemp(prefix="harness-")
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        for item in ours:
            item.close()
        from harness.worker import child

        child.main(request, Path(folder))
    now = time.monotonic()
    return _Child(request.id, channel, pid, now, now + request.timeout, folder)


def _has_ended(child: _Child) -> bool:
    pid, status = os.waitpid(child.pid, os.WNOHANG)
    if pid == 0:
        if time.monotonic() > child.deadline and not child.timed_out:
            child.timed_out = True
            _kill(child)
        return False
    _kill(child)  # what it may have left running
    shutil.rmtree(child.folder, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    how: How = "timeout" if child.timed_out else "signal" if code < 0 else "exit"
    child.channel.answer(Ended(child.id, how, abs(code), time.monotonic() - child.started))
    return True


def _kill(child: _Child) -> None:
    """Kill a child and all that it started. It leads a process group of its own, as soon as it has come so far."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.timed_out:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
