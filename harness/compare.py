"""Comparing traces that were recorded anywhere, by folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import TraceError
from harness.known import Known, unmatched
from harness.result import Result, judge_case
from harness.trace import Trace, find_traces
from harness.verdict import Verdict

#: The reference where it is among the targets, and none is named.
DEFAULT_REFERENCE = "torch"


def compare_folders(
    folders: Sequence[Path], reference: str | None, fail_on: Verdict, known: Sequence[Known] = ()
) -> Result:
    """Compare every case in the folders, each target's trace with the reference's.

    A case that some target has no trace of is reported as failed on that target.

    Raises:
        TraceError: a folder holds no trace, two traces are of one case and target, the reference has none, or traces
            of one case were made with other seeds or another version of the harness.
    """
    traces = [Trace(place) for folder in folders for place in find_traces(folder)]
    targets = list(dict.fromkeys(trace.header.target for trace in traces))
    if reference is None:
        reference = DEFAULT_REFERENCE if DEFAULT_REFERENCE in targets else targets[0]
    elif reference not in targets:
        raise TraceError(f"The reference {reference!r} has no trace here. There are traces of {', '.join(targets)}.")
    cases: dict[str, dict[str, Trace | None]] = {}
    for trace in traces:
        of_case = cases.setdefault(trace.header.case, dict.fromkeys(targets))
        other = of_case[trace.header.target]
        if other is not None:
            raise TraceError(
                f"There are two traces of {trace.header.case} on {trace.header.target}: in {str(other.folder)!r} and "
                f"in {str(trace.folder)!r}. Name folders with one each."
            )
        of_case[trace.header.target] = trace
    for case, by_target in cases.items():
        _check_comparable(case, [trace for trace in by_target.values() if trace is not None])
    twins = any(trace.twin is not None for trace in traces)
    randomness = "native" if any(trace.repeats for trace in traces) else "shared"
    result = Result(reference, targets, "both" if twins else "float32", fail_on, randomness)
    root = common_folder(folders)
    result.cases = [judge_case(case, by_target, reference, fail_on, root, known) for case, by_target in cases.items()]
    result.unmatched = unmatched(known, list(cases), targets)
    return result


def common_folder(folders: Sequence[Path]) -> Path:
    """What the paths of a comparison's traces are relative to."""
    return Path(os.path.commonpath([folder.resolve() for folder in folders]))


def _check_comparable(case: str, traces: Sequence[Trace]) -> None:
    for what, values in (
        ("seeds", {trace.header.seed for trace in traces if trace.header.status == "ok"}),
        ("versions of the harness", {trace.harness for trace in traces}),
    ):
        if len(values) > 1:
            found = ", ".join(sorted(map(str, values)))
            raise TraceError(
                f"The traces of {case} were made with different {what}: {found}. Record them again in the same way."
            )
