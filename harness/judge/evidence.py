"""Evidence: what a difference of two arrays looks like, beside the verdict on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge.arrays import REAL, pieces, rms, twin_array, widen
from harness.result import words
from harness.result.judgement import Evidence, Judgement
from harness.trace import Observation
from harness.verdict import Verdict


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

    The elements are those of the float64 runs if the verdict rests on these and the targets' own precisions do not
    show the difference, and those of the targets' own precisions otherwise.

    Args:
        precisions: of the target and of the reference.
    """
    if judgement.index is None or not (target.is_array and reference.is_array):
        return None
    a, b = target.array, reference.array
    if a.dtype.kind not in REAL or b.dtype.kind not in REAL or a.shape != b.shape:
        return None
    wide = twin_array(target_twin, a.shape), twin_array(reference_twin, b.shape)
    bound = judgement.bound or 0.0
    is_hidden = judgement.d32 is None or judgement.d32 <= bound or judgement.verdict is Verdict.LEAK
    precision = " and ".join(dict.fromkeys(precisions))
    if is_hidden and wide[0] is not None and wide[1] is not None:
        (a, b), precision = (wide[0], wide[1]), "float64"
    most, atol, rtol = bound * max(rms(a), rms(b)), 0.0, 0.0
    apart = [np.zeros(0, np.bool_)]
    with np.errstate(invalid="ignore", divide="ignore"):
        for mine, its in pieces(a, b):
            mine, its = widen(mine), widen(its)
            difference = np.abs(mine - its)
            ratio = np.where(difference == 0, 0.0, difference / np.abs(its))
            # Of NaN the maximum is NaN.
            atol, rtol = np.maximum(atol, difference.max()), np.maximum(rtol, ratio.max())
            apart.append(~(difference <= most))
    is_apart = np.concatenate(apart).reshape(a.shape)
    return Evidence(
        ours=float(widen(a[judgement.index])),
        theirs=float(widen(b[judgement.index])),
        precision=precision,
        atol=_finite(atol),
        rtol=_finite(rtol),
        spread=words.spread(int(np.count_nonzero(is_apart)), is_apart.size, _band(is_apart)),
    )


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _band(mask: NDArray[np.bool_]) -> tuple[str, int, int] | None:
    """The row (of the first axis) or channel (of the last) in which all true elements lie, if there is one."""
    for axis, name in ((0, "row"), (mask.ndim - 1, "channel")) if mask.ndim > 1 else ():
        positions = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if len(positions) == 1:
            return name, int(positions[0]), mask.shape[axis]
    return None
