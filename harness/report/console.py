"""The terminal: progress, the table of verdicts, and a block for each failure."""

from __future__ import annotations

import enum
import io
import os
import sys
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from harness.errors import printable
from harness.report import words
from harness.result.environment import versions_of
from harness.result.model import CaseResult, Comparison
from harness.result.outcome import FAILING
from harness.result.run_folder import RunFolder
from harness.result.schema import CaseJson, ResultJson
from harness.session.plan import Planned
from harness.session.session import Listener
from harness.target import Target
from harness.verdict import Verdict

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
#: Columns that are assumed where output goes to no terminal.
_UNWRAPPED = 10_000
#: The fewest columns that a fact is printed in, however narrow the terminal.
_NARROWEST = 20


class Detail(enum.IntEnum):
    """How much is printed: only what fails and the sum (-q), or the details of every case (-v)."""

    QUIET = -1
    NORMAL = 0
    VERBOSE = 1


def text(value: object, style: str = "") -> Text:
    """Text as it is: no markup is read from it, and no control character reaches the terminal."""
    return Text(printable(value), style=style)


class _Console(Console):
    """A console that leaves a closed pipe to its caller. By itself it would end the process with status 1."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that rich is handling when it calls this


def make_console() -> Console:
    """The console of standard output. Output that goes to no terminal, such as to a file, is not wrapped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that the encoding lacks is spelled out
    console = _Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNWRAPPED
    return console


class _Remaining(TimeRemainingColumn):
    """The time that is left, as far as that is known: not of a search for an origin, and not where all has ended."""

    max_refresh = 0.0

    def render(self, task: Task) -> Text:
        if task.total is None or task.completed >= task.total:
            return Text()
        return super().render(task).append(" remaining")


class Live(Listener):
    """Progress: on a terminal a bar, elsewhere a line for each case that is done, unless with -q.

    What fails has a line anywhere as soon as it is judged, and one for each of its findings, and for whose each is. A
    search for that has a bar of its own beside that of the runs, for as long as it goes on.
    """

    def __init__(self, console: Console, detail: Detail = Detail.NORMAL) -> None:
        self._console = console
        self._detail = detail
        self._total = 0
        self._scheduled = 0
        self._done = 0
        self._running: dict[tuple[str, str, str], None] = {}
        self._searches: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            _Remaining(),
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

    def planned(self, cases: Sequence[Planned], targets: Sequence[Target]) -> None:  # noqa: ARG002 - the listener's signature
        self._total = len(cases)
        self._describe()

    def scheduled(self, runs: int) -> None:
        self._scheduled += runs
        self._progress.update(self._task, total=self._scheduled)
        self._go_on()

    def started(self, case: str, target: str, precision: str) -> None:
        self._running[case, target, precision] = None
        self._show()

    def ended(self, case: str, target: str, precision: str) -> None:
        self._running.pop((case, target, precision), None)
        self._progress.advance(self._task)
        self._go_on()
        self._show()

    def judged(self, result: CaseResult) -> None:
        self._done += 1
        self._describe()
        is_in_a_log = not self._console.is_terminal and self._detail > Detail.QUIET
        if is_in_a_log or result.outcome in FAILING:
            line = text(f"[{self._done}/{self._total}] {result.id} ")
            self._console.print(line.append_text(text(result.outcome, STYLES.get(result.outcome, _FAILED))))
        for comparison in _compared(result):
            if comparison.first is not None and (comparison.unexpected or Verdict.IDENTICAL) >= Verdict.DIVERGENT:
                told = comparison.first.to_json()
                reason = told["reason"].partition("\n")[0]
                self._console.print(text(f"  {comparison.target}: {told['verdict']} at {told['key']}: {reason}"))

    def blaming(self, case: str, target: str) -> None:
        """Show that a difference is being blamed. How long that takes is not known. Another thread calls this."""
        now = text(f"{case.rpartition('::')[2]} on {target}").plain
        if case in self._searches:
            self._progress.update(self._searches[case], now=now)
        else:
            self._searches[case] = self._progress.add_task("blaming", total=None, now=now)

    def examined(self, result: CaseResult) -> None:
        """Print whose the differences of a case are."""
        search = self._searches.pop(result.id, None)
        if search is not None:
            self._progress.remove_task(search)
        for comparison in result.comparisons:
            if comparison.blame is not None:
                told = comparison.blame.text.partition("\n")[0]
                self._console.print(text(f"{result.id}, {comparison.target}: {told}"))

    def _go_on(self) -> None:
        """Let the bar of the runs go on at its full length: what ended last may have more runs, or be blamed."""
        self._progress.tasks[0].finished_time = None

    def _describe(self) -> None:
        self._progress.update(self._task, description=f"{self._done}/{self._total} cases")

    def _show(self) -> None:
        now = ", ".join(f"{case.rpartition('::')[2]} on {target} {p}" for case, target, p in self._running)
        self._progress.update(self._task, now=text(now).plain)


