"""Tests of an existing suite, run by pytest in a child: how each of them ends, and what it observes.

The child writes what happens to a file, a line of JSON each, so that nothing is lost if a test takes the process down:

```
{"test": {"id", "path", "names", "line", "marks"}}      a test that was collected, where only that was asked
{"collect": path, "report": {...}}                      a file that could not be collected, or that skips itself
{"start": id, "at": seconds since the epoch}            a test has begun
{"of": id, "report": {...}}                             pytest's own report of its setup, call or teardown
{"end": id}
{"exit": status}                                        pytest's own
```
"""

from __future__ import annotations

import faulthandler
import importlib.metadata
import json
import os
import random
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest

from harness import backends, pytest_plugin, randomness, trace
from harness.capture.assertions import Assertions
from harness.capture.parity import Parity
from harness.capture.record import Recorder
from harness.case import Expected, checked
from harness.errors import CaseError, InferenceOnly, TargetError
from harness.pytest_plugin import INSIDE
from harness.pytest_plugin.ids import id_of, names_of
from harness.target import Target
from harness.worker import proof, settings

#: Options of the session outside that must not act once more inside. They can come from `addopts`.
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
    """A pytest plugin that carries out a request of kind `suite`, see `harness.worker.child`."""

    def __init__(self, request: dict[str, Any], folder: Path, lines: TextIO) -> None:
        self.__name__ = INSIDE  # by which pytest registers it
        self._request = request
        self._folder = folder
        self._lines = lines
        self._tests: dict[str, dict[str, Any]] | None = request["tests"]
        self._assertions = Assertions()
        self._running = ""
        self._failed: str | None = None
        self._stopped: str | None = None
        #: What the test that runs now gets as `parity`.
        self.parity: Parity | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config
        for name, value in _NOT_INSIDE.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)
        if self._request["assertions"]:
            self._assertions.install()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if self._tests is None and not report.passed:
            self._write({"collect": str(collector.path), "report": self._plain(report)})
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            expected(item)
        if self._tests is None:
            for item in items:
                self._write({"test": self._described(item)})
        else:
            items[:] = [item for item in items if self._id(item) in self._tests]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        assert self._tests is not None
        self._running = self._id(item)
        test = self._tests[self._running]
        place, seed = Path(test["trace"]), test["seed"]
        limit = self._request["limit"]
        self._write({"start": self._running, "at": time.time()})
        faulthandler.dump_traceback_later(limit, exit=True)
        random.seed(seed)
        np.random.seed(seed)
        backends.current().seed(seed)
        recorder = Recorder(twin=self._request["twin"])
        self.parity = Parity(recorder, Target.parse(self._request["target"], backends.NAMES), seed, self._folder)
        self._failed = self._stopped = None
        if self._request["assertions"]:
            self._assertions.watch(recorder, item.path)
        started = time.perf_counter()
        try:
            with randomness.shared_order(seed):
                return (yield)
        finally:
            self._assertions.watch(None, item.path)
            faulthandler.cancel_dump_traceback_later()
            header = trace.Header(
                case=self._running,
                target=self._request["target"],
                precision=self._request["precision"],
                status="unavailable" if self._stopped else "ok" if self._failed is None else "error",
                error=self._stopped or self._failed,
                inference_only=self._stopped is not None,
                seconds=time.perf_counter() - started,
                seed=seed,
                environment={
                    **proof.environment(self._request, native=False),
                    "placement": proof.placement(recorder.observations),
                },
                notes=recorder.notes,
                lacks=recorder.lacks,
                expect=expected(item),
                source=proof.fingerprint(item.path),
            )
            trace.write(place, header, recorder.observations)
            self._write({"end": self._running})

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """A test that trains is skipped where there are no gradients."""
        try:
            return (yield)
        except InferenceOnly as error:
            self._stopped = str(error)
            pytest.skip(self._stopped)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed and self._failed is None:
            self._failed = f"{report.outcome} in {report.when}: {_last_line(report)}"
        self._write({"of": self._running, "report": self._plain(report)})

    def _id(self, item: pytest.Item) -> str:
        return id_of(item.path, names_of(item), self._config.rootpath)

    def _described(self, item: pytest.Item) -> dict[str, Any]:
        return {
            "id": self._id(item),
            "path": str(item.path),
            "names": names_of(item),
            "line": item.location[1],
            "marks": list(dict.fromkeys(mark.name for mark in item.iter_markers())),
        }

    def _plain(self, report: pytest.CollectReport | pytest.TestReport) -> Any:
        return self._config.hook.pytest_report_to_serializable(config=self._config, report=report)

    def _write(self, line: dict[str, Any]) -> None:
        self._lines.write(json.dumps(line, default=str) + "\n")
        self._lines.flush()


def run(request: dict[str, Any], folder: Path) -> None:
    """Carry out a request, see `harness.worker.child`. `folder` is for what pytest keeps."""
    for name in [name for name in os.environ if name.startswith(("PYTEST_XDIST_", "PYTEST_CURRENT_TEST"))]:
        del os.environ[name]  # of the process that started the worker
    os.chdir(request["cwd"])
    sys.path[:0] = [path for path in request["path"] if path not in sys.path]
    faulthandler.cancel_dump_traceback_later()  # each test has a limit of its own
    arguments = [*request["args"], f"--basetemp={folder / 'basetemp'}", "-o", f"cache_dir={folder / 'cache'}"]
    if request["tests"] is None:
        arguments.append("--collect-only")
    target = Target.parse(request["target"], backends.NAMES)
    if backends.current().processes(target) > 1:
        raise TargetError(f"Target {str(target)!r} runs a case in several processes, and a test suite runs in one.")
    with (
        open(request["results"], "a", encoding="utf-8") as lines,
        settings.in_force(target, request["precision"], request["threads"], 0, folder / "meeting"),
    ):
        status = pytest.main(arguments, plugins=[Suite(request, folder, lines), *_not_installed()])
        lines.write(json.dumps({"exit": int(status)}) + "\n")


def _not_installed() -> list[Any]:
    """The plugin of the harness, where pytest does not find it by itself: in an environment it was carried into."""
    found = (point for distribution in importlib.metadata.distributions() for point in distribution.entry_points)
    return [] if any((point.group, point.name) == ("pytest11", "harness") for point in found) else [pytest_plugin]


def expected(item: pytest.Item) -> Mapping[str, Expected]:
    """The known differences that a test's marker `parity` declares.

    Raises:
        pytest.UsageError: they are not what `@case` would take.
    """
    mark = item.get_closest_marker("parity")
    try:
        return {} if mark is None else checked(mark.kwargs.get("expect", {}))
    except CaseError as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from None


def _last_line(report: pytest.TestReport) -> str:
    lines = report.longreprtext.strip().splitlines() or ["no reason given"]
    return lines[-1]
