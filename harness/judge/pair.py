"""One observation that two traces have, judged by all that the traces know of it."""

from __future__ import annotations

from harness.judge.verdict import judge
from harness.result.judgement import Judgement
from harness.trace import Observation, Trace


def judge_key(
    target: Trace, reference: Trace, key: str, group_scale: float = 0.0, inherited: float = 0.0, leaked: float = 0.0
) -> Judgement:
    """Judge an observation that both traces have.

    Args:
        group_scale, inherited, leaked: see `harness.judge.verdict.judge`.
    """
    return judge(
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


def twin_of(trace: Trace, key: str) -> Observation | None:
    """The observation in the trace's twin, if it is there."""
    return trace.twin[key] if trace.twin is not None and key in trace.twin else None


def precisions_of(target: Trace, reference: Trace) -> tuple[str, str]:
    return target.header.precision, reference.header.precision
