"""One observation that two traces have, judged by all that the traces know of it."""

from __future__ import annotations

from dataclasses import replace

from harness.judge.arrays import same_bits
from harness.judge.verdict import judge, judge_equal
from harness.result.judgement import InOnePrecision, Judgement, LessPrecise
from harness.trace import Elements, Observation, Trace, large_elements, observation
from harness.verdict import Verdict


def judge_key(
    target: Trace, reference: Trace, key: str, group_scale: float = 0.0, inherited: float = 0.0, leaked: float = 0.0
) -> Judgement:
    """Judge an observation that both traces have.

    What differs in float32 only, and not where float32 is computed in all its bits, is imprecise, however large it is:
    TF32 may move a value to the other side of a step, such as that of the gradient of a ReLU.

    Args:
        group_scale, inherited, leaked: see `harness.judge.verdict.judge`.
    """
    equal = _judge_if_equal(target, reference, key, group_scale, leaked)
    if equal is not None:
        return equal
    judgement = judge(
        observation(target, key),
        observation(reference, key),
        twin_of(target, key),
        twin_of(reference, key),
        group_scale=group_scale,
        target_noise=[observation(run, key) for run in target.noise if key in run],
        reference_noise=[observation(run, key) for run in reference.noise if key in run],
        inherited=inherited,
        leaked=leaked,
        precisions=precisions_of(target, reference),
    )
    ours, theirs = _in_full(target, key), _in_full(reference, key)
    if not is_in_float32_only(judgement) or (ours, theirs) == (target, reference):
        return judgement
    twins = twin_of(target, key), twin_of(reference, key)
    sides = observation(ours, key), observation(theirs, key)
    full = judge(*sides, *twins, group_scale=group_scale, inherited=inherited, leaked=leaked)
    return _only_imprecise(judgement) if full.verdict < Verdict.IMPRECISE else judgement


def _judge_if_equal(target: Trace, reference: Trace, key: str, group_scale: float, leaked: float) -> Judgement | None:
    """The judgement of a large observation that is the same bit for bit on both sides; None of any other one."""
    low, precision = _if_equal(target, reference, key), target.header.precision
    if low is None or precision == "float64" or reference.header.precision != precision:
        return None
    twins = [side.twin for side in (target, reference) if side.twin is not None and key in side.twin]
    wide = _if_equal(twins[0], twins[1], key) if len(twins) == 2 else None
    if twins and (wide is None or wide.shape != low.shape or wide.dtype.name not in ("float64", "complex128")):
        return None
    return judge_equal(low, wide, precision, group_scale, leaked)


def _if_equal(target: Trace, reference: Trace, key: str) -> Elements | None:
    """The elements of a large array that is the same bit for bit on both sides; None of any other one."""
    ours, theirs = large_elements(target, key), large_elements(reference, key)
    if ours is None or theirs is None or (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        return None
    return ours if ours == theirs or same_bits(ours, theirs) else None


def is_in_float32_only(judgement: Judgement) -> bool:
    """Whether the two sides agree in float64, and are further apart in float32 than lower precision explains."""
    return isinstance(judgement.cause, InOnePrecision) and judgement.cause.precision == "float32"


def _in_full(trace: Trace, key: str) -> Trace:
    """The trace of the run with float32 in all its bits, if there is one that has the observation; else the trace."""
    return trace.full if trace.full is not None and key in trace.full else trace


def _only_imprecise(judgement: Judgement) -> Judgement:
    cause = judgement.cause
    assert isinstance(cause, InOnePrecision)
    less = LessPrecise(cause.on_target, "float32", cause.error, "float32", cause.other_error)
    return replace(judgement, verdict=Verdict.IMPRECISE, cause=less)


def twin_of(trace: Trace, key: str) -> Observation | None:
    """The observation in the trace's twin, if it is there."""
    return observation(trace.twin, key) if trace.twin is not None and key in trace.twin else None


def precisions_of(target: Trace, reference: Trace) -> tuple[str, str]:
    return target.header.precision, reference.header.precision
