"""What a comparison of old and new traces of the same targets is between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: What a golden comparison has as its reference: for each target its own old traces.
OLD = "old"


def former(target: str) -> str:
    """What the old run of a target is called in a golden comparison."""
    return f"{target} ({OLD})"


@dataclass(frozen=True)
class Change:
    """Something that the traces of some targets were made with, and that has changed: a version, or a setting.

    Attributes:
        what: such as `keras`, `python`, or `float32_matmul_precision`.
        old, new: as text.
    """

    what: str
    old: str
    new: str
    targets: Sequence[str]


@dataclass(frozen=True)
class Golden:
    """What a comparison of old and new traces of the same targets is between.

    Attributes:
        old, new: the folders, as the caller named them.
        changed: what the traces were made with that changed, in the order of the traces.
        edited: the cases whose file has changed.
    """

    old: str
    new: str
    changed: Sequence[Change]
    edited: Sequence[str]
