"""What is said where no part can be named: what was ruled out, what was not looked at, and the strongest clue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.blame.replays import Replayed
from harness.blame.steps import method_of
from harness.judge.compare import all_findings, differences
from harness.judge.doubt import not_repeating
from harness.judge.pairing import paired
from harness.judge.verdict import RESIDUE, U64
from harness.judge.vote import standing_alone
from harness.result import words
from harness.result.judgement import Judgement, Missing, OneSided, Unequal, Unlike
from harness.result.model import Finding
from harness.target import Target
from harness.trace import Phase, Trace
from harness.trace.key import CALLBACK
from harness.trace.parts import CASE, LOSS, METRICS, OPTIMIZER, PREDICT_STEP, TEST_STEP, TRAIN_STEP, Part, part_of
from harness.verdict import Verdict
from harness.wire import Steps

#: What is observed of a part that it is given, or that tells how it is called. It says nothing of what the part does.
_GIVEN = ("config", "arguments", "own", "upstream")
_OF_A_WEIGHT = ("regularizer", "constraint")
_NO_LAYERS = (LOSS, OPTIMIZER, METRICS, CASE)
_OF_TRAINING = ("train_step", "compute_metrics", "get_metrics_result", "reset_metrics", "fit")
#: By phase, the methods of the user's own that no part stands for.
_OWN_CODE: Mapping[Phase, Sequence[str]] = {
    "update": _OF_TRAINING,
    "optimizer": _OF_TRAINING,
    "log": _OF_TRAINING,
    "metric": ("test_step", "compute_metrics", "get_metrics_result", "reset_metrics"),
    "prediction": ("predict_step",),
}


@dataclass(frozen=True)
class _Seen:
    """An observation of the two sides and where it was made: in the case, in a step alone, or in a part."""

    finding: Finding
    at: Literal["case", "step", "part"]
    traces: Mapping[Target, Trace]

    @property
    def is_of_another_kind(self) -> bool:
        """Whether it is no matter of numbers: a plain value, a dtype, a shape, a count, or something missing."""
        cause = self.finding.judgement.cause
        if self.at == "part" and isinstance(cause, Unlike) and "int" in cause.ours and "int" in cause.theirs:
            return False  # backends have other integers for seeds, sizes and indices
        return isinstance(cause, (Unlike, Unequal, OneSided, Missing))

    @property
    def excess(self) -> float:
        """How many times what rounding explains it is."""
        return _excess(self.finding.judgement)


def nothing_found(
    finding: Finding,
    sides: tuple[Target, Target],
    traces: Mapping[Target, Trace],
    looked: Sequence[Replayed],
    failures: Mapping[str, str],
) -> str:
    """What is known of a difference for which no part was found, in words.

    Args:
        sides: the target that differs, and the reference.
        traces: of the case.
        looked: the replays that the search asked for.
        failures: why replays were not whole, by target.
    """
    target, reference = sides
    both = [replayed for replayed in looked if all(side in replayed.traces for side in sides)]
    steps = [replayed for replayed in both if isinstance(replayed.what, Steps)]
    parts = [replayed for replayed in both if not isinstance(replayed.what, Steps)]
    in_steps = [item for replayed in steps for item in _judged(replayed, sides, "step")]
    in_parts = [item for replayed in parts for item in _judged(replayed, sides, "part")]
    apart = [item.finding.step for item in in_steps if item.finding.judgement.verdict >= Verdict.LEAK]
    first = min(apart, default=None)
    if failures:
        opening = words.not_replayed(failures)
    else:
        opening = words.nothing_differs(finding.phase, step=first, steps_agree=bool(steps) and first is None)
    ours, theirs = traces[target], traces[reference]
    told = _told_steps(both, reference)
    return words.told(
        [
            opening,
            records_beside(finding, ours, theirs) if finding.phase == "recorded" else None,
            _clue(finding, sides, traces, [*in_steps, *in_parts]),
            words.still_to_look_at(_own_code(finding.phase, ours, told)),
            words.same_steps([place for name in told if (place := ours.header.places.get(name)) is not None]),
            _ruled_out(in_parts, [replayed.what for replayed in steps if isinstance(replayed.what, Steps)], first),
            words.not_looked_at(_notes(parts, sides)),
        ]
    )


def records_beside(finding: Finding, target: Trace, reference: Trace) -> str | None:
    """What the records beside one that differs say: the last before it that agrees, and the others that differ."""
    least = min(finding.judgement.verdict, Verdict.DIVERGENT)
    records = [item.finding for item in _of_case(target, reference, {}) if item.finding.phase == "recorded"]
    names = [item.name for item in records]
    before = records[: names.index(finding.name)] if finding.name in names else []
    agreeing = [item.name for item in before if item.judgement.verdict < least]
    others = [item.name for item in records if item.judgement.verdict >= least and item.name != finding.name]
    return words.records_beside(agreeing[-1] if agreeing else None, others)


def _judged(replayed: Replayed, sides: tuple[Target, Target], at: Literal["step", "part"]) -> Iterator[_Seen]:
    target, reference = sides
    for finding in differences(replayed.traces[target], replayed.traces[reference], Verdict.IDENTICAL):
        yield _Seen(finding, at, replayed.traces)


def _of_case(target: Trace, reference: Trace, traces: Mapping[Target, Trace]) -> list[_Seen]:
    """The observations of a case, in order, without what could not be compared."""
    findings, _ = all_findings(paired(target, reference)[0], reference)
    return [_Seen(finding, "case", traces) for finding in findings.values() if finding is not None]


def _ruled_out(in_parts: Sequence[_Seen], steps: Sequence[Steps], first: int | None) -> str | None:
    """The parts and steps that agree on equal values, in words."""
    agree: dict[str, Part] = {}
    layers: dict[str, str] = {}
    apart: set[str] = set()
    with_gradients = False
    for item in in_parts:
        part = part_of(item.finding.name)
        if part is None or part.what in _GIVEN or (part.what == "input" and item.finding.phase != "gradient"):
            continue
        agree.setdefault(part.place, part)
        is_layer = part.operation is None and part.name not in _NO_LAYERS and part.what not in _OF_A_WEIGHT
        if item.finding.layer is not None and is_layer:
            layers[part.place] = item.finding.layer
        if item.finding.judgement.verdict >= Verdict.LEAK:
            apart.add(part.place)
        with_gradients |= item.finding.phase == "gradient"
    kept = {place: part for place, part in agree.items() if place not in apart}
    whole = [place for place, part in kept.items() if part.operation is None and place != CASE]
    named, others = {}, {}
    for place in whole:
        what = kept[place].what
        if what in _OF_A_WEIGHT:
            others[what] = True
        elif place in layers:
            if not any(other.startswith(f"{place}/") for other in layers):
                named[layers[place]] = True  # a layer that is made of others is named by these
        else:
            others[place] = True
    followed = [(step.first, step.last if first is None else first - 1) for step in steps]
    agreeing = next(((begin, end) for begin, end in followed if begin <= end), None)
    operations = len(kept) - sum(part.operation is None for part in kept.values())
    return words.ruled_out(list(named), list(others), operations, agreeing, with_gradients=with_gradients)


def _notes(parts: Sequence[Replayed], sides: tuple[Target, Target]) -> dict[str, list[str]]:
    """The parts that a replay could not look at, by why."""
    found: dict[str, list[str]] = {}
    for replayed in parts:
        for side in sides:
            for note in replayed.traces[side].header.notes:
                named = found.setdefault(note.reason, [])
                named += [note.part] if note.part not in named else []
    return found


def _told_steps(both: Sequence[Replayed], reference: Target) -> list[str]:
    """The methods of the model's own that said what they do, and said the same: one that did not was named."""
    names = [entry.name for replayed in both for entry in replayed.traces[reference].select("event")]
    told = {part.name for name in names if (part := part_of(name)) is not None}
    return [method_of(step) for step in (TRAIN_STEP, TEST_STEP, PREDICT_STEP) if step in told]


