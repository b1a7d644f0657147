"""Commands that run cases: `run`, `blame` and `record`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.case import CaseRef
from harness.cli.files import shown, writable
from harness.cli.group import main
from harness.cli.options import (
    OUT,
    TARGETS,
    How,
    Judging,
    Telling,
    What,
    how_to_judge,
    how_to_run,
    how_to_tell,
    what_to_run,
)
from harness.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from harness.result.model import CaseResult
    from harness.session.options import Options
    from harness.session.session import Setup


@main.command()
@what_to_run
@TARGETS
@how_to_judge
@how_to_run
@how_to_tell
@click.option("--no-blame", is_flag=True, help="Do not search for the origin of differences.")
@OUT
def run(
    what: What, targets: str | None, judging: Judging, how: How, telling: Telling, no_blame: bool, out: str | None
) -> None:
    """Run cases on several targets, and compare.

    Without PATH, every case under cases/. Cases are functions decorated with @harness.case.
    """
    options, is_wanted = how.options(quick=what.quick), what.is_wanted()
    blame_from = None if no_blame else judging.fail_on
    _run(what.paths, is_wanted, targets, judging, options, telling, out, blame_from)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH[::CASE]...")
@click.option("-k", "keyword", metavar="EXPR", help="Blame the cases whose id matches, as in pytest.")
@TARGETS
@how_to_judge
@how_to_run
@how_to_tell
@OUT
def blame(
    paths: tuple[str, ...],
    keyword: str | None,
    targets: str | None,
    judging: Judging,
    how: How,
    telling: Telling,
    out: str | None,
) -> None:
    """Run cases, and search for the origin of each difference, of leaks and declared ones too.

    `harness run` does the same for each case that fails.
    """
    options, is_wanted = how.options(), What(paths, keyword, None, False).is_wanted()
    _run(paths, is_wanted, targets, judging, options, telling, out, "leak", declared=True)


def _run(
    paths: Sequence[str],
    is_wanted: Callable[[CaseRef], bool],
    targets: str | None,
    judging: Judging,
    options: Options,
    telling: Telling,
    out: str | None,
    blame_from: str | None,
    *,
    declared: bool = False,
) -> None:
    """Run, judge, blame what is `blame_from` or worse, draw, write, print, and exit."""
    from harness.blame.search import Blamer
    from harness.project import known
    from harness.report.console import Live, make_console
    from harness.result.file import FILE, read, write
    from harness.result.run_folder import RunFolder
    from harness.session.selection import root_of, select
    from harness.session.session import Session, Setup
    from harness.session.targets import choose, choose_reference

    selections = select(paths)
    root = root_of([selection.path for selection in selections])
    wanted = choose(targets, root)
    reference = choose_reference(judging.reference, wanted)
    entries = known.read(root)
    folder = writable(Path(out) if out else Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
    fail_on, strict = Verdict.parse(judging.fail_on), judging.strict_names
    setup = Setup(wanted, reference, root, folder, options, fail_on, entries, strict_names=strict)
    mildest = None if blame_from is None else Verdict.parse(blame_from)
    console = make_console()
    if targets is None:
        _say_what_is_missing(console)
    with (
        Live(console, telling.detail) as live,
        Session(setup, live, examiner=lambda session: Blamer(session, mildest, declared=declared)) as session,
    ):
        cases = session.run(session.plan(selections, is_wanted))
    result = session.result(_drawn(cases, setup, console))  # the workers have ended by now
    write(folder / FILE, result.to_json())
    telling.tell(RunFolder(folder, shown(folder), read(folder / FILE)), console, shown(folder / FILE))
    sys.exit(result.exit_status)


def _drawn(cases: Sequence[CaseResult], setup: Setup, console: Console) -> Sequence[CaseResult]:
    """The results, with pictures of the plots that cases recorded if they can be drawn here."""
    from harness.report import plots
    from harness.report.console import text
    from harness.result.file import PLOTS
    from harness.session.layout import slug_of
    from harness.trace import Trace

    if not plots.available():
        console.print(text(plots.MISSING))
        return cases
    drawn = []
    for case in cases:
        traces = {run.target: Trace(setup.folder / run.trace) for run in case.runs if run.trace is not None}
        pictures = plots.draw(traces, case.reference or str(setup.reference), setup.folder / PLOTS, slug_of(case.id))
        drawn.append(replace(case, plots=[f"{PLOTS}/{picture.name}" for picture in pictures]))
    return drawn


@main.command()
@what_to_run
@click.option("--target", "target_text", required=True, metavar="T", help="Where to run.")
@how_to_run
@click.option("--out", required=True, metavar="DIR", help="Where the traces go.")
@click.option("--compact", metavar="FILE", help="Write them as one small file as well, to be kept beside the code.")
def record(what: What, target_text: str, how: How, out: str, compact: str | None) -> None:
    """Record one target's traces, for a job that has one backend.

    Compare them with others, on any machine, with `harness compare`.
    """
    from harness.report.console import Live, make_console, text
    from harness.result.outcome import AGREE, FAILED
    from harness.session.selection import root_of, select
    from harness.session.session import Session, Setup
    from harness.session.targets import choose
    from harness.trace import Trace
    from harness.trace import compact as recordings

    selections = select(what.paths)
    root = root_of([selection.path for selection in selections])
    (target,) = choose(target_text, root, at_most=1)
    is_wanted = what.is_wanted()
    setup = Setup([target], target, root, writable(Path(out)), how.options(quick=what.quick))
    console = make_console()
    with Live(console) as live, Session(setup, live) as session:
        planned = session.plan(selections, is_wanted)
        session.record(planned)
        session.record_further(planned, target)
    failed = 0
    traces = [Trace(session.place_of(item.case.id, target)) for item in planned]
    for item, trace in zip(planned, traces, strict=True):
        header = trace.header
        failed += header.has_failed
        console.print(text(f"{header.status:<12}{item.case.id}"))
        if header.error:
            console.print(text(header.error, "magenta"))
    total = f"{len(planned)} cases recorded on {target}, {failed} failed to run."
    console.print(text(f"{total} {shown(setup.folder)}"))
    if compact is not None:
        Path(compact).parent.mkdir(parents=True, exist_ok=True)
        size = recordings.write(Path(compact), traces)
        console.print(text(f"{compact}: {size / 1000:.1f} kB"))
    sys.exit(FAILED if failed else AGREE)


def _say_what_is_missing(console: Console) -> None:
    from harness.report.console import text
    from harness.session.targets import left_out

    for name, reason in left_out():
        console.print(text(f"{name} is left out: {reason}", "yellow"))
