"""The two-precision verdict: is a difference between two targets more than rounding?

No fixed tolerance can answer that. Each target ran the case twice from the same values, in float32 and in float64
(the twin), so the harness measures. With A and B one observation on two targets, and the distance

    dist(X, Y) = max|X - Y| / s,   s = the largest root mean square of A32, B32, A64, B64,

the rounding of float32 as measured is e_A = dist(A32, A64) and e_B = dist(B32, B64); the amplification of rounding
is a = max(e_A, e_B, u32) / u32; and d64 = dist(A64, B64) is what is left between the targets when rounding is nine
orders of magnitude smaller. u32 = 2**-24 and u64 = 2**-53 are the unit roundoffs.

The first of these that applies is the verdict:

| verdict   | when |
| --------- | ---- |
| mismatch  | another shape, dtype or plain value, or NaN or infinity on one side only |
| divergent | d64 > SLACK a u32: the two compute different functions |
| imprecise | one e is COARSER times the other: the same function, far less precise on one side |
| leak      | d64 > RESIDUE a u64: one twin drops to single precision somewhere on the way |
| identical | A32 and B32 agree bit for bit |
| rounding  | anything else: the two compute the same function |

A target may compute in less than float32. Then A32 stands for what it computed in that, and its error is counted in
the roundoff u of that precision: a = max(e_A / u_A, e_B / u_B, 1), so that bfloat16 may be 2**16 times coarser than
float32, and no more. A target that computes in float64 has its float64 run as A64, and as A32 its twin in float32.

If a twin is missing on either side, the verdict rests on whatever is there, and `Judgement.basis` says on what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np

from harness.judge.arrays import INEXACT, REAL, distance, first_index, rms, twin_array, widen
from harness.result.judgement import Basis, Cause, Judgement, LessPrecise, OneSided, Unequal, Unlike
from harness.trace import NUMBER, Array, Observation
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
#: Without any twin: relative tolerance in units of the dtype's roundoff, for each training step behind it.
BLIND = 256.0
#: The largest tolerance without any twin, however coarse the dtype and long the training.
BLINDEST = 0.1
#: Where noise was measured: a difference up to NOISE times the noise is within it.
NOISE = 10.0
#: The least noise that is reckoned with, in units of the roundoff.
QUIET = 4.0


def judge(
    target: Observation,
    reference: Observation,
    target_twin: Observation | None = None,
    reference_twin: Observation | None = None,
    *,
    group_scale: float = 0.0,
    noise: Sequence[Observation] = (),
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
        noise: the same observation of runs of one of the two that were disturbed in the last bit. It decides where
            there is no twin.
        precisions: of the target and of the reference, see `harness.target.PRECISIONS`. If they are not equal, the
            floating dtypes of the two sides need not be equal either.
    """
    if not (target.is_array and reference.is_array):
        return _judge_plain(target, reference)
    ours, theirs = target.array, reference.array
    explains_dtypes = precisions[0] != precisions[1] and ours.dtype.kind in REAL and theirs.dtype.kind in REAL
    if target.dtype != reference.dtype and not explains_dtypes:
        return _mismatch(Unlike("dtype", str(target.dtype), str(reference.dtype)))
    if ours.shape != theirs.shape:
        return _mismatch(Unlike("shape", str(ours.shape), str(theirs.shape)))
    same_bits = target.dtype == reference.dtype and ours.tobytes() == theirs.tobytes()
    if ours.dtype.kind not in INEXACT:
        return Judgement(Verdict.IDENTICAL, "exact") if same_bits else _judge_discrete(ours, theirs)
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
    if a64 is not None and b64 is not None:
        # What is infinite in float32 on both sides has no float32 error to be held against.
        lost = ~np.isfinite(widen(a32)) | ~np.isfinite(widen(b32))
        a64, b64 = (np.where(lost, np.nan, array) for array in (a64, b64))
    scale = max(rms(array) for array in (a32, b32, a64, b64) if array is not None)
    pair = _Pair(
        _Side(a32, a64, _lower(precisions[0]), scale),
        _Side(b32, b64, _lower(precisions[1]), scale),
        scale,
        group_scale,
        same_bits,
    )
    if a64 is not None and b64 is not None:
        return _judge_twins(pair)
    if same_bits:
        return Judgement(Verdict.IDENTICAL, "exact", d32=pair.d32)
    disturbed = [item.array for item in noise if item.is_array and item.array.shape == b32.shape]
    return _judge_without_twins(pair, reference, disturbed)


