"""Where a difference starts: two traces, walked in order of execution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.trace import Observation, Phase, Trace
from harness.verdict import Judgement, Verdict, judge, rms


@dataclass(frozen=True)
class Finding:
    """One observation and what was judged of it."""

    key: str
    phase: Phase
    step: int
    layer: str | None
    judgement: Judgement


@dataclass
class Comparison:
    """Every observation of a case on one target, held against the reference.

    Attributes:
        target, reference: the two targets, as text.
        verdict: the worst of all observations; None where nothing could be compared.
        observations: how many were compared.
        not_compared: how many were not, because a run stopped before it reached them.
        counts: observations by verdict, worst last.
        bases: observations by what their verdict rests on.
        first: the first real difference in order of execution or, where there is none, the first leak or imprecision.
    """

    target: str
    reference: str
    verdict: Verdict | None = None
    observations: int = 0
    not_compared: int = 0
    counts: dict[Verdict, int] = field(default_factory=dict)
    bases: dict[str, int] = field(default_factory=dict)
    first: Finding | None = None


def compare(target: Trace, reference: Trace) -> Comparison:
    """Compare a target's trace with the reference's, twins included where both have one.

    An observation that is on one side only is a mismatch, unless the side that lacks it stopped early: then it
    counts as not compared.
    """
    comparison = Comparison(target.header.target, reference.header.target)
    counts: Counter[Verdict] = Counter()
    bases: Counter[str] = Counter()
    for finding in _findings(target, reference):
        if finding is None:
            comparison.not_compared += 1
            continue
        verdict = finding.judgement.verdict
        counts[verdict] += 1
        bases[finding.judgement.basis] += 1
        if verdict >= Verdict.LEAK:
            real = verdict >= Verdict.DIVERGENT
            if comparison.first is None or (real and comparison.first.judgement.verdict < Verdict.DIVERGENT):
                comparison.first = finding
    comparison.observations = sum(counts.values())
    comparison.counts = dict(sorted(counts.items()))
    comparison.bases = dict(bases.most_common())
    comparison.verdict = max(counts, default=None)
    return comparison


def _findings(target: Trace, reference: Trace) -> Iterator[Finding | None]:
    """A finding for each observation of either side, in order; None for one that a stopped run did not reach."""
    scales = _group_scales(reference)
    out_of_order = _first_out_of_order(target, reference)
    for key in _merged(target, reference):
        if key not in target or key not in reference:
            side, present = (target, reference[key]) if key not in target else (reference, target[key])
            if side.header.status != "ok":
                yield None
                continue
            where = "on this target" if side is target else "on the reference"
            yield _finding(present, Judgement(Verdict.MISMATCH, "exact", f"it was not recorded {where}"))
            continue
        theirs = reference[key]
        if key == out_of_order:
            judgement = Judgement(Verdict.MISMATCH, "exact", "it was recorded in another order than on the reference")
        else:
            judgement = judge(
                target[key],
                theirs,
                _twin(target, key),
                _twin(reference, key),
                group_scale=scales.get((theirs.phase, theirs.step), 0.0),
            )
        yield _finding(theirs, judgement)


def _finding(observation: Observation, judgement: Judgement) -> Finding:
    return Finding(observation.key, observation.phase, observation.step, observation.layer, judgement)


def _twin(trace: Trace, key: str) -> Observation | None:
    return trace.twin[key] if trace.twin is not None and key in trace.twin else None


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
