"""Where a difference starts: two traces, walked in order of execution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from weakref import WeakKeyDictionary

from harness.case import Expected, Known, matches
from harness.judge.arrays import INEXACT, rms
from harness.judge.declared import applying, covering, gone
from harness.judge.distribution import judge_distribution, varies
from harness.judge.doubt import further_runs, not_repeating
from harness.judge.evidence import evidence
from harness.judge.pair import judge_key, precisions_of, twin_of
from harness.judge.pairing import paired
from harness.judge.verdict import BLIND, U32
from harness.result.judgement import Judgement, Lost, Missing, Reordered
from harness.result.model import Comparison, Differing, Finding, Recorded, Unrepeated
from harness.trace import (
    ArrayEntry,
    Entry,
    Key,
    Observation,
    Phase,
    PlainEntry,
    Trace,
    large_elements,
    numpy_dtype,
    observation,
)
from harness.trace.key import AS_PROMISED, DATA, GENERATOR, below, layer_path
from harness.verdict import Verdict

#: Relative distance between a float32 run and its twin past which free runs are no longer compared step by step.
PARTED = 1e-3
#: The most that rounding may have moved a value for what is made of it to be excused by that.
INHERITED = BLIND * U32
#: What a verdict rests on where float64 runs are float32 inside, or are not there.
_FLOAT32 = ("noise", "inherited", "tolerance")
#: The most values recorded by hand of which a comparison says that they differ.
MOST_RECORDED = 20
#: Keys of the scale of a loss, which a target in mixed_float16 has and targets in other precisions have not.
_LOSS_SCALE = "*loss_scale_optimizer/*"
#: Phases whose observations depend on the steps before them.
_FOLLOWING_TRAINING = ("update", "optimizer", "metric", "log", "event", "prediction")


def compare(
    target: Trace,
    reference: Trace,
    known: Sequence[Known] | None = (),
    *,
    shared_only: bool = False,
    strict_names: bool = False,
    leaked: float = 0.0,
) -> Comparison:
    """Compare a target's trace with the reference's, twins included where both have one.

    An observation that is on one side only is a mismatch, unless the side that lacks it stopped early or `shared_only`
    holds: then it counts as not compared.

    Args:
        known: differences that are declared beside the case; None if no declaration counts, not even the case's own.
        shared_only: whether what is recorded may depend on the backend, as in a test that was not written to be
            compared.
        strict_names: whether variables that differ in name alone are a mismatch. They are paired otherwise.
        leaked: see `harness.judge.verdict.judge`; of what is behind parts that were not recorded.
    """
    target, renamed = (target, {}) if strict_names else paired(target, reference)
    declared = ([], []) if known is None else applying(target, reference, known)
    apply = [*declared[0], *declared[1]]
    findings, parted = all_findings(target, reference, apply, shared_only=shared_only, leaked=leaked)
    judged = [finding for finding in findings.values() if finding is not None]
    restless = {finding.key: not_repeating(target, reference, finding) for finding in judged if finding.known is None}
    unrepeated = next((finding for finding in judged if restless.get(finding.key)), None)
    judged = [finding for finding in judged if not restless.get(finding.key)]
    undeclared = [finding for finding in judged if finding.known is None]
    verdicts = Counter(finding.judgement.verdict for finding in judged)
    found = list(dict.fromkeys(finding.known for finding in judged if finding.known is not None))
    first = _first(undeclared, Verdict.DIVERGENT) or _first(judged, Verdict.DIVERGENT) or _first(judged, Verdict.LEAK)
    return Comparison(
        target=target.header.target,
        reference=reference.header.target,
        verdict=max(verdicts, default=None),
        unexpected=max((finding.judgement.verdict for finding in undeclared), default=None),
        observations=len(judged),
        not_compared=len(findings) - len(judged),
        counts=dict(sorted(verdicts.items())),
        bases=dict(Counter(finding.judgement.basis for finding in judged).most_common()),
        first=None if first is None else _with_evidence(first, target, reference),
        known=found,
        fixed=gone(target, reference, declared, found),
        unrepeated=None if unrepeated is None else Unrepeated.of(unrepeated, restless[unrepeated.key]),
        parted=parted,
        renamed=renamed,
        one_sided=one_sided(target, reference),
        flushed=sum(finding.judgement.is_flushed for finding in judged),
        further_runs=further_runs(target, reference, undeclared),
        recorded=_recorded(undeclared),
    )


def all_findings(
    target: Trace,
    reference: Trace,
    declared: Sequence[Expected] = (),
    *,
    shared_only: bool = False,
    leaked: float = 0.0,
) -> tuple[dict[str, Finding | None], int | None]:
    """A finding for each observation of either side by key, in order; None for one that could not be compared.

    Returns:
        The findings, and the step after which free runs had parted: see `Comparison`.
    """
    findings = dict(_findings(target, reference, declared, shared_only=shared_only, leaked=leaked))
    parted = _parted(list(findings.values()), reference)
    if parted is not None:
        findings = {key: None if _is_beyond(finding, parted) else finding for key, finding in findings.items()}
    return findings, parted


def differences(target: Trace, reference: Trace, at_least: Verdict) -> list[Finding]:
    """Every observation of both sides that differs so much, in the reference's order, whatever is declared."""
    target, _ = paired(target, reference)
    scales = _group_scales(reference)
    found = []
    for item in reference.select():
        if item.key in target:
            judgement = judge_key(target, reference, item.key, scales.get((item.phase, item.step), 0.0))
            if judgement.verdict >= at_least:
                found.append(_finding(item, judgement))
    return found


