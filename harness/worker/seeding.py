"""Seeds for what a test of a suite draws without one, so that it draws the same on every target."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class Seeds:
    """Seeds of one test after another."""

    def __init__(self) -> None:
        self._seed = self._given = 0

    def restart(self, seed: int) -> None:
        """Begin anew, for a test of that seed."""
        self._seed, self._given = seed, 0

    def seeded(self, default_rng: Callable[..., Any]) -> Callable[..., Any]:
        """`numpy.random.default_rng` that seeds a generator which is given no seed: each one differently."""

        @functools.wraps(default_rng)
        def seeded(seed: Any = None) -> Any:
            if seed is None:
                self._given += 1
                seed = [self._seed, self._given]
            return default_rng(seed)

        return seeded


def derandomize_hypothesis(files: Iterable[Path]) -> None:
    """Let hypothesis choose its examples by the test alone, without what it chose before, if a file mentions it.

    Settings that a test makes of its own take the rest from here, so this comes before the file is imported.
    """
    if "hypothesis" in sys.modules or any(b"hypothesis" in file.read_bytes() for file in files if file.is_file()):
        from hypothesis import settings

        settings.register_profile("harness", settings.default, derandomize=True, database=None)
        settings.load_profile("harness")
