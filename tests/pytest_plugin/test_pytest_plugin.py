"""The pytest plugin, in real sessions of pytest with real backends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness import backends
from harness.session.layout import slug_of
from harness.target import Target
from harness.trace import Trace

#: Says at the end of a session what its own process has imported.
SPY = """
import json, sys
def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        with open("imported.json", "w") as file:
            json.dump(sorted({name.partition(".")[0] for name in sys.modules}), file)
"""
CASES = """
import os, keras, pytest
from harness import Expected, case

def of_jax(difference): return 1.0 + difference * (keras.config.backend() == "jax")

@case
def agrees(record): record("x", of_jax(0))

@case(tags=["slow"])
@pytest.mark.parametrize("size", [2, 3])
def sized(record, size): record("x", keras.ops.ones(size))

@case
def differs(record): record("x", of_jax(1e-3))

@case(expect={"jax": Expected("divergent", reason="as it should be")})
def declared(record): record("x", of_jax(1e-3))

@case(expect={"jax": Expected("divergent", reason="as it was once")})
def mended(record): record("x", of_jax(0))

@case
def crashes(record):
    record("x", 1.0)
    if keras.config.backend() == "jax": os.abort()
"""
ITEMS = [
    "agrees[jax]",
    "sized[2-jax]",
    "sized[3-jax]",
    "differs[jax]",
    "declared[jax]",
    "mended[jax]",
    "crashes[jax]",
]
#: Cases of one backend: quick, and enough to see what becomes of options.
ALONE = """
from harness import case
@case
def first(record): record("x", 1.0)
@case(tags=["slow"])
def second(record): raise ValueError("as asked")
@case
def third(record): record("x", 1.0)
"""
QUICK = ["--parity-targets", "jax", "-p", "no:cacheprovider"]


def pytest_in(project: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = project.python("-m", "pytest", *arguments)
    return done


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """How each item ended, by its id, as `-rA` says it."""
    found = re.findall(r"^(PASSED|FAILED|XFAIL|SKIPPED|ERROR) (\S+::.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return {name: outcome.lower() for outcome, name in found}


def section(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of the plugin's own section."""
    found = re.search(r"^=+ parity =+$\n(.*?)(?=^=+)", done.stdout, re.MULTILINE | re.DOTALL)
    return found[1].splitlines() if found else []


# In a project that does not use it.


def test_a_project_without_cases_hears_and_sees_nothing(project: Any) -> None:
    project.write("conftest.py", SPY)
    project.write("tests/test_x.py", "def test_x(): pass\n")
    done = pytest_in(project)
    assert done.returncode == 0
    assert "parity" not in done.stdout
    assert not (project.folder / "runs").exists()
    loaded = set(json.loads((project.folder / "imported.json").read_text()))
    assert "harness" in loaded
    assert loaded.isdisjoint(
        {"keras", "torch", "tensorflow", "jax", "numpy", "rich", "click", "safetensors", "filelock"}
    )


def test_a_file_that_only_mentions_the_harness_is_not_taken_for_cases(project: Any) -> None:
    project.write("tests/test_x.py", "import harness\nfrom harness import Fit\ncase = 1\ndef test_x(): assert case\n")
    project.write("tests/broken.py", "from harness import case\nthis is not Python\n")
    done = pytest_in(project, "tests")
    assert done.returncode == 0
    assert "1 passed" in done.stdout
    assert "parity" not in done.stdout


# Options.


def test_each_option_has_a_twin_in_the_configuration(pytester: pytest.Pytester) -> None:
    printed = pytester.runpytest_subprocess("--help").stdout.str()
    options = set(re.findall(r"^  (--parity[a-z-]*)", printed, re.MULTILINE))
    assert len(options) == 10
    for option in options:
        assert re.search(rf"^  {option[2:].replace('-', '_')} \(", printed, re.MULTILINE), option


