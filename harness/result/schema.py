"""The shape of `result.json`, as types for whoever reads one, and the check that data has it.

More keys are welcome everywhere. Keys that are `NotRequired` were added later: results without them stay readable.
"""

# Without `from __future__ import annotations`, in whose texts TypedDict does not see what is NotRequired.

import types
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from harness.trace import Phase, Status

Outcome = Literal["agree", "differ", "error", "known"]
VerdictName = Literal["identical", "rounding", "leak", "imprecise", "divergent", "mismatch"]


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
    d32: float | None
    d64: float | None
    amplification: float | None
    bound: float | None
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
    nondeterministic: list[str]


class ContinuationJson(TypedDict):
    first_step: int
    last_step: int
    verdict: VerdictName | None
    unexpected: NotRequired[VerdictName | None]
    observations: int
    first: FindingJson | None


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


class RunJson(TypedDict):
    target: str
    status: Status
    inference_only: NotRequired[bool]
    seconds: float
    trace: str | None
    error: str | None
    environment: dict[str, Any]
    notes: list[NoteJson]
    pictures: list[str]
    disturbed: list[str]


class CaseJson(TypedDict):
    id: str
    outcome: Outcome
    tags: NotRequired[list[str]]
    runs: list[RunJson]
    comparisons: list[ComparisonJson]
    plots: list[str]
    alone: str | None


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


def check(value: Any, kind: Any, where: str = "it") -> None:
    """Check that data, as JSON has it, is of a type.

    Args:
        kind: a class, a `TypedDict`, or a `list`, `dict`, `Literal` or union of such.
        where: what the data is, for the message.

    Raises:
        ValueError: it is not.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return
    if is_typeddict(kind):
        _check_members(value, kind, where)
    elif origin in (types.UnionType, Union):
        _check_union(value, arguments, where)
    elif origin is Literal:
        _require(type(value) is str and value in arguments, value, f"one of {', '.join(arguments)}", where)
    elif origin is list:
        _require(type(value) is list, value, "a list", where)
        for position, item in enumerate(value):
            check(item, arguments[0], f"{where}[{position}]")
    elif origin is dict or kind is dict:
        _require(type(value) is dict, value, "an object", where)
        for key, item in value.items():
            check(item, arguments[1], f"{where}.{key}")
    else:
        allowed = (int, float) if kind is float else (kind,)
        _require(type(value) in allowed, value, kind.__name__, where)  # a bool is no int


def _check_members(value: Any, kind: Any, where: str) -> None:
    _require(type(value) is dict, value, "an object", where)
    for name, member in _members(kind).items():
        if name in value:
            check(value[name], member, f"{where}.{name}")
        elif name in kind.__required_keys__:
            raise ValueError(f"{where} has no {name!r}")


def _members(kind: Any) -> Mapping[str, Any]:
    if kind not in _MEMBERS:
        _MEMBERS[kind] = get_type_hints(kind)
    return _MEMBERS[kind]


#: Resolving annotations takes far longer than checking them.
_MEMBERS: dict[Any, Mapping[str, Any]] = {}


def _check_union(value: Any, kinds: tuple[Any, ...], where: str) -> None:
    if value is None and type(None) in kinds:
        return
    (kind,) = [kind for kind in kinds if kind is not type(None)]
    check(value, kind, where)


def _require(is_right: bool, value: Any, wanted: str, where: str) -> None:
    if not is_right:
        shown = repr(value)
        raise ValueError(f"{where} is {shown if len(shown) <= 60 else shown[:57] + '...'}, which is not {wanted}")
