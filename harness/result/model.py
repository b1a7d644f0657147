"""A run's result: what `result.json` holds, and the exit status that follows from it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from harness.errors import TraceError
from harness.judge.compare import Comparison, Continuation, Finding, compare, disturbed_by_instruments, standing_alone
from harness.judge.verdict import Evidence, Verdict
from harness.plain import from_plain
from harness.project.known import Known
from harness.result.schema import CaseJson, Outcome, ResultJson
from harness.trace import PICTURES, Note, Status, Trace, parse_json
from harness.version import __version__

SCHEMA = 1
FILE = "result.json"
PLOTS = "plots"

#: Exit status of the command line.
AGREE, DIFFER, WRONG_CALL, FAILED = 0, 1, 2, 3


@dataclass
class TargetRun:
    """One case on one target: how it ended.

    `disturbed` has what the instruments changed, where that was checked: observations that are other without them.
    `inference_only` says that it is `unavailable` because its backend has no gradients, which is no failure.
    """

    target: str
    status: Status
    seconds: float
    trace: str | None
    error: str | None
    environment: dict[str, Any]
    notes: list[Note]
    pictures: list[str] = field(default_factory=list)
    disturbed: list[str] = field(default_factory=list)
    inference_only: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether it did not end as its target lets it."""
        return self.status != "ok" and not self.inference_only


@dataclass
class CaseResult:
    """One case on every target, and every other target held against the reference.

    Attributes:
        plots: pictures drawn from the traces, relative to the run's folder.
        alone: where three targets or more ran, the one that differs from all others in the first difference, while
            these agree.
        tags: words that the case is selected by.
    """

    id: str
    outcome: Outcome
    runs: list[TargetRun]
    comparisons: list[Comparison]
    plots: list[str] = field(default_factory=list)
    alone: str | None = None
    tags: list[str] = field(default_factory=list)

    def to_json(self) -> CaseJson:
        case: Any = {
            "id": self.id,
            "outcome": self.outcome,
            "tags": self.tags,
            "runs": [
                {
                    "target": run.target,
                    "status": run.status,
                    "inference_only": run.inference_only,
                    "seconds": round(run.seconds, 3),
                    "trace": run.trace,
                    "error": run.error,
                    "environment": run.environment,
                    "notes": [{"part": note.part, "reason": note.reason} for note in run.notes],
                    "pictures": run.pictures,
                    "disturbed": run.disturbed,
                }
                for run in self.runs
            ],
            "comparisons": [_comparison_to_json(comparison) for comparison in self.comparisons],
            "plots": self.plots,
            "alone": self.alone,
        }
        return cast(CaseJson, case)

    def worth_blaming(self, at_least: Verdict, *, declared: bool) -> list[Comparison]:
        """The comparisons that found a difference as bad as that or worse; `declared` ones too, or only others."""
        verdicts = [item.verdict if declared else item.unexpected for item in self.comparisons]
        pairs = zip(self.comparisons, verdicts, strict=True)
        return [item for item, verdict in pairs if verdict is not None and verdict >= at_least]


#: What a golden comparison has as its reference: for each target its own old traces.
OLD = "old"


def former(target: str) -> str:
    """What the old run of a target is called in a golden comparison."""
    return f"{target} ({OLD})"


@dataclass(frozen=True)
class Change:
    """Something that the traces of some targets were made with, which is not what it was: a version, or a setting.

    Attributes:
        what: such as `keras`, `python`, or `float32_matmul_precision`.
        old, new: as text.
    """

    what: str
    old: str
    new: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Golden:
    """What a comparison of old and new traces of the same targets is between.

    Attributes:
        old, new: the folders, as the caller named them.
        changed: what the traces were made with that changed, in the order of the traces.
        edited: the cases whose file is not what it was.
    """

    old: str
    new: str
    changed: tuple[Change, ...]
    edited: tuple[str, ...]