@pytest.mark.parametrize("way", ["option", "configuration"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("targets", "theano", "'theano' in target 'theano' is not a backend"),
        ("reference", "torch", "'torch' is not among the targets jax"),
        ("precision", "float16", "'float16' is not one of both, float32"),
        ("fail_on", "bad", "'bad' is not a verdict"),
        ("timeout", "soon", "'soon' is not a number of seconds above 0"),
        ("timeout", "-1", "'-1' is not a number of seconds above 0"),
        ("blame_seconds", "0", "--parity-blame-seconds: '0' is not a number of seconds above 0"),
    ],
)
def test_a_wrong_option_is_refused(project: Any, way: str, name: str, value: str, message: str) -> None:
    project.write("cases/x.py", ALONE)
    given = {"targets": "jax", name: value}
    options = [f"--parity-{key.replace('_', '-')}={text}" for key, text in given.items()]
    if way == "configuration":
        lines = "\n".join(f"parity_{key} = {text}" for key, text in given.items())
        project.write("pytest.ini", f"[pytest]\n{lines}\n")
        options = []
    done = pytest_in(project, "cases", *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_configuration_does_what_options_do(project: Any) -> None:
    project.write("cases/x.py", ALONE)
    project.write("pytest.ini", "[pytest]\nparity_targets = jax\nparity_precision = float32\nparity_out = there\n")
    done = pytest_in(project, "cases", "-k", "first")
    assert done.returncode == 0
    assert "first" in [case["id"].partition("::")[2] for case in project.result("there")["cases"]]
    assert project.result("there")["precision"] == "float32"
    assert not (project.folder / "runs").exists()


def test_a_folder_with_other_things_is_left_alone(project: Any) -> None:
    project.write("cases/x.py", ALONE)
    precious = project.write("precious/data.txt", "all I have")
    done = pytest_in(project, "cases", *QUICK, "--parity-out", "precious")
    assert done.returncode != 0
    assert "holds other things" in done.stdout + done.stderr
    assert precious.read_text() == "all I have"


def test_two_sessions_do_not_write_to_one_folder(project: Any) -> None:
    project.write("cases/x.py", ALONE)
    project.write("runs/pytest/session.json", json.dumps({"id": "other", "process": os.getpid()}))
    done = pytest_in(project, "cases", *QUICK)
    assert f"Another session, process {os.getpid()}, is writing" in done.stdout + done.stderr
    assert done.returncode != 0


# Cases as items.


@pytest.fixture(scope="module")
def cases(make_project: Callable[[], Any]) -> Any:
    """A project of cases and one session over them, `done`."""
    project = make_project()
    project.write("conftest.py", SPY)
    project.write("cases/x.py", CASES)
    project.done = pytest_in(
        project, "cases", "-rA", "--parity-targets", "torch,jax", "--junitxml", "junit.xml", "-p", "no:cacheprovider"
    )
    return project


def test_there_is_an_item_for_each_case_and_compared_target(cases: Any) -> None:
    ended = outcomes(cases.done)
    expected = ["passed"] * 3 + ["failed", "xfail", "failed", "failed"]
    assert ended == {f"cases/x.py::{name}": outcome for name, outcome in zip(ITEMS, expected, strict=True)}
    assert cases.done.returncode == pytest.ExitCode.TESTS_FAILED


def test_cases_are_collected_and_run_without_a_framework_in_pytests_process(cases: Any) -> None:
    loaded = set(json.loads((cases.folder / "imported.json").read_text()))
    assert loaded.isdisjoint({"keras", "torch", "tensorflow", "jax"})


def test_a_failing_case_shows_its_finding_and_no_traceback(cases: Any) -> None:
    block = cases.done.stdout.partition("_ differs[jax] _")[2].partition("_ mended[jax] _")[0]
    assert "jax against torch: the case itself computes something else: 1.0e-03 off, " in block
    assert ", first seen in the recorded value 'x'\n" in block
    assert re.search(r"^ +at +recorded/x$", block, re.MULTILINE)
    assert "1.001 on jax against 1 on torch in float32" in block
    assert "Traceback" not in cases.done.stdout
    assert re.search(r"\.py:\d", block) is None


def test_a_declared_difference_is_expected_strictly(cases: Any) -> None:
    assert re.search(
        r"^XFAIL cases/x.py::declared\[jax\] - divergent: as it should be$", cases.done.stdout, re.MULTILINE
    )
    block = cases.done.stdout.partition("_ mended[jax] _")[2].partition("_ crashes[jax] _")[0]
    assert "a declared difference is gone" in block
    assert "as it was once" in block


def test_a_crash_is_a_failure_of_its_own_item(cases: Any) -> None:
    block = cases.done.stdout.partition("_ crashes[jax] _")[2]
    assert "SIGABRT" in block
    assert re.search(r'cases/x\.py", line \d+ in crashes', block)


def test_the_header_names_targets_versions_and_the_reference(cases: Any) -> None:
    (line,) = [line for line in cases.done.stdout.splitlines() if line.startswith("parity: ")]
    assert re.fullmatch(r"parity: reference torch \S+, against jax \S+ \(keras \S+, harness \S+\)", line)


def test_the_section_ends_with_what_to_do(cases: Any) -> None:
    assert "harness show runs/pytest" in " ".join(section(cases.done))
    shown = cases.harness("show", "runs/pytest")
    assert "cases/x.py::differs" in shown.stdout


def test_junit_has_what_was_found_as_properties(cases: Any) -> None:
    tree = ElementTree.parse(cases.folder / "junit.xml")
    found = {
        case.get("name"): {item.get("name"): item.get("value") for item in case.iter("property")}
        for case in tree.iter("testcase")
    }
    assert found["differs[jax]"]["parity_verdict"] == "divergent"
    assert found["differs[jax]"]["parity_first"] == "recorded/x"
    assert found["agrees[jax]"]["parity_target"] == "jax"
    assert found["agrees[jax]"]["parity_reference"] == "torch"


def test_the_session_leaves_a_run(cases: Any) -> None:
    found = {name: case["outcome"] for name, case in cases.cases("runs/pytest").items()}
    assert found == {
        "agrees": "agree",
        "sized[2]": "agree",
        "sized[3]": "agree",
        "differs": "differ",
        "declared": "known",
        "mended": "differ",
        "crashes": "error",
    }
    assert cases.result("runs/pytest")["exit_status"] == 1
    assert (cases.folder / "runs/pytest/.gitignore").read_text() == "*\n"


@pytest.mark.slow
def test_a_session_says_what_the_command_line_says(cases: Any) -> None:
    cases.harness("run", "cases", "--targets", "torch,jax", "--out", "out")
    ours, theirs = cases.cases("runs/pytest"), cases.cases("out")
    assert ours.keys() == theirs.keys()
    for name, case in theirs.items():
        assert case["outcome"] == ours[name]["outcome"]
        for mine, other in zip(ours[name]["comparisons"], case["comparisons"], strict=True):
            assert {**mine, "blame": None} == {**other, "blame": None}


@pytest.mark.slow
@pytest.mark.parametrize("door", ["pytest", "the command line"])
def test_a_search_ends_after_the_seconds_that_were_asked_for(cases: Any, door: str) -> None:
    if door == "pytest":
        options = ["--parity-targets", "torch,jax", "--parity-precision", "float32", "--parity-out", "short"]
        pytest_in(cases, "cases/x.py::differs", *options, "--parity-blame-seconds", "0.5")
    else:
        options = ["--targets", "torch,jax", "--precision", "float32", "--out", "short"]
        cases.harness("run", "cases/x.py::differs", *options, "--blame-seconds", "0.5")
    (comparison,) = cases.cases("short")["differs"]["comparisons"]
    assert "; the search ended after 0.5 s, before any part was looked at: " in comparison["blame"]["text"]
    shutil.rmtree(cases.folder / "short")


@pytest.mark.slow
def test_runxfail_lets_a_declared_difference_fail(cases: Any) -> None:
    options = ["--parity-targets", "torch,jax", "--parity-no-blame", "--parity-precision", "float32"]
    done = pytest_in(cases, "cases/x.py::declared", "--runxfail", "-rA", *options, "--parity-out", "elsewhere")
    assert outcomes(done) == {"cases/x.py::declared[jax]": "failed"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["cases/x.py"], {"first[jax]": "passed", "second[jax]": "failed", "third[jax]": "passed"}),
        (["cases/x.py::third"], {"third[jax]": "passed"}),
        (["cases/x.py::third[jax]"], {"third[jax]": "passed"}),
        (["cases", "-k", "not second"], {"first[jax]": "passed", "third[jax]": "passed"}),
        (["cases", "-m", "not slow", "--strict-markers"], {"first[jax]": "passed", "third[jax]": "passed"}),
        (["cases", "-x"], {"first[jax]": "passed", "second[jax]": "failed"}),
        (["cases", "-p", "no:xdist", "-k", "first"], {"first[jax]": "passed"}),
        (["cases", "-n0", "-k", "first"], {"first[jax]": "passed"}),
    ],
    ids=" ".join,
)
def test_items_are_chosen_as_usual(project: Any, arguments: list[str], expected: dict[str, str]) -> None:
    project.write("cases/x.py", ALONE)
    done = pytest_in(project, *arguments, *QUICK, "-rA")
    assert outcomes(done) == {f"cases/x.py::{name}": outcome for name, outcome in expected.items()}
    assert ("ValueError: as asked" in done.stdout) == ("failed" in expected.values())
    assert "Nothing was compared: jax is the only target." in section(done)


