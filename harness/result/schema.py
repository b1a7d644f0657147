"""The shape of `result.json`, as types for whoever reads one.

More keys are welcome everywhere. Keys that are `NotRequired` were added later: results without them stay readable.
"""

# Without `from __future__ import annotations`, in whose texts TypedDict does not see what is NotRequired.

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, TypeVar, cast

from harness.result.outcome import Outcome
from harness.trace import Phase, Status
from harness.verdict import VerdictName

SCHEMA = 1

T = TypeVar("T")


def shaped(told: Mapping[str, Any], kind: type[T]) -> T:
    """The keys of a type of this module, in its order, of data that may have more."""
    return cast(T, {key: told[key] for key in kind.__annotations__})


class NoteJson(TypedDict):
    part: str
    reason: str


class ExpectedJson(TypedDict):
    verdict: str
    reason: str
    where: str
    link: str | None
    keras: NotRequired[str]


class EvidenceJson(TypedDict):
    ours: float | None
    theirs: float | None
    precision: str
    atol: float | None
    rtol: float | None
    spread: str


class FindingJson(TypedDict):
    key: str
    phase: Phase
    step: int
    layer: str | None
    verdict: VerdictName
    basis: str
    reason: str
    raised: NotRequired[str | None]
    d32: float | None
    d64: float | None
    amplification: float | None
    bound: float | None
    explained: NotRequired[float | None]
    index: list[int] | None
    evidence: EvidenceJson | None


class BlameJson(TypedDict):
    target: str | None
    layer: str | None
    part: str | None
    op: str | None
    phase: str
    step: int
    confirmed: bool
    text: str
    repro: str | None
    culprit: NotRequired[str | None]
    why_no_script: NotRequired[str | None]
    kind: NotRequired[str | None]
    nondeterministic: NotRequired[list[str]]


class ContinuationJson(TypedDict):
    first_step: int
    last_step: int
    verdict: VerdictName | None
    unexpected: NotRequired[VerdictName | None]
    observations: int
    first: FindingJson | None


class UnrepeatedJson(TypedDict):
    key: str
    phase: str
    step: int
    layer: str | None
    targets: list[str]
    text: str


class DifferingJson(TypedDict):
    name: str
    verdict: VerdictName


class RecordedJson(TypedDict):
    count: int
    shown: list[DifferingJson]


class ComparisonJson(TypedDict):
    target: str
    reference: str
    verdict: VerdictName | None
    unexpected: NotRequired[VerdictName | None]
    observations: int
    not_compared: int
    counts: dict[str, int]
    bases: dict[str, int]
    known: list[ExpectedJson]
    fixed: list[ExpectedJson]
    first: FindingJson | None
    blame: BlameJson | None
    continuation: ContinuationJson | None
    unrepeated: NotRequired[UnrepeatedJson | None]
    renamed: NotRequired[dict[str, str]]
    one_sided: NotRequired[dict[str, str]]
    flushed: NotRequired[int]
    recorded: NotRequired[RecordedJson | None]


class RunJson(TypedDict):
    target: str
    status: Status
    inference_only: NotRequired[bool]
    seconds: float
    trace: str | None
    error: str | None
    environment: dict[str, Any]
    notes: list[NoteJson]
    raised: NotRequired[list[NoteJson]]
    pictures: list[str]
    disturbed: list[str]
    compiled: NotRequired[ComparisonJson | None]


class CaseJson(TypedDict):
    id: str
    outcome: Outcome
    tags: NotRequired[list[str]]
    runs: list[RunJson]
    comparisons: list[ComparisonJson]
    plots: list[str]
    alone: str | None
    is_test: NotRequired[bool]


class UnmatchedJson(TypedDict):
    case: str
    target: str


class ChangeJson(TypedDict):
    what: str
    old: str
    new: str
    targets: list[str]


class GoldenJson(TypedDict):
    old: str
    new: str
    changed: list[ChangeJson]
    edited: list[str]


class UnfinishedJson(TypedDict):
    reason: str
    left: int


class ResultJson(TypedDict):
    schema: int
    harness: str
    reference: str
    targets: list[str]
    precision: str
    randomness: str
    fail_on: VerdictName
    exit_status: int
    cases: list[CaseJson]
    unmatched: list[UnmatchedJson]
    golden: NotRequired[GoldenJson | None]
    unfinished: NotRequired[UnfinishedJson | None]
