"""The two-precision verdict: is a difference between two targets more than rounding?

No fixed tolerance can answer that. Each target ran the case twice from the same values, in float32 and in float64
(the twin), so the harness measures. With A and B one observation on two targets, and the distance

    dist(X, Y) = max|X - Y| / s,   s = the largest root mean square of A32, B32, A64, B64,

the rounding of float32 as measured is e_A = dist(A32, A64) and e_B = dist(B32, B64); the amplification of rounding
is a = max(e_A, e_B, u32) / u32; and d64 = dist(A64, B64) is what is left between the targets when rounding is nine
orders of magnitude smaller. u32 = 2**-24 and u64 = 2**-53 are the unit roundoffs.

| verdict   | when |
| --------- | ---- |
| identical | A32 and B32 agree bit for bit, and the twins agree to rounding |
| rounding  | d64 <= RESIDUE a u64: the two compute the same function |
| leak      | d64 <= SLACK a u32: one twin drops to single precision somewhere on the way |
| imprecise | d64 is as small as that, but one e is far above the other |
| divergent | d64 is larger: the two compute different functions |
| mismatch  | another shape, dtype or plain value, or NaN or infinity on one side only |

A target may compute in less than float32. Then A32 stands for what it computed in that, and its error is counted in
the roundoff u of that precision: a = max(e_A / u_A, e_B / u_B, 1), so that bfloat16 may be 2**16 times coarser than
float32, and no more. A target that computes in float64 has its float64 run as A64, and as A32 its twin in float32.

An observation that has no twin on both sides is judged by what is there, and `Judgement.basis` says which.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from harness.trace import NUMBER, Array, Observation

U32 = 2.0**-24
U64 = 2.0**-53
#: Unit roundoff of the lower of the two precisions that a target runs in, by the target's own.
ROUNDOFF = {
    "float32": U32,
    "float64": U32,
    "float16": 2.0**-11,
    "mixed_float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "mixed_bfloat16": 2.0**-8,
}

#: d64 up to RESIDUE * a * u64 is rounding. Healthy runs stay near 1 and bugs start near 1e8: see docs/verdicts.md.
RESIDUE = 256.0
#: A difference up to SLACK times the measured float32 error is within it. An error measured on few elements is a
#: small sample of its distribution and may be lucky, so these have more.
SLACK = 8.0
SLACK_FEW = 32.0
FEW = 16
#: One target's float32 error this many times the other's is a sign of lower precision (TF32 is 2**13 times coarser).
COARSER = 512.0
#: The same where a precision below float32 is in it: there no error is larger than about 1, and rounding has less room.
COARSER_LOW = 32.0
#: Without any twin: relative tolerance in units of the dtype's roundoff, for each training step behind it.
BLIND = 256.0
#: and no more than this, however coarse the dtype and long the training.
BLINDEST = 0.1
#: Where noise was measured: a difference up to NOISE times it is within it, and there is never less than QUIET u.
NOISE = 10.0
QUIET = 4.0

#: Kinds of floating dtypes: the extended ones, such as bfloat16, are of kind V.
_REAL = "fV"

Basis = Literal["exact", "twins", "one twin", "noise", "tolerance", "distribution"]


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


@dataclass(frozen=True)
class Judgement:
    """A verdict and its evidence.

    Attributes:
        verdict: what is said.
        basis: what it rests on: `exact` comparison, the `twins` of both targets, `one twin` where only one target
            has float64, measured `noise` where neither has but disturbed runs were made, a `tolerance` from dtype and
            step where none were, or the `distribution` of repeated runs where what is compared is random.
        reason: one sentence for a person.
        d32, d64: distances between the targets in each precision; None where there is none.
        amplification: a, None where it was not measured.
        bound: what the deciding distance was held against.
        index: position of the element that differs most, in the deciding precision.
        explained: the largest distance that rounding explains: d64 above it, or d32 where there are no twins, is
            divergent. None where nothing was measured.
        coarse: of what is imprecise, whether that is the target and not the reference.
    """

    verdict: Verdict
    basis: Basis
    reason: str
    d32: float | None = None
    d64: float | None = None
    amplification: float | None = None
    bound: float | None = None
    index: tuple[int, ...] | None = None
    explained: float | None = None
    coarse: bool | None = None

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


def evidence(
    judgement: Judgement,
    target: Observation,
    reference: Observation,
    target_twin: Observation | None = None,
    reference_twin: Observation | None = None,
    *,
    precisions: tuple[str, str] = ("float32", "float32"),
) -> Evidence | None:
    """What speaks for a judgement of two arrays of real numbers; None of anything else.

    From the float64 runs where the verdict rests on them and the targets' own precisions do not show it, else from the
    runs in these.

    Args:
        precisions: of the target and of the reference.
    """
    if judgement.index is None or not (target.is_array and reference.is_array):
        return None
    a, b = target.array, reference.array
    if a.dtype.kind not in _REAL or b.dtype.kind not in _REAL or a.shape != b.shape:
        return None
    wide = _twin_of(target_twin, a.shape), _twin_of(reference_twin, b.shape)
    bound = judgement.bound or 0.0
    hidden = judgement.d32 is None or judgement.d32 <= bound or judgement.verdict is Verdict.LEAK
    precision = " and ".join(dict.fromkeys(precisions))
    if hidden and wide[0] is not None and wide[1] is not None:
        (a, b), precision = (wide[0], wide[1]), "float64"
    a, b = _widen(a), _widen(b)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(a - b)
        ratio = np.where(difference == 0, 0.0, difference / np.abs(b))
    scale = max(rms(a), rms(b))
    return Evidence(
        ours=float(a[judgement.index]),
        theirs=float(b[judgement.index]),
        precision=precision,
        atol=_finite(difference.max(initial=0.0)),
        rtol=_finite(ratio.max(initial=0.0)),
        spread=_spread(~(difference <= bound * scale)),
    )


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _spread(apart: NDArray[np.bool_]) -> str:
    """Where a mask is set: in one element, in one index of the first or the last axis, or in so many elements."""
    places = np.argwhere(apart)
    if len(places) <= 1 or apart.ndim == 0:
        return "one element" if apart.size > 1 else "the one element there is"
    if len(places) == apart.size:
        return f"all {apart.size} elements"
    for axis, name in ((0, "row"), (apart.ndim - 1, "channel")):
        if apart.ndim > 1 and len(set(places[:, axis])) == 1:
            return f"{name} {places[0, axis]} of {apart.shape[axis]}, {len(places)} elements"
    return f"{len(places)} of {apart.size} elements"


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
        precisions: of the target and of the reference, see `harness.target.PRECISIONS`. Where they are two, floating
            dtypes may be.
    """
    if not (target.is_array and reference.is_array):
        return _judge_plain(target, reference)
    ours, theirs = target.array, reference.array
    if target.dtype != reference.dtype and not (
        precisions[0] != precisions[1] and ours.dtype.kind in _REAL and theirs.dtype.kind in _REAL
    ):
        return _mismatch(f"dtype is {target.dtype}, and {reference.dtype} on the reference")
    if ours.shape != theirs.shape:
        return _mismatch(f"shape is {ours.shape}, and {theirs.shape} on the reference")
    same_bits = target.dtype == reference.dtype and ours.tobytes() == theirs.tobytes()
    if not _is_inexact(ours):
        if same_bits:
            return Judgement(Verdict.IDENTICAL, "exact", "equal")
        return _judge_discrete(ours, theirs)
    one_sided = _one_sided(ours, theirs, "")
    if one_sided:
        return one_sided
    a32, a64 = _low_and_wide(target, target_twin, precisions[0])
    b32, b64 = _low_and_wide(reference, reference_twin, precisions[1])
    if a64 is not None and b64 is not None:
        one_sided = _one_sided(a64, b64, " in float64")
        if one_sided:
            return one_sided
    a64, b64 = _if_finite_with(a32, a64), _if_finite_with(b32, b64)
    if a64 is not None and b64 is not None:
        # What is infinite in float32 on both sides has no float32 error to be held against.
        lost = ~np.isfinite(_widen(a32)) | ~np.isfinite(_widen(b32))
        a64, b64 = (np.where(lost, np.nan, array) for array in (a64, b64))
    disturbed = [item.array for item in noise if item.is_array and item.array.shape == b32.shape]
    return _judge_inexact(a32, b32, a64, b64, reference, same_bits, group_scale, disturbed, precisions)


