"""The two-precision verdict: is a difference between two targets more than rounding?

No fixed tolerance can answer that. Each target ran the case twice from the same values, in float32 and in float64
(the twin), so the harness measures. With A and B one observation on two targets, and the distance

    dist(X, Y) = max|X - Y| / s,   s = the largest root mean square of A32, B32, A64, B64,

the rounding of float32 as measured is e_A = dist(A32, A64) and e_B = dist(B32, B64); the amplification of rounding
is a = max(e_A, e_B, u32) / u32; and d64 = dist(A64, B64) is what is left between the targets when rounding is nine
orders of magnitude smaller. u32 = 2**-24 and u64 = 2**-53 are the unit roundoffs.

No side vouches for itself. What one side's own error claims has to be borne out: by the other side's error, which is
at least a 512th of it, or by runs that were disturbed in the last bit, in which the value moves as much. A claim that
is not borne out counts as nothing: a is then that of the other side.

The first of these that applies is the verdict:

| verdict   | when |
| --------- | ---- |
| mismatch  | another shape, dtype or plain value, or NaN or infinity on one side only |
| divergent | d64 > SLACK a u32: the two compute different functions |
| divergent | one e is not borne out, and more than lower precision explains: they differ in float32 only |
| imprecise | one e is COARSER times the other: the same function, far less precise on one side |
| leak      | d64 > RESIDUE a u64: one twin drops to single precision somewhere on the way |
| identical | A32 and B32 agree bit for bit |
| rounding  | anything else: the two compute the same function |

A target may compute in less than float32. Then A32 stands for what it computed in that, and its error is counted in
the roundoff u of that precision: a = max(e_A / u_A, e_B / u_B, 1), so that bfloat16 may be 2**16 times coarser than
float32, and no more. A target that computes in float64 has its float64 run as A64, and as A32 its twin in float32.

Numbers below the smallest normal one of their dtype are as good as 0, which some backends make of them.

A float64 run that equals the float32 run bit for bit has measured nothing: either everything is exact, or the layer
computes in float32 whatever it is asked for. If that is so on both sides, or a twin is missing on either side, the
verdict rests on whatever is there, and `Judgement.basis` says on what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from harness.judge.arrays import (
    INEXACT,
    REAL,
    distance,
    first_index,
    has_pattern,
    pieces,
    rms,
    same_bits,
    twin_array,
    widen,
)
from harness.result.judgement import Basis, Cause, InOnePrecision, Judgement, LessPrecise, OneSided, Unequal, Unlike
from harness.trace import NUMBER, Array, Elements, Observation
from harness.trace.parts import NO_GRADIENT
from harness.verdict import Verdict

U32 = 2.0**-24
U64 = 2.0**-53
#: Unit roundoff of the lower of the two precisions that a target runs in.
ROUNDOFF = {
    "float32": U32,
    "float16": 2.0**-11,
    "mixed_float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "mixed_bfloat16": 2.0**-8,
}

#: d64 up to RESIDUE * a * u64 is rounding. Healthy runs stay near 1 and bugs start near 1e8: see docs/verdicts.md.
RESIDUE = 256.0
#: A difference up to SLACK times the measured float32 error is within it.
SLACK = 8.0
#: The same for arrays of fewer than FEW elements: an error that was measured on few of them may be small by luck.
SLACK_FEW = 32.0
FEW = 16
#: One target's float32 error this many times the other's is a sign of lower precision (TF32 is 2**13 times coarser).
COARSER = 512.0
#: The same where a target runs in less than float32: there no error is larger than about 1, and rounding has less room.
COARSER_LOW = 32.0
#: The largest error that low precision explains is so many times its roundoff times the other side's amplification.
#: What TF32 makes on a GPU is at most 1.3 times, see docs/verdicts.md.
SLACK_LOW = 4.0
#: Roundoff of the lowest precision that a float32 computation may drop to, and is then imprecise: bfloat16.
LOWEST = 2.0**-8
#: The same for errors with a pattern, which rounding has only where operands repeat themselves: TF32.
LOWEST_OF_PATTERN = 2.0**-11
#: Without any twin: relative tolerance in units of the dtype's roundoff, for each training step behind it.
BLIND = 256.0
#: The largest tolerance without any twin, however coarse the dtype and long the training.
BLINDEST = 0.1
#: Where noise was measured: a difference up to NOISE times the noise is within it.
NOISE = 10.0
#: The least noise that is reckoned with, in units of the roundoff.
QUIET = 4.0
#: Phases in which a value may be zero but for rounding, and small beside its neighbours for that reason.
_OF_GRADIENTS = ("gradient", "update", "optimizer")


def judge(
    target: Observation,
    reference: Observation,
    target_twin: Observation | None = None,
    reference_twin: Observation | None = None,
    *,
    group_scale: float = 0.0,
    target_noise: Sequence[Observation] = (),
    reference_noise: Sequence[Observation] = (),
    inherited: float = 0.0,
    leaked: float = 0.0,
    precisions: tuple[str, str] = ("float32", "float32"),
) -> Judgement:
    """Judge one observation on a target against the same on the reference.

    Args:
        target, reference: the observation in the precision of either side.
        target_twin, reference_twin: the same in float64 (of a target in float64, in float32), or None where there is
            none.
        group_scale: largest root mean square among the reference's observations of the same phase and step. A value
            that is zero but for rounding (a bias before batch normalisation has no gradient) carries rounding of that
            size, not of its own.
        target_noise, reference_noise: the same observation of runs of either side that were disturbed in the last bit.
            They tell how much the value amplifies rounding where the twins do not.
        inherited: the largest distance that was rounding in what the value is made of. It is used where a twin is
            missing: what is made of values that differ by rounding differs by about as much.
        leaked: the largest distance that was rounding of float32 in float64 runs, in what the value is made of: behind
            a part that computes in float32 whatever it is asked for, float64 runs differ by about as much.
        precisions: of the target and of the reference, see `harness.target.PRECISIONS`. If they are not equal, the
            floating dtypes of the two sides need not be equal either.
    """
    if not (target.is_array and reference.is_array):
        return _judge_plain(target, reference)
    ours, theirs = target.array, reference.array
    explains_dtypes = precisions[0] != precisions[1] and ours.dtype.kind in REAL and theirs.dtype.kind in REAL
    if target.dtype != reference.dtype and not explains_dtypes:
        is_equal = ours.shape == theirs.shape and bool(np.array_equal(ours, theirs))
        return _mismatch(Unlike("dtype", str(target.dtype), str(reference.dtype), is_all=is_equal))
    if ours.shape != theirs.shape:
        return _mismatch(Unlike("shape", str(ours.shape), str(theirs.shape)))
    is_same = target.dtype == reference.dtype and same_bits(ours, theirs)
    if ours.dtype.kind not in INEXACT:
        return Judgement(Verdict.IDENTICAL, "exact") if is_same else _judge_discrete(ours, theirs)
    is_zero = None if is_same else _is_as_good_as_zero(target, reference)
    if is_zero is not None:
        target, reference = _with_zeros(target, is_zero), _with_zeros(reference, is_zero)
        target_twin, reference_twin = (
            None if twin is None or not twin.is_array or twin.array.shape != ours.shape else _with_zeros(twin, is_zero)
            for twin in (target_twin, reference_twin)
        )
        ours, theirs = target.array, reference.array
        is_same = target.dtype == reference.dtype and same_bits(ours, theirs)
    one_sided = _one_sided(ours, theirs)
    if one_sided:
        return one_sided
    a32, a64 = _low_and_wide(target, target_twin, precisions[0])
    b32, b64 = _low_and_wide(reference, reference_twin, precisions[1])
    if a64 is not None and b64 is not None:
        one_sided = _one_sided(a64, b64, in_float64=True)
        if one_sided:
            return one_sided
    a64, b64 = _if_finite_with(a32, a64), _if_finite_with(b32, b64)
    mine = _Values(a32, a64, _arrays(target_noise, ours.shape))
    its = _Values(b32, b64, _arrays(reference_noise, ours.shape))
    judged = [
        _judge_floats(
            (mine.only(kept), its.only(kept)),
            precisions,
            group_scale,
            inherited,
            leaked,
            reference,
            is_same=is_same,
        )
        for kept in _populations((mine, its))
    ]
    return replace(max(judged, key=lambda judgement: judgement.verdict), is_flushed=is_zero is not None)


def judge_equal(
    low: Elements, wide: Elements | None, precision: str, group_scale: float = 0.0, leaked: float = 0.0
) -> Judgement | None:
    """Judge a large observation, and its float64 runs, that are equal bit for bit on both sides.

    Returns:
        What `judge` returns, without either side having been read as a whole; None where elements are judged apart.

    Args:
        low, wide: as either side has them.
        precision: of both sides, less than float64.
    """
    if low.dtype.kind not in INEXACT:
        return Judgement(Verdict.IDENTICAL, "exact")
    both = [item for item in (low, wide) if item is not None]
    if any(map(_has_specials, both)) or (_has_beside_large(low, None) and _is_split(both)):
        return None
    scale = max(map(rms, both))
    side = _Side(low, wide, precision, scale)
    if wide is None:
        return Judgement(Verdict.IDENTICAL, "exact", d32=0.0)
    return _judge_twins(_Pair(side, side, scale, group_scale, leaked, is_same=True))


@dataclass(frozen=True)
class _Values:
    """What one side computed: in the lower of its two precisions, in float64 if it has that, and when disturbed."""

    low: Array
    wide: Array | None
    disturbed: Sequence[Array]

    def only(self, kept: NDArray[np.bool_] | None) -> _Values:
        """The values with NaN for all elements that are not kept; all of them for None."""
        if kept is None:
            return self
        low, wide, *disturbed = (
            None if array is None else np.where(kept, widen(array), np.nan)
            for array in (self.low, self.wide, *self.disturbed)
        )
        assert low is not None
        return _Values(low, wide, [array for array in disturbed if array is not None])


def _populations(sides: tuple[_Values, _Values]) -> list[NDArray[np.bool_] | None]:
    """The elements that are judged together, as masks; None for all of them.

    - What is infinite in the lower precision on both sides, or at the limit of its dtype in either precision, is left
      out: it has no error that it could be held against.
    - Elements such as the -1e9 of a mask are judged by themselves: beside them, everything else would be as good as 0.
      They are all of about one size, and all the rest is smaller than their last bit.
    """
    arrays = [array for side in sides for array in (side.low, side.wide) if array is not None]
    usable = None
    if any(_has_specials(array) for array in arrays):
        usable = np.logical_and.reduce([~_is_special(array) for array in arrays])
    if not _has_beside_large(sides[1].low, usable) or not _is_split(arrays, usable):
        return [usable]
    of_elements = np.max([np.abs(widen(array)) for array in arrays], axis=0)
    usable = np.ones(of_elements.shape, np.bool_) if usable is None else usable
    is_large = of_elements >= of_elements.max(initial=0.0, where=usable) / 16
    return [usable & ~is_large, usable & is_large]


def _is_split(arrays: Sequence[Array | Elements], usable: NDArray[np.bool_] | None = None) -> bool:
    """Whether no element is between the last bit of the largest one and the size of that."""

    def sizes() -> Iterator[Array]:
        for piece in pieces(*arrays, *([] if usable is None else [usable])):
            largest: Array = np.max([np.abs(widen(values)) for values in piece[: len(arrays)]], axis=0)
            yield largest if usable is None else largest[piece[-1]]

    largest = max((size.max(initial=0.0) for size in sizes()), default=0.0)
    return not any(bool(((size >= largest * U32) & (size < largest / 16)).any()) for size in sizes())


def _has_beside_large(array: Array | Elements, usable: NDArray[np.bool_] | None) -> bool:
    """Whether there is something other than 0 that is less than the last bit of the largest element."""

    def sizes() -> Iterator[Array]:
        for piece, *kept in pieces(array, *([] if usable is None else [usable])):
            yield np.abs(piece[kept[0]] if kept else piece)

    last_bit = max((size.max(initial=0) for size in sizes()), default=0) * U32
    return any(bool(np.any((size < last_bit) & (size > 0))) for size in sizes())


def _judge_floats(
    sides: tuple[_Values, _Values],
    precisions: tuple[str, str],
    group_scale: float,
    inherited: float,
    leaked: float,
    reference: Observation,
    *,
    is_same: bool,
) -> Judgement:
    """Judge floating arrays in which nothing is on one side only."""
    scale = max(rms(array) for side in sides for array in (side.low, side.wide) if array is not None)
    ours, theirs = (
        _Side(side.low, side.wide, _lower(precision), scale, side.disturbed)
        for side, precision in zip(sides, precisions, strict=True)
    )
    pair = _Pair(ours, theirs, scale, group_scale, leaked, is_same)
    if ours.wide is not None and theirs.wide is not None and (ours.is_measured or theirs.is_measured or not pair.d64):
        return _judge_twins(pair)
    if is_same:
        return Judgement(Verdict.IDENTICAL, "exact", d32=pair.d32)
    is_single = all(_is_of_float32(side.low) for side in sides)
    return _judge_without_twins(pair, inherited, reference, is_single=is_single)


def _arrays(observations: Sequence[Observation], shape: tuple[int, ...]) -> list[Array]:
    return [item.array for item in observations if item.is_array and item.array.shape == shape]


# Values that must be equal


def _judge_plain(target: Observation, reference: Observation) -> Judgement:
    if target.is_array != reference.is_array:
        return _mismatch(Unlike("kind", _kind(target), _kind(reference)))
    if _same_plain(target.value, reference.value):
        return Judgement(Verdict.IDENTICAL, "exact")
    return _mismatch(_unlike_plain(target.value, reference.value))


def _kind(item: Observation) -> str:
    if item.is_array:
        return "an array"
    return "None (there is no gradient)" if item.value == NO_GRADIENT else "a plain value"


def _same_plain(mine: Any, theirs: Any) -> bool:
    """Equality in which 1 is not True."""
    if type(mine) is not type(theirs):
        return False
    if isinstance(mine, list):
        return len(mine) == len(theirs) and all(map(_same_plain, mine, theirs))
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(_same_plain(mine[key], theirs[key]) for key in mine)
    return bool(mine == theirs)


def _unlike_plain(mine: Any, theirs: Any) -> Unlike:
    if isinstance(mine, list) and isinstance(theirs, list):
        for position, (left, right) in enumerate(zip(mine, theirs, strict=False)):
            if not _same_plain(left, right):
                return Unlike("item", repr(left), repr(right), position)
        return Unlike("length", str(len(mine)), str(len(theirs)))
    if isinstance(mine, dict) and isinstance(theirs, dict):
        names = [name for name in {**theirs, **mine} if not _same_plain(mine.get(name, _NONE), theirs.get(name, _NONE))]
        ours, others = (repr(side[names[0]]) if names[0] in side else "missing" for side in (mine, theirs))
        return Unlike("entry", ours, others, names[0], is_all=len(names) == 1)
    return Unlike("value", repr(mine), repr(theirs))


#: What a dict has in place of an entry that it lacks. It is equal to no plain value.
_NONE = object()


def _judge_discrete(a: Array, b: Array) -> Judgement:
    index = first_index(a != b)
    return _mismatch(Unequal(str(a[index]), str(b[index]), int(np.count_nonzero(a != b)), a.size), index)


def _one_sided(a: Array, b: Array, *, in_float64: bool = False) -> Judgement | None:
    """The judgement of NaN, an infinity or a limit of the dtype that one side alone has; None if there is none."""
    if not (_has_specials(a) or _has_specials(b)):
        return None
    mine, theirs = _kinds(a), _kinds(b)
    differ = ~((mine == theirs) | (np.isnan(mine) & np.isnan(theirs)))
    if not differ.any():
        return None
    finite = np.isfinite(widen(a)) & np.isfinite(widen(b))
    beyond = differ & ~finite
    # What is at the limit of its dtype is finite, and another function, where the other side is not there too.
    index = first_index(beyond if beyond.any() else differ)
    verdict = Verdict.MISMATCH if beyond.any() else Verdict.DIVERGENT
    return Judgement(verdict, "exact", index=index, cause=OneSided(str(a[index]), str(b[index]), in_float64))


def _is_special(array: Array) -> NDArray[np.bool_]:
    """Where an array is NaN or infinite, or at the limit of its dtype, which stands for an infinity."""
    return ~(np.abs(array) < _limit(array))


def _has_specials(array: Array | Elements) -> bool:
    limit = _limit(array)
    return not all(bool((np.abs(piece) < limit).all()) for (piece,) in pieces(array))


def _is_as_good_as_zero(*sides: Observation) -> NDArray[np.bool_] | None:
    """Where numbers are below the smallest normal one of their dtype, on any side; None where there are none.

    Processors may be told to make them 0, and some backends do. Where rounding has them on both sides of that limit,
    they are as small on all sides.
    """
    if not any(_has_tiny(item) for item in sides):
        return None
    sizes = [np.abs(item.array) for item in sides]
    with np.errstate(invalid="ignore"):
        tiny = [(size > 0) & (size < _smallest(item)) for size, item in zip(sizes, sides, strict=True)]
        as_small = [size < 2 * _smallest(item) for size, item in zip(sizes, sides, strict=True)]
    small = np.logical_or.reduce(tiny) & np.logical_and.reduce(as_small)
    return small if small.any() else None


def _has_tiny(item: Observation) -> bool:
    smallest = _smallest(item)
    with np.errstate(invalid="ignore"):
        sizes = (np.abs(piece) for (piece,) in pieces(item.array))
        return any(bool(np.any((size > 0) & (size < smallest))) for size in sizes)


def _smallest(item: Observation) -> float:
    """The smallest normal number of what was computed. A Python float tells of float32."""
    limits = ml_dtypes.finfo(np.float32) if item.dtype == NUMBER else _info(item.array)
    return float(limits.smallest_normal)


def _with_zeros(item: Observation, places: NDArray[np.bool_]) -> Observation:
    return replace(item, value=np.where(places, np.zeros((), item.array.dtype), item.array))


def _kinds(array: Array) -> Array:
    """NaN where an array is NaN, -2 or 2 where it is infinite, -1 or 1 at the limit of its dtype, and 0 elsewhere."""
    with np.errstate(invalid="ignore"):
        return np.where(_is_special(array), np.sign(widen(array)) * (1 + np.isinf(array)), 0.0)


def _limit(array: Array | Elements) -> float:
    """The largest finite number of an array's dtype."""
    return float(_info(array).max)


