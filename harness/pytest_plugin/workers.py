"""Collects and runs tests in the workers, each file once for all processes of a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.plain import from_plain, to_plain
from harness.pytest_plugin.session import ParitySession
from harness.session import suite
from harness.session.layout import slug_of
from harness.session.suite import Contents
from harness.target import Target


def collected(session: ParitySession, path: Path) -> Contents:
    """The tests of a file, as pytest finds them on every target. The first call collects the whole suite.

    Raises:
        pytest.UsageError: pytest cannot collect on some target.
    """

    def make() -> Any:
        config = session.config
        arguments = [*(["--pyargs"] if config.option.pyargs else []), *config.args]
        try:
            return to_plain(suite.collect(session.workflow, session.call, arguments))
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None

    return from_plain(session.once("collected-suite", make), dict[str, Contents]).get(str(path), Contents())


def run_file(
    session: ParitySession, path: Path, tests: Sequence[tuple[str, Target]], *, assertions: bool
) -> Mapping[str, Any]:
    """Run tests of a file on their targets and on the reference, and compare what they observed.

    Args:
        tests: pairs of a test's id, see `harness.suite.id_of`, and a target.
        assertions: True to observe the values that assertions are given; False to observe what tests record.

    Returns:
        By id, a `harness.session.suite.Outcome` as plain data. Its `case` is as in `result.json`.
    """

    def make() -> dict[str, Any]:
        ids = list(dict.fromkeys(test for test, _ in tests))
        wanted = {target for _, target in tests} | {session.settings.reference}
        there = {found.test.id: found.targets for found in collected(session, path).tests} if assertions else {}
        held = {
            target: [test for test in ids if not assertions or str(target) in there[test]]
            for target in session.settings.targets
            if target in wanted
        }
        outcomes = suite.run_file(session.workflow, session.call, path, held, assertions=assertions)
        return {
            test: {"targets": to_plain(outcome.targets), "case": outcome.case and outcome.case.to_json()}
            for test, outcome in outcomes.items()
        }

    ended: Mapping[str, Any] = session.once(f"suite-{slug_of(str(path))}", make)
    return ended
