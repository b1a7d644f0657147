"""What a child prints, on its way to a file. Of very much only the beginning and the end are kept."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: The most bytes that are kept of the beginning, and as many of the end.
MOST = 1 << 20
#: The most bytes that are read at once.
_PIECE = 1 << 16


class Output:
    """A pipe that a child prints to, and the file that the worker writes from it.

    The beginning is written as it comes, so that it is there whatever becomes of the worker.

    Attributes:
        source: the end of the pipe that is read from.
        sink: the end that the child prints to.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            self._file = os.open(path, flags, 0o644)
        except OSError:  # the child will say what is wrong with the folder, which its trace is written to as well
            self._file = os.open(os.devnull, flags)
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)
        self._room = MOST
        self._end = bytearray()
        self._left_out = 0

    def begun(self) -> None:
        """Close the end that the child prints to, which the child has by now."""
        os.close(self.sink)

    def read(self) -> bool:
        """Take what was printed. False if there is nothing more, for now or for ever."""
        try:
            data = os.read(self.source, _PIECE)
        except BlockingIOError:
            return False
        beginning, rest = data[: self._room], data[self._room :]
        self._room -= len(beginning)
        self._write(beginning)
        self._end += rest
        if len(self._end) > 2 * MOST:
            self._keep_the_end()
        return bool(data)

    def finish(self) -> None:
        """Write the rest. No more is waited for than a full pipe holds, because what still prints could go on."""
        for _ in range(MOST // _PIECE):
            if not self.read():
                break
        self._keep_the_end()
        if self._left_out:
            self._write(f"\n[{self._left_out} bytes of output were left out here by the harness]\n".encode())
        self._write(bytes(self._end))
        self.close()

    def close(self) -> None:
        os.close(self._file)
        os.close(self.source)

    def _keep_the_end(self) -> None:
        too_many = max(0, len(self._end) - MOST)
        del self._end[:too_many]
        self._left_out += too_many

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk ends no worker
            while data:
                data = data[os.write(self._file, data) :]
