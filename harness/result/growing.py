"""A `result.json` that grows with its run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from harness.result.file import write
from harness.result.schema import ResultJson

#: Writing takes no more than this part of a run's time. Of a very large result a few writes are left out.
PART = 0.05


class GrowingResult:
    """Writes a result again and again, each time at once or not at all.

    Args:
        path: of `result.json`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = time.monotonic()
        self._spent = 0.0

    def write(self, make: Callable[[], ResultJson]) -> None:
        """Write what `make` returns, unless writing has taken too much of the run's time by now.

        What cannot be written now is no error: the run goes on, and at its end the result is written once more.
        """
        started = time.monotonic()
        if self._spent > PART * (started - self._began):
            return
        with contextlib.suppress(OSError):
            write(self._path, make())
        self._spent += time.monotonic() - started