def _info(array: Array | Elements) -> Any:
    """The limits of an array's dtype; of a complex one, of its parts."""
    return ml_dtypes.finfo(np.zeros((), array.dtype).real.dtype)


def _mismatch(cause: Cause, index: tuple[int, ...] | None = None) -> Judgement:
    return Judgement(Verdict.MISMATCH, "exact", index=index, cause=cause)


# What the two sides are


def _low_and_wide(observation: Observation, twin: Observation | None, precision: str) -> tuple[Array, Array | None]:
    """What a side computed in the lower of its two precisions and, if that is there, in float64."""
    own = observation.array
    if precision != "float64":
        return own, twin_array(twin, own.shape)
    wide = twin_array(observation, own.shape)
    if wide is None or twin is None or not twin.is_array or twin.array.shape != own.shape:
        return own, None
    return (twin.array, wide) if twin.array.dtype.kind in INEXACT else (own, None)


def _lower(precision: str) -> str:
    """The lower of the two precisions of a target."""
    return "float32" if precision == "float64" else precision


def _if_finite_with(single: Array, twin: Array | None) -> Array | None:
    """A twin, unless it lost what float32 has: where only it is special, it says nothing of rounding."""
    if twin is None:
        return None
    lost = any(bool((~_is_special(low) & _is_special(wide)).any()) for low, wide in pieces(single, twin))
    return None if lost else twin


