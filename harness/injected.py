"""The types of what cases and tests are given, for annotations.

This module knows no framework and no NumPy, so that `import harness` is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from harness.case import Fit, Forward
from harness.target import Target

if TYPE_CHECKING:
    import numpy as np


class Record(Protocol):
    """What a case is given as `record`: `def my_case(rng, record: harness.Record): ...`."""

    def __call__(self, name: str, value: Any) -> None:
        """Add an observation.

        Args:
            name: unique in the case.
            value: a tensor, variable, array, number, string, bool, None, or nested lists, tuples and dicts of them.
                Each array and float in a nested value becomes an observation of its own, named by its path.
                Or a `harness.Plot`, whose coordinates are observations.

        Raises:
            CaseError: the name is taken or is no string, or the value cannot be recorded.
        """


class Parity(Protocol):
    """What a test is given as `parity`: `def test_layer(parity: harness.Parity): ...`.

    The test runs on every target, and what it records there is compared with what it records on the reference.
    """

    @property
    def target(self) -> Target:
        """The target that the test runs on now."""

    @property
    def rng(self) -> np.random.Generator:
        """A generator that is seeded from the test's id, and so equal on every target."""

    def record(self, name: str, value: Any) -> None:
        """Add an observation.

        Args:
            name: unique in the test.
            value: a tensor, variable, array, number, string, bool, None, or nested lists, tuples and dicts of them.
                Each array and float in a nested value becomes an observation of its own, named by its path.
                Or a `harness.Plot`, whose coordinates are observations.

        Raises:
            CaseError: the name is taken or is no string, or the value cannot be recorded.
        """

    def run(self, what: Fit | Forward) -> None:
        """Carry out a `Fit` or a `Forward`, and record everything, as for a case that returns it. Once in a test.

        Raises:
            CaseError: it is neither.
        """
