"""Where a difference starts: two traces, walked in order of execution."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.case import Expected, matches
from harness.distribution import judge_distribution, varies
from harness.known import Known
from harness.target import backend_of
from harness.trace import Observation, Phase, Trace
from harness.verdict import U32, Evidence, Judgement, Verdict, evidence, judge, rms

#: Relative distance between a float32 run and its twin past which free runs are no longer compared step by step.
PARTED = 1e-3
#: The scale of a loss, which a target in mixed_float16 has beside what others have.
_SCALE = "*loss_scale_optimizer/*"
#: Phases whose observations depend on the steps before them.
_FOLLOWING_TRAINING = ("update", "optimizer", "metric", "log", "event", "prediction")


@dataclass(frozen=True)
class Finding:
    """One observation and what was judged of it. `known` is the declaration that covers it, if one does.

    `evidence` is kept of the finding that stands for a comparison.
    """

    key: str
    name: str
    phase: Phase
    step: int
    layer: str | None
    judgement: Judgement
    known: Expected | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Blame:
    """Whose a difference is, as far as replays could tell.

    Attributes:
        target: the target that stands alone with it; None where only two targets were there to ask, or none is alone.
        layer: the layer in which it is made, or None.
        part: what was replayed and differs: a layer's call such as `model/dense`, or the loss, the optimizer, ....
        op: the operation in it, such as `keras.ops.tanh`, or None.
        phase: the phase in which it is made, as far as that is known: it may be seen in a later one first.
        step: the training step, counted from 0, on whose state and data it was replayed.
        confirmed: whether it showed again on values that were equal on every target.
        text: the same for a person.
        repro: a script that was run and shows it, relative to the run's folder, or None.
        nondeterministic: targets that did not repeat themselves when they ran the case once more: then nothing is
            blamed on a backend.
    """

    target: str | None
    layer: str | None
    part: str | None
    op: str | None
    phase: Phase
    step: int
    confirmed: bool
    text: str
    repro: str | None = None
    nondeterministic: tuple[str, ...] = ()


@dataclass
class Continuation:
    """Steps of a training that were run again, each from the reference's state, because free runs had parted.

    Attributes:
        first, last: the steps, counted from 0.
        comparison: of the state and the logs after each of them.
    """

    first: int
    last: int
    comparison: Comparison


@dataclass
class Comparison:
    """Every observation of a case on one target, held against the reference.

    Attributes:
        target, reference: the two targets, as text.
        verdict: the worst of all observations; None where nothing could be compared.
        unexpected: the worst of the observations that no declaration covers.
        observations: how many were compared.
        not_compared: how many were not, because a run stopped before it reached them, because a target lacks them by
            what it is, because they vary at random and have no distribution to compare, or because free runs had
            parted before and no longer agree.
        counts: observations by verdict, worst last.
        bases: observations by what their verdict rests on.
        first: the first real difference in order of execution that is not declared or, failing that, the first that
            is or, failing that, the first leak or imprecision.
        known: declarations that cover a difference found here.
        fixed: declarations whose difference is gone.
        blame: whose the first difference is, where that was asked.
        parted: the first training step after which float32 rounding alone has moved weights by `PARTED`, so that free
            runs say little from there on; None where they never are.
        continuation: what was found when training went on from there step by step.
    """

    target: str
    reference: str
    verdict: Verdict | None = None
    unexpected: Verdict | None = None
    observations: int = 0
    not_compared: int = 0
    counts: dict[Verdict, int] = field(default_factory=dict)
    bases: dict[str, int] = field(default_factory=dict)
    first: Finding | None = None
    known: list[Expected] = field(default_factory=list)
    fixed: list[Expected] = field(default_factory=list)
    blame: Blame | None = None
    parted: int | None = None
    continuation: Continuation | None = None


def compare(
    target: Trace, reference: Trace, known: Sequence[Known] | None = (), *, shared_only: bool = False
) -> Comparison:
    """Compare a target's trace with the reference's, twins included where both have one.

    Args:
        known: differences that are declared beside those of the case itself; None where no declaration counts, of the
            case neither.
        shared_only: whether what is recorded may depend on the backend, as in a test that was not written to be
            compared.

    An observation that is on one side only is a mismatch, unless the side that lacks it stopped early or `shared_only`
    holds: then it counts as not compared.
    """
    comparison = Comparison(target.header.target, reference.header.target)
    by_side = [[] if known is None else _declared(side, known) for side in (target, reference)]
    if backend_of(target.header.target) == backend_of(reference.header.target):
        # What both have sets their backend apart from others, and not one of them from the other.
        by_side = [
            [item for item in side if item not in other] for side, other in zip(by_side, by_side[::-1], strict=True)
        ]
    declared = [expected for side in by_side for expected in side]
    findings, comparison.parted = all_findings(target, reference, declared, shared_only=shared_only)
    judged = [finding for finding in findings.values() if finding is not None]
    verdicts = Counter(finding.judgement.verdict for finding in judged)
    comparison.observations = len(judged)
    comparison.not_compared = len(findings) - len(judged)
    comparison.counts = dict(sorted(verdicts.items()))
    comparison.bases = dict(Counter(finding.judgement.basis for finding in judged).most_common())
    comparison.verdict = max(verdicts, default=None)
    undeclared = [finding for finding in judged if finding.known is None]
    comparison.unexpected = max((finding.judgement.verdict for finding in undeclared), default=None)
    comparison.first = (
        _first(undeclared, Verdict.DIVERGENT) or _first(judged, Verdict.DIVERGENT) or _first(judged, Verdict.LEAK)
    )
    if comparison.first is not None and comparison.first.key in target and comparison.first.key in reference:
        key, judgement = comparison.first.key, comparison.first.judgement
        twins = _twin(target, key), _twin(reference, key)
        precisions = target.header.precision, reference.header.precision
        shown = evidence(judgement, target[key], reference[key], *twins, precisions=precisions)
        comparison.first = replace(comparison.first, evidence=shown)
    comparison.known = list(dict.fromkeys(finding.known for finding in judged if finding.known is not None))
    # Where both sides declare a difference from the others they may well agree with one another.
    if not all(by_side):
        comparison.fixed = [
            expected
            for side, other, of_side in ((target, reference, by_side[0]), (reference, target, by_side[1]))
            for expected in of_side
            if expected not in comparison.known and _can_be_gone(expected, side, other)
        ]
    return comparison


def all_findings(
    target: Trace, reference: Trace, declared: Sequence[Expected] = (), *, shared_only: bool = False
) -> tuple[dict[str, Finding | None], int | None]:
    """A finding for each observation of either side by key, in order; None for one that could not be compared.

    Returns:
        The findings, and the step after which free runs had parted: see `Comparison`.
    """
    findings = dict(_findings(target, reference, declared, shared_only=shared_only))
    parted = _parted(list(findings.values()), reference)
    if parted is not None:
        findings = {key: None if _is_beyond(finding, parted) else finding for key, finding in findings.items()}
    return findings, parted


def _is_beyond(finding: Finding | None, parted: int) -> bool:
    """Whether a difference lies after free runs have parted, so that it says nothing."""
    return (
        finding is not None
        and finding.step > parted
        and finding.phase in _FOLLOWING_TRAINING
        and finding.judgement.verdict >= Verdict.LEAK
    )


def _parted(findings: Sequence[Finding | None], reference: Trace) -> int | None:
    scales = _group_scales(reference)
    for finding in findings:
        if finding is None:
            continue
        amplification = finding.judgement.amplification
        if finding.phase == "update" and amplification is not None and amplification * U32 > PARTED:
            value = reference[finding.key]
            # One that is zero but for rounding is all rounding, and says nothing of the others.
            if value.is_array and rms(value.array) > scales.get((finding.phase, finding.step), 0.0) / 100:
                return finding.step
    return None


def _declared(side: Trace, known: Sequence[Known]) -> list[Expected]:
    """What is declared of a trace, by its case and beside it, of the Keras that made it."""
    header = side.header
    backend = backend_of(header.target)
    declared = [entry.expected for entry in known if entry.covers(header.case, header.target, backend)]
    declared = [*([header.expected] if header.expected is not None else []), *declared]
    versions = header.environment.get("versions")
    keras = str(versions.get("keras", "")) if isinstance(versions, dict) else ""
    return [expected for expected in declared if expected.holds_with(keras)]


def differences(target: Trace, reference: Trace, at_least: Verdict) -> list[Finding]:
    """What both have and differs so much, in the reference's order, whatever is declared."""
    scales = _group_scales(reference)
    found = []
    for item in reference:
        if item.key in target:
            judgement = _judged(target, reference, item.key, scales.get((item.phase, item.step), 0.0))
            if judgement.verdict >= at_least:
                found.append(_finding(item, judgement, ()))
    return found


