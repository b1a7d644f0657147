"""Commands that run cases: `run`, `blame` and `record`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.case import CaseRef
from harness.cli.files import shown, writable
from harness.cli.group import main, said_of
from harness.cli.options import (
    BLAME_SECONDS,
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
from harness.errors import HarnessError
from harness.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from harness.result.model import CaseResult
    from harness.result.schema import CaseJson, ResultJson
    from harness.session.options import Options
    from harness.session.plan import Planned
    from harness.session.session import Setup


@main.command()
@what_to_run
@TARGETS
@how_to_judge
@how_to_run
@how_to_tell
@click.option("--no-blame", is_flag=True, help="Do not search for the origin of differences.")
@BLAME_SECONDS
@OUT
@click.option("--resume", metavar="RUN", help="Go on with an interrupted run: what it finished is not run again.")
@click.option("--last-failed", "--lf", is_flag=True, help="Run what failed in the last run of runs/.")
def run(
    what: What,
    targets: str | None,
    judging: Judging,
    how: How,
    telling: Telling,
    no_blame: bool,
    blame_seconds: float | None,
    out: str | None,
    resume: str | None,
    last_failed: bool,
) -> None:
    """Run cases on several targets, and compare.

    Without PATH, every case under cases/. Cases are functions decorated with @harness.case.
    """
    options, is_wanted = how.options(quick=what.quick, blame_seconds=blame_seconds), what.is_wanted()
    blame_from = None if no_blame else judging.fail_on
    paths: Sequence[str] = what.paths
    if last_failed:
        paths, is_wanted = _that_failed(paths, is_wanted)
    _run(paths, is_wanted, targets, judging, options, telling, out, blame_from, resume=resume)


def _that_failed(
    paths: Sequence[str], is_wanted: Callable[[CaseRef], bool]
) -> tuple[Sequence[str], Callable[[CaseRef], bool]]:
    """What is wanted of the cases that failed in the newest run; all that is wanted if none did, as in pytest.

    Args:
        paths: those that the caller named. If there is none, it is the files of these cases.

    Raises:
        TraceError: there is no earlier run.
    """
    from harness.report.console import make_console, text
    from harness.report.finding import run_named
    from harness.result.outcome import FAILING
    from harness.result.run_folder import LAST
    from harness.session.selection import root_of

    last = run_named(LAST)
    failed = {case["id"] for case in last.result["cases"] if case["outcome"] in FAILING}
    if not failed:
        make_console().print(text(f"Nothing failed in {last.shown}: every case is run."))
        return paths, is_wanted
    root = root_of([Path.cwd()])
    files = dict.fromkeys(str(root / id.partition("::")[0]) for id in sorted(failed))
    return paths or tuple(files), lambda case: case.id in failed and is_wanted(case)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH[::CASE]...")
@click.option("-k", "keyword", metavar="EXPR", help="Blame the cases whose id matches, as in pytest.")
@TARGETS
@how_to_judge
@how_to_run
@how_to_tell
@BLAME_SECONDS
@OUT
def blame(
    paths: tuple[str, ...],
    keyword: str | None,
    targets: str | None,
    judging: Judging,
    how: How,
    telling: Telling,
    blame_seconds: float | None,
    out: str | None,
) -> None:
    """Run cases, and search for the origin of each difference, of leaks and declared ones too.

    `harness run` does the same for each case that fails.
    """
    options, is_wanted = how.options(blame_seconds=blame_seconds), What(paths, keyword, None, False).is_wanted()
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
    resume: str | None = None,
) -> None:
    """Run, judge, blame what is `blame_from` or worse, draw, write, print, and exit."""
    from harness.blame.search import Blamer
    from harness.project import known
    from harness.report.console import Live, make_console
    from harness.result.file import FILE, write
    from harness.result.growing import GrowingResult
    from harness.result.model import Unfinished
    from harness.result.run_folder import RunFolder
    from harness.session.folder import clear_result, held, new_folder
    from harness.session.resume import finished
    from harness.session.selection import root_of, select
    from harness.session.session import Session, Setup
    from harness.session.targets import choose, choose_reference

    selections = select(paths)
    root = root_of([selection.path for selection in selections])
    wanted = choose(targets, root)
    reference = choose_reference(judging.reference, wanted)
    entries = known.read(root)
    if out and resume:
        raise HarnessError(f"--resume {resume!r} goes on in the folder of that run. Leave --out {out!r} out.")
    if resume:
        RunFolder.open(Path(resume))  # what is no run is refused before a folder is made
    given = out or resume
    folder = writable(Path(given) if given else new_folder(Path("runs")))
    fail_on, strict = Verdict.parse(judging.fail_on), judging.strict_names
    setup = Setup(wanted, reference, root, folder, options, fail_on, entries, strict_names=strict)
    mildest = None if blame_from is None else Verdict.parse(blame_from)
    console = make_console()
    if targets is None:
        _say_what_is_missing(console)
    planned: list[Planned] = []
    kept: list[CaseJson] = []
    end: Exception | KeyboardInterrupt | None = None

    def so_far(reason: str | None) -> ResultJson:
        """What was judged in this run and before, in the order of the plan."""
        own = {case.id: case.to_json() for case in session.judged.values()} | {case["id"]: case for case in kept}
        cases = [own[item.case.id] for item in planned if item.case.id in own]
        unfinished = None if reason is None else Unfinished(reason, len(planned) - len(cases))
        before = [case["id"] for case in kept]
        return session.result(list(session.judged.values()), unfinished, before=before).assembled(cases)

    growing = GrowingResult(folder / FILE)
    blamer = partial(Blamer, blame_from=mildest, declared=declared)
    with held(folder, ["result", *(target.slug for target in wanted)]):
        earlier = RunFolder.open(folder).result if resume else None
        if earlier is None:
            clear_result(folder)
        live = Live(console, telling.detail)
        session = Session(
            setup, live, examiner=blamer, keep=lambda _: growing.write(lambda: so_far("it has not ended yet"))
        )
        with live, session:
            try:
                planned += session.plan(selections, is_wanted)
                if earlier is not None:
                    kept += finished(session, earlier, planned, mildest)
                there = {case["id"] for case in kept}
                session.run([item for item in planned if item.case.id not in there])
            except (Exception, KeyboardInterrupt) as error:
                if not session.judged:
                    raise
                end = error
        # The workers have ended by now.
        reason = None if end is None else said_of(end)
        try:
            write(folder / FILE, so_far(reason))
            session.judged |= {case.id: case for case in _drawn(session.judged.values(), setup, console)}
            write(folder / FILE, so_far(reason))
        except OSError as error:  # what was judged is told all the same
            end = end or error
        result = so_far(reason)
        telling.tell(RunFolder(folder, shown(folder), result), console, shown(folder / FILE))
    if end is not None:
        raise end
    sys.exit(result["exit_status"])


def _drawn(cases: Collection[CaseResult], setup: Setup, console: Console) -> Collection[CaseResult]:
    """The results, with pictures of the plots that cases recorded if they can be drawn here."""
    from harness.report import plots
    from harness.report.console import text

    if not plots.available():
        console.print(text(plots.MISSING))
        return cases
    return [_with_pictures(case, setup) for case in cases]


def _with_pictures(case: CaseResult, setup: Setup) -> CaseResult:
    """A result with the pictures of its case or, where they cannot be drawn, with a note that says why."""
    from harness.report import plots
    from harness.result.file import PLOTS
    from harness.session.layout import slug_of
    from harness.trace import Note, Trace

    reference = case.reference or str(setup.reference)
    try:
        traces = {run.target: Trace(setup.folder / run.trace) for run in case.runs if run.trace is not None}
        pictures = plots.draw(traces, reference, setup.folder / PLOTS, slug_of(case.id))
    except Exception as error:
        note = Note("pictures", f"they could not be drawn: {type(error).__name__}: {error}")
        runs = [replace(run, notes=[*run.notes, note]) if run.target == reference else run for run in case.runs]
        return replace(case, runs=runs)
    return replace(case, plots=[f"{PLOTS}/{picture.name}" for picture in pictures])


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
    from harness.session.folder import held
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
    with held(setup.folder, [target.slug]), Live(console) as live, Session(setup, live) as session:
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
        size = recordings.write(Path(compact), traces)
        console.print(text(f"{compact}: {size / 1000:.1f} kB"))
    sys.exit(FAILED if failed else AGREE)


def _say_what_is_missing(console: Console) -> None:
    from harness.report.console import text
    from harness.session.targets import left_out

    for name, reason in left_out():
        console.print(text(f"{name} is left out: {reason}", "yellow"))
