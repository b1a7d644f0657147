"""Tests of an existing suite, run by pytest in a child: how each of them ends, and what it observes.

The child writes what happens to a file as it goes, line by line (`harness.wire.SuiteLine`), so that nothing is lost
if a test takes the process down.
"""

from __future__ import annotations

import faulthandler
import importlib.metadata
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from harness import backends, suite, trace, wire
from harness.backends import runtime
from harness.case import Expected, checked, fingerprint
from harness.errors import CaseError, InferenceOnly, TargetError
from harness.suite import INSIDE, id_of, moved, names_of
from harness.target import Target
from harness.worker import FRAMEWORKS, execution, proof, randomness
from harness.worker.capture.assertions import Assertions
from harness.worker.capture.parity import Parity
from harness.worker.capture.record import Recorder
from harness.worker.patching import patched
from harness.worker.seeding import Seeds, derandomize_hypothesis, seed_frameworks

#: Values that switch off options, perhaps from `addopts`, that act in the user's pytest and must not act here again.
_NOT_INSIDE = {
    "lf": False,
    "failedfirst": False,
    "newfirst": False,
    "maxfail": 0,
    "stepwise": False,
    "usepdb": False,
    "trace": False,
    "xmlpath": None,
}


class Suite:
    """A pytest plugin that runs or collects tests as a request says.

    Args:
        folder: for models that tests save.
        lines: the file that messages are written to.
        fresh_process: see `harness.wire.Request`.
        seeds: of what a test draws without a seed.
    """

    def __init__(
        self, work: wire.Suite, folder: Path, lines: BinaryIO, fresh_process: str | None, seeds: Seeds
    ) -> None:
        self.__name__ = INSIDE  # the name by which pytest registers the plugin
        self._work = work
        self._folder = folder
        self._lines = lines
        self._fresh_process = fresh_process
        self._seeds = seeds
        self._tests = work.tests
        self._assertions = Assertions()
        self._running = ""
        self._failed: str | None = None
        self._stopped: str | None = None
        self._parity: Parity | None = None

    @pytest.fixture
    def parity(self) -> Parity:
        """The `Parity` of the test that runs now."""
        assert self._parity is not None
        return self._parity

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config
        for name, value in _NOT_INSIDE.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)
        if self._work.assertions:
            self._assertions.install()
        if self._tests is not None:
            derandomize_hypothesis(Path(argument.partition("::")[0]) for argument in config.args)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if self._tests is None and not report.passed:
            self._write(wire.SuiteFault(self._original(collector.path), self._plain(report)))
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            expected(item)
        if self._tests is None:
            for item in items:
                self._write(self._described(item))
        else:
            items[:] = [item for item in items if self._id(item) in self._tests]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        assert self._tests is not None
        self._running = self._id(item)
        test = self._tests[self._running]
        self._write(wire.SuiteStarted(self._running, time.time()))
        faulthandler.dump_traceback_later(self._work.limit, exit=True)
        random.seed(test.seed)
        np.random.seed(test.seed)
        self._seeds.restart(test.seed)
        seed_frameworks(test.seed)
        recorder = Recorder(self._work.folder, twin=self._work.twin)
        self._parity = Parity(recorder, Target.parse(self._work.target, backends.NAMES), test.seed, self._folder)
        self._failed = self._stopped = None
        if self._work.assertions:
            self._assertions.watch(recorder, item.path, self._original(item.path))
        started = time.perf_counter()
        try:
            with randomness.shared_order(test.seed):
                return (yield)
        finally:
            self._assertions.watch(None)
            faulthandler.cancel_dump_traceback_later()
            header = trace.Header(
                case=self._running,
                target=self._work.target,
                precision=self._work.precision,
                status="unavailable" if self._stopped else "ok" if self._failed is None else "error",
                error=self._stopped or self._failed,
                inference_only=self._stopped is not None,
                seconds=time.perf_counter() - started,
                seed=test.seed,
                environment={
                    **proof.environment(native=False, fresh_process=self._fresh_process),
                    "placement": proof.placement(recorder.observations),
                },
                notes=recorder.notes,
                lacks=recorder.lacks,
                expect=expected(item),
                source=fingerprint(item.path),
            )
            trace.write(test.trace, header, recorder.observations)
            self._write(wire.SuiteDone(self._running))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Skip a test that asks for gradients if the backend has none."""
        try:
            return (yield)
        except InferenceOnly as error:
            self._stopped = str(error)
            pytest.skip(self._stopped)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed and self._failed is None:
            self._failed = f"{report.outcome} in {report.when}: {_last_line(report)}"
        self._write(wire.SuiteReport(self._running, self._plain(report)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Leave out what plugins add to pytest's summary. Nobody reads it, and hypothesis imports all of itself."""
        manager = self._config.pluginmanager
        others = [plugin for plugin in manager.get_plugins() if plugin is not manager.getplugin("terminalreporter")]
        summary = "pytest_terminal_summary"
        setattr(manager.hook, summary, manager.subset_hook_caller(summary, others))

    def _original(self, path: Path) -> Path:
        return moved(path, self._work.copy, self._work.original)

    def _id(self, item: pytest.Item) -> str:
        return id_of(self._original(item.path), names_of(item), self._original(self._config.rootpath))

    def _described(self, item: pytest.Item) -> wire.SuiteFound:
        marks = list(dict.fromkeys(mark.name for mark in item.iter_markers()))
        path = self._original(item.path)
        return wire.SuiteFound(self._id(item), path, names_of(item), item.location[1], marks)

    def _plain(self, report: pytest.CollectReport | pytest.TestReport) -> dict[str, Any]:
        """pytest's report as plain data. What JSON cannot hold, such as a property of a test's own, becomes text."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        plain: dict[str, Any] = json.loads(json.dumps(data, default=str))
        return plain

    def _write(self, line: wire.SuiteLine) -> None:
        self._lines.write(wire.encode(line))
        self._lines.flush()


def run(work: wire.Suite, folder: Path, fresh_process: str | None) -> None:
    """Carry out a request.

    Args:
        folder: for temporary files.
        fresh_process: see `harness.wire.Request`.
    """
    for name in [name for name in os.environ if name.startswith(("PYTEST_XDIST_", "PYTEST_CURRENT_TEST"))]:
        del os.environ[name]  # of the process that started the worker
    os.chdir(work.folder)
    new = [path for path in work.path if path not in sys.path]
    sys.path[:] = [_in_the_copy(path, work) for path in [*new, *sys.path]]
    _let_temporary_files_lie_in(folder / "tmp")
    faulthandler.cancel_dump_traceback_later()  # each test has a limit of its own
    arguments = [*work.arguments, f"--basetemp={folder / 'basetemp'}"]
    if work.tests is None:
        arguments.append("--collect-only")
    target = Target.parse(work.target, backends.NAMES)
    if runtime.current().backend.processes(target) > 1:
        raise TargetError(f"Target {str(target)!r} runs a case in several processes, and a test suite runs in one.")
    seeds = Seeds()
    with (
        work.results.open("wb") as lines,
        patched(np.random, "default_rng", seeds.seeded),
        execution.as_target_says(target, work.precision, work.threads, 0, folder / "meeting"),
    ):
        options, plugins = _without_ours()
        inside = Suite(work, folder, lines, fresh_process, seeds)
        status = pytest.main([*options, *arguments], plugins=[inside, *plugins])
        lines.write(wire.encode(wire.SuiteEnded(int(status))))
    (folder / FRAMEWORKS).write_text(" ".join(name for name in backends.training() if name in sys.modules))


def _in_the_copy(path: str, work: wire.Suite) -> str:
    """An entry of `sys.path` as one in the copy, if the copy has more than a link to it, as to an environment."""
    copied = moved(Path(path), work.original, work.copy)
    is_copied = copied.is_relative_to(work.copy) and copied.resolve().is_relative_to(work.copy)
    return str(copied) if is_copied else path


def _let_temporary_files_lie_in(folder: Path) -> None:
    folder.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def _without_ours() -> tuple[list[str], list[Any]]:
    """Arguments and plugins that pytest needs if the plugin of the harness is not carried into this environment.

    Then the plugin is not loaded, even if a harness is installed here, and the options come by themselves.
    """
    is_here = importlib.util.find_spec("harness.pytest_plugin") is not None
    found = (point for distribution in importlib.metadata.distributions() for point in distribution.entry_points)
    if is_here and any((point.group, point.name) == ("pytest11", "harness") for point in found):
        return [], []
    return ["-p", "no:harness"], [suite]


def expected(item: pytest.Item) -> Mapping[str, Expected]:
    """The known differences that a test's marker `parity` declares.

    Raises:
        pytest.UsageError: they are not declarations that `@case` would take.
    """
    mark = item.get_closest_marker("parity")
    try:
        return {} if mark is None else checked(mark.kwargs.get("expect", {}))
    except CaseError as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from None


def _last_line(report: pytest.TestReport) -> str:
    lines = report.longreprtext.strip().splitlines() or ["no reason given"]
    return lines[-1]
