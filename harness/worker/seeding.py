"""Seeds for what a case or a test draws from generators that are not Keras', so that it draws the same everywhere."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from harness import backends
from harness.backends import runtime


def seed_frameworks(seed: int) -> None:
    """Seed every framework that is imported here, and each of the others as soon as it is imported.

    A case may use other frameworks than that of its backend, such as TensorFlow for its data.
    """
    for name in backends.NAMES:
        if name in sys.modules:
            runtime.get(name).seed(seed)
    _LATER.seed = seed
    if _LATER not in sys.meta_path:
        sys.meta_path.insert(0, _LATER)


class _Later:
    """A finder of modules that seeds a framework when its import has ended."""

    seed = 0

    def find_spec(self, name: str, path: Any = None, _: Any = None) -> ModuleSpec | None:
        if path is not None or name not in backends.NAMES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                runtime.get(name).seed(self.seed)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_LATER = _Later()


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
