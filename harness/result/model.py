"""A run's result as values, which are built once: all that `result.json` holds, and what else the blame needs.

`to_json` of each gives its part of `result.json`, in the shape that `harness.result.schema` describes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.case import Expected, Known
from harness.plain import to_plain
from harness.result import outcome, words
from harness.result.golden import Golden
from harness.result.judgement import Evidence, Judgement, Lost
from harness.result.outcome import Outcome
from harness.result.schema import (
    SCHEMA,
    CaseJson,
    ComparisonJson,
    ContinuationJson,
    FindingJson,
    ResultJson,
    RunJson,
    UnmatchedJson,
    UnrepeatedJson,
    shaped,
)
from harness.trace import Note, Phase, Status
from harness.trace.model import has_failed
from harness.verdict import Verdict
from harness.version import __version__


@dataclass(frozen=True)
class Finding:
    """One observation, and what was judged of it.

    Attributes:
        known: the declaration that covers the difference, if one does.
        evidence: what the difference looks like; of the finding that stands for a comparison only.
    """

    key: str
    name: str
    phase: Phase
    step: int
    layer: str | None
    judgement: Judgement
    known: Expected | None = None
    evidence: Evidence | None = None

    def to_json(self) -> FindingJson:
        cause = self.judgement.cause
        raised = cause.side if isinstance(cause, Lost) else None
        told = {**to_plain(self), **to_plain(self.judgement), "reason": words.reason(self.judgement), "raised": raised}
        return shaped(told, FindingJson)


@dataclass(frozen=True)
class Unrepeated:
    """The first observation, in order of execution, that a target does not repeat, so that it cannot be compared.

    Attributes:
        targets: those whose second run differed from the first as much as the two targets do, or nearly so.
        text: that in words, with what to do.
    """

    key: str
    phase: Phase
    step: int
    layer: str | None
    targets: Sequence[str]
    text: str

    @classmethod
    def of(cls, finding: Finding, targets: Sequence[str]) -> Unrepeated:
        text = words.not_repeating(targets, finding.phase, finding.name)
        return cls(finding.key, finding.phase, finding.step, finding.layer, targets, text)

    def to_json(self) -> UnrepeatedJson:
        return shaped(to_plain(self), UnrepeatedJson)


@dataclass(frozen=True)
class Blame:
    """Whose a difference is, as far as replays could tell.

    Attributes:
        target: the target that stands alone with the difference; None if there were only two targets, or none is alone.
        layer: the layer in which the difference is made, or None.
        part: what was replayed and differs: a layer's call such as `model/dense`, or the loss, the optimizer, ....
        op: the operation in that part, such as `keras.ops.tanh`, or None.
        phase: the phase in which the difference is made, as far as that is known. It may first be seen in a later one.
        step: the training step, counted from 0, on whose state and data it was replayed.
        confirmed: whether the difference showed again on values that were equal on every target.
        text: all this in words.
        repro: the path, relative to the run's folder, of a script that was run and shows the difference, or None.
        why_no_script: why there is no such script, in words; None where there is one.
        culprit: what to open, in words: a layer, loss, metric, callback or step, with its class, file and line if it is
            the user's, such as `layer 'gate' (Gate, cases/net.py:15)`; None if nothing can be named.
        kind: what of that part differs: its `output`, `gradient`, `config`, `regularizer`, `constraint` or `state`, or
            that it `raises`; None where the text alone says it.
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
    culprit: str | None = None
    why_no_script: str | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Continuation:
    """Steps of a training that were run again, each from the reference's state, because free runs had parted.

    Attributes:
        first_step, last_step: counted from 0.
        comparison: of the state and the logs after each of them.
    """

    first_step: int
    last_step: int
    comparison: Comparison

    def to_json(self) -> ContinuationJson:
        return shaped({**self.comparison.to_json(), **vars(self)}, ContinuationJson)


@dataclass(frozen=True)
class Differing:
    """A value that a case recorded by hand, and that differs."""

    name: str
    verdict: Verdict


@dataclass(frozen=True)
class Recorded:
    """The values that a case recorded by hand and that differ for real, undeclared.

    Attributes:
        count: how many there are.
        shown: the first of them.
    """

    count: int
    shown: Sequence[Differing]


@dataclass(frozen=True)
class Comparison:
    """Every observation of a case on one target, held against the reference.

    Attributes:
        target, reference: the two targets, as text.
        verdict: the worst of all observations; None where nothing could be compared.
        unexpected: the worst of the observations that no declaration covers.
        observations: how many were compared.
        not_compared: how many were not, because a run stopped before it reached them, because a target cannot have
            them, because a target does not repeat them, because they vary at random and have no distribution to
            compare, or because free runs had parted before and no longer agree.
        counts: observations by verdict, worst last.
        bases: observations by what their verdict rests on.
        first: the first real difference in order of execution that is not declared or, failing that, the first that
            is or, failing that, the first leak or imprecision.
        known: declarations that cover a difference found here.
        fixed: declarations whose difference is gone.
        blame: whose the first difference is; None if that was not asked, or there is none.
        unrepeated: the first observation that a target does not repeat; None if all that differs repeats itself.
        parted: the first training step after which float32 rounding alone has moved weights by
            `harness.judge.compare.PARTED`, so that free runs say little from there on; None if there is no such step.
        continuation: what was found when training went on from there step by step.
        renamed: variables that differ in name alone: their names on the reference by those on the target.
        one_sided: inner layers that one of the two alone called: which one, by the path of the layer's call.
        flushed: observations with numbers that were compared as 0: see `Judgement.is_flushed`.
        further_runs: the kinds of runs that the findings need to count, and that are not there:
            see `harness.judge.doubt.further_runs`.
        recorded: the values recorded by hand that differ; None if there are none.
    """

    target: str
    reference: str
    verdict: Verdict | None = None
    unexpected: Verdict | None = None
    observations: int = 0
    not_compared: int = 0
    counts: Mapping[Verdict, int] = field(default_factory=dict)
    bases: Mapping[str, int] = field(default_factory=dict)
    first: Finding | None = None
    known: Sequence[Expected] = ()
    fixed: Sequence[Expected] = ()
    blame: Blame | None = None
    unrepeated: Unrepeated | None = None
    parted: int | None = None
    continuation: Continuation | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    one_sided: Mapping[str, str] = field(default_factory=dict)
    flushed: int = 0
    further_runs: frozenset[str] = frozenset()
    recorded: Recorded | None = None

    def is_worth_blaming(self, at_least: Verdict, *, declared: bool) -> bool:
        """Whether a difference as bad as that was found.

        Args:
            declared: whether declared differences count.
        """
        verdict = self.verdict if declared else self.unexpected
        return verdict is not None and verdict >= at_least

    def to_json(self) -> ComparisonJson:
        first = None if self.first is None else self.first.to_json()
        continuation = None if self.continuation is None else self.continuation.to_json()
        unrepeated = None if self.unrepeated is None else self.unrepeated.to_json()
        told = {**to_plain(self), "first": first, "continuation": continuation, "unrepeated": unrepeated}
        return shaped(told, ComparisonJson)


