"""Options that several commands share. Each group of options reaches its command as one dataclass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from harness.case import CaseRef
from harness.errors import HarnessError
from harness.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from harness.report.console import Detail
    from harness.result.run_folder import RunFolder
    from harness.session.options import Options

#: The most characters of a wrong value that a message shows.
_SHOWN = 200
FILE = click.Path(dir_okay=False)


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A time limit as it was given. Click's own numbers may be no number, or infinite."""
    from harness.session.options import seconds_of

    try:
        return None if value is None else seconds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


TARGETS = click.option(
    "--targets",
    metavar="T,T,...",
    help="Where to run: targets such as torch, jax:cuda or torch+mixed_bfloat16, sets that pyproject.toml names, or "
    "'all'.  [default: every installed backend that trains]",
)
BLAME_SECONDS = click.option(
    "--blame-seconds",
    callback=_seconds,
    metavar="S",
    help="Seconds for the search for the origin of one difference.  [default: 180]",
)
OUT = click.option("--out", metavar="DIR", help="Where traces and result.json go.  [default: runs/<time>]")


def _gathered(name: str, kind: type, *options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Options that reach a command as one argument: a dataclass with a field for each."""

    def decorate(function: Any) -> Any:
        @wraps(function)
        def command(**values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in fields(kind)}
            return function(**values, **{name: kind(**own)})

        decorated: Any = command
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


@dataclass(frozen=True)
class What:
    """Which cases to run."""

    paths: tuple[str, ...]
    keyword: str | None
    tag: str | None
    quick: bool

    def is_wanted(self) -> Callable[[CaseRef], bool]:
        """A function that is True for a case whose id matches -k, as in pytest, and whose tags match --tag.

        Raises:
            HarnessError: one of them is not an expression.
        """
        tag = self.tag
        if self.quick:
            tag = "not slow" if tag is None else f"({tag}) and not slow"
        by_id, by_tag = _expression("-k", self.keyword), _expression("--tag", tag)

        def is_wanted(case: CaseRef) -> bool:
            return by_id(lambda word: word.lower() in case.id.lower()) and by_tag(lambda word: word in case.tags)

        return is_wanted


def _expression(option: str, expression: str | None) -> Callable[[Callable[[str], bool]], bool]:
    if expression is None:
        return lambda _: True
    from harness import pytest_internals

    try:
        return pytest_internals.expression(expression)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last two of thousands of parentheses
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise HarnessError(
            f"{option} {expression[:_SHOWN]!r} is not an expression: {reason}. Use words with and, or, not and "
            "parentheses."
        ) from None


@dataclass(frozen=True)
class How:
    """How cases are run."""

    precision: str | None
    seed: int
    randomness: str
    noise_runs: int
    observer_check: bool
    jobs: int | None
    timeout: float | None

    def options(self, *, quick: bool = False, blame_seconds: float | None = None) -> Options:
        """These options as a session takes them.

        Args:
            blame_seconds: seconds for the search for the origin of one difference; None for the usual ones.

        Raises:
            HarnessError: two options exclude each other.
        """
        from harness.session.options import DEFAULT_BLAME_SECONDS, DEFAULT_TIMEOUT, Options, cores

        native = self.randomness == "native"
        if native and self.precision == "both":
            raise HarnessError(
                "--randomness native and --precision both exclude each other: native draws differ between backends in "
                "float64 too, so a float64 run tells nothing. Drop one."
            )
        if quick and self.precision == "both":
            raise HarnessError(
                "--quick and --precision both exclude each other: --quick runs in float32 only. Drop one."
            )
        if native and (self.noise_runs or self.observer_check):
            raise HarnessError(
                "--randomness native runs every case several times already, each with another seed: --noise-runs and "
                "--observer-check say nothing there. Drop them."
            )
        return Options(
            precision="float32" if quick or native or self.precision == "float32" else "both",
            jobs=self.jobs or cores(),
            timeout=self.timeout or DEFAULT_TIMEOUT,
            seed=self.seed,
            native=native,
            noise_runs=self.noise_runs,
            observer_check=self.observer_check,
            blame_seconds=blame_seconds or DEFAULT_BLAME_SECONDS,
        )


@dataclass(frozen=True)
class Judging:
    """What targets are compared with, and what counts as a difference."""

    reference: str | None
    fail_on: str
    strict_names: bool


@dataclass(frozen=True)
class Telling:
    """How a result is reported: the files that it is written to, and how much is printed."""

    json_file: str | None
    junit: str | None
    html: str | None
    quiet: bool
    verbose: bool

    @property
    def detail(self) -> Detail:
        return detail(self.quiet, self.verbose)

    def tell(self, run: RunFolder, console: Console, shown: str) -> None:
        """Write and print a result."""
        from harness.cli.files import write_reports
        from harness.report.console import print_result

        write_reports(run, {"--json": self.json_file, "--junit": self.junit, "--html": self.html})
        print_result(console, run, shown, self.detail)


def detail(quiet: bool, verbose: bool) -> Detail:
    """How much is printed, by -q and -v."""
    from harness.report.console import Detail

    return Detail(verbose - quiet)


PATHS = click.argument("paths", nargs=-1, metavar="[PATH[::CASE]]...")
_TAG = click.option("--tag", metavar="EXPR", help="Run the cases whose tags match, such as 'slow' or 'not slow'.")
_QUICK = click.option("--quick", is_flag=True, help="The same as --precision float32 --tag 'not slow'.")
what_to_run = _gathered(
    "what",
    What,
    PATHS,
    click.option("-k", "keyword", metavar="EXPR", help="Run the cases whose id matches, as in pytest."),
    _TAG,
    _QUICK,
)
how_to_run = _gathered(
    "how",
    How,
    click.option(
        "--precision",
        type=click.Choice(["float32", "both"]),
        help="'both', the default, runs every case once more in float64, which verdicts rest on; 'float32' does not.",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Changes data, weights and masks."
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
        type=click.IntRange(0, 1000),
        default=0,
        metavar="N",
        help="Run every case N times more with inputs and weights disturbed in the last bit, to measure rounding where "
        "there is no float64 run. 5 are enough.",
    ),
    click.option("--observer-check", is_flag=True, help="Run every case once more without instruments, and compare."),
    click.option("--jobs", type=click.IntRange(1, 1000), metavar="N", help="Cases at once.  [default: the cores]"),
    click.option(
        "--timeout",
        callback=_seconds,
        metavar="S",
        help="Seconds for one case on one target in one precision.  [default: 300]",
    ),
)
how_to_judge = _gathered(
    "judging",
    Judging,
    click.option("--reference", metavar="T", help="What others are compared with.  [default: torch, or the first]"),
    click.option(
        "--fail-on",
        type=click.Choice([str(verdict) for verdict in Verdict]),
        default="divergent",
        show_default=True,
        help="The mildest verdict that counts as a difference.",
    ),
    click.option("--strict-names", is_flag=True, help="Count variables that differ in name alone as a mismatch."),
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print only what fails, and the totals.")
VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Print the details of every case.")
how_to_tell = _gathered(
    "telling",
    Telling,
    click.option("--json", "json_file", type=FILE, help="Write the result here as well."),
    click.option("--junit", type=FILE, metavar="FILE", help="Write JUnit XML here."),
    click.option("--html", type=FILE, metavar="FILE", help="Write a page here, which opens in any browser."),
    QUIET,
    VERBOSE,
)
