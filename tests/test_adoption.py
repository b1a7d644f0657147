"""A library adopts the harness: in tox environments, in workflows, and in jobs that have one backend, or none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from workflows import ROOT, commands, read, run

from harness import backends
from harness.project.scaffold import init

pytestmark = pytest.mark.slow

LIBRARY = ROOT / "tests/sample_library"
#: A case of each kind of end, of what the library has.
CASES = """
import keras
from gauges import Calibration, Pinball, StopWhenSettled
from harness import Fit, Forward, case


@case
def calibration(rng):
    return Forward(Calibration(), rng.normal(size=(16, 3)).astype("float32") + 2, training=True)


@case
def training(rng):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([Calibration(), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=Pinball(0.9))
    x, y = rng.normal(size=(64, 4)).astype("float32") + 5, rng.normal(size=(64, 1)).astype("float32")
    return Fit(model, x, y, epochs=3, batch_size=16, callbacks=[StopWhenSettled(1e-3)])


@case
def wrong_on_jax(rng, target):
    layer = Calibration(momentum=0.9 if target.backend != "jax" else 0.8)
    return Forward(layer, rng.normal(size=(16, 3)).astype("float32") + 2, training=True)


@case
def other_name_on_jax(record, target):
    record("name", target.backend == "jax")


@case
def fails_on_jax(record, target):
    record("before", 1.0)
    if target.backend == "jax":
        raise RuntimeError("on purpose")
    record("after", 2.0)
"""


def call(python: Path | str, *arguments: Any, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python that does not see where this one looks for modules."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A copy of the sample library, as its maintainer has it."""
    return Path(shutil.copytree(LIBRARY, tmp_path / "library"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the harness as a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "runs", "tests", "build"))
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, source], check=True, timeout=300
    )
    return folder


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the harness, and none of the backends."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    (built,) = wheel.glob("*.whl")
    constraints = ["-c", ROOT / "constraints.txt"]
    installed = call(python, "-m", "pip", "install", "--quiet", *constraints, built, folder=folder)
    assert installed.returncode == 0, installed.stderr
    assert packages_in(folder) & {"harness", "keras", *backends.training()} == {"harness"}
    return python


def packages_in(environment: Path) -> set[str]:
    """What lies in the site-packages of an environment."""
    (folder,) = environment.glob("lib/*/site-packages")
    return {path.name for path in folder.iterdir()}