def disturbed_by_instruments(trace: Trace) -> list[str]:
    """The keys of observations that are not bit for bit the same in the run without instruments."""
    if trace.unobserved is None:
        return []
    names = {(key.partition("/")[0], trace.name_of(key)): key for key in trace.keys}
    found = []
    for item in trace.unobserved:
        key = names.get((item.phase, item.name))
        if key is not None and judge(trace[key], item).verdict is not Verdict.IDENTICAL:
            found.append(key)
    return found


def standing_alone(traces: Mapping[str, Trace], key: str, at_least: Verdict) -> str | None:
    """The one of three targets or more that differs so much in an observation from all others, while these agree.

    A target that cannot have the observation has no voice. One that is more precise than the others is not alone.
    """
    traces = {name: trace for name, trace in traces.items() if key in trace or not _cannot_have(trace, key)}
    holders = [name for name, trace in traces.items() if key in trace]
    missing = [name for name in traces if name not in holders]
    if len(traces) < 3 or 1 < len(missing) < len(traces) - 1:
        return None
    if len(missing) == len(traces) - 1:
        return holders[0]
    judged = {(a, b): _judged(traces[a], traces[b], key) for a in holders for b in holders if a != b}
    apart = {a: {b for b in holders if a != b and judged[a, b].verdict >= at_least} for a in holders}
    if missing:
        return None if any(apart.values()) else missing[0]
    alone = [name for name in holders if len(apart[name]) == len(holders) - 1]
    others_agree = all(apart[name] <= set(alone) for name in holders if name not in alone)
    if len(alone) != 1 or not others_agree:
        return None
    return None if any(judged[alone[0], other].coarse is False for other in apart[alone[0]]) else alone[0]


