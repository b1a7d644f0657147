"""The result of a case, from its traces: how it ended on every target, and every comparison with the reference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.case import Known
from harness.judge.compare import compare
from harness.judge.compiled import calls_compared, explained
from harness.judge.pairing import paired
from harness.judge.verdict import judge
from harness.judge.vote import standing_alone
from harness.result.model import CaseResult, Comparison, TargetRun
from harness.result.outcome import Outcome, outcome
from harness.trace import PICTURES, Note, Trace
from harness.verdict import Verdict


def judge_case(
    case_id: str,
    traces: Mapping[str, Trace | None],
    reference: str,
    fail_on: Verdict,
    root: Path,
    known: Sequence[Known] = (),
    *,
    shared_only: bool = False,
    strict_names: bool = False,
    unreadable: Mapping[str, str] | None = None,
) -> CaseResult:
    """Hold every target's trace of one case against the reference's.

    Args:
        traces: by target, the reference among them; None for a target that has no trace of the case.
        reference: the reference target, as text. If it has failed, another takes its place: see `reference_among`.
        fail_on: the mildest verdict that counts as a real difference.
        root: the folder that trace paths are written relative to.
        known: differences that are declared beside the cases.
        shared_only, strict_names: see `harness.judge.compare.compare`.
        unreadable: by target that has no trace, why it cannot be read; left out where the target never wrote one.
    """
    reference = reference_among(traces, reference)
    theirs = traces[reference]
    found = [
        compare(trace, theirs, known, shared_only=shared_only, strict_names=strict_names)
        for target, trace in traces.items()
        if target != reference and trace is not None and theirs is not None
    ]
    comparisons = explained(found, traces, known)
    why = unreadable or {}
    runs = [
        TargetRun(target, "error", 0.0, None, why[target], {}, []) if target in why else target_run(target, trace, root)
        for target, trace in traces.items()
    ]
    tags = next((trace.header.tags for trace in traces.values() if trace is not None), [])
    alone = _alone(comparisons, traces, reference)
    return CaseResult(case_id, outcome_of(runs, comparisons, fail_on), runs, comparisons, alone=alone, tags=tags)


def reference_among(traces: Mapping[str, Trace | None], reference: str) -> str:
    """The target that the others of a case are compared with.

    That is the reference or, where it has failed, the first of the targets that ran the case, if there are two of them
    at least. So that these are compared with one another all the same.
    """
    theirs = traces[reference]
    if theirs is not None and not theirs.header.has_failed:
        return reference
    ran = [target for target, trace in traces.items() if trace is not None and trace.header.status == "ok"]
    return ran[0] if len(ran) > 1 else reference


def outcome_of(runs: Sequence[TargetRun], comparisons: Sequence[Comparison], fail_on: Verdict) -> Outcome:
    """What a case comes to, by what was found on all targets."""
    continued = [item.continuation.comparison for item in comparisons if item.continuation is not None]
    calls = [run.compiled for run in runs if run.compiled is not None]
    return outcome(
        [item.unexpected for item in (*comparisons, *continued, *calls)],
        fail_on,
        is_fixed=any(item.fixed for item in comparisons),
        has_failed=any(run.has_failed or run.disturbed for run in runs),
        is_unrepeated=any(item.unrepeated for item in comparisons),
        is_known=any(item.known for item in comparisons),
    )


def _alone(comparisons: Sequence[Comparison], traces: Mapping[str, Trace | None], reference: str) -> str | None:
    """Who stands alone with the first difference."""
    first = next((item.first for item in comparisons if item.first is not None), None)
    theirs = traces[reference]
    if first is None or theirs is None:
        return None
    present = {target: paired(trace, theirs)[0] for target, trace in traces.items() if trace is not None}
    return standing_alone(present, first.key, min(first.judgement.verdict, Verdict.DIVERGENT))


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
        # A twin that recorded nothing because something raised has told so.
        if trace.twin.header.has_failed and (trace.twin.keys or not trace.twin.header.raised):
            notes.append(Note("float64: the rest of the case", trace.twin.header.error or ""))
    is_compact = trace.folder.is_file()  # a recording of many traces, none of which can be named by a path
    folder = None if is_compact else Path(os.path.relpath(os.path.realpath(trace.folder), root)).as_posix()
    return TargetRun(
        target=target,
        status=header.status,
        seconds=header.seconds + (trace.twin.header.seconds if trace.twin is not None else 0.0),
        trace=folder,
        error=header.error,
        environment=header.environment,
        notes=notes,
        raised=[Note(raised.part, raised.error) for raised in header.raised],
        pictures=[f"{folder}/{PICTURES}/{name}" for name in header.pictures],
        disturbed=disturbed_by_instruments(trace),
        inference_only=header.inference_only,
        compiled=calls_compared(trace),
    )


def disturbed_by_instruments(trace: Trace) -> list[str]:
    """The keys of observations that are not bit for bit the same in the run without instruments."""
    if trace.unobserved is None:
        return []
    # By phase and name, for the steps of the two runs need not be counted alike.
    names = {(entry.phase, entry.name): entry.key for entry in trace.select()}
    found = []
    for item in trace.unobserved:
        key = names.get((item.phase, item.name))
        if key is not None and judge(trace[key], item).verdict is not Verdict.IDENTICAL:
            found.append(key)
    return found
