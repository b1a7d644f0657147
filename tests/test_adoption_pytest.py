"""A library adopts the harness in pytest: its tests as they are, the fixture `parity`, and cases as items."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness import backends
from harness.project.scaffold import init

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(backends.installed() != backends.training(), reason="needs every backend"),
]

LIBRARY = Path(__file__).parent / "sample_library"
#: What a maintainer adds, who wants a layer and a loss compared and not only tested.
COMPARED = """
import keras, numpy as np, pytest
from gauges import Calibration, Pinball
from harness import Expected, Forward

@pytest.fixture
def readings(parity):
    return (parity.rng.normal(size=(16, 3)) + 2).astype("float32")

def test_calibration(parity, readings):
    parity.run(Forward(Calibration(), readings))

REASON = "jax differentiates through a state that the call has assigned"

@pytest.mark.parity(expect={"jax": Expected("divergent", reason=REASON, where="gradient/*/input")})
def test_calibration_in_training(parity, readings):
    parity.run(Forward(Calibration(), readings, training=True))

@pytest.mark.parametrize("quantile", [0.1, 0.5])
def test_pinball(parity, readings, quantile):
    parity.record("loss", Pinball(quantile)(readings, 0.9 * readings))
"""
#: A bug of one backend that is smaller than a tolerance of the library's own tests.
BUG = """
import gauges.losses
call = gauges.losses.Pinball.call
if keras.config.backend() == "tensorflow":
    gauges.losses.Pinball.call = lambda self, y_true, y_pred: call(self, y_true, y_pred) * (1 + 9e-6)
"""


@pytest.fixture
def library(pytester: pytest.Pytester) -> pytest.Pytester:
    """A copy of the sample library, in which pytest is called as its maintainer calls it."""
    shutil.copytree(LIBRARY, pytester.path, dirs_exist_ok=True)
    return pytester


def call(library: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return library.runpytest_subprocess(*arguments, timeout=600)


def last(result: pytest.RunResult) -> str:
    return result.outlines[-1]


def test_its_tests_run_on_every_backend_as_they_are(library: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {}
    for backend in backends.training():
        monkeypatch.setenv("KERAS_BACKEND", backend)
        plain[backend] = call(library, "tests", "-q").parseoutcomes()["passed"]
    monkeypatch.delenv("KERAS_BACKEND")
    result = call(library, "--parity", "tests")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"{backend}: {plain[backend]} passed" for backend in backends.training()])
    assert result.parseoutcomes() == {"passed": sum(plain.values())}


def test_what_its_tests_let_through_is_found(library: pytest.Pytester) -> None:
    (library.path / "tests" / "conftest.py").write_text(f"import keras\n{BUG}")
    result = call(library, "--parity", "tests", "-k", "median")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 3, "differs": 1, "deselected": 30}
    assert "only tensorflow differs; torch and jax agree" in str(result.stdout)


def test_the_fixture_compares_what_it_names(library: pytest.Pytester) -> None:
    (library.path / "tests" / "test_compared.py").write_text(COMPARED)
    assert call(library, "tests/test_compared.py").parseoutcomes() == {"passed": 7, "xfailed": 1}
    (library.path / "tests" / "conftest.py").write_text(f"import keras\n{BUG}")
    result = call(library, "tests/test_compared.py", "-rA")
    assert result.parseoutcomes() == {"passed": 5, "xfailed": 1, "failed": 2}
    failed = set(re.findall(r"^FAILED \S+::(\S+)", str(result.stdout), re.MULTILINE))
    assert failed == {"test_pinball[0.1-tensorflow]", "test_pinball[0.5-tensorflow]"}


def test_what_init_wrote_and_all_the_rest_in_two_processes(library: pytest.Pytester) -> None:
    init(library.path)
    (library.path / "tests" / "test_compared.py").write_text(COMPARED)
    result = call(library, "cases", "tests", "-n", "2", "-v")
    names = [f"{name}[{target}]" for name in ("layer_alone", "small_training") for target in ("tensorflow", "jax")]
    assert all(f"PASSED cases/first_case.py::{name}" in str(result.stdout) for name in names)
    result.assert_outcomes(passed=4 + 7 + 11, xfailed=1)  # and warnings, of its own tests in pytest's own process
