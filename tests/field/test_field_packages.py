"""Cases for a package that is installed: the file has its name, and a script imports it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

LAYERS = """
import keras

class Gauge(keras.layers.Layer):
    '''A layer with a mistake on one backend.'''

    def call(self, x):
        return x * (1.001 if keras.config.backend() == "jax" else 1.0)
"""
CASES = """
import gauges
import keras
import numpy as np
from gauges.layers import Gauge
from harness import Forward, case

@case
def installed(rng):
    return Forward(Gauge(), rng.normal(size=(4, 3)).astype("float32"))

class Own(Gauge):
    pass

@case
def own(rng):
    return Forward(Own(), rng.normal(size=(4, 3)).astype("float32"))
"""


@pytest.fixture(scope="module")
def packaged(make_project: Callable[[], Any]) -> Any:
    project = make_project()
    project.write("site/gauges/__init__.py", "")
    project.write("site/gauges/layers.py", LAYERS)
    project.write("cases/gauges.py", CASES)
    project.ran = project.harness("run", "cases", "--out", "out", "--targets", "torch,jax")
    return project


def script_of(project: Any, name: str) -> str:
    """The script for a case, which shows the difference when it is run once more."""
    (comparison,) = project.cases()[name]["comparisons"]
    assert comparison["blame"]["repro"] is not None, project.ran.stdout
    path = project.folder / "out" / comparison["blame"]["repro"]
    ran = subprocess.run([sys.executable, path], env=project.environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    text: str = path.read_text(encoding="utf-8")
    title = text.removeprefix('"""').partition(". This script")[0]
    assert (path.parent / "issue.md").read_text().startswith(f"# {title}.\n")
    return text


def test_a_file_with_the_name_of_its_package_means_the_package(packaged: Any) -> None:
    assert packaged.ran.returncode == 1, packaged.ran.stdout + packaged.ran.stderr
    assert [case["id"] for case in packaged.result()["cases"]] == ["cases/gauges.py::installed", "cases/gauges.py::own"]


def test_a_script_imports_a_class_that_is_installed_and_names_it(packaged: Any) -> None:
    text = script_of(packaged, "installed")
    assert text.startswith('"""The layer gauges.layers.Gauge differs between torch and jax.')
    assert "\nfrom gauges.layers import Gauge\n" in text
    assert "class Gauge" not in text


def test_a_script_holds_the_class_of_a_case_file(packaged: Any) -> None:
    text = script_of(packaged, "own")
    assert text.startswith('"""The layer Own differs between torch and jax.')
    assert "class Own(Gauge):" in text
