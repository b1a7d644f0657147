"""The workflows are ones: those of this project, the one that others call, and the one that `harness init` writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from workflows import ROOT, commands, read

CI = ROOT / ".github/workflows/ci.yml"
WEEKLY = ROOT / ".github/workflows/weekly.yml"
CALLED = ROOT / ".github/workflows/parity.yml"
WRITTEN = ROOT / "harness/project/templates/parity.yml"


def check(path: Path) -> subprocess.CompletedProcess[str]:
    """GitHub's own schema of workflows, as check-jsonschema brings it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", [CI, WEEKLY, CALLED, WRITTEN], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_workflow_is_one_by_the_schema(path: Path) -> None:
    done = check(path)
    assert done.returncode == 0, done.stdout


def test_the_schema_sees_a_step_that_is_none(tmp_path: Path) -> None:
    broken = WRITTEN.read_text(encoding="utf-8").replace("- uses: actions/checkout", "- use: actions/checkout")
    (tmp_path / "broken.yml").write_text(broken, encoding="utf-8")
    assert check(tmp_path / "broken.yml").returncode == 1


def test_what_is_called_and_what_is_written_do_the_same() -> None:
    inputs = {name: str(value["default"]) for name, value in read(CALLED)["on"]["workflow_call"]["inputs"].items()}
    values = {f"inputs.{name}": value for name, value in inputs.items()}
    values["matrix.backend"] = "jax"
    values["join(fromJSON(inputs.backends), ' traces/')"] = "torch traces/tensorflow traces/jax"
    for job in ("record", "compare"):
        called, written = (commands(read(path)["jobs"][job], values) for path in (CALLED, WRITTEN))
        assert called == written
        assert called
    assert inputs["backends"] == '["torch", "tensorflow", "jax"]'
    assert read(WRITTEN)["jobs"]["record"]["strategy"]["matrix"] == {"backend": ["torch", "tensorflow", "jax"]}


def test_each_environment_of_the_matrix_is_one_of_tox() -> None:
    jobs = [*read(CI)["jobs"].values(), *read(WEEKLY)["jobs"].values()]
    named = [name for job in jobs for name in job["strategy"]["matrix"]["environment"]]
    command = [sys.executable, "-m", "tox", "list", "--no-desc", "--root", str(ROOT), "-c", str(ROOT / "tox.ini")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(named) <= set(listed)
    assert {"torch", "jax-keras310", "jax-keras312", "compare", "compare-keras310", "ecosystem"} <= set(named)
