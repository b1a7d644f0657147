"""One finding seen closely: what is said of it, its worst elements side by side, and what was recorded around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from harness.errors import TraceError
from harness.judge.arrays import widen
from harness.judge.compare import all_findings
from harness.judge.pair import twin_of
from harness.report.blocks import of_cause
from harness.report.causes import Cause, Difference
from harness.report.console import print_block, text
from harness.report.show import judged_row, table
from harness.result.model import Finding
from harness.result.run_folder import LAST, RUNS, RunFolder, newest_run
from harness.result.schema import CaseJson, ComparisonJson, FindingJson, RunJson
from harness.trace import Observation, Trace

#: Elements that are shown, the worst first.
MOST_ELEMENTS = 8
#: Observations that are shown before a finding and after it.
AROUND = 4
#: How the command begins that shows what is shown here.
_OURS = "harness show "


def run_named(name: str, runs: Path = RUNS) -> RunFolder:
    """The run of that name: a folder, a `result.json`, or `last` for the newest of the folder `runs`.

    Raises:
        TraceError: there is none.
    """
    if name != LAST or Path(name).exists():
        return RunFolder.open(Path(name))
    newest = newest_run(runs)
    if newest is None:
        raise TraceError(f"There is no run in {str(runs)!r} yet, so none is the last. Name the folder of a run.")
    return RunFolder.open(newest)


def print_finding(console: Console, run: RunFolder, case_name: str, target: str | None = None) -> None:
    """Print the finding of a case on a target closely.

    Args:
        case_name: any part of the case's id that no other case has.
        target: the first one on which something differs, if left out.

    Raises:
        TraceError: no case or several have that name, nothing differs, or the traces cannot be read.
    """
    case = _case_named(run, case_name)
    comparison, first, of = _finding_on(run, case, target)
    ours, theirs = _sides(run, case, comparison, of)
    block = of_cause(run, Cause.of(run.result, Difference(case, comparison, first, of)))
    print_block(console, replace(block, commands=tuple(name for name in block.commands if not name.startswith(_OURS))))
    key = first["key"]
    if key in ours and key in theirs:
        _print_elements(console, ours, theirs, key)
    findings = {key: finding for key, finding in all_findings(ours, theirs)[0].items() if finding is not None}
    if first["layer"] is not None:
        of_layer = [finding for finding in findings.values() if finding.layer == first["layer"]]
        _print_findings(console, f"the history of layer {first['layer']}", of_layer[: 3 * AROUND], ours, theirs)
    keys = list(findings)
    place = keys.index(key) if key in findings else 0
    around = [findings[name] for name in keys[max(place - AROUND, 0) : place + AROUND + 1]]
    _print_findings(console, "in order of execution", around, ours, theirs)


def _case_named(run: RunFolder, name: str) -> CaseJson:
    cases: Mapping[str, CaseJson] = {case["id"]: case for case in run.result["cases"]}
    exact = [case for case in cases if name in (case, case.partition("::")[2])]
    found = exact or [case for case in cases if name in case]
    if len(found) == 1:
        return cases[found[0]]
    if not found:
        raise TraceError(f"No case of {run.shown!r} has {name!r} in its name. It has: {', '.join(list(cases)[:10])}.")
    raise TraceError(f"{len(found)} cases have {name!r} in their names: {', '.join(found[:10])}. Name one of them.")


def _finding_on(
    run: RunFolder, case: CaseJson, target: str | None
) -> tuple[ComparisonJson, FindingJson, RunJson | None]:
    """A comparison and its finding, and the run whose compiled and eager calls were compared, if that is what was."""
    if target is not None and target not in run.result["targets"]:
        raise TraceError(f"The run has no target {target!r}. It has: {', '.join(run.result['targets'])}.")
    compared = [(comparison, comparison["target"], None) for comparison in case["comparisons"]]
    calls = [(side.get("compiled"), side["target"], side) for side in case["runs"]]
    # Of a reference the first finding is shown in which another target differs from it.
    of_reference = [(item, item["reference"], None) for item in case["comparisons"]]
    for comparison, of_target, of in [*compared, *calls, *of_reference]:
        if comparison is not None and comparison["first"] is not None and target in (None, of_target):
            return comparison, comparison["first"], of
    where = f" on {target}" if target is not None else ""
    raise TraceError(f"Nothing worse than rounding was found in {case['id']}{where}.")


def _sides(run: RunFolder, case: CaseJson, comparison: ComparisonJson, of: RunJson | None) -> tuple[Trace, Trace]:
    traces, reasons = run.traces(case)
    targets = [comparison["target"], comparison["reference"]] if of is None else [of["target"]]
    for target in targets:
        if target not in traces:
            reason = reasons.get(target, "it has none")
            raise TraceError(f"The trace of {case['id']} on {target} cannot be read: {reason}.")
    if of is None:
        return traces[targets[0]], traces[targets[1]]
    compiled, eager = traces[targets[0]].compiled, traces[targets[0]].eager
    if compiled is None or eager is None:
        raise TraceError(f"The traces of the compiled and the eager calls of {case['id']} are not there any more.")
    return compiled, eager


def _print_elements(console: Console, ours: Trace, theirs: Trace, key: str) -> None:
    """The elements that are furthest apart, with those of the float64 runs."""
    sides = [ours[key], theirs[key], twin_of(ours, key), twin_of(theirs, key)]
    arrays = [side.array if side is not None and _is_like(side, ours[key]) else None for side in sides]
    if arrays[0] is None or arrays[1] is None or arrays[0].size < 2:
        return
    with np.errstate(invalid="ignore"):
        apart = np.abs(widen(arrays[0]) - widen(arrays[1])).reshape(-1)
    apart = np.where(np.isnan(apart), np.inf, apart)
    worst = [place for place in np.argsort(-apart, kind="stable")[:MOST_ELEMENTS] if apart[place] > 0]
    names = [ours.header.target, theirs.header.target]
    shown = table("index", *names, *(f"{name}, float64 run" for name in names))
    for place in worst:
        index = ", ".join(map(str, np.unravel_index(place, arrays[0].shape)))
        values = ["-" if array is None else f"{array.reshape(-1)[place]!s}" for array in arrays]
        shown.add_row(*map(text, (f"[{index}]", *values)))
    console.print()
    console.print(text(f"the worst of {apart.size} elements, of which {np.count_nonzero(apart)} differ", "bold"))
    console.print(shown)


def _is_like(side: Observation, other: Observation) -> bool:
    return side.is_array and other.is_array and side.array.shape == other.array.shape and side.array.dtype.kind in "fc"


def _print_findings(console: Console, title: str, findings: Sequence[Finding], ours: Trace, theirs: Trace) -> None:
    shown = table("observation", ours.header.target, theirs.header.target, "verdict", "distance", "explained")
    for finding in findings:
        shown.add_row(*judged_row(finding, ours, theirs))
    console.print()
    console.print(text(title, "bold"))
    console.print(shown)
