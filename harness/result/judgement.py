"""What is judged of one observation, as data. `harness.result.words.reason` makes the sentence from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.trace import Phase
from harness.verdict import Verdict

Basis = Literal["exact", "twins", "one twin", "noise", "inherited", "tolerance", "distribution"]


@dataclass(frozen=True)
class Unlike:
    """The two sides cannot be compared number by number, or are plain values that are not equal.

    Attributes:
        what: in what they are unlike: whether they are arrays, their dtype or shape, the length of a list, one item of
            a list, one entry of a dict, or the plain value as a whole.
        ours, theirs: what the target and the reference have, as text.
        item: the position of that item, or the key of that entry.
        is_all: whether everything else is equal: the other items or entries, or the values of arrays of two dtypes.
    """

    what: Literal["kind", "dtype", "shape", "length", "item", "entry", "value"]
    ours: str
    theirs: str
    item: int | str | None = None
    is_all: bool = False


@dataclass(frozen=True)
class Unequal:
    """Integers or booleans that are not equal.

    Attributes:
        ours, theirs: the first of them, at the judgement's `index`, as text.
        count, size: how many elements are not equal, of how many.
    """

    ours: str
    theirs: str
    count: int
    size: int


@dataclass(frozen=True)
class OneSided:
    """NaN, or an infinity, that one side has at the judgement's `index` and the other has not: both values as text."""

    ours: str
    theirs: str
    in_float64: bool


@dataclass(frozen=True)
class Missing:
    """An observation that one side alone has: `on_target` is true if the target is the side that lacks it."""

    on_target: bool


@dataclass(frozen=True)
class Lost:
    """An observation that one side lacks because that part of the case raised an exception there.

    Attributes:
        side: the target that raised, as the reader knows it.
        part, error: what it did, and what it raised, in its own words.
    """

    side: str
    part: str
    error: str


@dataclass(frozen=True)
class Reordered:
    """The target recorded observations in another order than the reference.

    Attributes:
        phase: of the first one that is out of order.
        moved: the names of those in that phase and step that have moved.
    """

    phase: Phase
    moved: tuple[str, ...]


@dataclass(frozen=True)
class LessPrecise:
    """One side's measured rounding error is far above the other's.

    Attributes:
        on_target: true if the target is the less precise side.
        precision, error: of the less precise side.
        other_precision, other_error: of the other side.
    """

    on_target: bool
    precision: str
    error: float
    other_precision: str
    other_error: float


@dataclass(frozen=True)
class InOnePrecision:
    """The two sides agree in one precision and not in the other: one of them is not one function in both.

    Attributes:
        precision: the one in which they do not agree.
        on_target: true if the target is the side whose two precisions are far apart.
        error, other_error: how far the two precisions of that side are apart, and those of the other one.
    """

    precision: Literal["float32", "float64"]
    on_target: bool
    error: float
    other_error: float


@dataclass(frozen=True)
class Drawn:
    """The test of two samples of runs, for the statistic in which they differ most, and its p-value."""

    statistic: str
    runs: int
    p_value: float


Cause = Unlike | Unequal | OneSided | Missing | Lost | Reordered | LessPrecise | InOnePrecision | Drawn


@dataclass(frozen=True)
class Judgement:
    """A verdict, the rule that decided it, and the numbers of that rule.

    `verdict` and `basis` together name the rule.

    Attributes:
        verdict: what is said.
        basis: what it rests on: `exact` comparison, the `twins` of both targets, `one twin` where only one target
            has float64, measured `noise` where disturbed runs were made, rounding that is `inherited` from what came
            before where there are twins of that, a `tolerance` from dtype and step where there is none of these, or
            the `distribution` of repeated runs where what is compared is random.
        d32, d64: distances between the targets in each precision; None where there is none.
        amplification: a, None where it was not measured.
        bound: what the deciding distance was held against.
        index: position of the element that differs most, in the deciding precision.
        explained: the largest distance that rounding explains: d64 above it, or d32 where there are no twins, is
            divergent. None where nothing was measured.
        claimed: the amplification that one side's own error claims and nothing bears out, where the verdict would be a
            milder one if runs that are disturbed in the last bit bore it out; None elsewhere.
        cause: what the verdict rests on beside these numbers; None where they say it all.
        is_flushed: whether the two sides differ in numbers below the smallest normal one of their dtype, or hold such
            numbers beside others that differ. They were compared as 0.
    """

    verdict: Verdict
    basis: Basis
    d32: float | None = None
    d64: float | None = None
    amplification: float | None = None
    bound: float | None = None
    index: tuple[int, ...] | None = None
    explained: float | None = None
    claimed: float | None = None
    cause: Cause | None = None
    is_flushed: bool = False

    @property
    def distance(self) -> float | None:
        """The distance that is held against what rounding explains: in float64 where the twins are there."""
        return self.d32 if self.d64 is None else self.d64


@dataclass(frozen=True)
class Evidence:
    """What a difference of two arrays looks like, for a person.

    Attributes:
        ours, theirs: the element that differs most, on the target and on the reference.
        precision: of the runs that these are from.
        atol, rtol: what `numpy.testing.assert_allclose` would have had to be given to pass, each with the other at 0;
            None where no number would do.
        spread: where it differs by more than the bound: in one element, a row, a channel, or so many.
    """

    ours: float
    theirs: float
    precision: str
    atol: float | None
    rtol: float | None
    spread: str