@dataclass(frozen=True)
class _Side:
    """One side's values of an observation.

    Attributes:
        low: in the lower of the two precisions that the side ran in.
        wide: in float64; None if it has no such run, or one that says nothing.
        precision: the lower of the two precisions.
        scale: what distances are relative to.
        disturbed: in runs that were disturbed in the last bit.
    """

    low: Array | Elements
    wide: Array | Elements | None
    precision: str
    scale: float
    disturbed: Sequence[Array] = ()

    @property
    def roundoff(self) -> float:
        return ROUNDOFF[self.precision]

    @cached_property
    def is_measured(self) -> bool:
        """Whether the twin tells what rounding does: not where it equals the run in the lower precision bit for bit."""
        return self.wide is not None and not all(
            np.array_equal(widen(low), widen(wide), equal_nan=True) for low, wide in pieces(self.low, self.wide)
        )

    @cached_property
    def error(self) -> float:
        """What rounding in the lower precision did to the values, as measured: e in the table of this module."""
        assert self.wide is not None
        return distance(self.low, self.wide, self.scale)[0]

    @property
    def amplification(self) -> float:
        return max(self.error / self.roundoff, 1.0)

    @cached_property
    def spread(self) -> float:
        """How far the values moved when the run was disturbed in the last bit; 0 if it was not.

        It is the median of the runs, or the largest for fewer than FEW elements, of which a run may move none.
        """
        moved = [distance(array, self.low, self.scale)[0] for array in self.disturbed]
        return float(max(moved) if self.low.size < FEW else np.median(moved)) if moved else 0.0

    def is_zero_in(self, group_scale: float) -> bool:
        """Whether the values are zero but for rounding among others of that size.

        In float64 they are within rounding of zero. And they are not the same numbers in both precisions, as a small
        value would be that means something.
        """
        assert self.wide is not None
        low, wide = rms(self.low), rms(self.wide)
        is_rounding = wide <= RESIDUE * U64 * group_scale and low <= RESIDUE * self.roundoff * group_scale
        return is_rounding and (wide < low / COARSER or low == 0.0)


