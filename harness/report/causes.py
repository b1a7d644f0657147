"""What is found, grouped by cause: differences of one culprit are one finding, on however many targets and cases.

Every report lays out these groups: see `harness.report.blocks`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from harness.report import words
from harness.result.schema import BlameJson, CaseJson, ComparisonJson, FindingJson, ResultJson, RunJson
from harness.trace import COMPILED
from harness.trace.parts import PREDICT_STEP, TEST_STEP, TRAIN_STEP
from harness.verdict import Verdict, VerdictName

#: The name of one layer, loss or metric in the words for a culprit, where its class is the user's, with file and line.
_NAME = re.compile(r"'[^']*' (?=\(.*:\d+\)$)")


@dataclass(frozen=True)
class Difference:
    """The first difference of a comparison.

    Attributes:
        of: the run whose compiled calls are held against its own eager ones; None where targets are compared.
    """

    case: CaseJson
    comparison: ComparisonJson
    first: FindingJson
    of: RunJson | None = None

    @property
    def target(self) -> str:
        return self.comparison["target"] if self.of is None else self.of["target"]

    @property
    def side(self) -> str | None:
        """The side at fault; None where nobody can tell."""
        return words.side_at_fault(self.case, self.comparison) if self.of is None else self.of["target"]


@dataclass(frozen=True)
class Cause:
    """Differences with one cause.

    Attributes:
        differences: at least one. The first is the one that is told.
        verdict: the worst of their comparisons.
        blame: what is known of the cause; None if nothing is.
    """

    differences: Sequence[Difference]
    verdict: VerdictName
    blame: BlameJson | None

    @classmethod
    def of(cls, result: ResultJson, *differences: Difference) -> Cause:
        """The cause of some differences. The one of which most is known is told."""
        known = [blame for item in differences if (blame := item.comparison["blame"]) is not None]
        blame = next((blame for blame in known if words.place(blame) is not None), next(iter(known), None))
        first = next((item for item in differences if item.comparison["blame"] is blame), differences[0])
        verdicts = [name for item in differences if (name := words.verdict_of(result, item.comparison)) is not None]
        worst = max(verdicts, key=Verdict.parse, default=first.first["verdict"])
        return cls([first, *(item for item in differences if item is not first)], worst, blame)

    @property
    def told(self) -> Difference:
        return self.differences[0]

    @property
    def side(self) -> str | None:
        return self.told.side

    @property
    def cases(self) -> list[str]:
        """The ids of the cases that have it."""
        return list(dict.fromkeys(item.case["id"] for item in self.differences))

    @property
    def targets(self) -> list[str]:
        """The targets on which it shows."""
        return list(dict.fromkeys(item.target for item in self.differences))


def causes(result: ResultJson, cases: Sequence[CaseJson], at_least: Verdict) -> list[Cause]:
    """The causes of all differences of some cases that are so bad and not declared, in the order of the cases."""
    grouped: dict[Hashable, list[Difference]] = {}
    for number, case in enumerate(cases):
        apart: dict[Hashable, list[Difference]] = {}
        for item in _differences(result, case, at_least):
            apart.setdefault(_shared(result, item) or (item.target, item.of is None), []).append(item)
        for name, items in apart.items():
            culprits = [culprit for item in items if (culprit := _culprit(item)) is not None]
            grouped.setdefault(culprits[0] if culprits else (number, name), []).extend(items)
    return [Cause.of(result, *items) for items in grouped.values()]


def _differences(result: ResultJson, case: CaseJson, at_least: Verdict) -> Iterator[Difference]:
    for run in case["runs"]:
        calls = run.get("compiled")
        if calls is not None and calls["first"] is not None and words.is_bad(calls["verdict"], at_least):
            yield Difference(case, calls, calls["first"], run)
    for comparison in case["comparisons"]:
        is_known = words.outcome_on(result, case, comparison["target"]) == "known"
        if comparison["first"] is not None and words.is_bad(comparison["verdict"], at_least) and not is_known:
            yield Difference(case, comparison, comparison["first"])


def _shared(result: ResultJson, item: Difference) -> Hashable:
    """What comparisons of a case that show one difference have in common; None for one that stands by itself."""
    blame, key = item.comparison["blame"], item.first["key"]
    if item.of is None and item.side == item.comparison["reference"]:
        return item.side, key  # whatever the search found for each of the others
    if result.get("golden") and blame is not None and blame["target"] is None:
        return blame["text"], key  # targets that moved alike, each against what it was
    return None


def _culprit(item: Difference) -> Hashable:
    """What two differences have in common that have one culprit; None where none is known."""
    blame = item.comparison["blame"]
    if blame is None:
        return None
    if blame["part"] in (COMPILED, TRAIN_STEP, TEST_STEP, PREDICT_STEP):
        return blame["part"], blame["text"]  # there is more than one thing that it may do otherwise
    kind = blame.get("kind") or ("gradient" if blame["phase"] == "gradient" else "output")
    sort = "output" if kind == "config" else kind  # what is configured otherwise computes something else
    named = words.place(blame)
    # Without a layer, an operation or a class that has it, such as the data of a case, it is another one in each case.
    is_same_elsewhere = blame["layer"] or blame["op"] or (named or "").endswith(")")
    if named is None or not is_same_elsewhere:
        return None
    return item.side, sort, _NAME.sub("", named), blame["op"]
