"""The command line. It imports no framework, and what a command needs only when that command runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.case import CaseRef
from harness.errors import HarnessError, TraceError, printable
from harness.session.targets import choose, choose_reference, left_out
from harness.target import Target
from harness.verdict import Verdict
from harness.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from harness.report.console import Detail
    from harness.result.model import CaseResult
    from harness.result.run_folder import RunFolder
    from harness.session.pool import Pool
    from harness.session.run import Options, Selection

#: The page of a run, in its folder.
PAGE = "report.html"
#: Exit status after Ctrl-C, as a shell gives it.
INTERRUPTED = 130


class _Group(click.Group):
    """Errors of ours as one paragraph with exit status 2, and never a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except HarnessError as error:
            raise click.UsageError(printable(error)) from None
        except BrokenPipeError:
            raise  # the reader has had enough, which click takes quietly
        except OSError as error:
            message = f"{error.filename or 'A file'}: {error.strerror}. Nothing was judged."
            raise click.UsageError(printable(message)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted. Traces of cases that had ended are kept; no result was written.", err=True)
            sys.exit(INTERRUPTED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="harness")
def main() -> None:
    """Tell whether Keras 3 code does the same thing on TensorFlow, PyTorch and JAX.

    \b
    Exit status:
      0  everything agrees
      1  a real difference (divergent, mismatch, or what --fail-on names)
      2  the call is wrong
      3  a target failed to run a case (crash, exception, time limit), and nothing differs
    """


def _together(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


_what_to_run = _together(
    click.argument("paths", nargs=-1, metavar="[PATH[::CASE]]..."),
    click.option("-k", "keyword", metavar="EXPR", help="Run the cases whose id matches, as in pytest."),
    click.option("--tag", metavar="EXPR", help="Run the cases whose tags match, such as 'slow' or 'not slow'."),
    click.option("--quick", is_flag=True, help="The same as --precision float32 --tag 'not slow'."),
)
_how_to_run = _together(
    click.option(
        "--precision",
        type=click.Choice(["float32", "both"]),
        help="'both', the default, runs every case once more in float64, which verdicts rest on; 'float32' does not.",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For other data and weights."
    ),
    click.option(
        "--randomness",
        type=click.Choice(["shared", "native"]),
        default="shared",
        show_default=True,
        help="'native' keeps each backend's own generator, runs every case 16 times, and compares distributions.",
    ),
    click.option(
        "--noise-runs",
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="Run every case N times more with inputs and weights disturbed in the last bit, to measure rounding where "
        "there is no float64 twin. 5 are enough.",
    ),
    click.option("--observer-check", is_flag=True, help="Run every case once more without instruments, and compare."),
    click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Cases at once.  [default: the cores]"),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="S",
        help="Seconds for one case on one target in one precision.  [default: 300]",
    ),
)
_how_to_judge = _together(
    click.option("--reference", metavar="T", help="What others are compared with.  [default: torch, or the first]"),
    click.option(
        "--fail-on",
        type=click.Choice([str(verdict) for verdict in Verdict]),
        default="divergent",
        show_default=True,
        help="The mildest verdict that counts as a difference.",
    ),
)


@dataclass(frozen=True)
class _Telling:
    """How a result is told, beside the exit status: the files it is written to, and how much is printed."""

    json_file: str | None
    junit: str | None
    html: str | None
    quiet: bool
    verbose: bool

    @property
    def detail(self) -> Detail:
        return _detail(self.quiet, self.verbose)

    def tell(self, run: RunFolder, console: Console, shown: str) -> None:
        """Write and print a result."""
        from harness.report.console import print_result

        _write_reports(run, {"--json": self.json_file, "--junit": self.junit, "--html": self.html})
        print_result(console, run, shown, self.detail)


def _detail(quiet: bool, verbose: bool) -> Detail:
    from harness.report.console import Detail

    return Detail(verbose - quiet)


def _gathered(name: str, kind: type, *options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Options that reach a command as one argument, a dataclass with a field for each."""

    def decorate(function: Any) -> Any:
        @wraps(function)
        def command(**values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in fields(kind)}
            return function(**values, **{name: kind(**own)})

        return _together(*options)(command)

    return decorate


_FILE = click.Path(dir_okay=False)
_TARGETS = (
    "Where to run: targets such as torch, jax:cuda or torch+mixed_bfloat16, sets that pyproject.toml names, or 'all'.  "
    "[default: every installed backend that trains]"
)
_how_much = (
    click.option("-q", "--quiet", is_flag=True, help="Print only what fails, and the sum."),
    click.option("-v", "--verbose", is_flag=True, help="Print the details of every case."),
)
_how_to_tell = _gathered(
    "telling",
    _Telling,
    click.option("--json", "json_file", type=_FILE, help="Write the result here as well."),
    click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML here."),
    click.option("--html", type=_FILE, metavar="FILE", help="Write a page here, which opens in any browser."),
    *_how_much,
)


@main.command()
@_what_to_run
@click.option("--targets", metavar="T,T,...", help=_TARGETS)
@_how_to_judge
@_how_to_run
@_how_to_tell
@click.option("--no-blame", is_flag=True, help="Do not replay what differs to find whose it is.")
@click.option("--out", metavar="DIR", help="Where traces and result.json go.  [default: runs/<time>]")
def run(
    paths: tuple[str, ...],
    keyword: str | None,
    tag: str | None,
    quick: bool,
    targets: str | None,
    reference: str | None,
    fail_on: str,
    precision: str | None,
    seed: int,
    randomness: str,
    noise_runs: int,
    observer_check: bool,
    jobs: int | None,
    timeout: float | None,
    no_blame: bool,
    out: str | None,
    telling: _Telling,
) -> None:
    """Run cases on several targets, and compare.

    Without PATH, every case under cases/. Cases are functions decorated with @harness.case.
    """
    options = _options(precision, quick, seed, randomness, noise_runs, observer_check, jobs, timeout)
    is_wanted = _filter(keyword, tag, quick)
    _run(paths, is_wanted, targets, reference, fail_on, telling, options, out, None if no_blame else fail_on)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH[::CASE]...")
@click.option("-k", "keyword", metavar="EXPR", help="Blame the cases whose id matches, as in pytest.")
@click.option("--targets", metavar="T,T,...", help=_TARGETS)
@_how_to_judge
@_how_to_run
@_how_to_tell
@click.option("--out", metavar="DIR", help="Where traces and result.json go.  [default: runs/<time>]")
def blame(
    paths: tuple[str, ...],
    keyword: str | None,
    targets: str | None,
    reference: str | None,
    fail_on: str,
    precision: str | None,
    seed: int,
    randomness: str,
    noise_runs: int,
    observer_check: bool,
    jobs: int | None,
    timeout: float | None,
    out: str | None,
    telling: _Telling,
) -> None:
    """Run cases, and find whose each difference is, from `leak` on and declared ones too.

    `harness run` does the same for each case that fails.
    """
    options = _options(precision, False, seed, randomness, noise_runs, observer_check, jobs, timeout)
    _run(paths, _filter(keyword, None, False), targets, reference, fail_on, telling, options, out, "leak", True)


def _run(
    paths: tuple[str, ...],
    is_wanted: Callable[[CaseRef], bool],
    targets: str | None,
    reference: str | None,
    fail_on: str,
    telling: _Telling,
    options: Options,
    out: str | None,
    blame_from: str | None,
    blame_declared: bool = False,
) -> None:
    """Run, judge, blame what is `blame_from` or worse, draw, write, print, and exit."""
    from harness.blame.search import Blamer
    from harness.judge.declared import unmatched
    from harness.project import known
    from harness.report import plots
    from harness.report.console import Live, make_console, text
    from harness.result.file import FILE, PLOTS, read, write
    from harness.result.run_folder import RunFolder
    from harness.session import run as running
    from harness.trace import Trace

    selections = running.select(paths)
    project = running.root_of([selection.path for selection in selections])
    wanted = choose(targets, project)
    standard = choose_reference(reference, wanted)
    entries = known.read(project)
    folder = _writable(Path(out) if out else Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
    console = make_console()
    if targets is None:
        _say_what_is_missing(console)
    result = running.empty_result(standard, wanted, options, Verdict.parse(fail_on))
    judged: dict[str, CaseResult] = {}
    with Live(console, telling.detail) as live:

        def judge(case: str, places: Mapping[Target, Path]) -> None:
            judged[case] = running.judge(case, places, standard, result.fail_on, folder, entries)
            live.judged(judged[case])

        def look_closer(pool: Pool, cases: Sequence[CaseRef], root: Path) -> None:
            """Continue trainings that parted, and find whose each difference is."""
            if options.native or len(wanted) < 2:
                return
            blamer = Blamer(pool, wanted, standard, root, folder, options)
            mildest = None if blame_from is None else Verdict.parse(blame_from)
            for case in cases:
                judged[case.id] = blamer.examine(
                    case,
                    judged[case.id],
                    entries,
                    result.fail_on,
                    mildest,
                    declared=blame_declared,
                    on_blame=partial(live.blaming, case.id),
                )

        order = _record(selections, is_wanted, wanted, folder, options, live, judge, look_closer)
    cases = [judged[case] for case in order]
    if plots.available():
        for position, case in enumerate(cases):
            traces = {run.target: Trace(folder / run.trace) for run in case.runs if run.trace is not None}
            stem = running.slug_of(case.id)
            pictures = plots.draw(traces, result.reference, folder / PLOTS, stem)
            cases[position] = replace(case, plots=[f"{PLOTS}/{picture.name}" for picture in pictures])
    else:
        console.print(text(plots.MISSING))
    result = replace(result, cases=cases, unmatched=unmatched(entries, order, result.targets))
    write(folder / FILE, result.to_json())
    telling.tell(RunFolder(folder, _shown(folder), read(folder / FILE)), console, _shown(folder / FILE))
    sys.exit(result.exit_status)


@main.command()
@_what_to_run
@click.option("--target", "target_text", required=True, metavar="T", help="Where to run.")
@_how_to_run
@click.option("--out", required=True, metavar="DIR", help="Where the traces go.")
def record(
    paths: tuple[str, ...],
    keyword: str | None,
    tag: str | None,
    quick: bool,
    target_text: str,
    precision: str | None,
    seed: int,
    randomness: str,
    noise_runs: int,
    observer_check: bool,
    jobs: int | None,
    timeout: float | None,
    out: str,
) -> None:
    """Record one target's traces, for a job that has one backend.

    Compare them with others, on any machine, with `harness compare`.
    """
    from harness.report.console import Live, make_console, text
    from harness.result.outcome import AGREE, FAILED
    from harness.session.run import root_of, select, trace_folder
    from harness.trace import Trace

    selections = select(paths)
    (target,) = choose(target_text, root_of([selection.path for selection in selections]), at_most=1)
    is_wanted = _filter(keyword, tag, quick)
    options = _options(precision, quick, seed, randomness, noise_runs, observer_check, jobs, timeout)
    folder = _writable(Path(out))
    console = make_console()
    with Live(console) as live:
        order = _record(selections, is_wanted, [target], folder, options, live)
    failed = 0
    for case in order:
        header = Trace(trace_folder(folder, target, case)).header
        failed += header.has_failed
        console.print(text(f"{header.status:<12}{case}"))
        if header.error:
            console.print(text(header.error, "magenta"))
    console.print(text(f"{len(order)} cases recorded on {target}, {failed} failed to run. {_shown(folder)}"))
    sys.exit(FAILED if failed else AGREE)


@main.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...")
@_how_to_judge
@_how_to_tell
@click.option("--out", metavar="DIR", help="Write result.json there, for `harness report`.")
def compare(folders: tuple[str, ...], reference: str | None, fail_on: str, telling: _Telling, out: str | None) -> None:
    """Compare traces that were recorded anywhere.

    Each DIR holds traces of one or more targets. Two of them with the same targets are an old and a new recording: then
    each target is compared with itself. No framework is needed.
    """
    from harness.judge.folders import common_folder, compare_folders
    from harness.project import known
    from harness.report.console import make_console
    from harness.result.file import FILE, write
    from harness.result.run_folder import RunFolder

    places = [Path(folder) for folder in folders]
    root = Path(out).resolve() if out else common_folder(places)
    result = compare_folders(places, reference, Verdict.parse(fail_on), known.read(Path.cwd()), root)
    if out:
        write(_writable(root) / FILE, result.to_json())
    shown = _shown(root / FILE) if out else ", ".join(folders)
    telling.tell(RunFolder(root, _shown(root), result.to_json()), make_console(), shown)
    sys.exit(result.exit_status)


@main.command()
@click.argument("run_path", metavar="RUN")
@click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML here.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write a summary in Markdown here.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write a page here.  [default: report.html in the folder]")
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
    from harness.result.run_folder import RunFolder

    run = RunFolder.open(Path(run_path))
    if not (junit or markdown or html or tensorboard or github):
        html = str(run.path / PAGE)
        click.echo(printable(_shown(Path(html))))
    _write_reports(run, {"--junit": junit, "--markdown": markdown, "--html": html})
    if tensorboard:
        events.write(run, Path(tensorboard))
    if github:
        actions.append_summary(run)
        for line in actions.failures(run):
            click.echo(line)


@main.command()
@click.argument("run_path", metavar="RUN")
@click.option("--csv", type=_FILE, metavar="FILE", help="Write the table as CSV here.")
@click.option("--parquet", type=_FILE, metavar="FILE", help="Write the table as Parquet here.")
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
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            write(run, Path(file))


@main.command()
@click.argument("path", metavar="TRACE|RUN")
@click.argument("other", metavar="[TRACE]", required=False)
@click.option("--key", metavar="KEY", help="Of a trace, only observations with this key, in full; * is anything.")
@_together(*_how_much)
def show(path: str, other: str | None, key: str | None, quiet: bool, verbose: bool) -> None:
    """Show what is in a trace, in two side by side, or in a run."""
    from harness.report import show as showing
    from harness.report.console import make_console, print_result
    from harness.result.file import FILE
    from harness.result.run_folder import RunFolder
    from harness.trace import INDEX, Trace

    place = Path(path)
    place = place.parent if place.name in (FILE, INDEX) else place
    if other is not None:
        there = Path(other).parent if Path(other).name == INDEX else Path(other)
        showing.print_pair(make_console(), Trace(place), Trace(there), key or "*")
    elif key is not None:
        showing.print_observations(make_console(), Trace(place), key)
    elif (place / FILE).exists():
        print_result(make_console(), RunFolder.open(place), str(place / FILE), _detail(quiet, verbose))
    elif (place / INDEX).exists():
        showing.print_trace(make_console(), Trace(place))
    else:
        raise TraceError(f"{path!r} is neither a trace nor a run: it holds no {INDEX} and no {FILE}.")


@main.command()
@click.argument("folder", default=".", metavar="[DIR]")
def init(folder: str) -> None:
    """Write a first case, and a setup for pytest, tox and GitHub Actions, into a project.

    What is there already stays as it is.
    """
    from harness.project.scaffold import init as write_setup
    from harness.report.console import make_console, text

    done = write_setup(Path(folder))
    console = make_console()
    for title, names, style in (("written", done.written, "green"), ("there already, left", done.left, "yellow")):
        for name in names:
            console.print(text(f"{title}: {os.path.normpath(os.path.join(folder, name))}", style))
    for name, lines in done.by_hand.items():
        console.print(text(f"\nadd to {name} by hand:\n", "bold"))
        console.print(text(lines), soft_wrap=True)
    console.print(text("next: harness run, pytest --parity, tox run -e parity-torch,parity-jax,parity"))


@main.command()
def doctor() -> None:
    """Say which backends, devices and versions are here, and why one is not."""
    from harness.report.console import make_console, text
    from harness.result.outcome import AGREE, FAILED
    from harness.session.doctor import examine

    console = make_console()
    console.print(text(f"harness {__version__}, Python {sys.version.split()[0]}, {sys.executable}"))
    findings = examine()
    for finding in findings:
        if finding.problem is None:
            versions = ", ".join(f"{name} {version}" for name, version in finding.versions.items())
            console.print(text(f"  {finding.name:<12}", "green").append_text(text(f"{versions}")))
            console.print(text(f"  {'':<12}devices: {', '.join(finding.devices)}"))
        else:
            console.print(text(f"  {finding.name:<12}", "magenta").append_text(text(finding.problem)))
    sys.exit(FAILED if any(f.installed and f.problem for f in findings) else AGREE)


def _record(
    selections: Sequence[Selection],
    is_wanted: Callable[[CaseRef], bool],
    targets: Sequence[Target],
    folder: Path,
    options: Options,
    live: Any,
    on_case: Callable[[str, Mapping[Target, Path]], None] = lambda *_: None,
    on_end: Callable[[Pool, Sequence[CaseRef], Path], None] = lambda *_: None,
) -> list[str]:
    """Record the selected cases on the targets, and return their ids in order.

    Args:
        on_case: see `harness.session.run.record`.
        on_end: called with the pool, which is still open, the cases, and the project's root.
    """
    from harness.session import run as running
    from harness.session.pool import Pool

    root = running.root_of([selection.path for selection in selections])
    logs = folder / "logs"
    with Pool(targets, logs, options.jobs, native=options.native) as pool:
        planned = running.plan(pool, selections, targets, root, logs, options, is_wanted)
        live.planned(planned, targets)
        running.record(pool, planned, targets, root, folder, options, live, on_case)
        on_end(pool, [item.case for item in planned], root)
    return [item.case.id for item in planned]


def _options(
    precision: str | None,
    quick: bool,
    seed: int,
    randomness: str,
    noise_runs: int,
    observer_check: bool,
    jobs: int | None,
    timeout: float | None,
) -> Options:
    from harness.session.run import DEFAULT_TIMEOUT, Options, cores

    native = randomness == "native"
    if native and precision == "both":
        raise HarnessError(
            "--randomness native and --precision both exclude each other: a float64 twin of what was drawn by another "
            "generator says nothing. Drop one."
        )
    if quick and precision == "both":
        raise HarnessError("--quick and --precision both exclude each other: --quick runs in float32 only. Drop one.")
    if native and (noise_runs or observer_check):
        raise HarnessError(
            "--randomness native runs every case several times already, each with another seed: --noise-runs and "
            "--observer-check say nothing there. Drop them."
        )
    twins = precision != "float32" and not quick
    limit = timeout or DEFAULT_TIMEOUT
    return Options(twins, jobs or cores(), limit, seed, native, noise_runs, observer_check)


def _filter(keyword: str | None, tag: str | None, quick: bool) -> Callable[[CaseRef], bool]:
    """Whether a case is asked for by -k, on its id as pytest does, and by --tag, on its tags."""
    if quick:
        tag = "not slow" if tag is None else f"({tag}) and not slow"
    by_id, by_tag = _expression("-k", keyword), _expression("--tag", tag)

    def is_wanted(case: CaseRef) -> bool:
        return by_id(lambda word: word.lower() in case.id.lower()) and by_tag(lambda word: word in case.tags)

    return is_wanted


def _expression(option: str, expression: str | None) -> Callable[[Callable[[str], bool]], bool]:
    """An expression of words, `and`, `or`, `not` and parentheses, by pytest's rules, to be given what a word means."""
    if expression is None:
        return lambda _: True
    from _pytest.mark.expression import Expression

    try:
        compiled = Expression.compile(expression)
    except SyntaxError as error:
        raise HarnessError(
            f"{option} {expression!r} is not an expression: {error.msg}. Use words with and, or, not and parentheses."
        ) from None
    return lambda matches: compiled.evaluate(lambda word, /, **_: matches(word))


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HarnessError(
            f"The output folder {str(folder)!r} cannot be written: {error.strerror}. Name another with --out."
        ) from None
    return folder.resolve()


def _shown(path: Path) -> str:
    """A path as the caller would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _write_reports(run: RunFolder, files: Mapping[str, str | None]) -> None:
    """Write the reports that options name files for."""
    from harness.report import html, junit, markdown
    from harness.result.file import as_json

    make: dict[str, Callable[[RunFolder], bytes]] = {
        "--json": lambda run: as_json(run.result),
        "--junit": junit.document,
        "--html": html.page,
        "--markdown": lambda run: markdown.summary(run).encode(),
    }
    for option, file in files.items():
        if file is None:
            continue
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_bytes(make[option](run))
        except OSError as error:
            raise HarnessError(
                f"The result cannot be written to {file!r}: {error.strerror}. Name another with {option}."
            ) from None


def _say_what_is_missing(console: Console) -> None:
    from harness.report.console import text

    for name, reason in left_out():
        console.print(text(f"{name} is left out: {reason}", "yellow"))
