"""Hooks that collect cases and compared tests, and that run these tests in workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.case import is_case
from harness.pytest_plugin.cases import CaseFile, CaseItem, is_case_file, is_test_file
from harness.pytest_plugin.session import ParitySession
from harness.pytest_plugin.suites import SuiteFile, Test, run_protocol
from harness.suite import FIXTURE


class Collection:
    """Collects cases, tests that ask for the fixture `parity` and, under `--parity`, every test."""

    def __init__(self, session: ParitySession) -> None:
        self._session = session

    @pytest.fixture
    def parity(self) -> None:
        """Runs the test on every target, and compares what it records there with the reference.

        parity.record(name, value): adds an observation: a tensor, array, number, or nested structure of them.
        parity.run(what): carries out a harness.Fit or harness.Forward, and records everything.
        parity.rng: a numpy.random.Generator that is equal on every target.
        parity.target: the target that the test runs on now.
        """
        pytest.fail("The fixture parity must be an argument of the test, which then runs on the targets. Add it there.")

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        named = parent.session.isinitpath(file_path)  # pytest makes a module of it, whatever its name
        if (named and not is_test_file(file_path, parent.config)) or not is_case_file(file_path):
            return None
        return CaseFile.from_parent(parent, path=file_path)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if not is_test_file(module_path, parent.config) and is_case_file(module_path):
            return CaseFile.from_parent(parent, path=module_path)
        return SuiteFile.from_parent(parent, path=module_path) if self._session.is_suite else None

    def pytest_pycollect_makeitem(self, obj: object) -> list[pytest.Item] | None:
        return [] if is_case(obj) else None  # a case is no test function: `CaseFile` collects it

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if FIXTURE in metafunc.fixturenames:
            compared = self._session.settings.compared
            metafunc.parametrize(FIXTURE, compared, indirect=True, ids=[str(target) for target in compared])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        ours = next((item for item in items if isinstance(item, CaseItem) or Test.of(item) is not None), None)
        if ours is not None and (config.option.usepdb or config.option.trace):
            raise pytest.UsageError(
                f"--pdb and --trace cannot enter {ours.nodeid}: it runs in another process, once for each target. Run "
                "it without them; what is found comes with a script that shows it, which a debugger can run."
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        test = Test.of(item)
        if test is None:
            return None
        run_protocol(item, test)
        return True
