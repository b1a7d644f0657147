"""The worker's side of the wall, on every backend that is installed: each has a process of its own.

What `checks/` counts is told at the end of a run of pytest, and what it skips. A skip that is not listed here fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import backends
from harness.target import Target

ROOT = Path(__file__).parents[2]

#: The files of `checks/` of which something has to pass: on every backend, on those that train, and on those that only
#: infer.
EVERYWHERE = (
    "check_case.py",
    "check_keras_internals.py",
    "check_metrics_and_data.py",
    "check_own_generator.py",
    "check_places.py",
    "check_randomness.py",
    "check_record.py",
    "check_replay.py",
    "check_scripts.py",
    "check_state.py",
    "check_unowned.py",
)
TRAINING = (*EVERYWHERE, "check_account.py", "check_gradients.py")
INFERENCE = (*EVERYWHERE, "check_inference.py")
MUST_PASS = {backend: TRAINING if backend in backends.training() else INFERENCE for backend in backends.NAMES}
MUST_PASS["jax"] = (*TRAINING, "check_programs.py")

#: What may be skipped on each backend: files, and the reason that is given.
OF_OPENVINO = ("check_keras_internals.py", "is of openvino alone")
OF_JAX = ("check_programs.py", "is of jax alone")
OF_COMPILING = ("check_unowned.py", "fit compiles nothing on this backend")
#: What trains is skipped where training is asked for, or differentiated, or as a whole.
OF_TRAINING = (
    (
        r"check_(keras_internals|randomness|record|replay)\.py",
        r"Keras has no gradients on \w+, so it cannot train: (model\.fit|value_and_grad) is left out, .*",
    ),
    (r"check_(gradients|record|replay|unowned)\.py", "Keras has no gradients on this backend"),
    (r"check_(metrics_and_data|scripts)\.py", "Keras does not train on this backend"),
    (r"check_account\.py", r"\w+ takes no gradients, so no step trains there"),
    (r"check_case\.py", "what only infers has no fit to be asked"),
    OF_COMPILING,
)
MAY_SKIP = {
    "torch": [("check_inference.py", "torch has gradients"), OF_OPENVINO, OF_JAX, OF_COMPILING],
    "tensorflow": [
        ("check_inference.py", "tensorflow has gradients"),
        OF_OPENVINO,
        OF_JAX,
        ("check_randomness.py", r"Keras \S+ cannot drop everything on tensorflow"),
    ],
    "jax": [("check_inference.py", "jax has gradients"), OF_OPENVINO],
    "numpy": [*OF_TRAINING, OF_OPENVINO, OF_JAX],
    "openvino": [
        *OF_TRAINING,
        OF_JAX,
        (r"check_(keras_internals|randomness)\.py", "openvino has no float64"),
        ("check_keras_internals.py", "Keras infers shapes with parameters of a graph there"),
        ("check_randomness.py", "OpenVINO computes the remainder of integers in float32 where it compiles"),
    ],
}
#: What older versions of Keras skip on any backend.
OLDER = [("check_randomness.py", r"Keras \S+ takes no integer seed above \d+ on this backend")]


@dataclass(frozen=True)
class Check:
    """One check that ran. `skipped` is the reason why it did not."""

    file: str
    name: str
    skipped: str | None = None


def read(junit: Path) -> list[Check]:
    """The checks of a run, from the JUnit XML that pytest wrote of it."""
    checks = []
    for case in ElementTree.parse(junit).iter("testcase"):
        (file,) = re.findall(r"\bcheck_\w+", case.attrib["classname"])
        skipped = case.find("skipped")
        checks.append(Check(f"{file}.py", case.attrib["name"], None if skipped is None else skipped.attrib["message"]))
    return checks


def complaints(backend: str, checks: Sequence[Check]) -> list[str]:
    """What nobody expects: skips that are not listed, and files of which nothing passed."""
    may_skip = [*MAY_SKIP[backend], *OLDER]
    found = [
        f"{check.file}::{check.name} is skipped on {backend}, and that is not expected: {check.skipped}"
        for check in checks
        if check.skipped is not None
        and not any(re.fullmatch(f, check.file) and re.fullmatch(reason, check.skipped) for f, reason in may_skip)
    ]
    passed = {check.file for check in checks if check.skipped is None}
    return found + [f"nothing of {file} passed on {backend}" for file in MUST_PASS[backend] if file not in passed]


def totals(backend: str, checks: Sequence[Check]) -> str:
    """How many passed, how many were skipped, and for which reasons."""
    skips = Counter((check.file, check.skipped) for check in checks if check.skipped is not None)
    lines = [f"{backend}: {len(checks) - skips.total()} passed, {skips.total()} skipped"]
    return "\n".join([*lines, *(f"  {count} in {file}: {reason}" for (file, reason), count in skips.items())])


@pytest.mark.slow
@pytest.mark.parametrize("backend", [name for name in backends.NAMES if backends.why_not(name) is None])
def test_the_workers_side(backend: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    junit = tmp_path / "junit.xml"
    command = [sys.executable, "-m", "pytest", "tests/worker/checks", "-q", "-n0", "-p", "no:cacheprovider"]
    command += ["-o", "python_files=check_*.py", "-o", "filterwarnings=default", "--junitxml", str(junit)]
    ours = backends.get(backend).environment_for(Target(backend, "cpu"), tmp_path)
    environment = {**os.environ, **ours, "KERAS_BACKEND": backend}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    checks = read(junit)
    record_property("checks", totals(backend, checks))
    wrong = complaints(backend, checks)
    assert not wrong, "\n".join(wrong)


class TestWhatIsComplainedOf:
    WHOLE = tuple(Check(file, "test_it") for file in MUST_PASS["jax"])

    def test_where_each_file_passes_and_skips_are_expected_it_is_nothing(self) -> None:
        skips = [Check("check_inference.py", "test_it", "jax has gradients")]
        assert complaints("jax", [*self.WHOLE, *skips]) == []

    @pytest.mark.parametrize(
        "skip",
        [
            Check("check_record.py", "test_it", "no time"),
            Check("check_record.py", "test_it", "jax has gradients"),
            Check("check_inference.py", "test_it", "torch has gradients"),
            Check("check_inference.py", "test_it", ""),
        ],
        ids=["reason", "file", "backend", "none"],
    )
    def test_another_skip_is_named(self, skip: Check) -> None:
        (complaint,) = complaints("jax", [*self.WHOLE, skip])
        assert complaint == f"{skip.file}::test_it is skipped on jax, and that is not expected: {skip.skipped}"

    def test_a_file_that_did_not_run_is_named(self) -> None:
        left = [check for check in self.WHOLE if check.file != "check_gradients.py"]
        assert complaints("jax", left) == ["nothing of check_gradients.py passed on jax"]

    def test_a_file_of_which_everything_is_skipped_did_not_run(self) -> None:
        files = ("check_gradients.py", "check_inference.py")
        skips = [Check(file, "test_it", "Keras has no gradients on this backend") for file in files]
        whole = [Check(file, "test_it") for file in EVERYWHERE]
        assert complaints("numpy", [*whole, skips[0]]) == ["nothing of check_inference.py passed on numpy"]
        assert "nothing of check_gradients.py passed on jax" in complaints("jax", [*whole, *skips])

    def test_every_file_has_to_pass_somewhere_and_every_backend_is_listed(self) -> None:
        files = {path.name for path in Path(__file__).with_name("checks").glob("check_*.py")}
        assert files == set().union(*MUST_PASS.values())
        assert set(MAY_SKIP) == set(MUST_PASS) == set(backends.NAMES)

    def test_a_run_is_read_with_its_skips(self, tmp_path: Path) -> None:
        (tmp_path / "check_some.py").write_text(
            "import pytest\nclass TestOfSome:\n  def test_a(self): pytest.skip('no time')\ndef test_b(): ...\n"
        )
        command = [sys.executable, "-m", "pytest", "-q", "check_some.py", "--junitxml", "junit.xml"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        checks = read(tmp_path / "junit.xml")
        assert checks == [Check("check_some.py", "test_a", "no time"), Check("check_some.py", "test_b")]
        assert totals("jax", checks) == "jax: 1 passed, 1 skipped\n  1 in check_some.py: no time"


def test_totals_are_told_at_the_end_of_a_run(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile("def test_it(record_property): record_property('checks', 'jax: 5 passed\\n  1 in x: y')")
    for workers in ("0", "1"):
        done = pytester.runpytest_subprocess("-n", workers)
        done.stdout.fnmatch_lines(["*checks on the worker's side*", "jax: 5 passed", "  1 in x: y"])
