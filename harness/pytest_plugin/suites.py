"""Tests that run in the workers, as pytest items, one for each target: those of an existing suite under `--parity`, and
those that ask for the fixture `parity`. The reports of the pytest in a worker are passed on here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.pytest_plugin import findings
from harness.pytest_plugin.session import SESSION, ParitySession
from harness.suite import FIXTURE, id_of, names_of
from harness.target import Target

if TYPE_CHECKING:
    from harness.session.suite import Found

#: The `when` of an additional report of a suite's test: values differ between targets.
DIFFERS = "parity"


@dataclass(frozen=True)
class Test:
    """A test on a target."""

    id: str
    path: Path
    target: Target

    @classmethod
    def of(cls, item: pytest.Item) -> Test | None:
        """The test of an item, if it is one that runs in a worker."""
        if isinstance(item, SuiteItem):
            return item.test
        if isinstance(item, pytest.Function) and FIXTURE in item.fixturenames and hasattr(item, "callspec"):
            target = item.callspec.params.get(FIXTURE)
            if isinstance(target, Target):
                *outer, name = names_of(item)
                names = [*outer, _without(name, target)]
                return cls(id_of(item.path, names, item.config.rootpath), item.path, target)
        return None


def _without(name: str, target: Target) -> str:
    """A test's name without the target that was added to its parameters."""
    start = name.removesuffix("]").removesuffix(str(target))
    return f"{start[:-1]}]" if start.endswith("-") else start.removesuffix("[")


def _with(name: str, target: Target) -> str:
    return f"{name[:-1]}-{target}]" if name.endswith("]") else f"{name}[{target}]"


class SuiteFile(pytest.File):
    """A test file that only workers import."""

    def collect(self) -> Iterator[SuiteItem | SuiteClass]:
        session = self.config.stash[SESSION]
        from harness.pytest_plugin import workers

        contents = workers.collected(session, self.path)
        for fault in contents.faults:
            target = next(target for target in session.settings.targets if str(target) == fault.target)
            test = Test(fault.report["nodeid"], self.path, target)
            name = f"collection[{target}]"
            nodeid = f"{self.nodeid}::{name}"
            yield SuiteItem.from_parent(self, name=name, nodeid=nodeid, test=test, line=0, marks=[], fault=fault.report)
        yield from _nodes(self, contents.tests, 0)


class SuiteClass(pytest.Collector):
    """A class of tests."""

    def __init__(self, *, tests: Sequence[Found], depth: int, **more: Any) -> None:
        super().__init__(**more)
        self._tests = tests
        self._depth = depth

    def collect(self) -> Iterator[SuiteItem | SuiteClass]:
        yield from _nodes(self, self._tests, self._depth)


def _nodes(parent: pytest.Collector, tests: Sequence[Found], depth: int) -> Iterator[SuiteItem | SuiteClass]:
    """The items and classes directly in `parent`, which is itself inside `depth` classes of its file."""
    targets = parent.config.stash[SESSION].settings.targets
    for (name, is_leaf), group in itertools.groupby(
        tests, key=lambda found: (found.test.names[depth], len(found.test.names) == depth + 1)
    ):
        held = list(group)
        if not is_leaf:
            yield SuiteClass.from_parent(parent, name=name, tests=held, depth=depth + 1)
            continue
        for found, target in itertools.product(held, targets):
            if str(target) in found.targets:
                yield SuiteItem.from_parent(
                    parent,
                    name=_with(name, target),
                    nodeid=f"{parent.nodeid}::{_with(name, target)}",
                    test=Test(found.test.id, parent.path, target),
                    line=found.test.line,
                    marks=found.test.marks,
                )


class SuiteItem(pytest.Item):
    """A test of an existing suite on one target.

    Args:
        fault: pytest's report of why its file could not be collected there.
    """

    def __init__(
        self, *, test: Test, line: int | None, marks: Sequence[str], fault: dict[str, Any] | None = None, **more: Any
    ) -> None:
        super().__init__(**more)
        self.test = test
        self.fault = fault
        self._line = line
        for mark in marks:
            self.config.addinivalue_line("markers", f"{mark}: of the suite that runs in the workers")
            self.add_marker(mark)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, self._line, self.nodeid.partition("::")[2].replace("::", ".")

    def runtest(self) -> None:
        raise AssertionError("a worker runs it")


def run_protocol(item: pytest.Item, test: Test) -> None:
    """Report an item as the worker's pytest reported it, together with the outcome of the comparison."""
    session = item.config.stash[SESSION]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item, test, session):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def _reports(item: pytest.Item, test: Test, session: ParitySession) -> Iterator[pytest.TestReport]:
    from harness.pytest_plugin import workers

    properties = [("parity_target", str(test.target))]
    if isinstance(item, SuiteItem) and item.fault is not None:
        how = item.fault["outcome"]
        text = item.config.hook.pytest_report_from_serializable(config=item.config, data=item.fault).longreprtext
        longrepr = (str(item.path), 0, text) if how == "skipped" else text
        yield _report(item, "setup", how, longrepr, properties)
        return
    asked = not isinstance(item, SuiteItem)
    # A file that cannot be collected on a target has an item for that, and no test.
    others = [Test.of(other) for other in item.session.items if getattr(other, "fault", None) is None]
    tests = [(other.id, other.target) for other in others if other is not None and other.path == test.path]
    ended = workers.run_file(session, test.path, tests, assertions=not asked)[test.id]
    target = ended["targets"][str(test.target)]
    case = ended["case"]
    found = None if case is None else findings.found_on(case, test.target, session)
    if found is not None:
        properties = list(found.properties.items())
    for data in target["reports"]:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        report.nodeid, report.location = item.nodeid, item.location
        if isinstance(report.longrepr, list):  # of a skipped test: JSON has made a list of pytest's tuple
            report.longrepr = tuple(report.longrepr)
        report.user_properties = [*map(tuple, report.user_properties), *properties]
        if asked and report.when == "call" and report.passed and found is not None:
            _settle(report, found, runxfail=item.config.option.runxfail)
        yield report
        # A suite's test keeps its own outcome. A difference between targets is reported in addition.
        if not asked and report.when == "call" and found is not None and found.outcome == "differ":
            yield _report(item, DIFFERS, "failed", found.text, properties)
    if target["ended"] is not None:
        yield _report(item, "call", "failed", target["ended"], properties)


def _settle(report: pytest.TestReport, found: findings.Found, *, runxfail: bool) -> None:
    """Give a test that asks for the fixture `parity` the outcome of its comparison."""
    if found.outcome == "known" and not runxfail:
        report.outcome, report.wasxfail, report.longrepr = "skipped", found.text, None
    elif found.outcome != "agree":
        report.outcome, report.longrepr = "failed", found.text


def _report(
    item: pytest.Item, when: Any, outcome: Any, longrepr: Any, properties: list[tuple[str, str]]
) -> pytest.TestReport:
    return pytest.TestReport(
        item.nodeid, item.location, dict.fromkeys(item.keywords, 1), outcome, longrepr, when, user_properties=properties
    )
