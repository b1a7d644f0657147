"""Verdicts: the words that say how far two targets agree, from best to worst.

They stand below everything else, because users write them too: in `Expected("leak", ...)`, in `pyproject.toml`, and
after `--fail-on`. How a verdict is reached is told in `harness.judge.verdict`.
"""

from __future__ import annotations

import enum
from typing import Literal

#: The names of verdicts, as they stand in `result.json`.
VerdictName = Literal["identical", "rounding", "leak", "imprecise", "divergent", "mismatch"]


class Verdict(enum.IntEnum):
    """What a comparison of two observations says, from best to worst."""

    IDENTICAL = 0
    ROUNDING = 1
    LEAK = 2
    IMPRECISE = 3
    DIVERGENT = 4
    MISMATCH = 5

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Verdict:
        """The verdict of a name. Raises ValueError with the names there are."""
        try:
            return cls[text.upper()]
        except KeyError:
            names = ", ".join(str(verdict) for verdict in cls)
            raise ValueError(f"{text!r} is not a verdict. Verdicts, from best to worst: {names}.") from None