@dataclass
class Result:
    """A whole run.

    Attributes:
        fail_on: the mildest verdict that counts as a real difference.
        precision: `both` where the twins ran, else `float32`.
        randomness: `shared`, or `native` where each backend kept its own.
        unmatched: entries of the table of known differences that speak of no case here.
        golden: what old and new traces were compared; None where targets were compared with one another.
    """

    reference: str
    targets: list[str]
    precision: str
    fail_on: Verdict
    randomness: str = "shared"
    cases: list[CaseResult] = field(default_factory=list)
    unmatched: list[Known] = field(default_factory=list)
    golden: Golden | None = None

    @property
    def exit_status(self) -> int:
        return exit_status(case.outcome for case in self.cases)

    def to_json(self) -> ResultJson:
        result: Any = {
            "schema": SCHEMA,
            "harness": __version__,
            "reference": self.reference,
            "targets": self.targets,
            "precision": self.precision,
            "randomness": self.randomness,
            "fail_on": str(self.fail_on),
            "exit_status": self.exit_status,
            "cases": [case.to_json() for case in self.cases],
            "unmatched": [{"case": entry.case, "target": entry.target} for entry in self.unmatched],
            "golden": None if self.golden is None else asdict(self.golden),
        }
        return cast(ResultJson, result)

    def write(self, path: Path) -> None:
        """Write the result as JSON, at once or not at all. Raises OSError where that cannot be."""
        write(path, self.to_json())

    def write_assembled(self, path: Path, cases: Sequence[CaseJson]) -> None:
        """Write the result with cases that were judged elsewhere, and are JSON by now."""
        status = exit_status(case["outcome"] for case in cases)
        write(path, {**self.to_json(), "exit_status": status, "cases": list(cases)})


def exit_status(outcomes: Iterable[Outcome]) -> int:
    """What a run comes to."""
    seen = set(outcomes)
    return DIFFER if "differ" in seen else FAILED if "error" in seen else AGREE


def write(path: Path, result: ResultJson) -> None:
    """Write a result as JSON, at once or not at all. Raises OSError where that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(as_json(result))
    os.replace(temporary, path)


def as_json(result: ResultJson) -> bytes:
    """What is written to `result.json`. Raises ValueError where JSON cannot hold it."""
    return (json.dumps(result, indent=1, allow_nan=False) + "\n").encode()


def read(path: Path) -> ResultJson:
    """Read a `result.json`, perhaps a stranger's.

    Raises:
        TraceError: it is not a result, or of another schema, or not a whole one.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TraceError(f"{path} cannot be read: {error}.") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise TraceError(f"{path} is not a result of schema {SCHEMA}. Run again with this version of the harness.")
    try:
        return from_plain(data, ResultJson)
    except ValueError as error:
        raise TraceError(f"{path} is not a whole result: {error}. Run the cases again.") from None


def judge_case(
    case_id: str,
    traces: Mapping[str, Trace | None],
    reference: str,
    fail_on: Verdict,
    root: Path,
    known: Sequence[Known] = (),
    *,
    shared_only: bool = False,
) -> CaseResult:
    """Hold every target's trace of one case against the reference's.

    Args:
        traces: by target, the reference among them; None for a target that has no trace of the case.
        reference: the reference target, as text.
        fail_on: the mildest verdict that counts as a real difference.
        root: the folder that trace paths are written relative to.
        known: differences that are declared beside the cases.
        shared_only: see `harness.judge.compare.compare`.
    """
    theirs = traces[reference]
    comparisons = [
        compare(mine, theirs, known, shared_only=shared_only)
        for target, mine in traces.items()
        if target != reference and mine is not None and theirs is not None
    ]
    runs = [target_run(target, mine, root) for target, mine in traces.items()]
    outcome = outcome_of(runs, comparisons, fail_on)
    tags = next((trace.header.tags for trace in traces.values() if trace is not None), [])
    return CaseResult(case_id, outcome, runs, comparisons, alone=_alone(comparisons, traces), tags=tags)


def outcome_of(runs: Sequence[TargetRun], comparisons: Sequence[Comparison], fail_on: Verdict) -> Outcome:
    """What a case comes to."""
    seen = [*comparisons, *(item.continuation.comparison for item in comparisons if item.continuation is not None)]
    unexpected = [item.unexpected for item in seen if item.unexpected is not None]
    if any(verdict >= fail_on for verdict in unexpected) or any(item.fixed for item in comparisons):
        return "differ"
    if any(run.has_failed or run.disturbed for run in runs):
        return "error"
    return "known" if any(item.known for item in comparisons) else "agree"