@dataclass(frozen=True)
class _Pair:
    """The two sides of an observation, and how far they are apart. The names are those of the table of this module.

    Attributes:
        scale: what distances are relative to.
        group_scale, leaked: see `judge`.
        is_same: true if the two sides are equal bit for bit in their own precisions.
    """

    ours: _Side
    theirs: _Side
    scale: float
    group_scale: float
    leaked: float
    is_same: bool

    @cached_property
    def low(self) -> tuple[float, tuple[int, ...] | None]:
        """The distance in the sides' own precisions, and where it is."""
        return distance(self.ours.low, self.theirs.low, self.scale)

    @cached_property
    def _wide(self) -> tuple[float, tuple[int, ...] | None]:
        assert self.ours.wide is not None
        assert self.theirs.wide is not None
        return distance(self.ours.wide, self.theirs.wide, self.scale)

    @property
    def d32(self) -> float:
        return self.low[0]

    @property
    def d64(self) -> float:
        return self._wide[0]

    @property
    def is_few(self) -> bool:
        return self.ours.low.size < FEW

    @property
    def slack(self) -> float:
        return SLACK_FEW if self.is_few else SLACK

    @property
    def coarse(self) -> _Side:
        """The side that may be less precise than it should be.

        Of two precisions only the lower one can be: in the higher one, no rounding is too small.
        """
        u_a, u_b = self.ours.roundoff, self.theirs.roundoff
        is_ours = u_a > u_b or (u_a == u_b and self.ours.amplification > self.theirs.amplification)
        return self.ours if is_ours else self.theirs

    @property
    def fine(self) -> _Side:
        return self.theirs if self.coarse is self.ours else self.ours

    @property
    def _times(self) -> float:
        return COARSER if self.coarse.roundoff == self.fine.roundoff == U32 else COARSER_LOW

    @cached_property
    def is_coarse(self) -> bool:
        """Whether one side's error is so far above the other's that the other does not bear it out."""
        return self.coarse.amplification > self._times * self.fine.amplification

    @cached_property
    def is_borne_out(self) -> bool:
        """Whether disturbed runs of either side moved as much as the coarse side's error claims."""
        return self.coarse.error <= NOISE * max(self.ours.spread, self.theirs.spread)

    @cached_property
    def amplification(self) -> float:
        """The larger one of the two sides, as far as it is borne out."""
        claimed = max(self.ours.amplification, self.theirs.amplification)
        if self.coarse.roundoff > U32 or not self.is_coarse or self.is_borne_out:
            return claimed
        return max(self.fine.amplification, NOISE * max(self.ours.spread, self.theirs.spread) / U32)

    @property
    def rounding(self) -> float:
        """The largest d64 that rounding in float64 explains."""
        return RESIDUE * self.amplification * U64

    @property
    def explained(self) -> float:
        """The largest d64 that rounding explains if one of the float64 runs drops to single precision."""
        return max(self.slack * max(self.amplification * U32, self.leaked), self.rounding)

    @property
    def _lowest(self) -> float:
        """The largest error of the coarse side that a lower precision explains."""
        assert self.coarse.wide is not None
        is_formula = has_pattern(self.coarse.low, self.coarse.wide)
        return SLACK_LOW * self.fine.amplification * (LOWEST_OF_PATTERN if is_formula else LOWEST)

    def judged(self, verdict: Verdict, bound: float, cause: Cause | None = None) -> Judgement:
        """The judgement that rests on the twins of both sides."""
        index = (self._wide if self.d64 > self.rounding else self.low)[1]
        is_claimed = self.is_coarse and not self.is_borne_out and self.coarse.roundoff == U32
        return Judgement(
            verdict=verdict,
            basis="twins",
            d32=self.d32,
            d64=self.d64,
            amplification=self.amplification,
            bound=bound,
            index=index,
            explained=self.explained,
            claimed=self.coarse.amplification if is_claimed and (self.is_few or verdict is Verdict.DIVERGENT) else None,
            cause=cause,
        )

    def judged_divergent(self) -> Judgement:
        """The judgement where the two sides compute different functions."""
        coarse, fine = self.coarse, self.fine
        is_hidden = self.is_coarse and self.d32 <= self.slack * fine.amplification * fine.roundoff
        cause = InOnePrecision("float64", coarse is self.ours, coarse.error, fine.error) if is_hidden else None
        return self.judged(Verdict.DIVERGENT, self.explained, cause)

    def judged_coarse(self) -> Judgement:
        """The judgement where one side's error is far above the other's."""
        coarse, fine = self.coarse, self.fine
        errors = (coarse.precision, coarse.error, fine.precision, fine.error)
        if coarse.roundoff == U32 and not self.is_borne_out and coarse.error > self._lowest:
            cause = InOnePrecision("float32", coarse is self.ours, coarse.error, fine.error)
            return self.judged(Verdict.DIVERGENT, self._lowest, cause)
        bound = self._times * fine.amplification * coarse.roundoff
        return self.judged(Verdict.IMPRECISE, bound, LessPrecise(coarse is self.ours, *errors))