def judged(result: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """What a result says of each case on each target, but for blame, which needs replays."""
    return {
        (case["id"], comparison["target"]): (
            case["outcome"],
            case["alone"],
            comparison["verdict"],
            comparison["counts"],
            comparison["first"],
            comparison["not_compared"],
        )
        for case in result["cases"]
        for comparison in case["comparisons"]
    }


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_traces_of_separate_jobs_say_on_a_bare_machine_what_a_local_run_says(
    library: Path, bare: Path, tmp_path: Path
) -> None:
    (library / "cases").mkdir()
    (library / "cases" / "readings.py").write_text(CASES, encoding="utf-8")
    targets = ",".join(backends.installed())
    whole = run(f"harness run --targets {targets} --no-blame --out whole", library)
    assert whole.returncode == 1, whole.stdout + whole.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for target in backends.installed():
        recorded = run(f"harness record cases --target {target} --out traces/{target}", library)
        assert recorded.returncode == (3 if target == "jax" else 0), recorded.stdout + recorded.stderr
        shutil.move(library / "traces" / target, elsewhere / target)
    compared = call(bare, "-m", "harness", "compare", *backends.installed(), "--out", "compared", folder=elsewhere)
    assert compared.returncode == 1, compared.stdout + compared.stderr
    local, there = load(library / "whole/result.json"), load(elsewhere / "compared/result.json")
    assert judged(there) == judged(local)
    assert {verdict for _, _, verdict, *_ in judged(there).values()} >= {"rounding", "divergent", "mismatch"}
    assert (there["exit_status"], there["reference"]) == (local["exit_status"], local["reference"])
    shown = call(bare, "-m", "harness", "show", "compared", folder=elsewhere)
    assert shown.stdout == compared.stdout
    summary = str(tmp_path / "summary.md")
    told = call(bare, "-m", "harness", "report", "compared", "--github", folder=elsewhere, GITHUB_STEP_SUMMARY=summary)
    assert told.returncode == 0, told.stderr
    assert "::error file=cases/readings.py," in told.stdout
    assert "wrong_on_jax" in Path(summary).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", [".github/workflows/parity.yml", "harness/project/templates/parity.yml"])
def test_what_the_workflows_run_works_in_a_library_that_init_set_up(library: Path, file: str, tmp_path: Path) -> None:
    init(library)
    jobs = read(ROOT / file)["jobs"]
    installed = backends.installed()
    values = {"inputs.cases": "cases", "inputs.install": "python -m pip install .", "inputs.harness-version": ""}
    values["join(fromJSON(inputs.backends), ' traces/')"] = " traces/".join(installed)
    for backend in installed:
        for command in commands(jobs["record"], {**values, "matrix.backend": backend}):
            recorded = run(command, library)
            assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    summary = tmp_path / "summary.md"
    for command in commands(jobs["compare"], values):
        done = run(command, library, GITHUB_STEP_SUMMARY=str(summary))
        assert done.returncode == 0, done.stdout + done.stderr
    assert [case["outcome"] for case in load(library / "compared/result.json")["cases"]] == ["agree"] * 2
    assert "2 agree" in summary.read_text(encoding="utf-8")


@pytest.mark.usefixtures("bare")
def test_tox_records_in_environments_of_one_backend_each_and_compares_in_one_of_none(
    library: Path, wheel: Path
) -> None:
    init(library)
    environment = {
        "PIP_FIND_LINKS": str(wheel),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "TOX_DISCOVER": sys.executable,
    }
    alone = call(sys.executable, "-m", "tox", "run", "-e", "parity", folder=library, **environment)
    assert alone.returncode != 0
    assert "Name the folder that `harness record` wrote" in alone.stdout + alone.stderr
    names = "parity-torch,parity-jax,parity"
    done = call(sys.executable, "-m", "tox", "run", "-e", names, folder=library, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    result = load(library / "runs/compared/result.json")
    assert sorted(result["targets"]) == ["jax", "torch"]
    assert [case["outcome"] for case in result["cases"]] == ["agree"] * 2
    for name, backend in (("parity-torch", {"torch"}), ("parity-jax", {"jax"}), ("parity", set())):
        found = packages_in(library / ".tox" / name) & {"harness", *backends.training()}
        assert found == {"harness"} | backend


def test_an_upgrade_of_the_librarys_own_code_is_told_from_golden_traces(library: Path) -> None:
    init(library)
    (library / "cases" / "readings.py").write_text(CASES.partition("@case\ndef wrong_on_jax")[0], encoding="utf-8")
    layers = library / "gauges" / "layers.py"
    for folder in ("old", "new"):
        for target in ("torch", "jax"):
            recorded = run(f"harness record cases/readings.py --target {target} --out {folder}/{target}", library)
            assert recorded.returncode == 0, recorded.stdout + recorded.stderr
        code = layers.read_text(encoding="utf-8")
        layers.write_text(code.replace("1 - self.momentum", "1.001 - self.momentum"), encoding="utf-8")
    done = run("harness compare old new --out golden", library)
    assert done.returncode == 1, done.stdout + done.stderr
    result = load(library / "golden/result.json")
    assert (result["golden"]["changed"], result["golden"]["edited"]) == ([], [])
    for case in result["cases"]:
        for comparison in case["comparisons"]:
            assert comparison["verdict"] == "divergent"
            assert "agree with one another now" in comparison["blame"]["text"]
    assert "your own code may have changed too" in done.stdout