def test_last_failed_runs_what_failed(project: Any) -> None:
    project.write("cases/x.py", ALONE)
    options = ["--parity-targets", "jax", "-rA"]
    assert len(outcomes(pytest_in(project, "cases", *options))) == 3
    assert outcomes(pytest_in(project, "cases", "--lf", *options)) == {"cases/x.py::second[jax]": "failed"}


def test_collecting_only_runs_nothing(project: Any) -> None:
    project.write("cases/x.py", ALONE)
    done = pytest_in(project, "cases", "--collect-only", "-q", *QUICK)
    assert [line for line in done.stdout.splitlines() if "::" in line] == [
        f"cases/x.py::{name}[jax]" for name in ("first", "second", "third")
    ]
    assert not (project.folder / "runs/pytest/traces").exists()


@pytest.mark.parametrize("option", ["--pdb", "--trace"])
def test_a_debugger_is_refused_for_what_runs_elsewhere(project: Any, option: str) -> None:
    project.write("cases/x.py", ALONE)
    project.write("tests/test_x.py", "def test_x(): pass\n")
    done = pytest_in(project, "cases", option, *QUICK)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "cannot enter cases/x.py::first[jax]: it runs in another process" in done.stderr
    if option == "--pdb":
        assert pytest_in(project, "tests", option, *QUICK).returncode == 0


def test_a_file_of_tests_may_hold_cases(project: Any) -> None:
    text = "from harness import case\n@case\ndef test_case(record): record('x', 1.0)\ndef test_plain(): pass\n"
    project.write("tests/test_x.py", text)
    done = pytest_in(project, "tests", *QUICK, "-rA")
    assert outcomes(done) == {"tests/test_x.py::test_case[jax]": "passed", "tests/test_x.py::test_plain": "passed"}


def test_a_case_file_that_cannot_be_used_is_an_error_of_collection(project: Any) -> None:
    project.write("cases/x.py", "from harness import case\n@case\ndef it(recorder): pass\n")
    done = pytest_in(project, "cases", *QUICK)
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "asks for the argument 'recorder', which nothing injects" in done.stdout
    assert "Traceback" not in done.stdout


