"""The warm process: imports its backend once, then forks a child for each request and watches its deadline.

The controller writes one JSON request a line to a channel, and reads one JSON reply a line from it:

```
→ {"id": 7, "kind": "run", "timeout": 300, "output": "…/output.txt", …}     see harness.worker.child
← {"ready": {…what is here…}}                                              once, or {"failed": "why"}
← {"id": 7, "started": 4711}                                               the child's process and its group
← {"id": 7, "ended": "exit" | "signal" | "timeout", "code": 0, "seconds": 1.2}
```

A worker that is started for one controller has its channel as standard input and output. One that is shared listens on
a socket, on which each controller opens a channel. When a channel closes its children are killed; when standard input
does, those whom the worker served are gone, and it ends.

Where a backend cannot be used after a fork, since CUDA has started before it, the child is a fresh process, which
imports the backend once more: `python -m harness.worker --once FOLDER` reads its one request from standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any, NoReturn

#: How often children are looked at, in seconds.
POLL = 0.01


@dataclass(eq=False)
class _Channel:
    """What requests come in on and replies go out to."""

    requests: int
    replies: int
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

    def reply(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # which the next read will tell
            os.write(self.replies, json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        for descriptor in {self.requests, self.replies}:
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
    #: A fresh process is kept, or the module `subprocess` would wait for it in our place.
    fresh: subprocess.Popen[bytes] | None = None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", metavar="FOLDER")  # carry out one request, for which there is that empty folder
    parser.add_argument("--native", action="store_true")  # the backend keeps its own randomness
    parser.add_argument("--listen", type=int)  # the descriptor of the socket that a shared worker listens on
    arguments = parser.parse_args()
    if arguments.once is not None:
        _once(arguments.once, native=arguments.native)
    if arguments.listen is not None and os.fork():
        os._exit(0)  # whoever started it does not wait for it, and need not be the last that it serves
    first = _Channel(os.dup(0), os.dup(1))
    listener = None if arguments.listen is None else socket.socket(fileno=arguments.listen)
    # Whatever a library prints goes to standard error: standard output belongs to the controller.
    os.dup2(2, 1)
    with open(os.devnull) as null:
        os.dup2(null.fileno(), 0)
    try:
        greeting: dict[str, Any] = {"ready": _prepare(native=arguments.native)}
    except Exception as error:
        greeting = {"failed": f"{type(error).__name__}: {error}"}
    if listener is None:
        first.reply(greeting)
    elif "failed" in greeting:
        _greet(listener, greeting)
    if "ready" in greeting:
        _serve(first, listener, greeting, native=arguments.native)


def _once(folder: str, *, native: bool) -> NoReturn:
    """Carry out the request that stands on standard input, and end the process."""
    began = time.monotonic()
    request = json.load(sys.stdin)
    with open(os.devnull) as null:
        os.dup2(null.fileno(), 0)
    _prepare(native=native)
    request["timeout"] -= time.monotonic() - began
    from harness.worker import child

    child.main(request, folder)


def _greet(listener: socket.socket, greeting: dict[str, Any]) -> _Channel:
    """Open the channel that somebody has asked for."""
    descriptor = listener.accept()[0].detach()
    channel = _Channel(descriptor, descriptor)
    channel.reply(greeting)
    return channel


def _prepare(*, native: bool) -> dict[str, Any]:
    """Import the backend and make ready what every child needs. No runtime may start here, and no thread."""
    import pytest  # noqa: F401 - case files import it, for its marks

    from harness import keras_internals, randomness
    from harness.worker import child, proof  # noqa: F401 - what every child needs is imported before it is forked

    keras_internals.do_not_import_tensorflow()
    if not native:
        randomness.install()
    return proof.versions()


def _serve(first: _Channel, listener: socket.socket | None, greeting: dict[str, Any], *, native: bool) -> None:
    channels = [first]
    children: list[_Child] = []
    doors = [] if listener is None else [listener]
    while first in channels:
        sources: list[Any] = [*doors, *(channel.requests for channel in channels)]
        ready, _, _ = select.select(sources, [], [], POLL if children else None)
        channels += [_greet(door, greeting) for door in doors if door in ready]
        for channel in [channel for channel in channels if channel.requests in ready]:
            lines = channel.read()
            if lines is None:
                channels.remove(channel)
                _end([child for child in children if child.channel is channel])
                children = [child for child in children if child.channel is not channel]
                channel.close()
                continue
            for line in lines:
                children.append(_start(json.loads(line), channel, [*doors, *channels], native=native))
        children = [child for child in children if not _has_ended(child)]
    _end(children)


def _end(children: list[_Child]) -> None:
    """Kill children whose controller is gone."""
    for child in children:
        child.timed_out = True  # so that it is killed even before it leads its group
        _kill(child)
        os.waitpid(child.pid, 0)
        shutil.rmtree(child.folder, ignore_errors=True)


def _start(request: dict[str, Any], channel: _Channel, ours: list[Any], *, native: bool) -> _Child:
    """Start a child, in which `ours`, sockets and channels, are closed, and tell the controller that it has started."""
    from harness import backends

    folder = tempfile.mkdtemp(prefix="harness-")
    why_fresh = backends.current().why_not_fork()
    started = time.monotonic()
    fresh = None
    if why_fresh is None:
        pid = _fork(request, folder, channel, ours)
    else:
        fresh = _start_fresh({**request, "fresh_process": why_fresh}, folder, native=native)
        pid = fresh.pid
        channel.reply({"id": request["id"], "started": pid})
    return _Child(request["id"], channel, pid, started, started + request["timeout"], folder, fresh=fresh)


def _fork(request: dict[str, Any], folder: str, channel: _Channel, ours: list[Any]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        # Told by the child itself, before it runs anything: a case may kill the worker before that is told by it.
        channel.reply({"id": request["id"], "started": os.getpid()})
        for item in ours:
            item.close()
        from harness.worker import child

        child.main(request, folder)
    return pid


def _start_fresh(request: dict[str, Any], folder: str, *, native: bool) -> subprocess.Popen[bytes]:
    """Start a process that carries out a request without having been forked."""
    command = [sys.executable, "-P", "-m", "harness.worker", "--once", folder, *(["--native"] if native else [])]
    with tempfile.TemporaryFile() as file, open(request["output"], "wb") as output:
        file.write(json.dumps(request).encode())
        file.seek(0)
        # It leads its group from the start, so that it can be killed while it imports.
        return subprocess.Popen(command, stdin=file, stdout=output, stderr=output, process_group=0)


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
    ended = "timeout" if child.timed_out else "signal" if code < 0 else "exit"
    seconds = time.monotonic() - child.started
    child.channel.reply({"id": child.id, "ended": ended, "code": abs(code), "seconds": seconds})
    return True


def _kill(child: _Child) -> None:
    """Kill a child and all that it started. It leads a process group of its own, as soon as it has come so far."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.timed_out:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
