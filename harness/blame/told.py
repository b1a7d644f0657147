"""What a finding tells of its origin by itself, with the traces of its case: nothing is replayed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.blame import clues
from harness.blame.reproducer import differ_in_options
from harness.judge.compare import differences
from harness.result import words
from harness.result.culprits import Culprits
from harness.result.judgement import Reordered, Unlike
from harness.result.model import Blame, Finding
from harness.target import Target
from harness.trace import Trace
from harness.trace.key import AS_PROMISED, BEGINS, CALLBACK, CALLBACKS, DATA, GENERATOR, below
from harness.trace.parts import part_of
from harness.verdict import Verdict


class Told:
    """A finding, and what can be said of it without a replay.

    Args:
        target: the one that differs from the reference.
        traces: of the case, by target.
        who: the target that alone differs; None if there is none.
    """

    def __init__(
        self, finding: Finding, target: Target, reference: Target, traces: Mapping[Target, Trace], who: str | None
    ) -> None:
        self._finding = finding
        self._target, self._reference = target, reference
        self._traces = traces
        self._who = who

    def at_once(self) -> Blame | None:
        """The blame for a finding that tells by itself whose it is; None where something has to be replayed."""
        finding = self._finding
        if finding.phase == "initial" and below(finding.name, DATA) is not None:
            cause = finding.judgement.cause
            is_dtype = isinstance(cause, Unlike) and cause.item == "dtype" and cause.is_all
            return self.unconfirmed(words.DTYPES_OF_DATA_DIFFER) if is_dtype else None
        if isinstance(finding.judgement.cause, Reordered):
            return self.unconfirmed(words.ORDER_DIFFERS)
        if finding.phase == "event":
            return None if below(finding.name, DATA) is not None else self._of_event()
        if finding.phase == "metric" and f"{BEGINS}/" in finding.name:
            return self._left_in_metric()
        return self._by_callback() if finding.name.rpartition("/")[2] == "learning_rate" else None

    def in_the_end(self) -> Blame | None:
        """The blame where no part that was replayed differs; None if the traces of the case tell nothing more."""
        return self._given_otherwise() or self._by_callback() or self._only_metric()

    def unconfirmed(self, text: str, culprit: str | None = None) -> Blame:
        finding = self._finding
        about = (self._who, finding.layer, None, None, finding.phase, finding.step)
        is_of_options = differ_in_options(self._reference, self._target)
        why = words.OPTIONS_ALONE if is_of_options else words.NO_PART_DIFFERS
        return Blame(*about, confirmed=False, text=text, culprit=culprit, why_no_script=why)

    def _given_otherwise(self) -> Blame | None:
        """The input that the case gives to what it calls, if it is that which differs."""
        finding = self._finding
        part = part_of(finding.name)
        if finding.phase != "forward" or part is None or part.what != "input" or "/" in part.name:
            return None
        found = clues.rows(by_name(self._traces), finding.key, str(self._target), str(self._reference))
        what = words.input_of(self.culprits().layer(finding.layer or part.name))
        told = (
            None if found is None else words.rows_differ(what, None, found.rows, found.count, found.index, found.sides)
        )
        return self.unconfirmed(told or words.given_otherwise(what), what)

    def _of_event(self) -> Blame:
        """Of callbacks, or the backend's own random function."""
        finding = self._finding
        if below(finding.name, CALLBACK) is not None:
            return self._changed_by_callback(finding.key, finding.name)
        is_list = finding.name == CALLBACKS
        sides = list(self._traces) if is_list else [self._target, self._reference]
        traces = [(str(side), self._traces[side]) for side in sides]
        values = [(name, trace[finding.key].value if finding.key in trace else None) for name, trace in traces]
        culprit = words.THE_CALLBACKS if is_list else None
        blame = self.unconfirmed(words.events_differ(finding.name, values), culprit)
        return blame if below(finding.name, GENERATOR) is None else replace(blame, target=self._breaking(finding.key))

    def _breaking(self, key: str) -> str | None:
        """The one target whose own random function breaks its promise; None if several do."""
        breaking = [
            str(side) for side, trace in self._traces.items() if key in trace and trace[key].value != AS_PROMISED
        ]
        return breaking[0] if len(breaking) == 1 else None

    def _changed_by_callback(self, key: str, name: str) -> Blame:
        """What a callback changes on each target, in the hook that an event is of."""
        callback, _, when = str(below(name, CALLBACK)).rpartition("/")
        found = clues.changes(by_name(self._traces), key)
        hook, culprits = next((change.more.hook for change in found if change.more), None), self.culprits()
        sides = [(change.what, change.rate, change.targets) for change in found]
        text = words.changed_by(culprits.hook(callback, hook, quoted=True), when, sides)
        return self.unconfirmed(text, culprits.hook(callback, hook))

    def _left_in_metric(self) -> Blame:
        """The metric whose state differs when something begins that it was reset for."""
        finding, culprits = self._finding, self.culprits()
        when, _, state = finding.name.partition(f"{BEGINS}/")
        metric = culprits.metric_in(state) or state.rpartition("/")[0]
        index = finding.judgement.index or ()
        sides = clues.values(by_name(self._traces), finding.key, index)
        own = culprits.method("reset_metrics")
        called = culprits.metric_class(metric)
        text = words.left_in_metric(called, state.rpartition("/")[2], index, f"{when}{BEGINS}", sides, own)
        return self.unconfirmed(text, culprits.metric(metric))

    def _only_metric(self) -> Blame | None:
        """The metric that alone differs in the logs of a step, or in an evaluation; None where more does, or none."""
        finding = self._finding
        if finding.phase not in ("log", "metric"):
            return None
        outer, _, name = finding.name.rpartition("/")
        metric = self.culprits().metric_in(name)
        if metric is None or name.rpartition("_")[2] == "loss":
            return None
        sides = self._traces[self._target], self._traces[self._reference]
        found = differences(*sides, Verdict.DIVERGENT)
        beside = [other for other in found if other.step == finding.step and other.name.rpartition("/")[0] == outer]
        is_alone = all(self.culprits().metric_in(other.name.rpartition("/")[2]) == metric for other in beside)
        if not is_alone or any(other.phase in ("update", "optimizer", "prediction") for other in found):
            return None
        told = clues.values(by_name(self._traces), finding.key, finding.judgement.index)
        culprits = self.culprits()
        return self.unconfirmed(
            words.only_metric(culprits.metric_class(metric), f"`{name}`", told), culprits.metric(metric)
        )

    def _by_callback(self) -> Blame | None:
        """The callback that sets another learning rate, where that goes before the finding."""
        sides = self._traces[self._target], self._traces[self._reference]
        if self._finding.phase not in ("update", "optimizer", "log"):
            return None
        key = clues.changed_otherwise(*sides, self._finding.step)
        return None if key is None else self._changed_by_callback(key, sides[1].entry(key).name)

    def culprits(self, alone: str | None = None) -> Culprits:
        """What there is to open: as the target has it that stands alone or, failing that, the reference."""
        traces = by_name(self._traces)
        first = traces.get(alone or self._who or "")
        sides = [*([] if first is None else [first]), self._traces[self._reference], self._traces[self._target]]
        return Culprits(*(trace.header.places for trace in sides))


def by_name(traces: Mapping[Target, Trace]) -> dict[str, Trace]:
    """Traces by the names of their targets."""
    return {str(target): trace for target, trace in traces.items()}