def agree(traces: Sequence[Trace], key: str) -> bool:
    """Whether all of the traces that can have an observation have it and compute one function, or none has it."""
    traces = [trace for trace in traces if key in trace or not _cannot_have(trace, key)]
    holders = [trace for trace in traces if key in trace]
    if len(holders) < len(traces):
        return not holders
    return all(_judged(trace, traces[0], key).verdict < Verdict.DIVERGENT for trace in traces[1:])


def _cannot_have(trace: Trace, key: str) -> bool:
    """Whether a trace lacks an observation because of what its target is."""
    return trace.header.inference_only or any(matches(lack.where, key) for lack in trace.header.lacks)


def _first(findings: Sequence[Finding], at_least: Verdict) -> Finding | None:
    return next((finding for finding in findings if finding.judgement.verdict >= at_least), None)


def _can_be_gone(expected: Expected, side: Trace, other: Trace) -> bool:
    """Whether a comparison would have seen the difference that one side declares.

    A leak shows in twins alone, and any in whole runs. What the other side does not have may be where it differs.
    """
    whole = not side.header.has_failed and other.header.status == "ok" and not other.header.lacks
    twins = all(trace.twin is not None and len(trace.twin) for trace in (side, other))
    return whole and (twins or Verdict.parse(expected.verdict) >= Verdict.DIVERGENT)


def _covering(finding: Finding, declared: Sequence[Expected]) -> Expected | None:
    """The declaration that covers a difference: one for its observation, and for a verdict as bad or worse."""
    verdict = finding.judgement.verdict
    if verdict < Verdict.LEAK:
        return None
    return next(
        (
            expected
            for expected in declared
            if verdict <= Verdict.parse(expected.verdict) and matches(expected.where, finding.key)
        ),
        None,
    )


