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

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.blame.replays import Replays
from harness.blame.reproducer import reproducer_of
from harness.case import CaseRef
from harness.judge.case import outcome_of
from harness.judge.compare import PARTED, compare, differences
from harness.judge.verdict import U32, judge
from harness.judge.vote import standing_alone
from harness.result import words
from harness.result.model import Blame, CaseResult, Comparison, Continuation, Finding
from harness.session.session import Session
from harness.target import Target
from harness.trace import Key, Phase, Trace
from harness.trace.key import AFTER_FIT, DATA, ROWS, below
from harness.trace.parts import CASE, Part, part_of
from harness.verdict import Verdict
from harness.wire import Replay, Start

#: Seconds for blaming one finding, without the last run of its script. The blame then says what is known so far.
BUDGET = 180.0
#: The most training steps that are run again for one finding: the last ones up to it.
MOST_STEPS = 40
#: The most training steps of a continuation, which begins where free runs parted.
MOST_CONTINUED = 200


@dataclass(frozen=True)
class Suspect:
    """A part, or an operation in it, that differs on equal values."""

    finding: Finding
    part: Part
    traces: Mapping[Target, Trace]


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

    def examine(self, case: CaseRef, seen: CaseResult, targets: Sequence[Target]) -> CaseResult:
        """The result of a case with continuations of its trainings, and a blame for each difference.

        Args:
            targets: those on which the case was run, the reference among them.
        """
        replays = Replays(self._session, case, targets)
        traces = {target: Trace(self._session.place_of(case.id, target)) for target in targets}
        comparisons = [
            replace(comparison, continuation=self._continuation(replays, comparison, traces))
            for comparison in seen.comparisons
        ]
        for position, comparison in enumerate(comparisons):
            if self._blame_from is not None and comparison.is_worth_blaming(self._blame_from, declared=self._declared):
                self._session.listener.blaming(case.id, comparison.target)
                comparisons[position] = replace(comparison, blame=self._blame(replays, comparison, traces))
        outcome = outcome_of(seen.runs, comparisons, self._session.setup.fail_on)
        return replace(seen, comparisons=comparisons, outcome=outcome)

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
        if comparison.parted is None:
            return None
        target = _target_of(comparison, traces)
        recorded = [entry.step for entry in traces[replays.reference].select("log")]
        first = comparison.parted
        last = min(max(recorded, default=0), first + MOST_CONTINUED - 1)
        followed = replays.steps(first, last, BUDGET)
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
    """

    def __init__(self, replays: Replays, target: Target, finding: Finding, traces: Mapping[Target, Trace]) -> None:
        self._replays = replays
        self._reference = replays.reference
        self._target = target
        self._finding = finding
        self._traces = traces
        self._deadline = time.monotonic() + BUDGET
        self._who = _alone(traces, finding)
        versions = [traces[side].header.environment.get("versions", {}) for side in (target, self._reference)]
        self._of_two_keras = versions[0].get("keras") != versions[1].get("keras")

    def blame(self) -> Blame:
        finding = self._finding
        restless = self._not_repeating()
        if restless:
            blame = self._unconfirmed(words.not_repeating(restless))
            return replace(blame, target=None, nondeterministic=tuple(restless))
        if finding.phase == "initial" and below(finding.name, DATA) is not None:
            return self._unconfirmed(words.DATA_DIFFER)
        if finding.phase == "event":
            sides = [(str(side), self._traces[side]) for side in (self._target, self._reference)]
            values = [(name, trace[finding.key].value if finding.key in trace else None) for name, trace in sides]
            return self._unconfirmed(words.events_differ(finding.name, values))
        suspect, step = self._suspect()
        if suspect is None:
            return self._unconfirmed(words.nothing_differs(finding.phase))
        inner = suspect if suspect.part.operation else self._operation_in(suspect, step)
        return self._confirmed(suspect, inner, step)

    def _not_repeating(self) -> list[str]:
        """Those of the two targets whose second run differs from the first, by a tenth of the finding or more."""
        key, judgement = self._finding.key, self._finding.judgement
        size = max(judgement.d32 or 0.0, judgement.d64 or 0.0)
        restless = []
        for target, again in self._replays.again([self._reference, self._target], self._left()).items():
            first = self._traces[target]
            if key in first and key in again:
                own = judge(again[key], first[key])
                if own.verdict is not Verdict.IDENTICAL and (own.d32 is None or own.d32 >= size / 10):
                    restless.append(str(target))
        return restless

    def _suspect(self) -> tuple[Suspect | None, _At]:
        """The first part that differs on equal values, and where it was replayed."""
        finding, reference = self._finding, self._traces[self._reference]
        start = _At(0)
        if finding.phase in ("initial", "recorded") or not _has_parts(reference):
            return self._first(self._parts(start, inside=CASE)), start
        if finding.phase in ("prediction", "metric") and _is_fit(reference):
            return self._first(self._parts(self._after_training())), self._after_training()
        if _is_fit(reference):
            rows = _value(reference, "initial", 0, ROWS)
            state = Start(reference.folder, "initial", 0)
            start = _At(0, Replay(state=state, rows=rows if isinstance(rows, list) else None))
            if finding.phase in ("update", "optimizer", "log"):
                found = self._step()
                if found is None:
                    return None, start
                start = found
        suspect = self._first(self._parts(start))
        if suspect is None and not _is_fit(reference):
            suspect = self._first(self._parts(start, inside=CASE))
        return suspect, start

    def _operation_in(self, suspect: Suspect, start: _At) -> Suspect | None:
        return self._first(self._parts(start, inside=suspect.part.name), operations=True)

    def _step(self) -> _At | None:
        """The first training step that differs from equal state. None where no step does."""
        reference = self._traces[self._reference]
        recorded = {entry.step for entry in (*reference.select("update"), *reference.select("optimizer"))}
        agreed = [step for step in recorded if step < self._finding.step]
        first = max([step + 1 for step in agreed] + [0, self._finding.step - MOST_STEPS + 1])
        traces = self._replays.steps(first, self._finding.step, self._left()) if self._left() > 1 else {}
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
        index = self._finding.judgement.index or (0,)
        row = index[0] if index and self._finding.phase == "prediction" else 0
        return _At(last, Replay(state=state, rows=[row], training=False))

    def _parts(self, start: _At, inside: str | None = None) -> Mapping[Target, Trace]:
        """Replay the parts on every target on the reference's values, with the operations of the part `inside`."""
        return self._replays.parts(replace(start.replay, inside=inside), self._left())

    def _left(self) -> float:
        """Seconds that are left."""
        return self._deadline - time.monotonic()

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
        if self._target not in traces or self._reference not in traces:
            return None
        for finding in self._differences(traces):
            part = part_of(finding.name)
            if part is None or self._is_given(part, finding) or (operations and not part.operation):
                continue
            # If another target stands alone here than in the finding, this is not the finding's origin.
            alone = _alone(traces, finding)
            if None in (alone, self._who) or alone == self._who:
                return Suspect(finding, part, traces)
        return None

    def _is_given(self, part: Part, finding: Finding) -> bool:
        """Whether a part was given what differs: as an input, or as a config that differs between versions of Keras."""
        is_input = part.what == "input" and finding.phase == "forward"
        return is_input or (part.what == "config" and self._of_two_keras)

    def _unconfirmed(self, text: str) -> Blame:
        finding = self._finding
        return Blame(self._who, finding.layer, None, None, finding.phase, finding.step, False, text)

    def _confirmed(self, suspect: Suspect, inner: Suspect | None, start: _At) -> Blame:
        part, layer = suspect.part, suspect.finding.layer
        alone = _alone(suspect.traces, suspect.finding) or self._who
        operation = None if inner is None else inner.part
        culprit = layer or (None if inner is None else inner.finding.layer)
        text = words.introduced(
            part,
            layer,
            operation,
            in_gradient=suspect.finding.phase == "gradient",
            heir=None if self._finding.layer == culprit else self._finding.layer,
        )
        name = None if operation is None else operation.operation
        blame = Blame(alone, culprit, part.name, name, self._phase_of(suspect), start.step, True, text)
        return replace(blame, repro=self._reproducer(inner or suspect))

    def _phase_of(self, suspect: Suspect) -> Phase:
        """The phase in which the difference is made. Training may show it first in a later phase."""
        found, made = self._finding.phase, suspect.finding.phase
        is_late = found in ("gradient", "update", "optimizer", "log")
        return made if is_late and made in ("forward", "loss", "gradient", "update", "optimizer") else found

    def _reproducer(self, suspect: Suspect) -> str | None:
        """The path in the run's folder of a script that was run and shows the difference; None if there is none."""
        replayed = suspect.traces[self._reference]
        path = reproducer_of(
            self._replays, self._target, suspect.finding, suspect.part, replayed, self._traces, self._deadline
        )
        return None if path is None else path.relative_to(self._replays.run).as_posix()


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


def _alone(traces: Mapping[Target, Trace], finding: Finding) -> str | None:
    by_name = {str(target): trace for target, trace in traces.items()}
    return standing_alone(by_name, finding.key, min(finding.judgement.verdict, Verdict.DIVERGENT))


def _value(trace: Trace, phase: Phase, step: int, name: str) -> Any:
    """What a trace has of a name; None where it has nothing."""
    key = str(Key(phase, step, name))
    return trace[key].value if key in trace else None


def _is_fit(trace: Trace) -> bool:
    return any(trace.select("event"))


def _has_parts(trace: Trace) -> bool:
    """Whether a case returned a Fit or a Forward, whose parts can be replayed."""
    return any(trace.select("forward"))
