"""The terminal: progress, the table of verdicts, and a block for each failure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from harness.distribution import LEVEL, REPEATS, STATISTICS
from harness.errors import printable
from harness.result import CaseResult
from harness.run import Listener, Planned
from harness.target import Target
from harness.trace import Observation, Trace
from harness.verdict import Verdict, rms

STYLES = {
    "identical": "green",
    "rounding": "green",
    "leak": "yellow",
    "imprecise": "yellow",
    "divergent": "bold red",
    "mismatch": "bold red",
    "agree": "green",
    "differ": "bold red",
    "known": "cyan",
    "ok": "green",
}
_FAILED = "bold magenta"

#: What a verdict means, in words for somebody who sees it for the first time.
MEANINGS = {
    "identical": "equal bit for bit",
    "rounding": "the same function; the difference is float32 rounding, as measured",
    "leak": "the same function; one side drops to single precision somewhere in its float64 run",
    "imprecise": "the same function, computed far less precisely on one side",
    "divergent": "different functions",
    "mismatch": "another shape, dtype, name, order or plain value",
}


def text(value: object, style: str = "") -> Text:
    """Text as it is: no markup is read from it, and no control character reaches the terminal."""
    return Text(printable(value), style=style)


class Live(Listener):
    """Progress: a bar on a terminal, and elsewhere a line for each case that is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0
        self._done = 0
        self._running: dict[tuple[str, str, str], None] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn(
                "{task.fields[now]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None, now="")

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def planned(self, cases: Sequence[Planned], targets: Sequence[Target]) -> None:
        self._total = len(cases)
        self._progress.update(self._task, description="cases", total=len(cases))

    def started(self, case: str, target: str, precision: str) -> None:
        self._running[case, target, precision] = None
        self._show()

    def ended(self, case: str, target: str, precision: str) -> None:
        self._running.pop((case, target, precision), None)
        self._show()

    def judged(self, result: CaseResult) -> None:
        self._done += 1
        self._progress.update(self._task, completed=self._done)
        if not self._console.is_terminal:
            line = text(f"[{self._done}/{self._total}] {result.id} ")
            self._console.print(line.append_text(text(result.outcome, STYLES.get(result.outcome, _FAILED))))

    def blaming(self, case: str, target: str) -> None:
        """A difference is being replayed."""
        self._progress.update(self._task, description="blaming", now=text(f"{case} on {target}").plain)

    def _show(self) -> None:
        now = ", ".join(f"{case.rpartition('::')[2]} on {target} {p}" for case, target, p in self._running)
        self._progress.update(self._task, now=text(now).plain)


def print_result(console: Console, result: Mapping[str, Any], folder: str) -> None:
    """Print a run: the table, what failed and why, what was not compared, and the sum of it."""
    others = [target for target in result["targets"] if target != result["reference"]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("case", overflow="fold")
    for target in others:
        table.add_column(text(f"{target} / {result['reference']}"))
    if not others:
        table.add_column(text(result["reference"]))
    for case in result["cases"]:
        cells = [_cell(case, target) for target in others or [result["reference"]]]
        table.add_row(text(case["id"]), *cells)
    console.print(table)
    worth_a_block = min(Verdict.IMPRECISE, Verdict.parse(result["fail_on"]))
    for case in result["cases"]:
        print_failures(console, case, result["reference"], worth_a_block, os.path.dirname(folder))
    _print_known(console, result)
    _print_notes(console, result)
    _print_sum(console, result, folder)


def _cell(case: Mapping[str, Any], target: str) -> Text:
    run = next(run for run in case["runs"] if run["target"] == target)
    if run["status"] != "ok":
        return text(run["status"], _FAILED)
    comparison = next((c for c in case["comparisons"] if c["target"] == target), None)
    if comparison is None:
        return text("ran")
    verdict = comparison["verdict"] or "not compared"
    if comparison["fixed"]:
        return text(f"{verdict}, fixed", _FAILED)
    if comparison["known"] and case["outcome"] == "known":
        return text(f"{verdict}, known", STYLES["known"])
    return text(verdict, STYLES.get(verdict, _FAILED))


def print_failures(
    console: Console, case: Mapping[str, Any], reference: str, worth_a_block: Verdict, folder: str
) -> None:
    for run in case["runs"]:
        if run["status"] != "ok":
            console.print()
            console.print(text(f"{case['id']} on {run['target']}: {run['status']}", _FAILED))
            console.print(text(_indent(run["error"] or "")))
        if run["disturbed"]:
            console.print()
            title = f"{case['id']} on {run['target']}: the instruments change what they measure"
            console.print(text(title, _FAILED))
            console.print(
                text(f"  other without them: {', '.join(run['disturbed'][:5])}. This is a bug of the harness.")
            )
    for comparison in case["comparisons"]:
        for expected in comparison["fixed"]:
            console.print()
            title = f"{case['id']}: {comparison['target']} against {reference}: a declared difference is gone"
            console.print(text(title, _FAILED))
            console.print(text(f"  It was declared as {expected['verdict']}: {expected['reason']}"))
            console.print(text("  Remove the declaration from the case."))
        if comparison["continuation"] is not None:
            _print_continuation(console, case["id"], comparison)
        first = comparison["first"]
        if case["outcome"] == "known" or first is None or Verdict.parse(comparison["verdict"]) < worth_a_block:
            continue
        console.print()
        title = f"{case['id']}: {comparison['target']} against {reference}: {first['verdict']}"
        console.print(text(title, STYLES[first["verdict"]]))
        where = f"starts in phase {first['phase']}, step {first['step']}"
        where += f", layer {first['layer']}" if first["layer"] else ""
        console.print(text(f"  {where}"))
        console.print(text(f"  at {first['key']}: {first['reason']}"))
        if first["evidence"] is not None:
            console.print(text(f"  {_evidence(first['evidence'])}"))
        if comparison["blame"] is None and case["alone"]:
            console.print(text(f"  {case['alone']} stands alone with it"))
        if comparison["blame"] is not None:
            _print_blame(console, comparison["blame"], folder)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in comparison["counts"].items())
        console.print(text(f"  of {comparison['observations']} observations: {counts}"))


def _print_continuation(console: Console, case: str, comparison: Mapping[str, Any]) -> None:
    continuation = comparison["continuation"]
    steps = f"steps {continuation['first_step']} to {continuation['last_step']}"
    console.print()
    console.print(text(f"{case}: {comparison['target']}: training parted", STYLES.get(continuation["verdict"], "")))
    console.print(
        text(
            f"  float32 rounding alone moves the weights by a thousandth from step {continuation['first_step']} on, so "
            f"{steps} were run again, each from the reference's state: {continuation['verdict']}"
        )
    )
    if continuation["first"] is not None:
        console.print(text(f"  at {continuation['first']['key']}: {continuation['first']['reason']}"))


def _evidence(evidence: Mapping[str, Any]) -> str:
    """The element that differs most, how far the difference spreads, and the tolerance that would have passed."""
    tolerances = [f"{name}={evidence[name]:.1e}" for name in ("rtol", "atol") if evidence[name] is not None]
    passing = f"; allclose would want {' or '.join(tolerances)}" if tolerances else ""
    values = [f"{evidence[name]:.9g}" if evidence[name] is not None else "not finite" for name in ("ours", "theirs")]
    return f"{values[0]} against {values[1]} in {evidence['precision']}, in {evidence['spread']}{passing}"


def _print_blame(console: Console, blame: Mapping[str, Any], folder: str) -> None:
    whose = f"{blame['target']} stands alone: " if blame["target"] else ""
    step = f" (replayed at step {blame['step']})" if blame["confirmed"] and blame["step"] else ""
    console.print(text(f"  {whose}{blame['text']}{step}", "bold" if blame["confirmed"] else ""))
    if blame["repro"]:
        console.print(text(f"  shown by: python {os.path.join(folder, blame['repro'])}"))


def _print_known(console: Console, result: Mapping[str, Any]) -> None:
    """Declared differences, each reason once with the targets that show it."""
    lines: dict[tuple[str, str], list[str]] = {}
    for case in result["cases"]:
        for comparison in case["comparisons"]:
            for expected in comparison["known"]:
                reason = f"{expected['verdict']}: {expected['reason']}"
                reason += f" {expected['link']}" if expected["link"] else ""
                lines.setdefault((case["id"], reason), []).append(comparison["target"])
    _print_grouped(console, "known differences", lines)
    for entry in result["unmatched"]:
        line = f"The known difference of {entry['case']} on {entry['target']} speaks of no case of this run."
        console.print(text(line, "yellow"))


def _print_notes(console: Console, result: Mapping[str, Any]) -> None:
    """What was not compared, or not as it should be: never left unsaid. What several targets share is said once."""
    lines: dict[tuple[str, str], list[str]] = {}
    for case in result["cases"]:
        for run in case["runs"]:
            for note in run["notes"]:
                reason = f"{note['part']}: {_first_line(note['reason'])}"
                lines.setdefault((case["id"], reason), []).append(run["target"])
        for comparison in case["comparisons"]:
            target = comparison["target"]
            if comparison["not_compared"]:
                reason = f"{comparison['not_compared']} observations could not be compared"
                lines.setdefault((case["id"], reason), []).append(target)
            untwinned = sum(comparison["bases"].get(basis, 0) for basis in ("one twin", "tolerance"))
            if untwinned and result["precision"] == "both":
                reason = f"{untwinned} observations were judged without both float64 twins"
                lines.setdefault((case["id"], reason), []).append(target)
    _print_grouped(console, "not recorded or not compared", lines)


def _print_grouped(console: Console, title: str, lines: Mapping[tuple[str, str], Sequence[str]]) -> None:
    if lines:
        console.print()
        console.print(text(title, "bold"))
        for (case, reason), targets in lines.items():
            console.print(text(f"  {case} on {', '.join(targets)}: {reason}"))


def _print_sum(console: Console, result: Mapping[str, Any], folder: str) -> None:
    console.print()
    seen = {c["verdict"] for case in result["cases"] for c in case["comparisons"] if c["verdict"]}
    for verdict, meaning in MEANINGS.items():
        if verdict in seen:
            console.print(text(f"  {verdict:<10}", STYLES[verdict]).append(meaning, style="default"))
    if result["randomness"] == "native" and seen:
        explanation = (
            f"  Each backend drew from its own generator. What is random was run {REPEATS} times on every target, and "
            f"compared as a distribution: Kolmogorov-Smirnov on {len(STATISTICS)} summaries of each run, with a level "
            f"of {LEVEL:g} for each comparison. Rounding then means: no difference was found. The states of seeds were "
            "not compared."
        )
        console.print(text(explanation))
    elif result["precision"] != "both" and seen:
        console.print(
            text(
                "  Without float64 twins a value is held against ten times the measured noise, where there were noise "
                "runs, or else against a fixed tolerance of its dtype and step: smaller differences were not seen, and "
                "without noise runs slow drift may be taken for one."
            )
        )
    outcomes = [case["outcome"] for case in result["cases"]]
    words = {"differ": "differ", "error": "failed to run", "known": "differ as declared", "agree": "agree"}
    if len(result["targets"]) < 2:
        words["agree"] = "ran, and nothing was compared: there is one target"
    parts = [f"{outcomes.count(key)} {word}" for key, word in words.items() if key in outcomes]
    total = f"{len(outcomes)} case{'s' if len(outcomes) != 1 else ''} on {', '.join(result['targets'])}"
    worst = next((key for key in words if key in outcomes), "agree")
    style = "bold green" if worst == "agree" else STYLES.get(worst, _FAILED)
    console.print(text(f"{total}: {', '.join(parts)}.", style))
    console.print(text(f"{folder}"))


def print_trace(console: Console, trace: Trace) -> None:
    """Print what is in a trace."""
    header = trace.header
    console.print(text(f"{header.case} on {header.target}, {header.precision}: {header.status}", "bold"))
    if header.error:
        console.print(text(_indent(header.error)))
    versions = header.environment.get("versions", {})
    facts = {
        "made with": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "device": header.environment.get("device", "unknown"),
        "seconds": f"{header.seconds:.2f}",
        "seed": header.seed,
        "twin": "none" if trace.twin is None else f"{trace.twin.header.status}, {len(trace.twin)} observations",
        "harness": trace.harness,
    }
    for name, fact in facts.items():
        console.print(text(f"  {name:<10}{fact}"))
    for note in header.notes:
        console.print(text(f"  not recorded: {note.part}: {note.reason}"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("observation", overflow="fold")
    table.add_column("dtype")
    table.add_column("shape")
    table.add_column("value", overflow="fold")
    for observation in trace:
        shape = " x ".join(str(n) for n in observation.array.shape) if observation.is_array else ""
        table.add_row(
            text(observation.key),
            text(observation.dtype or "plain"),
            text(shape),
            text(_summary(observation)),
        )
    console.print(table)


def _summary(observation: Observation) -> str:
    if not observation.is_array:
        shown = repr(observation.value)
        return shown if len(shown) <= 60 else f"{shown[:57]}..."
    array = observation.array
    if array.size == 1:
        return f"{array.reshape(-1)[0]!s}"
    if not array.size:
        return "empty"
    if array.dtype.kind not in "fV":
        return f"{array.reshape(-1)[0]!s} ... {array.reshape(-1)[-1]!s}"
    wide = array.astype(np.float64)
    return f"rms {rms(array):.6g}, from {np.nanmin(wide):.6g} to {np.nanmax(wide):.6g}"


def _indent(block: str) -> str:
    return "\n".join(f"  {line}" for line in block.splitlines())


def _first_line(block: str) -> str:
    return block.splitlines()[0] if block else ""