def _findings(
    target: Trace, reference: Trace, declared: Sequence[Expected], *, shared_only: bool
) -> Iterator[tuple[str, Finding | None]]:
    """Each observation of either side, in order, and its finding: None for one that could not be compared."""
    scales = _group_scales(reference)
    drawn = _drawn_at_random(target, reference)
    out_of_order = None if shared_only else _first_out_of_order(target, reference)
    lacks = [lack.where for side in (target, reference) for lack in side.header.lacks]
    if target.header.precision != reference.header.precision:
        lacks.append(_SCALE)
    for key in _merged(target, reference):
        if any(matches(where, key) for where in lacks):
            yield key, None
            continue
        if key not in target or key not in reference:
            side, present = (target, reference[key]) if key not in target else (reference, target[key])
            if side.header.status != "ok" or shared_only:
                yield key, None
                continue
            where = "on this target" if side is target else "on the reference"
            yield key, _finding(present, Judgement(Verdict.MISMATCH, "exact", f"it was not recorded {where}"), declared)
            continue
        theirs = reference[key]
        if key == out_of_order:
            judgement = Judgement(Verdict.MISMATCH, "exact", "it was recorded in another order than on the reference")
        elif key in drawn:
            runs = drawn[key]
            if runs is None:
                yield key, None
                continue
            judgement = judge_distribution(*runs, tests=len(drawn))
        else:
            judgement = _judged(target, reference, key, scales.get((theirs.phase, theirs.step), 0.0))
        yield key, _finding(theirs, judgement, declared)


def _judged(target: Trace, reference: Trace, key: str, group_scale: float = 0.0) -> Judgement:
    twins = _twin(target, key), _twin(reference, key)
    disturbed = reference.noise or target.noise
    noise = [trace[key] for trace in disturbed if key in trace] if None in twins else []
    precisions = target.header.precision, reference.header.precision
    return judge(target[key], reference[key], *twins, group_scale=group_scale, noise=noise, precisions=precisions)


def _finding(observation: Observation, judgement: Judgement, declared: Sequence[Expected]) -> Finding:
    finding = Finding(
        observation.key, observation.name, observation.phase, observation.step, observation.layer, judgement
    )
    return replace(finding, known=_covering(finding, declared))


def _twin(trace: Trace, key: str) -> Observation | None:
    return trace.twin[key] if trace.twin is not None and key in trace.twin else None


def _drawn_at_random(target: Trace, reference: Trace) -> dict[str, tuple[list[Observation], list[Observation]] | None]:
    """Observations that vary from run to run on either side, with all the runs of both.

    None for one whose runs cannot be held against each other: text that varies, or arrays of several shapes.
    """
    drawn: dict[str, tuple[list[Observation], list[Observation]] | None] = {}
    if not target.repeats or not reference.repeats:
        return drawn
    for key in (key for key in target.keys if key in reference):
        ours, theirs = ([trace[key] for trace in (side, *side.repeats) if key in trace] for side in (target, reference))
        if varies(ours) or varies(theirs):
            kinds = [
                {(item.dtype, item.array.shape if item.is_array else None) for item in side} for side in (ours, theirs)
            ]
            if [len(kind) for kind in kinds] == [1, 1] and kinds[0] != kinds[1]:
                continue  # a mismatch, whatever was drawn
            comparable = kinds[0] == kinds[1] and len(kinds[0]) == 1 and len(ours) == len(theirs)
            drawn[key] = (ours, theirs) if comparable and ours[0].is_array and ours[0].array.size else None
    return drawn


@functools.lru_cache(maxsize=1)  # one reference is held against several targets in turn
def _group_scales(reference: Trace) -> dict[tuple[Phase, int], float]:
    """The largest root mean square among the floating arrays of each phase and step."""
    scales: dict[tuple[Phase, int], float] = {}
    for item in reference:
        if item.is_array and item.array.dtype.kind in "fcV":
            group = (item.phase, item.step)
            scales[group] = max(scales.get(group, 0.0), rms(item.array))
    return scales


def _merged(target: Trace, reference: Trace) -> list[str]:
    """The reference's keys in order, each key that only the target has after the one it followed there."""
    following: dict[str | None, list[str]] = {}
    anchor = None
    for key in target.keys:
        if key in reference:
            anchor = key
        else:
            following.setdefault(anchor, []).append(key)
    merged = list(following.get(None, []))
    for key in reference.keys:
        merged += [key, *following.get(key, [])]
    return merged


def _first_out_of_order(target: Trace, reference: Trace) -> str | None:
    mine = [key for key in target.keys if key in reference]
    theirs = [key for key in reference.keys if key in target]
    return next((right for left, right in zip(mine, theirs, strict=True) if left != right), None)