# The fixture.

WITH_FIXTURE = """
import os
import keras, pytest
from harness import Expected, Forward

@pytest.fixture
def width(): return 4

def of_jax(difference): return 1.0 + difference * (keras.config.backend() == "jax")

def test_ordinary(): pass

@pytest.mark.parametrize("size", [2, 3])
def test_agrees(parity, width, size):
    parity.record("x", keras.ops.ones((size, width)))
    parity.run(Forward(keras.layers.Dense(2), parity.rng.normal(size=(size, width)).astype("float32")))
    parity.record("backend", parity.target.backend == keras.config.backend())

def test_differs(parity): parity.record("x", of_jax(1e-3))

def test_records_more_on_one(parity):
    parity.record("x", 1.0)
    if keras.config.backend() == "jax": parity.record("y", 1.0)

@pytest.mark.parity(expect={"jax": Expected("divergent", reason="as it should be")})
def test_declared(parity): parity.record("x", of_jax(1e-3))

class TestsOfClasses:
    def test_fails_on_the_reference(self, parity):
        parity.record("x", 1.0)
        assert keras.config.backend() != "torch"

    def test_fails_on_the_target(self, parity):
        assert keras.config.backend() != "jax"

    def test_crashes(self, parity):
        if keras.config.backend() == "jax": os.abort()

    def test_after_a_crash(self, parity): parity.record("x", 1.0)

    @pytest.mark.skip(reason="not today")
    def test_skipped(self, parity): pass

    @pytest.mark.xfail(strict=True)
    def test_expected_to_fail(self, parity): assert False
"""


@pytest.fixture(scope="module")
def with_fixture(make_project: Callable[[], Any]) -> Any:
    """A project of tests that ask for `parity`, and one session over them, `done`."""
    project = make_project()
    project.write("tests/test_x.py", WITH_FIXTURE)
    project.done = pytest_in(project, "tests", "-rA", "--parity-targets", "torch,jax", "-p", "no:cacheprovider")
    return project


def test_a_test_that_asks_for_parity_ends_as_the_comparison_does(with_fixture: Any) -> None:
    ended = {name.partition("::")[2]: outcome for name, outcome in outcomes(with_fixture.done).items()}
    assert ended == {
        "test_ordinary": "passed",
        "test_agrees[2-jax]": "passed",
        "test_agrees[3-jax]": "passed",
        "test_differs[jax]": "failed",
        "test_records_more_on_one[jax]": "failed",
        "test_declared[jax]": "xfail",
        "TestsOfClasses::test_fails_on_the_reference[jax]": "failed",
        "TestsOfClasses::test_fails_on_the_target[jax]": "failed",
        "TestsOfClasses::test_crashes[jax]": "failed",
        "TestsOfClasses::test_after_a_crash[jax]": "passed",
        "TestsOfClasses::test_expected_to_fail[jax]": "xfail",
    }
    assert "1 skipped" in with_fixture.done.stdout


def test_each_failure_says_whose_it_is(with_fixture: Any) -> None:
    printed = with_fixture.done.stdout
    assert re.search(r"^ +case +\S+::test_differs$", printed, re.MULTILINE)
    assert "it was not recorded on the reference" in printed
    assert "test_fails_on_the_reference on torch: error" in printed
    assert 'assert keras.config.backend() != "jax"' in printed  # the test's own line, as pytest shows it
    assert "was killed by SIGABRT" in printed


def test_a_marker_with_a_wrong_declaration_is_refused(project: Any) -> None:
    text = "import pytest\n@pytest.mark.parity(expect={'jax': 'leak'})\ndef test_x(parity): pass\n"
    project.write("tests/test_x.py", text)
    done = pytest_in(project, "tests", *QUICK)
    assert done.returncode != 0
    assert "declares nothing" in done.stdout


# Existing suites.

SUITE = """
import os, unittest
import keras, numpy as np, pytest
from numpy.testing import assert_allclose

def of_jax(difference): return 1.0 + difference * (keras.config.backend() == "jax")

def test_close_enough_for_its_author():
    assert_allclose([of_jax(1e-4), 2.0], [1.0, 2.0], rtol=1e-3)

def test_agrees():
    x = keras.ops.ones((2, 3)) / 3
    assert_allclose(keras.ops.convert_to_numpy(x), np.full((2, 3), 1 / 3), rtol=1e-6)
    assert float(x[0, 0]) == pytest.approx(1 / 3)

@pytest.mark.skipif(keras.config.backend() == "jax", reason="not on jax")
def test_skipped_on_one(): np.testing.assert_equal(1, 1)

class OldStyle(unittest.TestCase):
    def test_almost(self): self.assertAlmostEqual(0.5, 0.50001, places=3)

    def test_fails_on_one(self):
        np.testing.assert_array_equal(np.ones(2), np.ones(2))
        self.assertNotEqual(keras.config.backend(), "jax")

    def test_branches(self):
        if keras.config.backend() == "jax":
            assert_allclose(2.0, 2.0)
        assert_allclose(1.0, 1.0)

class TestsThatCrash:
    def test_crashes_on_one(self):
        if keras.config.backend() == "jax": os.abort()

    @pytest.mark.parametrize("x", [1, 2])
    def test_afterwards(self, x): np.testing.assert_equal(x, x)

if keras.config.backend() == "torch":
    def test_only_here(): pass
"""


