"""The warm process: imports its backend once, then forks a child for each request and watches its deadline.

The controller writes one JSON request a line to standard input, and reads one JSON reply a line from standard output:

```
→ {"id": 7, "kind": "run", "timeout": 300, "output": "…/output.txt", …}     see harness.worker.child
← {"ready": {…what is here…}}                                              once, or {"failed": "why"}
← {"id": 7, "started": 4711}                                               the child's process and its group
← {"id": 7, "ended": "exit" | "signal" | "timeout", "code": 0, "seconds": 1.2}
```

When standard input closes, the controller is gone: children are killed and the worker ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

#: The argument of a worker whose backend keeps its own randomness.
NATIVE = "--native"
#: How often children are looked at, in seconds.
POLL = 0.01


@dataclass
class _Child:
    id: int
    pid: int
    started: float
    deadline: float
    folder: str
    timed_out: bool = False


def main() -> None:
    requests, replies = os.dup(0), os.dup(1)
    # Whatever a library prints goes to standard error: standard output belongs to the controller.
    os.dup2(2, 1)
    with open(os.devnull) as null:
        os.dup2(null.fileno(), 0)
    try:
        environment = _prepare()
    except Exception as error:
        _reply(replies, {"failed": f"{type(error).__name__}: {error}"})
        return
    _reply(replies, {"ready": environment})
    _serve(requests, replies)


def _prepare() -> dict[str, Any]:
    """Import the backend and make ready what every child needs. No runtime may start here, and no thread."""
    import pytest  # noqa: F401 - case files import it, for its marks

    from harness import keras_internals, randomness
    from harness.worker import child

    keras_internals.do_not_import_tensorflow()
    if sys.argv[1:] != [NATIVE]:
        randomness.install()
    return child.versions()


def _serve(requests: int, replies: int) -> None:
    children: list[_Child] = []
    pending = b""
    while True:
        ready, _, _ = select.select([requests], [], [], POLL if children else None)
        if ready:
            data = os.read(requests, 1 << 16)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                child = _start(json.loads(line), (requests, replies))
                children.append(child)
                _reply(replies, {"id": child.id, "started": child.pid})
        children = [child for child in children if not _has_ended(child, replies)]
    for child in children:
        child.timed_out = True  # so that it is killed even before it leads its group
        _kill(child)
        os.waitpid(child.pid, 0)
        shutil.rmtree(child.folder, ignore_errors=True)


def _start(request: dict[str, Any], channel: tuple[int, int]) -> _Child:
    folder = tempfile.mkdtemp(prefix="harness-")
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        for descriptor in channel:
            os.close(descriptor)
        from harness.worker import child

        child.main(request, folder)
    now = time.monotonic()
    return _Child(request["id"], pid, now, now + request["timeout"], folder)


def _has_ended(child: _Child, replies: int) -> bool:
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
    _reply(replies, {"id": child.id, "ended": ended, "code": abs(code), "seconds": seconds})
    return True


def _kill(child: _Child) -> None:
    """Kill a child and all that it started. It leads a process group of its own, as soon as it has come so far."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.timed_out:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


def _reply(replies: int, message: dict[str, Any]) -> None:
    os.write(replies, json.dumps(message).encode() + b"\n")