def _own_code(phase: Phase, trace: Trace, told: Sequence[str]) -> list[str]:
    """Where the user's own code is that may make a difference of a phase and is no part: steps, and callbacks.

    Args:
        told: methods that do the same on both sides.
    """
    places, methods = trace.header.places, _OWN_CODE.get(phase, ())
    found = [places[name] for name in methods if name in places and name not in told]
    if "train_step" in methods:
        found += [place for name, place in places.items() if name.startswith(f"{CALLBACK}/")]
    return [place for place in found if ", " in place]


def _clue(
    finding: Finding, sides: tuple[Target, Target], traces: Mapping[Target, Trace], replayed: Sequence[_Seen]
) -> str | None:
    """The most telling difference beside the finding, in words; None where there is nothing to compare it with."""
    target, reference = sides
    of_case = _of_case(traces[target], traces[reference], traces)
    keys = [item.finding.key for item in of_case]
    before = of_case[: keys.index(finding.key)] if finding.key in keys else []
    in_time = [item for item in of_case if item.finding.step <= finding.step]
    for item in (*replayed, *in_time):
        if item.is_of_another_kind and _counts(item, finding):
            ours, theirs = traces[target], traces[reference]
            if item.at == "part" or not not_repeating(ours, theirs, item.finding):
                return _told(item, target)
    strongest = max(
        (item for item in (*replayed, *before) if not item.is_of_another_kind and _counts(item, finding)),
        key=lambda item: item.excess,
        default=None,
    )
    if strongest is None or strongest.excess == 0.0:
        return None
    if strongest.excess > 1.0:
        return _told(strongest, target)
    return words.nearest(strongest.finding.phase, strongest.finding.name, strongest.excess)


def _counts(item: _Seen, finding: Finding) -> bool:
    """Whether an observation can be a clue to the finding: it is another one, not declared, and not given to a part."""
    seen = item.finding
    part = part_of(seen.name) if item.at == "part" else None
    is_given = part is not None and (part.what in _GIVEN or (part.what == "input" and seen.phase != "gradient"))
    return seen.key != finding.key and seen.known is None and not is_given


def _told(item: _Seen, target: Target) -> str:
    seen = item.finding
    named = {str(side): trace for side, trace in item.traces.items()}
    alone = standing_alone(named, seen.key, min(seen.judgement.verdict, Verdict.DIVERGENT))
    return words.clue(str(target), seen.phase, seen.step, seen.name, seen.judgement, alone=alone, at=item.at)


def _excess(judgement: Judgement) -> float:
    """How many times what rounding explains a difference is; 0 where none was measured."""
    if judgement.basis == "twins" and judgement.d64 is not None:
        return judgement.d64 / (RESIDUE * (judgement.amplification or 1.0) * U64)
    if judgement.distance is None or not judgement.explained:
        return 0.0
    return judgement.distance / judgement.explained