@pytest.fixture(scope="module")
def suite(make_project: Callable[[], Any]) -> Any:
    """A project of ordinary tests, and one session under `--parity`, `done`."""
    project = make_project()
    project.write("conftest.py", SPY)
    project.write("tests/test_x.py", SUITE)
    project.write("tests/test_faulty.py", "import keras\nif keras.config.backend() == 'jax': raise ImportError('no')\n")
    project.write("tests/test_left_out.py", "import pytest\npytest.skip('not at all', allow_module_level=True)\n")
    project.done = pytest_in(
        project, "--parity", "tests", "-rA", "--parity-targets", "torch,jax", "-p", "no:cacheprovider"
    )
    return project


def test_a_suite_ends_on_each_target_as_it_does_there_alone(suite: Any) -> None:
    printed = section(suite.done)
    assert "torch: 10 passed, 1 skipped" in printed
    assert "jax: 6 passed, 2 failed, 1 error, 2 skipped, 1 differs" in printed
    ended = outcomes(suite.done)
    assert ended["tests/test_x.py::OldStyle::test_fails_on_one[jax]"] == "failed"
    assert ended["tests/test_x.py::OldStyle::test_fails_on_one[torch]"] == "passed"
    assert ended["tests/test_x.py::TestsThatCrash::test_crashes_on_one[jax]"] == "failed"
    assert ended["tests/test_x.py::TestsThatCrash::test_afterwards[2-jax]"] == "passed"
    assert ended["tests/test_faulty.py::collection[jax]"] == "error"
    assert "tests/test_x.py::test_only_here[torch]" in ended
    assert "tests/test_x.py::test_only_here[jax]" not in ended


KILLS = """
import os, pathlib, signal, time
import keras

def parent_of(process): return int(pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])

def is_worker(process): return "harness.worker" in pathlib.Path(f"/proc/{process}/cmdline").read_text()

def worker():
    process = os.getpid()
    while is_worker(parent_of(process)): process = parent_of(process)
    return process

def test_before(): assert 1 + 1 == 2

def test_kills():
    if keras.config.backend() == "jax":
        os.kill(worker(), signal.SIGKILL)
        time.sleep(60)
    assert 1 + 1 == 2

def test_after(): assert 1 + 1 == 2
"""


@pytest.mark.slow
def test_tests_after_one_that_kills_its_worker_go_on(project: Any) -> None:
    project.write("tests/test_x.py", KILLS)
    project.write("tests/test_y.py", "def test_it(): assert 1 + 1 == 2\n")
    options = ["--parity-targets", "torch,jax", "--parity-precision", "float32", "-p", "no:cacheprovider"]
    done = pytest_in(project, "--parity", "tests", "-rA", *options)
    ended = {name.partition("::")[2]: outcome for name, outcome in outcomes(done).items()}
    assert ended == {
        **dict.fromkeys([f"test_{name}[torch]" for name in ("before", "kills", "after", "it")], "passed"),
        **dict.fromkeys([f"test_{name}[jax]" for name in ("before", "after", "it")], "passed"),
        "test_kills[jax]": "failed",
    }
    assert "the worker of jax was killed by SIGKILL while it ran this" in done.stdout