def _finding(observation: Entry, judgement: Judgement, declared: Sequence[Expected] = ()) -> Finding:
    return Finding(
        key=observation.key,
        name=observation.name,
        phase=observation.phase,
        step=observation.step,
        layer=observation.layer,
        judgement=judgement,
        known=covering(judgement, observation.key, declared),
    )


def _with_evidence(finding: Finding, target: Trace, reference: Trace) -> Finding:
    key = finding.key
    if key not in target or key not in reference:
        return finding
    twins = twin_of(target, key), twin_of(reference, key)
    precisions = precisions_of(target, reference)
    sides = observation(target, key), observation(reference, key)
    shown = evidence(finding.judgement, *sides, *twins, precisions=precisions)
    return replace(finding, evidence=shown)


def _recorded(findings: Sequence[Finding]) -> Recorded | None:
    """The values recorded by hand that differ for real."""
    apart = [item for item in findings if item.phase == "recorded" and item.judgement.verdict >= Verdict.DIVERGENT]
    shown = [Differing(item.name, item.judgement.verdict) for item in apart[:MOST_RECORDED]]
    return Recorded(len(apart), shown) if apart else None


def _first(findings: Sequence[Finding], at_least: Verdict) -> Finding | None:
    return next((finding for finding in findings if finding.judgement.verdict >= at_least), None)


# Where free runs part


def _parted(findings: Sequence[Finding | None], reference: Trace) -> int | None:
    """The first step after which float32 rounding alone has moved a weight by `PARTED`."""
    scales = _group_scales(reference)
    for finding in findings:
        if finding is None:
            continue
        amplification = finding.judgement.amplification
        if finding.phase == "update" and amplification is not None and amplification * U32 > PARTED:
            value = reference[finding.key]
            # A weight that is zero but for rounding is all rounding, and says nothing of the others.
            if value.is_array and rms(value.array) > scales.get((finding.phase, finding.step), 0.0) / 100:
                return finding.step
    return None


def _is_beyond(finding: Finding | None, parted: int) -> bool:
    """Whether a difference lies after free runs have parted, so that it says nothing."""
    return (
        finding is not None
        and finding.step > parted
        and finding.phase in _FOLLOWING_TRAINING
        and below(finding.name, DATA) is None  # batches depend on no step before them
        and finding.judgement.verdict >= Verdict.LEAK
    )


# The walk


def _findings(
    target: Trace, reference: Trace, declared: Sequence[Expected], *, shared_only: bool, leaked: float
) -> Iterator[tuple[str, Finding | None]]:
    """The key of each observation of either side, in order, and its finding: None if it cannot be compared."""
    scales = _group_scales(reference)
    drawn = _drawn_at_random(target, reference)
    out_of_order = None if shared_only else _first_out_of_order(target, reference)
    lacks = [lack.where for side in (target, reference) for lack in side.header.lacks]
    if target.header.precision != reference.header.precision:
        lacks.append(_LOSS_SCALE)
    inner = one_sided(target, reference)
    has_twins = target.twin is not None or reference.twin is not None
    inherited = 0.0
    last: dict[Trace, str | None] = {target: None, reference: None}
    for key in _merged(target, reference):
        last |= {side: key for side in last if key in side}
        if any(matches(where, key) for where in lacks):
            yield key, None
            continue
        item = (reference if key in reference else target).entry(key)
        judgement: Judgement | None
        if key not in target or key not in reference:
            lacking = target if key not in target else reference
            is_excused = lacking.header.status != "ok" or shared_only or _is_excused(item, inner)
            cause = _lost(lacking, last[lacking], target, reference) or Missing(on_target=lacking is target)
            judgement = None if is_excused else Judgement(Verdict.MISMATCH, "exact", cause=cause)
        elif key == out_of_order:
            judgement = Judgement(Verdict.MISMATCH, "exact", cause=_moved(target, reference, key))
        elif key in drawn:
            runs = drawn[key]
            judgement = None if runs is None else judge_distribution(*runs, tests=len(drawn))
        else:
            scale = scales.get((item.phase, item.step), 0.0)
            judgement = judge_key(target, reference, key, scale, inherited, leaked)
            if has_twins:
                inherited = max(inherited, _rounding(judgement, judgement.d32))
                leaked = max(leaked, _rounding(judgement, judgement.d32 if judgement.basis in _FLOAT32 else None))
        yield key, None if judgement is None else _finding(item, judgement, declared)


