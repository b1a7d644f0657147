"""Votes: which of several targets stands alone with an observation, and whether all of them agree in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.case import matches
from harness.judge.pair import judge_key
from harness.result.judgement import LessPrecise
from harness.trace import Trace
from harness.verdict import Verdict


def standing_alone(traces: Mapping[str, Trace], key: str, at_least: Verdict) -> str | None:
    """The target that differs from all others in an observation, while these agree with one another.

    Args:
        traces: by target. Of fewer than three, none stands alone. A target that cannot have the observation has no
            voice. One that is more precise than the others does not stand alone with their imprecision.
        at_least: the mildest verdict that counts as a difference.
    """
    traces = {name: trace for name, trace in traces.items() if key in trace or not _cannot_have(trace, key)}
    holders = [name for name, trace in traces.items() if key in trace]
    missing = [name for name in traces if name not in holders]
    if len(traces) < 3 or 1 < len(missing) < len(traces) - 1:
        return None
    if len(missing) == len(traces) - 1:
        return holders[0]
    judged = {(a, b): judge_key(traces[a], traces[b], key) for a in holders for b in holders if a != b}
    apart = {a: {b for b in holders if a != b and judged[a, b].verdict >= at_least} for a in holders}
    if missing:
        return None if any(apart.values()) else missing[0]
    alone = [name for name in holders if len(apart[name]) == len(holders) - 1]
    others_agree = all(apart[name] <= set(alone) for name in holders if name not in alone)
    if len(alone) != 1 or not others_agree:
        return None
    causes = [judged[alone[0], other].cause for other in apart[alone[0]]]
    is_finer = any(isinstance(cause, LessPrecise) and not cause.on_target for cause in causes)
    return None if is_finer else alone[0]


def agree(traces: Sequence[Trace], key: str) -> bool:
    """Whether all traces that can have an observation have it and compute one function, or none of them has it."""
    traces = [trace for trace in traces if key in trace or not _cannot_have(trace, key)]
    holders = [trace for trace in traces if key in trace]
    if len(holders) < len(traces):
        return not holders
    return all(judge_key(trace, traces[0], key).verdict < Verdict.DIVERGENT for trace in traces[1:])


def _cannot_have(trace: Trace, key: str) -> bool:
    """Whether a trace lacks an observation because of what its target is."""
    return trace.header.inference_only or any(matches(lack.where, key) for lack in trace.header.lacks)
