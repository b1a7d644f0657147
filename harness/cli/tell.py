"""Commands about what was recorded or run before: `compare`, `report`, `export` and `show`. None needs a framework."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from harness.cli.files import shown, writable, write_reports
from harness.cli.group import main
from harness.cli.options import FILE, QUIET, VERBOSE, Judging, Telling, detail, how_to_judge, how_to_tell
from harness.errors import HarnessError, TraceError, printable
from harness.verdict import Verdict


@main.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...")
@how_to_judge
@how_to_tell
@click.option(
    "--out", metavar="DIR", help="Write result.json there, beside copies of the traces, for `harness report`."
)
def compare(folders: tuple[str, ...], judging: Judging, telling: Telling, out: str | None) -> None:
    """Compare traces that were recorded anywhere.

    Each DIR holds traces of one or more targets, or is a file that `harness record --compact` wrote. Two of them with
    the same targets are an old and a new recording: then each target is compared with itself. No framework is needed.
    """
    from harness.judge.folders import common_folder, compare_folders
    from harness.project import known
    from harness.report.console import make_console
    from harness.result.file import FILE, write
    from harness.result.run_folder import RunFolder
    from harness.session.gather import gather

    places = [Path(folder) for folder in folders]
    root = Path(os.path.realpath(out)) if out else common_folder(places)
    fail_on = Verdict.parse(judging.fail_on)
    entries, strict = known.read(Path.cwd()), judging.strict_names
    compared = compare_folders(places, judging.reference, fail_on, entries, root, strict_names=strict)
    result = compared.to_json()
    if out:
        gather(result, writable(root))
        write(root / FILE, result)
    where = shown(root / FILE) if out else ", ".join(folders)
    telling.tell(RunFolder(root, shown(root), result), make_console(), where)
    sys.exit(compared.exit_status)


@main.command()
@click.argument("run_path", metavar="RUN")
@click.option("--junit", type=FILE, metavar="FILE", help="Write JUnit XML here.")
@click.option("--markdown", type=FILE, metavar="FILE", help="Write a summary in Markdown here.")
@click.option("--html", type=FILE, metavar="FILE", help="Write a page here.  [default: report.html in the folder]")
@click.option("--tensorboard", type=click.Path(file_okay=False), metavar="DIR", help="Write TensorBoard's events here.")
@click.option("--github", is_flag=True, help="In a step of GitHub Actions: append the summary, and annotate failures.")
def report(
    run_path: str, junit: str | None, markdown: str | None, html: str | None, tensorboard: str | None, github: bool
) -> None:
    """Tell a run's result in other forms: as a page, unless another is asked for.

    RUN is the folder of a run, or its result.json. No framework is needed.
    """
    from harness.report import github as actions
    from harness.report import tensorboard as events
    from harness.result.file import PAGE
    from harness.result.run_folder import RunFolder

    run = RunFolder.open(Path(run_path))
    if not (junit or markdown or html or tensorboard or github):
        html = str(run.path / PAGE)
        click.echo(printable(shown(Path(html))))
    write_reports(run, {"--junit": junit, "--markdown": markdown, "--html": html})
    if tensorboard:
        events.write(run, Path(tensorboard))
    if github:
        actions.append_summary(run)
        for line in actions.failures(run):
            click.echo(line)


@main.command()
@click.argument("run_path", metavar="RUN")
@click.option("--csv", type=FILE, metavar="FILE", help="Write the table as CSV here.")
@click.option("--parquet", type=FILE, metavar="FILE", help="Write the table as Parquet here.")
def export(run_path: str, csv: str | None, parquet: str | None) -> None:
    """Write every distance of a run as a table, for an analysis of your own.

    A row is an observation of a case on a target, held against the reference.
    """
    from harness.report import table
    from harness.result.run_folder import RunFolder

    run = RunFolder.open(Path(run_path))
    if csv is None and parquet is None:
        raise HarnessError("Say what to write: --csv FILE, or --parquet FILE.")
    for file, write in ((csv, table.write_csv), (parquet, table.write_parquet)):
        if file is not None:
            write(run, Path(file))


@main.command()
@click.argument("path", metavar="RUN|TRACE")
@click.argument("other", metavar="[CASE|TRACE]", required=False)
@click.argument("target", metavar="[TARGET]", required=False)
@click.option("--key", metavar="KEY", help="Print a trace's observations with this key, in full; * is anything.")
@QUIET
@VERBOSE
def show(path: str, other: str | None, target: str | None, key: str | None, quiet: bool, verbose: bool) -> None:
    """Show a run, one finding of it closely, a trace, or two traces side by side.

    RUN is a run's folder, or 'last' for the newest in runs/. CASE is any part of a case's name, and TARGET where it
    differs: the worst elements side by side, and what was recorded before and after.
    """
    from harness.report import finding
    from harness.report import show as showing
    from harness.report.console import make_console, print_result
    from harness.result.file import FILE
    from harness.result.run_folder import LAST, RunFolder
    from harness.trace import INDEX, Trace

    place = Path(path)
    place = place.parent if place.name in (FILE, INDEX) else place
    if path == LAST or (other is not None and (place / FILE).exists()):
        run = finding.run_named(path)
        if other is None:
            print_result(make_console(), run, str(run.path / FILE), detail(quiet, verbose))
        else:
            finding.print_finding(make_console(), run, other, target)
    elif other is not None:
        there = Path(other).parent if Path(other).name == INDEX else Path(other)
        showing.print_pair(make_console(), Trace(place), Trace(there), key or "*")
    elif key is not None:
        showing.print_observations(make_console(), Trace(place), key)
    elif (place / FILE).exists():
        print_result(make_console(), RunFolder.open(place), str(place / FILE), detail(quiet, verbose))
    elif (place / INDEX).exists():
        showing.print_trace(make_console(), Trace(place))
    else:
        raise TraceError(f"{path!r} is neither a trace nor a run: it holds no {INDEX} and no {FILE}.")
