"""What a session prints: its targets in the header and, at the end, what was found and what to do about it."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.pytest_plugin import settings
from harness.pytest_plugin.cases import CaseItem, is_case_file
from harness.pytest_plugin.findings import NOTHING, shown_path
from harness.pytest_plugin.session import ParitySession
from harness.pytest_plugin.suites import DIFFERS, Test

#: pytest's categories of reports, in the words of its own last line.
_ENDED = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")

#: A report of a case or of a compared test: its category, the report, and its properties.
_Seen = tuple[str, Any, dict[str, str]]


class Summary:
    """Hooks that print the header and the summary, if the session has a case or a compared test."""

    def __init__(self, session: ParitySession) -> None:
        self._session = session
        self._said = False

    def pytest_report_header(self, config: pytest.Config) -> list[str]:
        if not settings.given(config) and not any(_holds_cases(argument) for argument in config.args):
            return []
        self._said = True
        return self._header()

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        ours = any(isinstance(item, CaseItem) or Test.of(item) is not None for item in items)
        return self._header() if ours and not self._said else []

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return ("differs", "D", "DIFFERS") if report.when == DIFFERS else None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write `result.json`. Under pytest-xdist the first process does it, after the others have ended."""
        session = self._session
        if hasattr(session.config, "workerinput"):
            return
        files = session.made("suite-")
        cases = [*session.made("judged-"), *(test["case"] for file in files for test in file.values() if test["case"])]
        if cases:
            from harness.result.file import FILE, write

            write(session.folder / FILE, session.workflow.result().assembled(cases))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        seen = [
            (category, report, dict(report.user_properties))
            for category in (*_ENDED, "differs")
            for report in terminalreporter.stats.get(category, [])
            if "parity_target" in dict(getattr(report, "user_properties", []))
        ]
        blocks = [*self._totals(seen), *self._differences(seen), *self._not_compared(seen)] if seen else []
        failed = [category for category, _, _ in seen if category in ("failed", "error", "differs")]
        if not blocks and not failed:
            return
        terminalreporter.section("parity")
        for block in blocks:
            terminalreporter.line(block)
        if failed:
            terminalreporter.line(
                f"What was recorded, and scripts that show it: harness show {shown_path(self._session)}"
            )
            terminalreporter.line(
                "A difference that is known is declared: in the case, by the marker parity(expect=...), or in "
                "[[tool.harness.known]] of pyproject.toml."
            )

    def _header(self) -> list[str]:
        from harness.session.targets import left_out

        chosen = self._session.settings
        lines = [
            f"parity: reference {_described(str(chosen.reference), chosen.reference.backend)}, against "
            + (", ".join(_described(str(t), t.backend) for t in chosen.compared if t != chosen.reference) or "nothing")
            + f" (keras {_version('keras')}, harness {_version('keras-harness')})"
        ]
        if "parity_targets" not in settings.given(self._session.config):
            lines += [f"parity: {name} is left out: {reason}" for name, reason in left_out()]
        return lines

    def _totals(self, seen: Sequence[_Seen]) -> Iterator[str]:
        """How the tests of a suite ended on each target."""
        if not self._session.is_suite:
            return
        for target in self._session.settings.targets:
            counts = Counter(
                category
                for category, report, properties in seen
                if properties["parity_target"] == str(target) and category in (*_ENDED, "differs")
            )
            told = ", ".join(f"{counts[category]} {category}" for category in (*_ENDED, "differs") if counts[category])
            yield f"{target}: {told or 'no tests'}"

    def _differences(self, seen: Sequence[_Seen]) -> Iterator[str]:
        for category, report, _ in seen:
            if category == "differs":
                yield ""
                yield report.longreprtext

    def _not_compared(self, seen: Sequence[_Seen]) -> Iterator[str]:
        """Lines about how many tests were compared, with which verdicts, and what was not compared."""
        reference = str(self._session.settings.reference)
        if len(self._session.settings.targets) < 2:
            yield f"Nothing was compared: {reference} is the only target."
        compared = [
            properties for _, report, properties in seen if report.when == "call" and "parity_verdict" in properties
        ]
        if self._session.is_suite and compared:
            verdicts = Counter(properties["parity_verdict"] for properties in compared)
            silent = verdicts.pop(NOTHING, 0)
            told = [f"{count} {verdict}" for verdict, count in verdicts.most_common()]
            if silent:
                tests = "1 test" if silent == 1 else f"{silent} tests"
                told.append(f"{tests} passed no comparable value to an assertion")
            yield f"tests by what their assertions were given, against {reference}: {', '.join(told)}"
        left_out = sum(int(properties["parity_not_compared"]) for properties in compared)
        if left_out:
            yield f"{left_out} observations could not be compared, being on one side only or too far into a training"


def _holds_cases(argument: str) -> bool:
    """Whether an argument of pytest names a case file, or a folder with one directly in it."""
    path = Path(argument.partition("::")[0])
    return any(is_case_file(file) for file in (path.glob("*.py") if path.is_dir() else [path]) if file.is_file())


def _described(name: str, backend: str) -> str:
    return f"{name} {_version(backend)}"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"