def rms(array: Array) -> float:
    """Root mean square of the finite elements; 0 of none."""
    wide = _widen(array)
    if wide.size == 1:  # most of a long training: its logs
        size = float(abs(wide.item()))
        return size if np.isfinite(size) else 0.0
    finite = np.abs(wide[np.isfinite(wide)])
    if not finite.size:
        return 0.0
    largest = float(finite.max())
    if largest == 0.0:
        return 0.0
    # Scaled first, for squares of very small or large elements would leave the range of float64.
    return largest * float(np.sqrt(np.mean((finite / largest) ** 2)))


def _judge_plain(target: Observation, reference: Observation) -> Judgement:
    if target.is_array != reference.is_array:
        kinds = ["an array" if item.is_array else "a plain value" for item in (target, reference)]
        return _mismatch(f"it is {kinds[0]}, and {kinds[1]} on the reference")
    if _same_plain(target.value, reference.value):
        return Judgement(Verdict.IDENTICAL, "exact", "equal")
    return _mismatch(_describe_plain(target.value, reference.value))


def _same_plain(mine: Any, theirs: Any) -> bool:
    """Equality in which 1 is not True."""
    if type(mine) is not type(theirs):
        return False
    if isinstance(mine, list):
        return len(mine) == len(theirs) and all(map(_same_plain, mine, theirs))
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(_same_plain(mine[key], theirs[key]) for key in mine)
    return bool(mine == theirs)


