"""The search for the origin of a difference: parts of a case are replayed on equal values until one differs by itself.

1. If the finding is of a later training step, the steps up to it are run again, each from the state that the reference
   had before it. The difference starts at the first step that differs although its state was equal.
2. The parts of that step (or of the first pass, or of a call for predictions) run one by one, each on the values that
   the reference had there: layers, regularisers, loss, constraints, schedule, optimizer, metrics, and the gradients of
   each. The first part that differs has made the difference, and not inherited it.
3. The operations inside that part run in the same way.

Every replay runs on every target and in both precisions, and is judged by the same two-precision verdict.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.blame import calls, clues, steps
from harness.blame.replays import Replayed, Replays
from harness.blame.reproducer import reproducer_of
from harness.blame.ruled_out import nothing_found, records_beside
from harness.blame.script import NoScriptError
from harness.blame.told import Told, by_name
from harness.case import CaseRef
from harness.judge.case import outcome_of
from harness.judge.compare import PARTED, compare, differences
from harness.judge.verdict import U32, judge
from harness.judge.vote import standing_alone
from harness.result import words
from harness.result.judgement import Judgement, Lost, Missing, Unequal, Unlike
from harness.result.model import Blame, CaseResult, Comparison, Continuation, Finding
from harness.session.options import DEFAULT_BLAME_SECONDS
from harness.session.session import Session
from harness.target import Target
from harness.trace import ArrayEntry, Key, Phase, Trace
from harness.trace.key import AFTER_FIT, CALLBACKS, DATA, ROWS, below
from harness.trace.parts import CASE, DIFFERENCE, LOSS, METRICS, RAISED, TAKEN, TRAIN_STEP, Part, name_in, part_of
from harness.verdict import Verdict
from harness.wire import Replay, Start

#: The most training steps that are run again for one finding in the usual time: the last ones up to it.
MOST_STEPS = 40
#: The most parts, made of other parts, in which operations between those are looked for.
MOST_COMPOSED = 4
#: The most operations that are left to themselves one by one, to tell which of them a recorded value comes from.
MOST_FREED = 4
#: Calls whose batches are numbered in the names of their digests, after the name of the call.
_PASSES = ("evaluate", "predict")
#: How far a gradient and its finite difference in float64 may be apart and be the same, relative to the latter.
_SAME = 1e-3
#: The most training steps of a continuation, which begins where free runs parted.
MOST_CONTINUED = 200


@dataclass(frozen=True)
class Suspect:
    """A part, or an operation in it, that differs on equal values.

    Attributes:
        traces: of the replay in which it differs, by target.
        call: how the part's calls of the operation differ, in words, where the operation itself is not at fault.
    """

    finding: Finding
    part: Part
    traces: Mapping[Target, Trace]
    call: str | None = None


@dataclass(frozen=True)
class Decided:
    """Which of two targets a finite difference speaks against, and that in words."""

    target: str
    text: str


class Blamer:
    """Continues trainings that parted, and attaches a blame to each difference.

    Args:
        session: the session whose workers run the replays.
        blame_from: the mildest verdict that is blamed; None to blame nothing.
        declared: whether declared differences are blamed too.
    """

    def __init__(self, session: Session, blame_from: Verdict | None, *, declared: bool = False) -> None:
        self._session = session
        self._blame_from = blame_from
        self._declared = declared

    def replays(self, case: CaseRef, seen: CaseResult, targets: Sequence[Target]) -> bool:
        """Whether something is replayed to examine a case: not where its findings tell by themselves whose they are.

        Args:
            targets: those on which the case was run, the reference among them.
        """
        replays, traces = self._given(case, seen, targets, lambda: False)
        for comparison in seen.comparisons:
            if comparison.parted is not None:
                return True
            if not self._is_blamed(comparison) or comparison.first is None:
                continue
            search = _Search(replays, _target_of(comparison, traces), comparison.first, traces)
            if search.told.at_once() is None:
                return True
        return False

    def examine(
        self,
        case: CaseRef,
        seen: CaseResult,
        targets: Sequence[Target],
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> CaseResult:
        """The result of a case with continuations of its trainings, and a blame for each difference.

        Args:
            targets: those on which the case was run, the reference among them.
            is_stopped: whether to replay no more: see `harness.session.pool.Pool.work`.
        """
        replays, traces = self._given(case, seen, targets, is_stopped)
        comparisons = [
            replace(comparison, continuation=self._continuation(replays, comparison, traces))
            for comparison in seen.comparisons
        ]
        for position, comparison in enumerate(comparisons):
            if self._is_blamed(comparison):
                self._session.listener.blaming(case.id, comparison.target)
                comparisons[position] = replace(comparison, blame=self._blame(replays, comparison, traces))
        outcome = outcome_of(seen.runs, comparisons, self._session.setup.fail_on)
        return replace(seen, comparisons=comparisons, outcome=outcome)

    def _given(
        self, case: CaseRef, seen: CaseResult, targets: Sequence[Target], is_stopped: Callable[[], bool]
    ) -> tuple[Replays, Mapping[Target, Trace]]:
        """What a search is given: what replays the case, and its traces."""
        named = {str(target): target for target in targets}
        reference = named.get(seen.reference or "", self._session.setup.reference)
        traces = {target: Trace(self._session.place_of(case.id, target)) for target in targets}
        return Replays(self._session, case, targets, reference, is_stopped), traces

    def _is_blamed(self, comparison: Comparison) -> bool:
        """Whether it is to be searched whose the difference of a comparison is."""
        if self._blame_from is None or comparison.blame is not None:
            return False
        return comparison.is_worth_blaming(self._blame_from, declared=self._declared)

    def _blame(self, replays: Replays, comparison: Comparison, traces: Mapping[Target, Trace]) -> Blame | None:
        """The blame for a comparison's first difference; None if there is no difference."""
        finding = comparison.first
        if finding is None:
            return None
        try:
            return _Search(replays, _target_of(comparison, traces), finding, traces).blame()
        except Exception as error:
            # The finding is reported even if the search for its origin fails.
            replays.folder.mkdir(parents=True, exist_ok=True)
            (replays.folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            text = words.search_failed(error)
            return Blame(None, finding.layer, None, None, finding.phase, finding.step, False, text)

    def _continuation(
        self, replays: Replays, comparison: Comparison, traces: Mapping[Target, Trace]
    ) -> Continuation | None:
        """Compare step by step from where free runs parted; None if they did not, or if the steps cannot be run."""
        if comparison.parted is None or comparison.unrepeated is not None:
            return None
        target = _target_of(comparison, traces)
        recorded = [entry.step for entry in traces[replays.reference].select("log")]
        first = comparison.parted
        last = min(max(recorded, default=0), first + MOST_CONTINUED - 1)
        followed = replays.steps(first, last, replays.seconds).traces
        if target not in followed or replays.reference not in followed or last < first:
            return None
        known = self._session.setup.known
        return Continuation(first, last, compare(followed[target], followed[replays.reference], known))


def _target_of(comparison: Comparison, traces: Mapping[Target, Trace]) -> Target:
    return next(target for target in traces if str(target) == comparison.target)


class _Search:
    """The search for one finding's origin.

    Args:
        target: the one that differs from the reference.
        traces: of the case, by target.

    Attributes:
        told: what the finding tells by itself.
    """

    def __init__(self, replays: Replays, target: Target, finding: Finding, traces: Mapping[Target, Trace]) -> None:
        self._replays = replays
        self._reference = replays.reference
        self._target = target
        self._finding = finding
        self._traces = traces
        self._deadline = replays.now() + replays.seconds
        #: See `Replayed.late`.
        self._late: set[Target] | None = None
        #: The last part that was looked at, in words.
        self._last: str | None = None
        #: How many training steps were left out for want of time.
        self._skipped = 0
        self._failures: dict[Target, str] = {}
        self._looked: list[Replayed] = []
        self._who = _alone(traces, finding)
        self.told = Told(finding, target, self._reference, traces, self._who)
        versions = [traces[side].header.environment.get("versions", {}) for side in (target, self._reference)]
        self._of_two_keras = versions[0].get("keras") != versions[1].get("keras")

    def blame(self) -> Blame:
        return self.told.at_once() or self._with_its_end(self._searched())

    def _with_its_end(self, blame: Blame) -> Blame:
        """A blame that says where the time ended the search, if it did."""
        seconds, told = self._replays.seconds, [blame.text]
        if self._late is not None or (blame.confirmed and blame.repro is None and self._left() <= 1):
            running = [str(side) for side in (self._target, self._reference) if side in (self._late or ())]
            told.append(words.out_of_time(seconds, running, self._last, is_found=blame.confirmed))
        if self._skipped and not blame.confirmed:
            told.append(words.steps_left_out(self._skipped))
        return replace(blame, text="; ".join(told))

    def _searched(self) -> Blame:
        finding = self._finding
        if finding.phase in ("initial", "event") and below(finding.name, DATA) is not None:
            return self._of_data(words.DATA_DIFFER if finding.phase == "initial" else words.BATCHES_DIFFER)
        reference = self._traces[self._reference]
        if finding.phase in ("initial", "recorded") or not _has_parts(reference):
            return self._made_by_the_case() or self._unknown()
        told = self._own_step(steps.told_apart)
        if told is not None:
            return told
        suspect, step = self._suspect()
        if suspect is not None:
            inner = suspect if suspect.part.operation else self._operation_in(suspect, step)
            return self._confirmed(suspect, inner, step)
        made = self._own_step(steps.apart) if _is_fit(reference) else self._made_by_the_case()
        return made or self.told.in_the_end() or self._unknown()

    def _of_data(self, text: str) -> Blame:
        """Which rows of the data differ, or of a batch.

        Args:
            text: what is said where that cannot be told.
        """
        finding = self._finding
        name = below(finding.name, DATA) or ""
        step = None if finding.phase == "initial" else finding.step
        outer, _, last = name.rpartition("/")
        is_only = (
            last == "0" and sum(1 for _ in self._traces[self._reference].select("initial", name=f"{DATA}/{outer}")) == 1
        )
        shown = outer if step is None and is_only else name
        culprit = words.data_of(shown, step)
        if isinstance(finding.judgement.cause, Missing) or (step is not None and name.partition("/")[0] in _PASSES):
            return self.told.unconfirmed(text, culprit)
        traces = self._traces_of(self._replays.data(name, step, self._left()))
        found = clues.rows(by_name(traces), finding.key, str(self._target), str(self._reference))
        if found is None:
            return self.told.unconfirmed(text, culprit)
        told = words.rows_differ(shown, step, found.rows, found.count, found.index, found.sides)
        told = words.rows_reordered(shown, step, found.rows) if found.is_reordered else told
        return self.told.unconfirmed(told if 2 * len(found.rows) < found.count else f"{text}; {told}", culprit)

    def _own_step(self, look: Callable[[Mapping[Target, Trace], Target, Target], steps.Deed | None]) -> Blame | None:
        """The blame for a step of the model's own, if it does something else on one of the two sides."""
        step = steps.step_of(self._finding.phase)
        culprit = None if step is None else self.told.culprits().method(steps.method_of(step))
        if step is None or culprit is None:
            return None
        if step == TRAIN_STEP:
            at = self._step()
            if at is None:
                return None
            replayed = self._replays.steps(max(at.step - 1, 0), at.step, self._left(), account=True)
            traces = self._traces_of(replayed)
        else:
            traces = self._parts(self._after_training(), inside=step)
        deed = look(traces, self._target, self._reference)
        if deed is None:
            return None
        alone = deed.culprit(str(self._target))
        text = words.in_step(culprit, deed.words) if deed.words else words.step_differs(culprit, deed.phase)
        about = (alone or self._who, None, step, None, deed.phase, deed.step)
        return Blame(*about, confirmed=True, text=text, culprit=culprit, why_no_script=words.STEP_OF_THE_MODEL)

    def _suspect(self) -> tuple[Suspect | None, _At]:
        """The first part that differs on equal values, and where it was replayed."""
        finding, reference = self._finding, self._traces[self._reference]
        start = _At(0)
        if finding.phase in ("prediction", "metric") and _is_fit(reference):
            start = self._after_training()
        elif _is_fit(reference):
            rows = _value(reference, "initial", 0, ROWS)
            state = Start(reference.folder, "initial", 0)
            start = _At(0, Replay(state=state, rows=rows if isinstance(rows, list) else None))
            if finding.phase in ("update", "optimizer", "log"):
                found = self._step()
                if found is None:
                    return None, start
                start = found
        traces = self._parts(start)
        return self._first(traces) or self._between(traces, start), start

    def _between(self, traces: Mapping[Target, Trace], start: _At) -> Suspect | None:
        """The first operation that differs and lies between parts: in what a layer that is made of layers does itself.

        Args:
            traces: of the parts.
        """
        if self._reference not in traces:
            return None
        names = [entry.name for entry in traces[self._reference].select()]
        parts = dict.fromkeys(part.name for name in names if (part := part_of(name)) and part.what == "output")
        composed = [part for part in parts if name_in(part, "config") not in names]
        for name in sorted(composed, key=lambda part: part.count("/"))[:MOST_COMPOSED]:
            suspect = self._first(self._parts(start, inside=name), operations=True)
            if suspect is not None:
                return suspect
        return None

    def _operation_in(self, suspect: Suspect, start: _At) -> Suspect | None:
        traces = self._parts(start, inside=suspect.part.name)
        return self._first(traces, operations=True) or self._called_by_some(traces, suspect.part.name)

    def _made_by_the_case(self) -> Blame | None:
        """What of the case itself makes the finding: an operation that it calls, or what it does between them."""
        start, key = _At(0), self._finding.key
        traces = self._parts(start, inside=CASE)
        if self._target not in traces or self._reference not in traces:
            return None
        suspects = list(self._suspects(traces, operations=True))
        held = replace(start, replay=replace(start.replay, held=True))
        is_seen = all(key in traces[side] for side in (self._target, self._reference))
        if not is_seen or (self._takes_gradients(CASE, traces) and self._needs_gradients(traces, held)):
            # What becomes of an operation's values is not seen there, or only half: gradients do not pass held values.
            return self._confirmed(suspects[0], suspects[0], start) if suspects else None
        suspects = [suspect for suspect in suspects if suspect.finding.phase != "gradient"]
        if not suspects or self._shows(held):
            # All operations return the same, and it differs: they have no part in it.
            return self._made_between(traces, start)
        for suspect in suspects[:MOST_FREED] if len(suspects) > 1 else ():
            freed = replace(held, replay=replace(held.replay, free=suspect.part.place))
            if self._shows(freed):
                return self._confirmed(suspect, suspect, start)
        return self._confirmed(suspects[0], suspects[0], start)

    def _needs_gradients(self, traces: Mapping[Target, Trace], held: _At) -> bool:
        """Whether gradients of operations go into the finding: they do not where it is the same without them.

        The reference's operations return the same values when they are held, but no gradient passes through these.
        """
        key, own, again = self._finding.key, traces[self._reference], self._parts(held, inside=CASE)
        if self._reference not in again or key not in again[self._reference]:
            return True
        is_whole = not any(note.part == CASE for note in own.header.notes)
        return not is_whole or judge(again[self._reference][key], own[key]).verdict is not Verdict.IDENTICAL

    def _made_between(self, traces: Mapping[Target, Trace], start: _At) -> Blame | None:
        """What the case does between its operations, where all of them were seen and the finding shows again."""
        key = self._finding.key
        found = next((finding for finding in self._differences(traces) if finding.key == key), None)
        notes = [note for side in (self._target, self._reference) for note in traces[side].header.notes]
        if found is None or any(note.part == CASE for note in notes):
            return None
        suspect = self._called_by_some(traces, CASE)
        if suspect is not None:
            return self._confirmed(suspect, suspect, start)
        finding, sides = self._finding, (self._traces[self._target], self._traces[self._reference])
        text = words.told([words.made_in_the_case(finding.name), records_beside(finding, *sides)])
        blame = Blame(self._who, finding.layer, CASE, None, finding.phase, finding.step, True, text)
        return replace(blame, why_no_script=words.MADE_BY_THE_CASE)

    def _shows(self, at: _At) -> bool:
        """Whether the finding shows again in a replay of the case, or no longer can be seen there."""
        traces, key = self._parts(at, inside=CASE), self._finding.key
        if not all(side in traces and key in traces[side] for side in (self._target, self._reference)):
            return False
        return any(finding.key == key for finding in self._differences(traces))

    def _step(self) -> _At | None:
        """The first training step that differs from equal state. None where no step does."""
        reference = self._traces[self._reference]
        recorded = {entry.step for entry in (*reference.select("update"), *reference.select("optimizer"))}
        agreed = [step for step in recorded if step < self._finding.step]
        after = max((step + 1 for step in agreed), default=0)
        most = max(1, int(MOST_STEPS * self._replays.seconds / DEFAULT_BLAME_SECONDS))
        first = max(after, self._finding.step - most + 1)
        self._skipped = first - after
        traces = self._traces_of(self._replays.steps(first, self._finding.step, self._left()))
        if self._target not in traces or self._reference not in traces:
            return None
        found = self._differences(traces)
        if not found:
            return None
        step = min(finding.step for finding in found)
        given = traces[self._reference]
        rows = _value(given, "initial", step, ROWS)
        state = Start(given.folder, "initial", step)
        return _At(step, Replay(state=state, rows=rows if isinstance(rows, list) else None))

    def _after_training(self) -> _At:
        reference = self._traces[self._reference]
        last = max(entry.step for entry in reference.select("update"))
        state = Start(reference.folder, "update", last, AFTER_FIT)
        if self._finding.phase == "metric":
            return _At(last, Replay(state=state, training=False))  # the first batch that `evaluate` takes
        index = self._finding.judgement.index or (0,)
        return _At(last, Replay(state=state, rows=[index[0] if index else 0], training=False))

    def _parts(self, start: _At, inside: str | None = None) -> Mapping[Target, Trace]:
        """Replay the parts on every target on the reference's values, with the operations of the part `inside`."""
        traces = self._traces_of(self._replays.parts(replace(start.replay, inside=inside), self._left()))
        if inside is None and all(side in traces for side in (self._target, self._reference)):
            ours, theirs = traces[self._target], traces[self._reference]
            seen = [(part_of(entry.name), entry.layer) for entry in ours.select() if entry.key in theirs]
            self._last = next(
                (words.part_named(part.name, layer) for part, layer in reversed(seen) if part), self._last
            )
        return traces

    def _traces_of(self, replayed: Replayed) -> Mapping[Target, Trace]:
        """The traces of a replay. What failed in it is told if no part is found."""
        sides = self._target, self._reference
        self._looked.append(replayed)
        self._failures |= {side: replayed.failures[side] for side in sides if side in replayed.failures}
        if replayed.late is not None and (not replayed.late or not replayed.late.isdisjoint(sides)):
            self._late = (self._late or set()) | (replayed.late & set(sides))
        return replayed.traces

    def _left(self) -> float:
        """Seconds that are left."""
        return self._deadline - self._replays.now()

    def _differences(self, traces: Mapping[Target, Trace]) -> list[Finding]:
        """The differences from the reference that count, in order: divergent ones, and leaks that are about as large.

        Leaks are among them because rounding may hide a fault in the part that makes it, and not in a later part. If
        nothing is divergent, all leaks count.
        """
        found = differences(traces[self._target], traces[self._reference], Verdict.LEAK)
        first = next((finding for finding in found if finding.judgement.verdict >= Verdict.DIVERGENT), None)
        if first is None:
            return found
        size = (first.judgement.d64 or 0.0) / 10
        return [
            finding
            for finding in found
            if finding.judgement.verdict >= Verdict.DIVERGENT or _is_as_large(finding, size)
        ]

    def _first(self, traces: Mapping[Target, Trace], *, operations: bool = False) -> Suspect | None:
        return next(self._suspects(traces, operations=operations), None)

    def _suspects(self, traces: Mapping[Target, Trace], *, operations: bool) -> Iterator[Suspect]:
        """The parts, or the operations, that differ and can have made the finding, in order and each once."""
        if self._target not in traces or self._reference not in traces:
            return
        found = self._differences(traces)
        differing = {
            part.place
            for item in found
            if (part := part_of(item.name)) and (part.what == "output" or item.phase == "gradient")
        }
        seen: set[str] = set()
        for finding in found:
            part = part_of(finding.name)
            if part is None or self._is_given(part, finding) or (operations and not part.operation):
                continue
            # Other arguments that change nothing are no fault, as those by which Keras calls its own backends.
            changes_nothing = part.what == "arguments" and part.operation and part.place not in differing
            if part.place in seen or changes_nothing or not self._feeds(finding, part, traces):
                continue
            # If another target stands alone here than in the finding, this is not the finding's origin.
            alone = _alone(traces, finding)
            if None in (alone, self._who) or alone == self._who:
                seen.add(part.place)
                yield Suspect(finding, part, traces, self._call_of(finding, part, traces))

    def _feeds(self, finding: Finding, part: Part, traces: Mapping[Target, Trace]) -> bool:
        """Whether what differs in a part can have gone into the finding at all."""
        cause, own = finding.judgement.cause, self._finding.judgement.cause
        if isinstance(cause, Unlike) and cause.what == "dtype" and "int" in cause.ours and "int" in cause.theirs:
            # Backends have other integers for seeds, sizes and indices, which no float depends on.
            return isinstance(own, (Unlike, Unequal))
        if part.name == METRICS and part.operation is None and self._finding.phase not in ("log", "metric"):
            return False  # no metric goes into a training
        theirs, key = traces[self._reference], self._finding.key
        places = {entry: position for position, entry in enumerate(theirs.keys)} if key in theirs else {}
        called = str(Key("initial", 0, name_in(part.place, "arguments")))
        if places.get(called, -1) > places.get(key, 0):
            return False  # it was called after the finding was recorded
        return finding.phase != "gradient" or self._follows_gradients(part, traces)

    def _follows_gradients(self, part: Part, traces: Mapping[Target, Trace]) -> bool:
        """Whether gradients are taken before the finding: by training, as which it is recorded, or by the part."""
        finding = self._finding
        later = ("gradient", "update", "optimizer", "log", "metric", "event", "prediction")
        if finding.phase in (later if _is_fit(self._traces[self._reference]) else ("gradient",)):
            return True
        return self._takes_gradients(part.name, traces)

    def _takes_gradients(self, part: str, traces: Mapping[Target, Trace]) -> bool:
        """Whether a part takes gradients itself, on either side, before it records the finding."""
        taken, key = str(Key("gradient", 0, name_in(part, "value", TAKEN))), self._finding.key
        for side in (self._target, self._reference):
            keys = traces[side].keys
            if taken in keys and (key not in keys or keys.index(taken) < keys.index(key)):
                return True
        return False

    def _call_of(self, finding: Finding, part: Part, traces: Mapping[Target, Trace]) -> str | None:
        """How targets call an operation in other ways, in words; None where it is not the call that differs."""
        if part.operation is None or part.what not in ("arguments", "own"):
            return None
        named = by_name(traces)
        if part.what == "arguments":
            groups = calls.apart(named, finding.key, str(self._target), str(self._reference))
            return words.called_with(part.operation, groups)
        if not _is_number(finding, traces):
            return words.given_other_values(part.operation)
        holders = {name: trace for name, trace in named.items() if finding.key in trace}
        numbers = {name: f"{trace[finding.key].array.item():.7g}" for name, trace in holders.items()}
        return words.called_with(part.operation, calls.grouped(numbers))

    def _called_by_some(self, traces: Mapping[Target, Trace], inside: str) -> Suspect | None:
        """The first operation of a part that one of the two sides calls and the other does not, or not as often."""
        sides = self._target, self._reference
        if not all(side in traces for side in sides):
            return None
        if any(note.part == inside for side in sides for note in traces[side].header.notes):
            return None  # not all of them were seen
        ours, theirs = (traces[side] for side in sides)
        for trace, other in ((theirs, ours), (ours, theirs)):
            for entry in trace.select("initial"):
                part = part_of(entry.name)
                is_call = part is not None and part.name == inside and part.operation and part.what == "arguments"
                if part is None or not is_call or entry.key in other:
                    continue
                judgement = Judgement(Verdict.MISMATCH, "exact", cause=Missing(on_target=trace is theirs))
                finding = Finding(entry.key, entry.name, "forward", entry.step, entry.layer, judgement)
                alone = _alone(traces, finding)
                if self._feeds(finding, part, traces) and (None in (alone, self._who) or alone == self._who):
                    having = [str(target) for target, it in traces.items() if entry.key in it]
                    lacking = [str(target) for target, it in traces.items() if entry.key not in it]
                    call = words.called_by(str(part.operation), having, lacking, again=part.number > 0)
                    return Suspect(finding, part, traces, call)
        return None

    def _is_given(self, part: Part, finding: Finding) -> bool:
        """Whether a part was given what differs: as an input, or as a config that differs between versions of Keras."""
        is_input = (part.what == "input" and finding.phase == "forward") or part.what == "upstream"
        return is_input or (part.what == "config" and self._of_two_keras)

    def _unknown(self) -> Blame:
        """That no part was found, what was ruled out and what is left, or that an exception is the finding."""
        finding, cause = self._finding, self._finding.judgement.cause
        if isinstance(cause, Lost):
            return self.told.unconfirmed(words.raised(cause))
        failures = {str(side): why for side, why in self._failures.items()}
        if self._late is not None and not failures:
            return self.told.unconfirmed(words.NOT_KNOWN)
        sides = self._target, self._reference
        return self.told.unconfirmed(nothing_found(finding, sides, self._traces, self._looked, failures))

    def _confirmed(self, suspect: Suspect, inner: Suspect | None, start: _At) -> Blame:
        part, layer = suspect.part, suspect.finding.layer
        alone = _alone(suspect.traces, suspect.finding) or self._who
        decided = None if alone is not None else self._decided(inner or suspect, start)
        alone = alone if decided is None else decided.target
        operation = None if inner is None else inner.part
        owner = layer or (None if inner is None else inner.finding.layer)
        culprits = self.told.culprits(alone)
        place, culprit = culprits.part(part, suspect.finding.name, owner, _output_of(suspect))
        text = words.introduced(
            place,
            part,
            operation,
            call=None if inner is None else inner.call,
            raising=self._raising(inner or suspect),
            in_gradient=(inner or suspect).finding.phase == "gradient",
            heir=None if self._finding.layer == owner else self._finding.layer,
        )
        text += "" if decided is None else f"; {decided.text}"
        # Values that are made before an operation are not its own, and a number is how it is called.
        is_before = inner is not None and inner.part.what == "own" and not _is_number(inner.finding, inner.traces)
        name = None if operation is None or is_before else operation.operation
        about = (alone, owner, part.name, name, self._phase_of(suspect), start.step)
        blame = Blame(*about, confirmed=True, text=text, culprit=culprit, kind=self._kind_of(suspect, inner))
        # An operation that is called in another way is not at fault, so the script has to show what calls it.
        shown = suspect if inner is None or inner.call is not None else inner
        try:
            return replace(blame, repro=self._reproducer(shown, start))
        except NoScriptError as reason:
            return replace(blame, why_no_script=str(reason))

    def _decided(self, suspect: Suspect, start: _At) -> Decided | None:
        """Which of two targets has a wrong gradient, by a finite difference in float64; None where that tells nothing.

        The outputs agree, or they and not the gradient would be the suspect. So both have the same finite difference.
        """
        finding, part = suspect.finding, suspect.part
        sides = self._target, self._reference
        holders = {side for side, trace in suspect.traces.items() if finding.key in trace}
        if finding.phase != "gradient" or holders != set(sides) or finding.judgement.index is None:
            return None
        inside = part.name if part.operation else None
        probing = replace(start.replay, inside=inside, probed=finding.name, index=list(finding.judgement.index))
        traces = self._replays.parts(probing, self._left()).traces
        key = str(Key("gradient", 0, name_in(part.place, "value", DIFFERENCE)))
        twins = [traces[side].twin if side in traces else None for side in sides]
        if any(twin is None or key not in twin or finding.key not in twin for twin in twins):
            return None
        found = [(twin[key].array.item(), twin[finding.key].array[finding.judgement.index]) for twin in twins if twin]
        slope = found[0][0]
        errors = [_relative_error(own, slope) for _, own in found]
        right, wrong = sorted((0, 1), key=lambda side: errors[side])
        if _relative_error(found[1][0], slope) > _SAME or errors[right] > _SAME or errors[wrong] < 10 * _SAME:
            return None
        values = {str(side): float(own) for side, (_, own) in zip(sides, found, strict=True)}
        return Decided(str(sides[wrong]), words.decided(slope, values))

    def _kind_of(self, suspect: Suspect, inner: Suspect | None) -> str:
        """What of a part differs: see `Blame`."""
        if self._raising(inner or suspect) is not None:
            return "raises"
        if suspect.part.what in ("config", "regularizer", "constraint", "state"):
            return suspect.part.what
        is_gradient = (inner or suspect).finding.phase == "gradient" and (inner is None or inner.call is None)
        return "gradient" if is_gradient else "output"

    def _raising(self, suspect: Suspect) -> str | None:
        """The one of the two sides on which a part raised where it has values on the other; None where none did."""
        key = suspect.finding.key
        sides = [side for side in (self._target, self._reference) if key in suspect.traces[side]]
        values = {side: suspect.traces[side][key].value for side in sides}
        raising = [str(side) for side, value in values.items() if isinstance(value, str) and value == RAISED]
        return raising[0] if len(raising) == 1 else None

    def _draws(self, suspect: Suspect, start: _At) -> bool:
        """Whether a part draws random numbers, which each backend takes from its own generator in a script."""
        if suspect.part.operation is not None:
            return suspect.part.operation.startswith("keras.random.")
        traces = self._parts(start, inside=suspect.part.name)
        keys = traces[self._reference].keys if self._reference in traces else []
        return any("/operation " in key and " keras.random." in key for key in keys)

    def _phase_of(self, suspect: Suspect) -> Phase:
        """The phase in which the difference is made. Training may show it first in a later phase."""
        found, made = self._finding.phase, suspect.finding.phase
        is_late = found in ("gradient", "update", "optimizer", "log")
        return made if is_late and made in ("forward", "loss", "gradient", "update", "optimizer") else found

    def _reproducer(self, suspect: Suspect, start: _At) -> str:
        """The path in the run's folder of a script that was run and shows the difference.

        Raises:
            NoScriptError: there is none.
        """
        finding, part = suspect.finding, suspect.part
        if suspect.call is not None:
            if part.name == CASE:
                raise NoScriptError(words.MADE_BY_THE_CASE)
            finding, part = self._output_of(suspect, start)
        if self._draws(replace(suspect, part=part), start):
            raise NoScriptError(words.DRAWS)
        own = self._replays.own(replace(start.replay, inside=part.name if part.operation else None), self._left())
        if own is None:
            raise NoScriptError(words.NOT_RECORDED)
        path = reproducer_of(self._replays, self._target, finding, part, own, self._traces, self._deadline)
        return path.relative_to(self._replays.run).as_posix()

    def _output_of(self, suspect: Suspect, start: _At) -> tuple[Finding, Part]:
        """What a layer returns that calls an operation in another way, judged where the layer is given equal values."""
        name, traces = name_in(suspect.part.name, "output"), self._parts(start)
        key = str(Key("forward", 0, name))
        if not all(side in traces and key in traces[side] for side in (self._target, self._reference)):
            raise NoScriptError(words.NOT_RECORDED)
        judgement = judge(traces[self._target][key], traces[self._reference][key])
        # What the operation changes is seen only where it is followed to the layer's end, which a script does.
        judgement = replace(judgement, d32=None, d64=None)
        return replace(suspect.finding, key=key, name=name, phase="forward", judgement=judgement), Part(
            suspect.part.name, "output"
        )


@dataclass(frozen=True)
class _At:
    """Where parts are replayed: at which training step, and from which values."""

    step: int
    replay: Replay = field(default_factory=Replay)


def _is_as_large(leak: Finding, size: float) -> bool:
    """Whether a leak is at least of that size, and not just noise, as in a value that only rounding keeps from zero."""
    judgement = leak.judgement
    is_noise = (judgement.amplification or 0.0) * U32 > PARTED
    return 0.0 < size <= (judgement.d64 or 0.0) and not is_noise


def _relative_error(value: float, exact: float) -> float:
    error = abs(value - exact) / max(abs(exact), U32)
    return error if np.isfinite(error) else np.inf


def _is_number(finding: Finding, traces: Mapping[Target, Trace]) -> bool:
    entries = [trace.entry(finding.key) for trace in traces.values() if finding.key in trace]
    return all(isinstance(entry, ArrayEntry) and entry.shape == () for entry in entries)


def _output_of(suspect: Suspect) -> str | None:
    """The output whose loss differs, of several; None where that cannot be told.

    A loss is told by its value or, where only gradients differ, by the place of the output among all.
    """
    before = name_in(LOSS, "value")
    named = {
        name: None
        for trace in suspect.traces.values()
        for entry in trace.select("loss", name=before)
        if (name := below(entry.name, before)) is not None
    }
    outputs = list(named)
    own = below(suspect.finding.name, before)
    if own in named:
        return own
    position = below(suspect.finding.name, name_in(LOSS, "input"))
    if (
        suspect.finding.phase == "gradient"
        and position is not None
        and position.isdecimal()
        and int(position) < len(outputs)
    ):
        return outputs[int(position)]
    return None


def _alone(traces: Mapping[Target, Trace], finding: Finding) -> str | None:
    return standing_alone(by_name(traces), finding.key, min(finding.judgement.verdict, Verdict.DIVERGENT))


def _value(trace: Trace, phase: Phase, step: int, name: str) -> Any:
    """What a trace has of a name; None where it has nothing."""
    key = str(Key(phase, step, name))
    return trace[key].value if key in trace else None


def _is_fit(trace: Trace) -> bool:
    return any(trace.select("event", name=CALLBACKS))


def _has_parts(trace: Trace) -> bool:
    """Whether a case returned a Fit or a Forward, whose parts can be replayed."""
    return any(trace.select("forward"))