# Values that must be equal


def _judge_plain(target: Observation, reference: Observation) -> Judgement:
    if target.is_array != reference.is_array:
        ours, theirs = ("an array" if item.is_array else "a plain value" for item in (target, reference))
        return _mismatch(Unlike("kind", ours, theirs))
    if _same_plain(target.value, reference.value):
        return Judgement(Verdict.IDENTICAL, "exact")
    return _mismatch(_unlike_plain(target.value, reference.value))


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
    return Unlike("value", repr(mine), repr(theirs))


def _judge_discrete(a: Array, b: Array) -> Judgement:
    index = first_index(a != b)
    return _mismatch(Unequal(str(a[index]), str(b[index]), int(np.count_nonzero(a != b)), a.size), index)


def _one_sided(a: Array, b: Array, *, in_float64: bool = False) -> Judgement | None:
    """The mismatch of NaN, or of an infinity of one sign, that one side alone has; None if there is no such element."""
    a, b = widen(a), widen(b)
    both_nan = np.isnan(a) & np.isnan(b)
    either_special = ~np.isfinite(a) | ~np.isfinite(b)
    differ = either_special & ~both_nan & ~(a == b)
    if not differ.any():
        return None
    index = first_index(differ)
    return _mismatch(OneSided(str(a[index]), str(b[index]), in_float64), index)


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
    """A twin, unless it lost what float32 has: where only it is not finite, it says nothing of rounding."""
    lost = twin is not None and bool((np.isfinite(widen(single)) & ~np.isfinite(twin)).any())
    return None if lost else twin


@dataclass(frozen=True)
class _Side:
    """One side's values of an observation.

    Attributes:
        low: in the lower of the two precisions that the side ran in.
        wide: in float64; None if it has no such run, or one that says nothing.
        precision: the lower of the two precisions.
        scale: what distances are relative to.
    """

    low: Array
    wide: Array | None
    precision: str
    scale: float

    @property
    def roundoff(self) -> float:
        return ROUNDOFF[self.precision]

    @cached_property
    def error(self) -> float:
        """What rounding in the lower precision did to the values, as measured: e in the table of this module."""
        assert self.wide is not None
        return distance(self.low, self.wide, self.scale)[0]

    @property
    def amplification(self) -> float:
        return max(self.error / self.roundoff, 1.0)


@dataclass(frozen=True)
class _Pair:
    """The two sides of an observation, and how far they are apart. The names are those of the table of this module.

    Attributes:
        scale: what distances are relative to.
        group_scale: see `judge`.
        same_bits: true if the two sides are equal bit for bit in their own precisions.
    """

    ours: _Side
    theirs: _Side
    scale: float
    group_scale: float
    same_bits: bool

    @cached_property
    def _low(self) -> tuple[float, tuple[int, ...] | None]:
        return distance(self.ours.low, self.theirs.low, self.scale)

    @cached_property
    def _wide(self) -> tuple[float, tuple[int, ...] | None]:
        assert self.ours.wide is not None
        assert self.theirs.wide is not None
        return distance(self.ours.wide, self.theirs.wide, self.scale)

    @property
    def d32(self) -> float:
        return self._low[0]

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
    def amplification(self) -> float:
        return max(self.ours.amplification, self.theirs.amplification)

    @property
    def rounding(self) -> float:
        """The largest d64 that rounding in float64 explains."""
        of_group = RESIDUE * U64 * self.group_scale / self.scale if self.scale else 0.0
        return max(RESIDUE * self.amplification * U64, of_group)

    @property
    def explained(self) -> float:
        """The largest d64 that rounding explains if one of the float64 runs drops to single precision."""
        return max(self.slack * self.amplification * U32, self.rounding)

    @property
    def ours_is_coarse(self) -> bool:
        """Whether the target is the side that may be less precise than it should be.

        Of two precisions only the lower one can be: in the higher one, no rounding is too small.
        """
        u_a, u_b = self.ours.roundoff, self.theirs.roundoff
        return u_a > u_b or (u_a == u_b and self.ours.amplification > self.theirs.amplification)

    def judged(self, verdict: Verdict, bound: float, cause: Cause | None = None) -> Judgement:
        """The judgement that rests on the twins of both sides."""
        index = (self._wide if self.d64 > self.rounding else self._low)[1]
        return Judgement(verdict, "twins", self.d32, self.d64, self.amplification, bound, index, self.explained, cause)