def _judge_twins(pair: _Pair) -> Judgement:
    """The table of this module, from top to bottom."""
    if pair.ours.is_zero_in(pair.group_scale) and pair.theirs.is_zero_in(pair.group_scale):
        bound = RESIDUE * U64 * pair.group_scale / pair.scale if pair.scale else 0.0
        return pair.judged(Verdict.IDENTICAL if pair.is_same else Verdict.ROUNDING, bound)
    if pair.d64 > pair.explained:
        return pair.judged_divergent()
    # Of few elements an error may be large by luck beside another one, which disturbed runs show.
    if pair.is_coarse and not (pair.is_few and (pair.is_borne_out or pair.coarse.roundoff > U32)):
        return pair.judged_coarse()
    if pair.d64 > pair.rounding:
        return pair.judged(Verdict.LEAK, pair.rounding)
    return pair.judged(Verdict.IDENTICAL if pair.is_same else Verdict.ROUNDING, pair.rounding)


# Where a twin is missing: one rule for each basis


@dataclass(frozen=True)
class _Allowance:
    """How far two sides may be apart where the float64 runs of both cannot tell."""

    basis: Basis
    bound: float
    amplification: float | None = None


def _from_one_twin(pair: _Pair, u: float) -> _Allowance | None:
    """By the float32 error of the one side that has a twin."""
    for side in (pair.ours, pair.theirs):
        if side.is_measured:
            amplification = max(side.error, u) / u
            return _Allowance("one twin", pair.slack * amplification * u, amplification)
    return None