def _describe_plain(mine: Any, theirs: Any) -> str:
    if isinstance(mine, list) and isinstance(theirs, list):
        for position, (left, right) in enumerate(zip(mine, theirs, strict=False)):
            if not _same_plain(left, right):
                return f"item {position} is {left!r}, and {right!r} on the reference"
        return f"it has {len(mine)} items, and {len(theirs)} on the reference"
    return f"it is {mine!r}, and {theirs!r} on the reference"


def _judge_discrete(a: Array, b: Array) -> Judgement:
    index = _first_index(a != b)
    count = int(np.count_nonzero(a != b))
    elements = f"{count} of {a.size} elements differ, first " if a.size > 1 else ""
    position = f" at {index}" if index else ""
    return _mismatch(f"{elements}{a[index]!s}{position}, and {b[index]!s} on the reference", index=index)


def _judge_inexact(
    a32: Array,
    b32: Array,
    a64: Array | None,
    b64: Array | None,
    reference: Observation,
    same_bits: bool,
    group_scale: float,
    disturbed: Sequence[Array],
    precisions: tuple[str, str],
) -> Judgement:
    scale = max(rms(array) for array in (a32, b32, a64, b64) if array is not None)
    slack = SLACK_FEW if a32.size < FEW else SLACK
    d32, index32 = _distance(a32, b32, scale)
    if a64 is not None and b64 is not None:
        d64, index64 = _distance(a64, b64, scale)
        u_a, u_b = (ROUNDOFF[precision] for precision in precisions)
        e_a, e_b = _distance(a32, a64, scale)[0], _distance(b32, b64, scale)[0]
        a_a, a_b = max(e_a / u_a, 1.0), max(e_b / u_b, 1.0)
        a = max(a_a, a_b)
        residue = max(RESIDUE * a * U64, RESIDUE * U64 * group_scale / scale if scale else 0.0)
        within = max(slack * a * U32, residue)
        coarser = COARSER if u_a == u_b == U32 else COARSER_LOW
        # Of two precisions, only what runs in the lower one is held against the other: no rounding there is too small.
        ours = u_a > u_b or (u_a == u_b and a_a > a_b)
        coarse, fine = (a_a, a_b) if ours else (a_b, a_a)
        if d64 > within:
            verdict, bound = Verdict.DIVERGENT, within
            reason = f"the float64 runs differ by {d64:.1e}, and rounding of float32 explains {within:.1e}"
        elif coarse > coarser * fine and a32.size >= FEW:
            verdict, bound = Verdict.IMPRECISE, coarser * fine * (u_a if ours else u_b)
            sides = ("this target", _low(precisions[0]), e_a), ("the reference", _low(precisions[1]), e_b)
            (side, precision, error), (_, other, least) = sides if ours else sides[::-1]
            in_other = "" if other == precision else f" in {other}"
            reason = f"{side} has a {precision} error of {error:.1e}, and the other one of {least:.1e}{in_other}"
        elif d64 > residue:
            verdict, bound = Verdict.LEAK, residue
            reason = f"the float64 runs differ by {d64:.1e}: one of them drops to single precision"
        else:
            verdict, bound = Verdict.IDENTICAL if same_bits else Verdict.ROUNDING, residue
            reason = "equal bit for bit" if same_bits else f"the float64 runs agree to {d64:.1e}"
        index = index64 if d64 > residue else index32
        side_at_fault = ours if verdict is Verdict.IMPRECISE else None
        return Judgement(verdict, "twins", reason, d32, d64, a, bound, index, within, side_at_fault)
    if same_bits:
        return Judgement(Verdict.IDENTICAL, "exact", "equal bit for bit, in float32", d32=d32)
    return _judge_without_twins(a32, b32, a64, b64, reference, scale, group_scale, disturbed, precisions)