def _judge_twins(pair: _Pair) -> Judgement:
    """The table of this module, from top to bottom."""
    coarse, fine = (pair.ours, pair.theirs) if pair.ours_is_coarse else (pair.theirs, pair.ours)
    times = COARSER if coarse.roundoff == fine.roundoff == U32 else COARSER_LOW
    if pair.d64 > pair.explained:
        return pair.judged(Verdict.DIVERGENT, pair.explained)
    if coarse.amplification > times * fine.amplification and not pair.is_few:
        cause = LessPrecise(pair.ours_is_coarse, coarse.precision, coarse.error, fine.precision, fine.error)
        return pair.judged(Verdict.IMPRECISE, times * fine.amplification * coarse.roundoff, cause)
    if pair.d64 > pair.rounding:
        return pair.judged(Verdict.LEAK, pair.rounding)
    return pair.judged(Verdict.IDENTICAL if pair.same_bits else Verdict.ROUNDING, pair.rounding)


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
        if side.wide is not None:
            amplification = max(side.error, u) / u
            return _Allowance("one twin", pair.slack * amplification * u, amplification)
    return None


def _from_noise(pair: _Pair, u: float, disturbed: Sequence[Array]) -> _Allowance | None:
    """By how far disturbed runs of one side moved.

    Which side was disturbed is not told, so each run's distance is that to the nearer of the two.
    """
    if not disturbed:
        return None
    lows = pair.ours.low, pair.theirs.low
    spreads = [min(distance(array, low, pair.scale)[0] for low in lows) for array in disturbed]
    spread = max(max(spreads) if pair.is_few else float(np.median(spreads)), QUIET * u)
    return _Allowance("noise", NOISE * spread, spread / u)


def _from_tolerance(pair: _Pair, u: float, step: int) -> _Allowance:
    """By a fixed tolerance of the dtype and the training steps, relative to the largest value of the group."""
    group = max(pair.scale, pair.group_scale) / pair.scale if pair.scale else 1.0
    return _Allowance("tolerance", min(BLIND * u * (1 + step), BLINDEST) * group)


def _judge_without_twins(pair: _Pair, reference: Observation, disturbed: Sequence[Array]) -> Judgement:
    """By the first basis that there is."""
    low = max(pair.ours.roundoff, pair.theirs.roundoff)
    u = max(_roundoff(pair.theirs.low, reference.dtype), low if low > U32 else 0.0)
    allowed = _from_one_twin(pair, u) or _from_noise(pair, u, disturbed) or _from_tolerance(pair, u, reference.step)
    return Judgement(
        verdict=Verdict.ROUNDING if pair.d32 <= allowed.bound else Verdict.DIVERGENT,
        basis=allowed.basis,
        d32=pair.d32,
        amplification=allowed.amplification,
        bound=allowed.bound,
        index=pair._low[1],
        explained=allowed.bound,
    )


def _roundoff(array: Array, dtype: str | None) -> float:
    """Unit roundoff of what was computed. A Python float has that of the float32 run that reported it."""
    if dtype == NUMBER:
        return U32
    if array.dtype.kind == "c":
        return U32 if array.dtype == np.complex64 else U64
    return float(ml_dtypes.finfo(array.dtype).eps) / 2