def _rounding(judgement: Judgement, size: float | None) -> float:
    """By how much rounding moved an observation; 0 if it differs by more, or is nothing but rounding."""
    size, error = size or 0.0, (judgement.amplification or 0.0) * U32
    return size if judgement.verdict < Verdict.IMPRECISE and max(size, error) <= INHERITED else 0.0


def _lost(lacking: Trace, after: str | None, target: Trace, reference: Trace) -> Lost | None:
    """The exception that kept one side from what it lacks; None where none was raised there.

    Args:
        after: the last observation before it that this side has.
    """
    raised = next((raised for raised in lacking.header.raised if raised.after == after), None)
    if raised is None:
        return None
    side = "this target" if lacking is target else "the reference"
    if target.header.target != reference.header.target:
        side = lacking.header.target
    return Lost(side, raised.part, raised.error)


def _drawn_at_random(target: Trace, reference: Trace) -> dict[str, tuple[list[Observation], list[Observation]] | None]:
    """Observations that vary from run to run on either side, each with all the runs of both sides.

    None instead of the runs if they cannot be held against each other: text that varies, or arrays of several shapes.
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
                continue  # each side has one form, and they are two: a mismatch, whatever was drawn
            comparable = kinds[0] == kinds[1] and len(kinds[0]) == 1 and len(ours) == len(theirs)
            drawn[key] = (ours, theirs) if comparable and ours[0].is_array and ours[0].array.size else None
    return drawn


#: By trace, for as long as that is in use: one reference is held against several targets.
_SCALES: WeakKeyDictionary[Trace, dict[tuple[Phase, int], float]] = WeakKeyDictionary()


def _group_scales(reference: Trace) -> dict[tuple[Phase, int], float]:
    """The largest root mean square among the floating arrays of each phase and step."""
    if reference not in _SCALES:
        scales: dict[tuple[Phase, int], float] = {}
        for entry in reference.select():
            if isinstance(entry, ArrayEntry) and numpy_dtype(entry.dtype).kind in INEXACT:
                group = (entry.phase, entry.step)
                size = rms(large_elements(reference, entry.key) or reference[entry.key].array)
                scales[group] = max(scales.get(group, 0.0), size)
        _SCALES[reference] = scales
    return _SCALES[reference]


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


def _is_excused(item: Entry, inner: Container[str]) -> bool:
    """Whether it says nothing that one side alone has an observation."""
    if item.phase == "event" and below(item.name, GENERATOR) is not None:
        # The case calls the function on one backend only.
        return isinstance(item, PlainEntry) and bool(item.value == AS_PROMISED)
    return item.phase == "forward" and layer_path(item) in inner


def one_sided(target: Trace, reference: Trace) -> dict[str, str]:
    """The inner layers that one side alone calls: the target that does, by the layer's path.

    Of a layer inside another one, what comes after tells whether that makes a difference: some layers take another path
    on each backend, such as a fused attention that needs no softmax layer.
    """
    ours, theirs = (dict.fromkeys(map(layer_path, side.select("forward"))) for side in (target, reference))
    both = {path for path in ours if path in theirs}
    lacks = [lack.where for side in (target, reference) for lack in side.header.lacks]
    return {
        path: side.header.target
        for side, paths, others in ((target, ours, theirs), (reference, theirs, ours))
        for path in paths
        if path not in others
        and any(path.startswith(f"{outer}/") for outer in both)
        and not any(matches(where, str(Key("forward", 0, f"{path}/output"))) for where in lacks)
    }


def _moved(target: Trace, reference: Trace, key: str) -> Reordered:
    """What is in another order in the phase and step of an observation."""
    entry = reference.entry(key)
    ours, theirs = (
        [item.name for item in side.select(entry.phase, step=entry.step) if item.key in other]
        for side, other in ((target, reference), (reference, target))
    )
    kept = {
        theirs[position]
        for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
        for position in range(block.b, block.b + block.size)
    }
    moved = tuple(name for name in theirs if name not in kept)
    return Reordered(entry.phase, moved or (entry.name,))


def _first_out_of_order(target: Trace, reference: Trace) -> str | None:
    mine = [key for key in target.keys if key in reference]
    theirs = [key for key in reference.keys if key in target]
    return next((right for left, right in zip(mine, theirs, strict=True) if left != right), None)
