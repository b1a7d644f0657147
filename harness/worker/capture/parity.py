"""What a test gets that asks for the fixture `parity`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from harness.case import Fit, Forward
from harness.errors import CaseError
from harness.target import Target
from harness.worker.capture.forward import record_forward
from harness.worker.capture.record import Recorder
from harness.worker.capture.training import record_fit


class Parity:
    """Records what a test names, to be compared with what the same test records on the reference.

    Attributes:
        target: the target that the test runs on now.
    """

    def __init__(self, recorder: Recorder, target: Target, seed: int, folder: Path) -> None:
        self.target = target
        self._recorder = recorder
        self._seed = seed
        self._folder = folder

    @functools.cached_property
    def rng(self) -> np.random.Generator:
        """A generator that is seeded from the test's id, and so equal on every target."""
        return np.random.default_rng(self._seed)

    def record(self, name: str, value: Any) -> None:
        """Add an observation.

        Args:
            name: unique in the test.
            value: a tensor, variable, array, number, string, bool, None, or nested lists, tuples and dicts of them.

        Raises:
            CaseError: the name is taken, or the value cannot be recorded.
        """
        self._recorder.record(name, value)

    def run(self, what: Fit | Forward) -> None:
        """Carry out a `Fit` or a `Forward`, and record everything, as for a case that returns it. Once in a test.

        Raises:
            CaseError: it is neither.
        """
        if isinstance(what, Fit):
            record_fit(what, self._recorder, self._folder)
        elif isinstance(what, Forward):
            record_forward(what, self._recorder)
        else:
            raise CaseError(f"parity.run takes a Fit or a Forward, and was given {type(what).__name__}.")