def totals(line: str) -> dict[str, int]:
    return {name: int(count) for count, name in re.findall(r"(\d+) (passed|failed|skipped|error)", line)}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_totals_are_those_of_plain_pytest(suite: Any, backend: str) -> None:
    """But for the crash, after which plain pytest has no totals."""
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "tests", "-q", "-p", "no:cacheprovider", "-k", "not Crash"]
        + ["--continue-on-collection-errors"],
        cwd=suite.folder,
        env={
            **suite.environment,
            "KERAS_BACKEND": backend,
            **backends.get(backend).environment_for(Target(backend, "cpu")),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    plain = totals(process.stdout.splitlines()[-1])
    crashing = {"torch": {"passed": 3}, "jax": {"passed": 2, "failed": 1}}[backend]
    (line,) = [line for line in section(suite.done) if line.startswith(f"{backend}: ")]
    ours = totals(line)
    assert ours == {name: plain.get(name, 0) + crashing.get(name, 0) for name in ours}


def test_what_assertions_let_through_is_found(suite: Any) -> None:
    assert "tests/test_x.py::test_close_enough_for_its_author[jax]" in outcomes(suite.done)
    text = "\n".join(section(suite.done))
    assert re.search(r"^ +case +tests/test_x.py::test_close_enough_for_its_author$", text, re.MULTILINE)
    assert re.search(r"^ +at +recorded/test_x.py:9 assert_allclose actual$", text, re.MULTILINE)
    assert "harness blame" not in text
    assert suite.done.returncode == pytest.ExitCode.TESTS_FAILED


def observed(project: Any, test: str, target: str = "torch") -> Trace:
    return Trace(project.folder / "runs/pytest/traces" / target / slug_of(f"tests/test_x.py::{test}"))


def test_values_are_recorded_by_the_line_that_asked(suite: Any) -> None:
    trace = observed(suite, "test_agrees")
    assert trace.keys == [
        "recorded/test_x.py:13 assert_allclose actual",
        "recorded/test_x.py:13 assert_allclose desired",
        "recorded/test_x.py:14 approx actual",
        "recorded/test_x.py:14 approx desired",
    ]
    np.testing.assert_array_equal(trace[trace.keys[0]].array, np.full((2, 3), 1 / 3, "float32"))
    assert trace[trace.keys[1]].array.dtype == np.float64
    assert trace.twin is not None
    assert trace.twin[trace.keys[0]].array.dtype == np.float64
    assert observed(suite, "OldStyle::test_almost").keys == [
        "recorded/test_x.py:20 assertAlmostEqual actual",
        "recorded/test_x.py:20 assertAlmostEqual desired",
    ]


ASKS = """
import keras, numpy as np, tensorflow as tf
from keras import ops

def of_jax(difference): return np.float32(1.0 + difference * (keras.config.backend() == "jax"))

class OfALibrary(tf.test.TestCase):
    def test_of_a_framework(self): self.assertAllClose(of_jax(1e-4), 1.0, rtol=1e-2)

def test_asked(): assert np.allclose(of_jax(1e-4), 1.0, rtol=1e-2)

def test_asked_of_keras(): assert ops.isclose(ops.convert_to_tensor(of_jax(1e-4)), 1.0, rtol=1e-2)

def test_asked_inside():
    assert np.isclose(1.0, 1.0)
    assert np.ma.allclose(of_jax(1e-4), 1.0, rtol=1e-2)  # which calls other functions of NumPy
"""


@pytest.mark.slow
def test_what_a_test_asks_and_what_any_framework_asserts_is_compared(project: Any) -> None:
    project.write("tests/test_x.py", ASKS)
    options = ["--parity-targets=torch,jax", "--parity-precision=float32", "-rA", "-p", "no:cacheprovider"]
    done = pytest_in(project, "--parity", "tests", *options)
    assert set(outcomes(done).values()) == {"passed"}
    counts = (
        "3 divergent, 1 identical, 1 test passed no comparable value to an assertion"  # that is TestCase.test_session
    )
    assert f"tests by what their assertions were given, against torch: {counts}" in section(done)
    assert observed(project, "OfALibrary::test_of_a_framework").keys == [
        "recorded/test_x.py:8 assertAllClose actual",
        "recorded/test_x.py:8 assertAllClose desired",
    ]
    assert observed(project, "test_asked").keys == [
        "recorded/test_x.py:10 allclose actual",
        "recorded/test_x.py:10 allclose desired",
    ]
    assert observed(project, "test_asked_inside").keys == [
        "recorded/test_x.py:15 isclose actual",
        "recorded/test_x.py:15 isclose desired",
    ]


def test_what_only_one_backend_asserts_is_not_compared(suite: Any) -> None:
    (case,) = [case for case in suite.result("runs/pytest")["cases"] if case["id"].endswith("test_branches")]
    assert case["outcome"] == "agree"
    assert case["comparisons"][0]["not_compared"] == 2


def test_the_session_outside_imports_no_test(suite: Any) -> None:
    loaded = set(json.loads((suite.folder / "imported.json").read_text()))
    assert loaded.isdisjoint({"keras", "torch", "jax", "test_x"})


def test_a_suite_has_its_options_inside_too(project: Any) -> None:
    project.write("pytest.ini", "[pytest]\naddopts = -n2 --junitxml=report.xml -x -p no:cacheprovider\n")
    project.write("conftest.py", "def pytest_addoption(parser): parser.addoption('--shout', default='no')\n")
    project.write("tests/test_x.py", "def test_x(request): assert request.config.option.shout == 'yes'\n")
    done = pytest_in(project, "--parity", "tests", "--parity-targets=jax", "--parity-args=--shout=yes", "-n0", "-rA")
    assert outcomes(done) == {"tests/test_x.py::test_x[jax]": "passed"}
    assert [case.get("name") for case in ElementTree.parse(project.folder / "report.xml").iter("testcase")] == [
        "test_x[jax]"
    ]


def test_options_of_pytest_reach_the_workers(project: Any) -> None:
    project.write("our_plugin.py", "import pytest\n@pytest.fixture\ndef seven(): return 7\n")
    project.write("ours.ini", "[pytest]\nxfail_strict = true\n")
    text = """
    import warnings
    import pytest

    def check_options(seven, request):
        assert request.config.getini("xfail_strict") and request.config.getini("python_files") == ["check_*.py"]
        assert seven == 7 and request.config.rootpath.name == "suite"
        with pytest.raises(UserWarning):
            warnings.warn("which -W makes an error")
    """
    project.write("suite/check_x.py", text)
    project.write("suite/check_left_out.py", "import os\nos._exit(1)\n")
    options = ["-o", "python_files=check_*.py", "-o", "python_functions=check_*", "-c", "ours.ini", "--rootdir=suite"]
    options += ["-p", "our_plugin", "-W", "error::UserWarning", "--import-mode=importlib", "--strict-config"]
    left_out = f"--ignore={project.folder / 'suite' / 'check_left_out.py'}"
    done = pytest_in(project, "--parity", "suite", "-rA", *options, left_out, *QUICK)
    assert list(outcomes(done).values()) == ["passed"], done.stdout + done.stderr


def test_files_that_skip_themselves_or_cannot_be_imported_on_one_backend(project: Any) -> None:
    skips = "pytest.skip('not for torch', allow_module_level=True)"
    project.write(
        "tests/test_skips.py",
        f"import keras, pytest\nif keras.config.backend() == 'torch': {skips}\ndef test_a(): pass\n",
    )
    project.write(
        "tests/test_raises.py",
        "import keras\nif keras.config.backend() == 'torch': raise ImportError('no')\ndef test_b(): pass\n",
    )
    options = ["--parity-targets=torch,jax", "--parity-precision=float32", "-rA", "-p", "no:cacheprovider"]
    done = pytest_in(project, "--parity", "tests", *options)
    assert {"torch: 1 error, 1 skipped", "jax: 2 passed"} <= set(section(done))
    assert "not for torch" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    ended = outcomes(done)
    assert ended["tests/test_skips.py::test_a[jax]"] == ended["tests/test_raises.py::test_b[jax]"] == "passed"
    assert ended["tests/test_raises.py::collection[torch]"] == "error"


def test_a_plugin_with_a_status_of_its_own_does_not_spoil_the_collection(project: Any) -> None:
    project.write("conftest.py", "def pytest_sessionfinish(session): session.exitstatus = 1\n")
    project.write("tests/test_x.py", "def test_x(): pass\n")
    done = pytest_in(project, "--parity", "tests", "-rA", *QUICK)
    assert outcomes(done) == {"tests/test_x.py::test_x[jax]": "passed"}


def test_a_test_that_ends_its_process_is_told_by_its_status(project: Any) -> None:
    text = "import os\ndef test_before(): pass\ndef test_ends(): print('last words', flush=True); os._exit(3)\n"
    project.write("tests/test_x.py", f"{text}def test_after(): pass\n")
    done = pytest_in(project, "--parity", "tests", "-rA", *QUICK, "--parity-args=-s")
    assert outcomes(done) == {
        "tests/test_x.py::test_before[jax]": "passed",
        "tests/test_x.py::test_ends[jax]": "failed",
        "tests/test_x.py::test_after[jax]": "passed",
    }
    assert "ended its process with status 3" in done.stdout
    assert "last words" in done.stdout


UNSEEDED = """
import keras, numpy as np
from hypothesis import given, settings, strategies as st
from numpy.random import default_rng

def test_data_that_nobody_seeded():
    x, y = np.random.default_rng().normal(size=4), default_rng().normal(size=4)
    assert (x != y).all()
    np.testing.assert_allclose(x * y, x * y)

@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(-10, 10, width=32), min_size=1))
def test_examples(values):
    np.testing.assert_allclose(np.sum(values), sum(values), rtol=1e-3, atol=1e-3)
"""


def test_what_a_test_draws_without_a_seed_is_the_same_on_every_target(project: Any) -> None:
    project.write("tests/test_x.py", UNSEEDED)
    options = ["--parity-targets=torch,jax", "--parity-precision=float32", "-rA", "-p", "no:cacheprovider"]
    done = pytest_in(project, "--parity", "tests", *options)
    assert set(outcomes(done).values()) == {"passed"}
    assert {"torch: 2 passed", "jax: 2 passed"} <= set(section(done))
    assert "tests by what their assertions were given, against torch: 2 identical" in section(done)


def test_a_suite_that_pytest_refuses_is_refused(project: Any) -> None:
    project.write("tests/conftest.py", "import keras\nassert keras.config.backend() != 'jax', 'not with jax'\n")
    project.write("tests/test_x.py", "def test_x(): pass\n")
    done = pytest_in(project, "--parity", ".", "--parity-targets=jax")
    assert done.returncode != 0
    assert "not with jax" in done.stdout + done.stderr


#: Tests that write and read files in every way. Each file that is written must in the end hold what one run has added.
WITH_FILES = """
import glob, os, pathlib, subprocess, sys, tempfile
import keras, pytest
import helper_here

WHO = f"{keras.config.backend()} {keras.config.floatx()}"
HERE = pathlib.Path(__file__).parent

def add(path, text=WHO):
    with open(path, "a") as file:
        file.write(text + os.linesep)
    return set(pathlib.Path(path).read_text().split(os.linesep)) - {""}

add("while_imported.txt")

def test_what_is_there_is_found(request):
    assert pathlib.Path("data/x.csv").read_text() == (HERE / ".." / "data" / "x.csv").read_text() == "1,2"
    assert sorted(path.name for path in pathlib.Path("tests").glob("**/*.txt")) == ["deep.txt", "y.txt"]
    assert glob.glob("data/*.csv") == ["data/x.csv"]
    assert {"conftest.py", "data", "helper_here.py", "tests"} <= set(os.listdir())
    assert HERE.parent == pathlib.Path.cwd() == request.config.rootpath == request.config.invocation_params.dir
    assert request.path == pathlib.Path(__file__) and request.path.read_text().startswith(os.linesep + "import glob")
    assert pathlib.Path(__file__).relative_to(os.getcwd()) == pathlib.Path("tests/test_files.py")
    assert pathlib.Path.cwd().name == os.environ["FOLDER"]

@pytest.mark.parametrize("path", ["new", "earlier.txt", "data/new", "data/earlier.txt", "tests/new", HERE / "beside"])
def test_what_is_written_is_read(path):
    assert add(path) - {"earlier"} == {WHO}

def test_a_folder_and_a_temporary_one():
    os.makedirs("made/deeper")
    assert add("made/deeper/file") == add(pathlib.Path(tempfile.gettempdir(), "file")) == {WHO}

def test_by_another_process():
    code = "import sys; open('by_another', 'a').write(sys.argv[1] + chr(10))"
    subprocess.run([sys.executable, "-c", code, WHO], check=True)
    assert pathlib.Path("by_another").read_text() == WHO + chr(10)

def test_that_fails(): assert keras.config.backend() != "jax"
"""


def test_each_target_writes_in_a_place_of_its_own(project: Any) -> None:
    for name, text in {"data/x.csv": "1,2", "tests/data/deep/deep.txt": "deep", "tests/data/y.txt": "y"}.items():
        project.write(name, text)
    for name in ("earlier.txt", "data/earlier.txt"):
        project.write(name, "earlier\n")
    project.write("helper_here.py", "")
    project.write("conftest.py", f"import os\nos.environ['FOLDER'] = {project.folder.name!r}\n")
    project.write("tests/test_files.py", WITH_FILES)
    project.write("tests/test_later.py", "def test_finds(): assert open('new').read()\n")
    before = {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}
    options = ["--parity-targets=torch,jax", "-rA", "-p", "no:cacheprovider"]
    done = pytest_in(project, "--parity", "tests", *options)
    assert {"torch: 11 passed", "jax: 10 passed, 1 failed"} <= set(section(done)), done.stdout
    assert re.search(r"^tests/test_files\.py:\d+: AssertionError$", done.stdout, re.MULTILINE)
    after = {
        path: path.read_bytes()
        for path in project.folder.rglob("*")
        if path.is_file() and path.relative_to(project.folder).parts[0] not in ("runs", "tmp")
    }
    assert after == before


def test_what_all_files_of_a_suite_need_is_imported_once(project: Any) -> None:
    """And not at all what nobody needs, such as hypothesis for its part of the summary of a worker's pytest."""
    seen = project.folder / "seen"
    told = f"import sys\nwith open({str(seen)!r}, 'a') as file: print('{{}}' in sys.modules, file=file)\n"
    project.write("tests/test_x.py", f"{told.format('tensorflow')}import tensorflow\ndef test_x(): pass\n")
    ending = textwrap.indent(told.format("hypothesis"), "        ")
    project.write(
        "conftest.py",
        f"def pytest_unconfigure(config):\n    if config.pluginmanager.hasplugin('parity-inside'):\n{ending}",
    )
    done = pytest_in(project, "--parity", "tests", "-rA", *QUICK)
    assert outcomes(done) == {"tests/test_x.py::test_x[jax]": "passed"}
    collecting, running = ["False", "False"], ["True", "False"]
    assert seen.read_text().split() == collecting + running


@pytest.mark.slow
def test_a_test_that_hangs_is_ended_and_the_others_run(project: Any) -> None:
    text = "import time\ndef test_hangs(): time.sleep(600)\ndef test_afterwards(): pass\n"
    project.write("tests/test_x.py", text)
    done = pytest_in(project, "--parity", "tests", "-rA", *QUICK, "--parity-timeout", "3")
    assert outcomes(done) == {
        "tests/test_x.py::test_hangs[jax]": "failed",
        "tests/test_x.py::test_afterwards[jax]": "passed",
    }
    assert "ran past its limit of 3 s" in done.stdout


# Several processes.


@pytest.mark.slow
def test_under_xdist_the_outcomes_are_the_same_and_each_worker_there_once(project: Any) -> None:
    seen = project.folder / "seen"
    count = f"import os\nopen({str(seen)!r}, 'a').write(f'{{os.getppid()}}\\n')\n"
    project.write("cases/x.py", count + CASES)
    project.write("cases/y.py", count + CASES)
    options = ["-p", "no:cacheprovider", "--parity-targets", "torch,jax", "--parity-precision", "float32"]
    done = pytest_in(project, "cases", "-n", "2", "-v", *options, "--parity-no-blame")
    assert {f"[gw{number}]" for number in range(2)} <= set(re.findall(r"\[gw\d\]", done.stdout))
    found = {name: outcome for outcome, name in re.findall(r"(PASSED|FAILED|XFAIL) (cases/\S+)", done.stdout)}
    expected = ["PASSED"] * 3 + ["FAILED", "XFAIL", "FAILED", "FAILED"]
    assert found == {
        f"cases/{file}.py::{name}": outcome for file in "xy" for name, outcome in zip(ITEMS, expected, strict=True)
    }
    assert len(set(seen.read_text().split())) == 2  # a worker for each target
    assert len(project.cases("runs/pytest")) == 7
    assert len(project.result("runs/pytest")["cases"]) == 14
