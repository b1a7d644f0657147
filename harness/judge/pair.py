"""One observation that two traces have, judged by all that the traces know of it."""

from __future__ import annotations

from dataclasses import replace

from harness.judge.verdict import judge
from harness.result.judgement import InOnePrecision, Judgement, LessPrecise
from harness.trace import Observation, Trace
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
    judgement = judge(
        target[key],
        reference[key],
        twin_of(target, key),
        twin_of(reference, key),
        group_scale=group_scale,
        target_noise=[run[key] for run in target.noise if key in run],
        reference_noise=[run[key] for run in reference.noise if key in run],
        inherited=inherited,
        leaked=leaked,
        precisions=precisions_of(target, reference),
    )
    ours, theirs = _in_full(target, key), _in_full(reference, key)
    if not is_in_float32_only(judgement) or (ours, theirs) == (target, reference):
        return judgement
    twins = twin_of(target, key), twin_of(reference, key)
    full = judge(ours[key], theirs[key], *twins, group_scale=group_scale, inherited=inherited, leaked=leaked)
    return _only_imprecise(judgement) if full.verdict < Verdict.IMPRECISE else judgement


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
    return trace.twin[key] if trace.twin is not None and key in trace.twin else None


def precisions_of(target: Trace, reference: Trace) -> tuple[str, str]:
    return target.header.precision, reference.header.precision