def _alone(comparisons: Sequence[Comparison], traces: Mapping[str, Trace | None]) -> str | None:
    """Who stands alone with the first difference. The order of execution is the reference's."""
    there = {target: trace for target, trace in traces.items() if trace is not None}
    first = [item.first for item in comparisons if item.first is not None]
    return standing_alone(there, first[0].key, min(first[0].judgement.verdict, Verdict.DIVERGENT)) if first else None


def target_run(target: str, trace: Trace | None, root: Path) -> TargetRun:
    """How a case ended, from its trace.

    Args:
        target: what the run is called.
        root: the folder that the trace's path is written relative to.
    """
    if trace is None:
        return TargetRun(target, "unavailable", 0.0, None, "there is no trace of this case", {}, [])
    header = trace.header
    notes = [*header.notes, *(Note(lack.where, lack.reason) for lack in header.lacks)]
    if trace.twin is not None:
        notes += [Note(f"float64: {note.part}", note.reason) for note in trace.twin.header.notes if note not in notes]
        if trace.twin.header.has_failed:
            notes.append(Note("float64: the rest of the case", trace.twin.header.error or ""))
    folder = Path(os.path.relpath(trace.folder.resolve(), root)).as_posix()
    return TargetRun(
        target=target,
        status=header.status,
        seconds=header.seconds + (trace.twin.header.seconds if trace.twin is not None else 0.0),
        trace=folder,
        error=header.error,
        environment=header.environment,
        notes=notes,
        pictures=[f"{folder}/{PICTURES}/{name}" for name in header.pictures],
        disturbed=disturbed_by_instruments(trace),
        inference_only=header.inference_only,
    )


def _comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "target": comparison.target,
        "reference": comparison.reference,
        "verdict": None if comparison.verdict is None else str(comparison.verdict),
        "unexpected": None if comparison.unexpected is None else str(comparison.unexpected),
        "observations": comparison.observations,
        "not_compared": comparison.not_compared,
        "counts": {str(verdict): count for verdict, count in comparison.counts.items()},
        "bases": comparison.bases,
        "known": [expected.to_json() for expected in comparison.known],
        "fixed": [expected.to_json() for expected in comparison.fixed],
        "first": None if comparison.first is None else _finding_to_json(comparison.first),
        "blame": None if comparison.blame is None else asdict(comparison.blame),
        "continuation": None if comparison.continuation is None else _continuation_to_json(comparison.continuation),
    }


def _continuation_to_json(continuation: Continuation) -> dict[str, Any]:
    comparison = continuation.comparison
    return {
        "first_step": continuation.first,
        "last_step": continuation.last,
        "verdict": None if comparison.verdict is None else str(comparison.verdict),
        "unexpected": None if comparison.unexpected is None else str(comparison.unexpected),
        "observations": comparison.observations,
        "first": None if comparison.first is None else _finding_to_json(comparison.first),
    }


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    judgement = finding.judgement
    return {
        "key": finding.key,
        "phase": finding.phase,
        "step": finding.step,
        "layer": finding.layer,
        "verdict": str(judgement.verdict),
        "basis": judgement.basis,
        "reason": judgement.reason,
        "d32": _number(judgement.d32),
        "d64": _number(judgement.d64),
        "amplification": _number(judgement.amplification),
        "bound": _number(judgement.bound),
        "index": None if judgement.index is None else list(judgement.index),
        "evidence": None if finding.evidence is None else _evidence_to_json(finding.evidence),
    }


def _evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    return {
        "ours": _number(evidence.ours),
        "theirs": _number(evidence.theirs),
        "precision": evidence.precision,
        "atol": _number(evidence.atol),
        "rtol": _number(evidence.rtol),
        "spread": evidence.spread,
    }


def _number(value: float | None) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if value is not None and math.isfinite(value) else None