@dataclass(frozen=True)
class TargetRun:
    """One case on one target: how it ended.

    Attributes:
        notes: parts that were not recorded, and why.
        raised: parts that raised, in order, and what they raised.
        disturbed: keys of the observations that are other without instruments, where that was checked.
        inference_only: whether the run is `unavailable` because its backend has no gradients, which is no failure.
        compiled: the compiled calls of a `Forward`, held against the eager ones of the same target.
    """

    target: str
    status: Status
    seconds: float
    trace: str | None
    error: str | None
    environment: Mapping[str, Any]
    notes: Sequence[Note]
    raised: Sequence[Note] = ()
    pictures: Sequence[str] = ()
    disturbed: Sequence[str] = ()
    inference_only: bool = False
    compiled: Comparison | None = None

    @property
    def has_failed(self) -> bool:
        return has_failed(self.status, inference_only=self.inference_only)

    def to_json(self) -> RunJson:
        compiled = None if self.compiled is None else self.compiled.to_json()
        told = {**to_plain(self), "seconds": round(self.seconds, 3), "environment": self.environment}
        told |= {"compiled": compiled}
        return shaped(told, RunJson)


@dataclass(frozen=True)
class CaseResult:
    """One case on every target, and every other target held against the reference.

    Attributes:
        plots: pictures drawn from the traces, relative to the run's folder.
        alone: the one of three targets or more that differs from all others in the first difference, while these agree;
            None if there is no such target.
        tags: words that the case is selected by.
        is_test: whether it is a test that pytest runs, so that no command of the harness runs it again.
    """

    id: str
    outcome: Outcome
    runs: Sequence[TargetRun]
    comparisons: Sequence[Comparison]
    plots: Sequence[str] = ()
    alone: str | None = None
    tags: Sequence[str] = ()
    is_test: bool = False

    @property
    def reference(self) -> str | None:
        """The target that the others are compared with, which is another than the run's where that has failed."""
        return next((comparison.reference for comparison in self.comparisons), None)

    def to_json(self) -> CaseJson:
        runs, comparisons = [run.to_json() for run in self.runs], [item.to_json() for item in self.comparisons]
        told = {**vars(self), "runs": runs, "comparisons": comparisons}
        return shaped({**told, "plots": list(self.plots), "tags": list(self.tags)}, CaseJson)


@dataclass(frozen=True)
class Unfinished:
    """Why a run did not come to its end.

    Attributes:
        reason: what ended it, such as `SIGTERM`.
        left: how many cases were not judged.
    """

    reason: str
    left: int


@dataclass(frozen=True)
class Result:
    """A whole run.

    Attributes:
        fail_on: the mildest verdict that counts as a real difference.
        precision: `both` where the twins ran, else `float32`.
        randomness: `shared`, or `native` where each backend kept its own.
        unmatched: entries of the table of known differences that are about no case of this run.
        golden: what old and new traces were compared; None where targets were compared with one another.
        unfinished: why cases are left that were not judged; None where the run came to its end.
    """

    reference: str
    targets: Sequence[str]
    precision: str
    fail_on: Verdict
    randomness: str = "shared"
    cases: Sequence[CaseResult] = ()
    unmatched: Sequence[Known] = ()
    golden: Golden | None = None
    unfinished: Unfinished | None = None

    @property
    def exit_status(self) -> int:
        return self._exit_status(case.outcome for case in self.cases)

    def _exit_status(self, outcomes: Iterable[Outcome]) -> int:
        return outcome.exit_status(outcomes, is_unfinished=self.unfinished is not None)

    def to_json(self) -> ResultJson:
        return self.assembled([case.to_json() for case in self.cases])

    def assembled(self, cases: Sequence[CaseJson]) -> ResultJson:
        """The result with cases that were judged elsewhere, and are JSON by now, in place of its own."""
        told = {
            **vars(self),
            "schema": SCHEMA,
            "harness": __version__,
            "targets": list(self.targets),
            "fail_on": str(self.fail_on),
            "exit_status": self._exit_status(case["outcome"] for case in cases),
            "cases": list(cases),
            "unmatched": [shaped(to_plain(entry), UnmatchedJson) for entry in self.unmatched],
            "golden": to_plain(self.golden),
            "unfinished": to_plain(self.unfinished),
        }
        return shaped(told, ResultJson)
