"""Workers that several processes share. The first process that needs a worker starts it, and the others connect to it.

They find each other by Unix sockets in one folder:

```
host                 the socket of the process that the workers must not outlive; they connect to it and see it close
5d41402a, ...        the socket on which a worker listens; a digest of its name, because a socket's path must be short
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

from harness.temporary import Shared

#: The most connections that wait to be accepted: more than there are processes that share a worker.
BACKLOG = 128
_HOST = "host"


class Host:
    """Owned by the process that shared workers belong to: they end when that process ends, or closes this.

    Attributes:
        folder: what other processes pass to `join`. Its path is short, because the path of a socket is limited.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="harness-"))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.folder / _HOST))
        self._socket.listen(BACKLOG)
        self._held = Shared(self.folder)

    def close(self) -> None:
        """Close the socket, which ends the workers, and remove the folder. If this is never called, they remove it."""
        self._socket.close()
        self._held.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def join(folder: Path, name: str, start: Callable[[socket.socket, socket.socket], None]) -> socket.socket:
    """Connect to the worker of that name, and start it if it does not run yet.

    Args:
        folder: of the `Host`.
        start: called to start the worker, with a socket for its standard input, which closes when the host ends, and
            with the socket on which the worker is to listen. It returns without waiting for the worker to end.
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