def _compared(result: CaseResult) -> list[Comparison]:
    """All that was compared in a case: targets, and what is compiled on one with what is eager."""
    return [*result.comparisons, *(run.compiled for run in result.runs if run.compiled is not None)]


def print_result(console: Console, run: RunFolder, shown: str, detail: Detail = Detail.NORMAL) -> None:
    """Print a run: the table, what failed and why, what was not compared, and the whole run in one sentence.

    Args:
        shown: where the result is: the last line.
    """
    result = run.result
    cases = [case for case in result["cases"] if detail > Detail.QUIET or case["outcome"] in FAILING]
    if cases:
        console.print(_table(run, cases))
    worth_a_block = Verdict.IDENTICAL if detail is Detail.VERBOSE else min(Verdict.IMPRECISE, _fail_on(result))
    for case in cases:
        for block in words.blocks(run, case, worth_a_block):
            print_block(console, block)
        if detail is Detail.VERBOSE:
            _print_details(console, case)
    if detail > Detail.QUIET:
        _print_list(console, "known differences", words.known(result))
        for line in words.unmatched(result):
            console.print(text(line, "yellow"))
        _print_list(console, "not recorded or not compared", words.notes(result))
        _print_list(console, "between old and new", words.golden(result))
        _print_list(console, "between targets", words.versions(result))
        _print_meanings(console, result)
    worst = words.worst(result)
    console.print(text(words.total(result), "bold green" if worst == "agree" else STYLES.get(worst, _FAILED)))
    console.print(text(shown))


def _fail_on(result: ResultJson) -> Verdict:
    return Verdict.parse(result["fail_on"])


def _table(run: RunFolder, cases: Sequence[CaseJson]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("case", overflow="fold")
    reference = run.result["reference"]
    for target in run.others:
        table.add_column(text(f"{target} / {reference}"), overflow="fold")
    if not run.others:
        table.add_column(text(reference), overflow="fold")
    for case in cases:
        cells = [words.cell(run.result, case, target) for target in run.others or [reference]]
        table.add_row(text(case["id"]), *(text(said, STYLES.get(kind, _FAILED)) for said, kind in cells))
    return table


def print_block(console: Console, block: words.Block) -> None:
    """A block: its title, and each fact beside the word that says what it is."""
    console.print()
    console.print(text(block.title, STYLES.get(block.kind, _FAILED)))
    indent = words.LABEL + 3
    for label, fact in block.facts:
        width = max(console.width - indent, _NARROWEST)
        lines = text(fact, "bold" if label == "whose" else "").wrap(console, width, overflow="fold")
        for position, line in enumerate(lines):
            line.rstrip()
            shown = f"  {label}" if position == 0 else ""
            console.print(text(f"{shown:<{indent}}", "dim").append_text(line), soft_wrap=True)
    for command in block.commands:
        # A command is never wrapped, so that it can be copied.
        console.print(text(f"{'  next':<{indent}}", "dim").append_text(text(command)), soft_wrap=True)


def _print_details(console: Console, case: CaseJson) -> None:
    console.print()
    console.print(text(case["id"], "bold"))
    for item in case["runs"]:
        listed = ", ".join(f"{name} {version}" for name, version in versions_of(item["environment"]).items())
        console.print(text(f"  {item['target']}: {item['status']} in {item['seconds']:.1f} s, {listed}"))
    for comparison in case["comparisons"]:
        bases = ", ".join(f"{count} by {basis}" for basis, count in comparison["bases"].items())
        title = f"  {comparison['target']} against {comparison['reference']}: {words.counts(comparison)}"
        console.print(text(f"{title}; judged {bases}" if bases else title))


def _print_list(console: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print()
        console.print(text(title, "bold"))
        for line in lines:
            console.print(text(f"  {line}"))


def _print_meanings(console: Console, result: ResultJson) -> None:
    console.print()
    for verdict in words.seen(result):
        console.print(text(f"  {verdict:<10}", STYLES[verdict]).append(words.MEANINGS[verdict], style="default"))
    caveat = words.caveat(result)
    if caveat is not None:
        console.print(text(f"  {caveat}"))
