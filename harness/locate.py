"""Where a difference starts: two traces, walked in order of execution."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from harness.case import Expected
from harness.distribution import judge_distribution, varies
from harness.trace import Observation, Phase, Trace
from harness.verdict import Judgement, Verdict, judge, rms


@dataclass(frozen=True)
class Finding:
    """One observation and what was judged of it. `known` is the declaration that covers it, if one does."""

    key: str
    phase: Phase
    step: int
    layer: str | None
    judgement: Judgement
    known: Expected | None = None


@dataclass
class Comparison:
    """Every observation of a case on one target, held against the reference.

    Attributes:
        target, reference: the two targets, as text.
        verdict: the worst of all observations; None where nothing could be compared.
        unexpected: the worst of the observations that no declaration covers.
        observations: how many were compared.
        not_compared: how many were not, because a run stopped before it reached them, or because they vary at random
            and have no distribution to compare.
        counts: observations by verdict, worst last.
        bases: observations by what their verdict rests on.
        first: the first real difference in order of execution that is not declared or, failing that, the first that
            is or, failing that, the first leak or imprecision.
        known: declarations that cover a difference found here.
        fixed: declarations whose difference is gone.
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


def compare(target: Trace, reference: Trace) -> Comparison:
    """Compare a target's trace with the reference's, twins included where both have one.

    An observation that is on one side only is a mismatch, unless the side that lacks it stopped early: then it
    counts as not compared.
    """
    comparison = Comparison(target.header.target, reference.header.target)
    declared = [side.header.expected for side in (target, reference) if side.header.expected is not None]
    findings = list(_findings(target, reference, declared))
    judged = [finding for finding in findings if finding is not None]
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
    comparison.known = list(dict.fromkeys(finding.known for finding in judged if finding.known is not None))
    # Where both sides declare a difference from the others they may well agree with one another.
    if len(declared) == 1 and not comparison.known and _can_be_gone(declared[0], target, reference):
        comparison.fixed = declared
    return comparison


def _first(findings: Sequence[Finding], at_least: Verdict) -> Finding | None:
    return next((finding for finding in findings if finding.judgement.verdict >= at_least), None)


def _can_be_gone(expected: Expected, target: Trace, reference: Trace) -> bool:
    """Whether this comparison would have seen the difference: a leak shows in twins alone, and in whole runs."""
    whole = target.header.status == "ok" and reference.header.status == "ok"
    twins = target.twin is not None and reference.twin is not None
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
            if verdict <= Verdict.parse(expected.verdict) and fnmatch.fnmatchcase(finding.key, expected.where)
        ),
        None,
    )


def _findings(target: Trace, reference: Trace, declared: Sequence[Expected] = ()) -> Iterator[Finding | None]:
    """A finding for each observation of either side, in order; None for one that could not be compared."""
    scales = _group_scales(reference)
    drawn = _drawn_at_random(target, reference)
    out_of_order = _first_out_of_order(target, reference)
    for key in _merged(target, reference):
        if key not in target or key not in reference:
            side, present = (target, reference[key]) if key not in target else (reference, target[key])
            if side.header.status != "ok":
                yield None
                continue
            where = "on this target" if side is target else "on the reference"
            yield _finding(present, Judgement(Verdict.MISMATCH, "exact", f"it was not recorded {where}"), declared)
            continue
        theirs = reference[key]
        if key == out_of_order:
            judgement = Judgement(Verdict.MISMATCH, "exact", "it was recorded in another order than on the reference")
        elif key in drawn:
            runs = drawn[key]
            if runs is None:
                yield None
                continue
            judgement = judge_distribution(*runs, tests=len(drawn))
        else:
            judgement = judge(
                target[key],
                theirs,
                _twin(target, key),
                _twin(reference, key),
                group_scale=scales.get((theirs.phase, theirs.step), 0.0),
            )
        yield _finding(theirs, judgement, declared)


def _finding(observation: Observation, judgement: Judgement, declared: Sequence[Expected]) -> Finding:
    finding = Finding(observation.key, observation.phase, observation.step, observation.layer, judgement)
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