def _from_noise(pair: _Pair, u: float) -> _Allowance | None:
    """By how far disturbed runs of either side moved.

    Where both float64 runs equal the float32 runs bit for bit, a value that jumps when its inputs are disturbed is at a
    step, as the gradient of a maximum of equal numbers is. That is no rounding that would excuse any difference.
    """
    if not pair.ours.disturbed and not pair.theirs.disturbed:
        return None
    spread = max(pair.ours.spread, pair.theirs.spread, QUIET * u)
    is_exact = pair.ours.wide is not None and pair.theirs.wide is not None
    return _Allowance("noise", min(NOISE * spread, BLINDEST) if is_exact else NOISE * spread, spread / u)


def _from_tolerance(pair: _Pair, u: float, reference: Observation) -> _Allowance:
    """By a fixed tolerance of the dtype and the training steps.

    Without a float64 run nothing tells a small value from one that is zero but for rounding. Among gradients, and what
    an optimizer makes of them, the latter are common, so there the tolerance is relative to the largest of the group.
    """
    borrows = reference.phase in _OF_GRADIENTS and pair.scale > 0.0
    group = max(pair.scale, pair.group_scale) / pair.scale if borrows else 1.0
    return _Allowance("tolerance", min(BLIND * u * (1 + reference.step), BLINDEST) * group)


