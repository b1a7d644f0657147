"""Warm workers that several processes share: each of them connects to a worker, and the first that wants one starts it.

All of it happens in one folder, with Unix sockets:

```
host                 the socket of the process that the workers must not outlive; nobody is ever answered there
5d41402a, ...        the socket on which a worker listens, by a digest of its name: a socket's path is short
5d41402a.lock, ...   held while a worker is looked for or started
```
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

#: Connections that may wait: more than there are processes that share a worker.
BACKLOG = 128
_HOST = "host"


class Host:
    """The process that shared workers belong to: they end when it does, or when it closes this.

    Attributes:
        folder: what other processes need to know of it. Its path is short, for that of a socket is limited.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="harness-"))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.folder / _HOST))
        self._socket.listen(BACKLOG)

    def close(self) -> None:
        """Let the workers end."""
        self._socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def join(folder: Path, name: str, start: Callable[[socket.socket, socket.socket], None]) -> socket.socket:
    """Connect to the worker of that name, and start it where there is none.

    Args:
        folder: of the `Host`.
        start: called with what becomes the worker's standard input, which closes when the host is gone, and with the
            socket on which it is to listen. It returns when the worker has left for a life of its own.
    """
    path = folder / hashlib.sha256(name.encode()).hexdigest()[:8]
    with FileLock(f"{path}.lock"):
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return _connect(path)
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener, _connect(folder / _HOST) as life:
            listener.bind(str(path))
            listener.listen(BACKLOG)
            start(life, listener)
        return _connect(path)


def _connect(path: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    try:
        channel.connect(str(path))
    except OSError:
        channel.close()
        raise
    return channel
