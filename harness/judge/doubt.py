"""Doubt: which findings need further runs before they count, and which of them do not repeat themselves.

What differs, or is excused by a large error of its own, is run again first: what one target does not repeat says
nothing of two. And where one side's error claims more than the other's bears out, runs that are disturbed in the last
bit tell whether the function amplifies rounding as much. Where a training differs, and not before its first step, a run
in which nothing is compiled tells whether compiling makes the difference. And where one side is far off in float32
only, a run in which nothing lets it compute that in fewer bits tells whether this is all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.judge.pair import is_in_float32_only, judge_key
from harness.judge.verdict import U32
from harness.result.judgement import Judgement, LessPrecise
from harness.result.model import Finding
from harness.trace import AGAIN, EAGER, FULL, NOISE, Trace
from harness.verdict import Verdict

#: A leak is run again if the float32 error behind it is this many roundoffs or more: a smaller one excuses little.
LARGE = 64.0
#: Before there is another target, everything is run again whose own float32 error is this large.
LARGE_ALONE = 2.0**-10
#: Phases of what a training step leaves. What is before them was recorded eagerly, or is data.
OF_STEPS = ("update", "optimizer", "metric", "log", "prediction")
#: What does not repeat itself by this part of a difference may be all of it.
PART = 0.1


def further_runs(target: Trace, reference: Trace, findings: Iterable[Finding]) -> frozenset[str]:
    """The kinds of further runs that some of the findings need and that are not there.

    Returns:
        Of `AGAIN`, `NOISE`, `EAGER` and `FULL` those that are needed: the last only of targets that have a switch on.
    """
    wanted: set[str] = set()
    findings = list(findings)
    for finding in findings:
        if _is_doubtful(finding.judgement):
            wanted.add(AGAIN)
        if _may_be_borne_out(finding.judgement):
            wanted.add(NOISE)
        if is_in_float32_only(finding.judgement):
            wanted.add(FULL)
    sides = (target, reference)
    real = next((finding for finding in findings if finding.judgement.verdict >= Verdict.DIVERGENT), None)
    if real is not None and _is_of_a_compiled_step(real, sides):
        wanted.add(EAGER)
    if all(side.eager is not None for side in sides if _is_compiled(side)):
        wanted.discard(EAGER)
    if any(side.full is not None for side in sides):
        wanted.discard(FULL)
    if all(side.again is not None for side in sides):
        wanted.discard(AGAIN)
    if all(side.noise for side in sides):
        wanted.discard(NOISE)
    return frozenset(wanted)


def _is_of_a_compiled_step(finding: Finding, sides: Sequence[Trace]) -> bool:
    """Whether compiling may have made a training's first difference: no part that runs eagerly shows it before."""
    return finding.phase in OF_STEPS and any(map(_is_compiled, sides))


def _is_compiled(trace: Trace) -> bool:
    """Whether the steps of a training were compiled."""
    model = trace.header.environment.get("model")
    return isinstance(model, dict) and model.get("compiled") is True


def wanted_of_recording(trace: Trace) -> frozenset[str]:
    """The kinds of further runs that a comparison with another target is likely to want of a recording."""
    if trace.header.has_failed or not any(_error(trace, key) > LARGE_ALONE for key in trace.keys):
        return frozenset()
    return frozenset(({AGAIN} if trace.again is None else set()) | (set() if trace.noise else {NOISE}))


def _error(trace: Trace, key: str) -> float:
    """What float32 rounding did to an observation, as its twin measured; 0 where it has none."""
    return (judge_key(trace, trace, key).amplification or 0.0) * U32


def _is_doubtful(judgement: Judgement) -> bool:
    """Whether what was found counts only if it repeats itself."""
    if judgement.basis == "distribution":
        return False
    if judgement.verdict is Verdict.LEAK:
        return (judgement.amplification or 0.0) >= LARGE
    return judgement.verdict >= Verdict.IMPRECISE


def _may_be_borne_out(judgement: Judgement) -> bool:
    """Whether runs that are disturbed in the last bit may make the verdict a milder one."""
    is_unmeasured = judgement.verdict is Verdict.DIVERGENT and judgement.basis in ("one twin", "tolerance")
    return is_unmeasured or judgement.claimed is not None


def not_repeating(target: Trace, reference: Trace, finding: Finding) -> list[str]:
    """The targets whose second run differs from the first as much as the two sides of a finding, or nearly so."""
    if not _is_doubtful(finding.judgement):
        return []
    return [str(side.header.target) for side in (target, reference) if _moves(side, finding)]


def _moves(trace: Trace, finding: Finding) -> bool:
    again, key = trace.again, finding.key
    if again is None or again.header.status != trace.header.status:
        return False
    if key not in trace or key not in again:
        return (key in trace) != (key in again)
    own, size = judge_key(again, trace, key), _size(finding.judgement)
    if own.verdict is Verdict.IDENTICAL:
        return False
    moved = own.d32 if _rests_on_float32(finding.judgement) else own.distance
    return moved is None or size is None or moved >= PART * size


def _size(judgement: Judgement) -> float | None:
    return judgement.d32 if _rests_on_float32(judgement) else judgement.distance


def _rests_on_float32(judgement: Judgement) -> bool:
    return isinstance(judgement.cause, LessPrecise) or is_in_float32_only(judgement)
