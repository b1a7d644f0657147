"""Fixtures: a project of case files in a folder of its own, and the command line that runs in it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.session.sharing import Host
from harness.trace import Trace

#: Cases with bugs, and a sample library with tests of its own: none of them holds tests of the harness.
collect_ignore = ["quality", "sample_library", "field/cases"]

#: Seconds after which a test that waits for a process fails. A process that works takes far less.
PATIENCE = 900


#: The command line with workers that are shared.
WARM = Path(__file__).with_name("warm.py")


class Project:
    """A folder with an empty `pyproject.toml`. Modules in its folder `site` shadow installed packages.

    Args:
        workers: the folder of a host of workers that the project shares with others. It has no `site` then.
    """

    def __init__(self, folder: Path, workers: Path | None = None) -> None:
        self.folder = folder
        self.workers = workers
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.write("pyproject.toml", "")

    def write(self, name: str, text: str) -> Path:
        """Write a file, and the folders above it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def hide(self, *modules: str) -> None:
        """Make modules appear not to be installed."""
        self.write(
            "site/sitecustomize.py",
            f"""
            import importlib.util
            find = importlib.util.find_spec
            importlib.util.find_spec = lambda name, package=None: None if name in {modules} else find(name, package)
            """,
        )

    @property
    def environment(self) -> dict[str, str]:
        folders = ["" if self.workers else str(self.folder / "site"), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            **({} if self.workers is None else {"TESTS_WORKERS": str(self.workers)}),
            "PYTHONPATH": os.pathsep.join(filter(None, folders)),
            "TMPDIR": str(self.temporary),
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }

    def harness(self, *arguments: str | Path, cwd: str = ".") -> subprocess.CompletedProcess[str]:
        """Run the command line and wait for it."""
        command = ("-m", "harness") if self.workers is None else (WARM,)
        return self.python(*command, *arguments, cwd=cwd)

    def python(self, *arguments: str | Path, cwd: str = ".") -> subprocess.CompletedProcess[str]:
        """Run Python in this project, in the same way as the command line, and wait for it."""
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder / cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command line in a process group of its own, in which SIGINT is not ignored."""
        # A test run in the background of a shell ignores interrupts, and its children would inherit that.
        heard = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "harness", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGINT, heard)

    def result(self, out: str = "out") -> dict[str, Any]:
        """The result.json of a run."""
        result: dict[str, Any] = json.loads((self.folder / out / "result.json").read_text(encoding="utf-8"))
        return result

    def cases(self, out: str = "out") -> dict[str, dict[str, Any]]:
        """The cases of a run's result.json, by what follows `::` in their ids."""
        return {case["id"].partition("::")[2]: case for case in self.result(out)["cases"]}

    def trace(self, name: str, target: str, out: str = "out") -> Trace:
        """The trace of a case in a run."""
        (run,) = [run for run in self.cases(out)[name]["runs"] if run["target"] == target]
        return Trace(self.folder / out / run["trace"])

    def is_held(self, name: str) -> bool:
        """Whether a running process holds a lock on a file, perhaps an inherited one. A zombie holds none."""
        with (self.folder / name).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the totals of the checks on the worker's side: see `worker/test_worker_side.py`."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = [text for report in reports for name, text in report.user_properties if name == "checks"]
    if told:
        terminalreporter.section("checks on the worker's side")
        for text in told:
            terminalreporter.line(text)


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Makes projects for the fixtures that many tests share."""
    return lambda: Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def workers() -> Iterator[Path]:
    """The folder of a host of workers, which end with the tests."""
    host = Host()
    yield host.folder
    host.close()


@pytest.fixture(scope="session")
def make_warm_project(tmp_path_factory: pytest.TempPathFactory, workers: Path) -> Callable[[], Project]:
    """Makes projects whose runs share workers: for cases that need nothing else than what is installed."""
    return lambda: Project(tmp_path_factory.mktemp("project"), workers)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture
def harness(project: Project) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in the test's project."""
    return project.harness


@pytest.fixture(scope="session")
def comes_true() -> Callable[[Callable[[], bool]], bool]:
    """Waits up to 30 s for a condition, and returns whether it came true."""

    def wait(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 30
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    return wait