def _judge_without_twins(pair: _Pair, inherited: float, reference: Observation, *, is_single: bool) -> Judgement:
    """By what was measured, the larger where there are two, or else by a tolerance."""
    low = max(pair.ours.roundoff, pair.theirs.roundoff)
    u = max(_roundoff(reference), low if low > U32 else 0.0)
    u = max(u, U32) if is_single else u
    measured = [allowed for allowed in (_from_one_twin(pair, u), _from_noise(pair, u)) if allowed is not None]
    allowances = [*(measured or [_from_tolerance(pair, u, reference)]), _Allowance("inherited", pair.slack * inherited)]
    allowed = max(allowances, key=lambda allowed: allowed.bound)
    return Judgement(
        verdict=Verdict.ROUNDING if pair.d32 <= allowed.bound else Verdict.DIVERGENT,
        basis=allowed.basis,
        d32=pair.d32,
        amplification=allowed.amplification,
        bound=allowed.bound,
        index=pair.low[1],
        explained=allowed.bound,
    )


def _is_of_float32(array: Array) -> bool:
    """Whether float32 holds every value of a float64 array, as of one that is made of the logs of a float32 run."""
    if array.dtype != np.float64:
        return False
    with np.errstate(over="ignore"):
        return all(np.array_equal(piece, piece.astype(np.float32), equal_nan=True) for (piece,) in pieces(array))


def _roundoff(observation: Observation) -> float:
    """Unit roundoff of what was computed. A Python float has that of the float32 run that reported it."""
    if observation.dtype == NUMBER:
        return U32
    if observation.array.dtype.kind == "c":
        return U32 if observation.array.dtype == np.complex64 else U64
    return float(ml_dtypes.finfo(observation.array.dtype).eps) / 2