def _judge_without_twins(
    a32: Array,
    b32: Array,
    a64: Array | None,
    b64: Array | None,
    reference: Observation,
    scale: float,
    group_scale: float,
    disturbed: Sequence[Array],
    precisions: tuple[str, str],
) -> Judgement:
    """By the float32 error of the one side that has a twin or, where neither has, by measured noise or a tolerance."""
    low = max(ROUNDOFF[precision] for precision in precisions)
    u = max(_roundoff(b32, reference.dtype), low if low > U32 else 0.0)
    d32, index = _distance(a32, b32, scale)
    amplification = None
    basis: Basis = "tolerance"
    bound = min(BLIND * u * (1 + reference.step), BLINDEST) * (max(scale, group_scale) / scale if scale else 1.0)
    if disturbed:
        basis = "noise"
        # The runs were disturbed on one side, so the nearer of the two is what they are disturbances of.
        spreads = [min(_distance(array, side, scale)[0] for side in (a32, b32)) for array in disturbed]
        spread = max(max(spreads) if a32.size < FEW else float(np.median(spreads)), QUIET * u)
        amplification, bound = spread / u, NOISE * spread
    for single, wide in ((a32, a64), (b32, b64)):
        if wide is not None:
            basis = "one twin"
            amplification = max(_distance(single, wide, scale)[0], u) / u
            bound = (SLACK_FEW if single.size < FEW else SLACK) * amplification * u
    if d32 <= bound:
        verdict, reason = Verdict.ROUNDING, f"the targets agree to {d32:.1e}"
    else:
        verdict, reason = (
            Verdict.DIVERGENT,
            f"the targets differ by {d32:.1e}, and the bound from {basis} is {bound:.1e}",
        )
    return Judgement(verdict, basis, reason, d32, None, amplification, bound, index, bound)


def _mismatch(reason: str, index: tuple[int, ...] | None = None) -> Judgement:
    return Judgement(Verdict.MISMATCH, "exact", reason, index=index)


def _twin_of(twin: Observation | None, shape: tuple[int, ...]) -> Array | None:
    """The array of a twin that can serve as one: of the same shape, and wider than float32."""
    if twin is None or twin.dtype not in ("float64", "complex128", NUMBER) or twin.array.shape != shape:
        return None
    return twin.array


def _low_and_wide(observation: Observation, twin: Observation | None, precision: str) -> tuple[Array, Array | None]:
    """What a side computed in the lower of its two precisions and, where that is there, in float64."""
    own = observation.array
    if precision != "float64":
        return own, _twin_of(twin, own.shape)
    wide = _twin_of(observation, own.shape)
    if wide is None or twin is None or not twin.is_array or twin.array.shape != own.shape:
        return own, None
    return (twin.array, wide) if _is_inexact(twin.array) else (own, None)


def _low(precision: str) -> str:
    """The lower of the two precisions of a target."""
    return "float32" if precision == "float64" else precision


def _if_finite_with(single: Array, twin: Array | None) -> Array | None:
    """A twin, unless it lost what float32 has: where only it is not finite, it says nothing of rounding."""
    lost = twin is not None and bool((np.isfinite(_widen(single)) & ~np.isfinite(twin)).any())
    return None if lost else twin


def _one_sided(a: Array, b: Array, where: str) -> Judgement | None:
    """NaN, or an infinity of that sign, that stands on one side only."""
    a, b = _widen(a), _widen(b)
    both_nan = np.isnan(a) & np.isnan(b)
    either_special = ~np.isfinite(a) | ~np.isfinite(b)
    differ = either_special & ~both_nan & ~(a == b)
    if not differ.any():
        return None
    index = _first_index(differ)
    position = f" at {index}" if index else ""
    return _mismatch(f"it is {a[index]!s}{position}, and {b[index]!s} on the reference{where}", index=index)


def _distance(a: Array, b: Array, scale: float) -> tuple[float, tuple[int, ...] | None]:
    """`max|a - b| / scale` over the elements that are finite on both sides, and where that is."""
    if scale == 0.0 or not a.size:
        return 0.0, None
    a, b = _widen(a), _widen(b)
    finite = np.isfinite(a) & np.isfinite(b)
    difference = np.abs(np.where(finite, a, 0.0) / scale - np.where(finite, b, 0.0) / scale)
    index = np.unravel_index(int(np.argmax(difference)), difference.shape)
    return float(difference[index]), tuple(int(i) for i in index)


def _first_index(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _is_inexact(array: Array) -> bool:
    return array.dtype.kind in (*_REAL, "c")


def _widen(array: Array) -> Array:
    return np.asarray(array, np.complex128 if array.dtype.kind == "c" else np.float64)


def _roundoff(array: Array, dtype: str | None) -> float:
    """Unit roundoff of what was computed: a Python float was reported by a float32 run."""
    if dtype == NUMBER:
        return U32
    if array.dtype.kind == "c":
        return U32 if array.dtype == np.complex64 else U64
    return float(ml_dtypes.finfo(array.dtype).eps) / 2
