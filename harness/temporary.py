"""A folder for temporary files that several processes share. Whoever leaves it last removes it, even after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path


class Shared:
    """The folder, as one of the processes holds it: by a lock on it, which the system drops when the process ends.

    Raises:
        OSError: the folder is not there, or cannot be locked.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Let go of the folder, and remove it if no other process holds it."""
        with contextlib.suppress(BlockingIOError):
            # What fails to become the only holder is no holder any more, so the last one to try succeeds.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let go of the folder and leave it there, as in a forked process whose parent holds it."""
        os.close(self._descriptor)
