"""Derivatives that layers take inside of themselves, and gradients that depend on what comes from behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_what_has_no_values_inside_of_a_derivative_is_left_out_and_said(run: Callable[..., Any]) -> None:
    project = run("inner_derivative.py")
    cases = project.cases()
    for name in ("right", "of_a_whole_network"):
        assert cases[name]["outcome"] == "agree"
        compared = {comparison["target"]: comparison for comparison in cases[name]["comparisons"]}
        assert compared["jax"]["not_compared"] > 0
        assert compared["tensorflow"]["not_compared"] == 0
        assert compared["jax"]["observations"] > 5
    assert "no values are known where it is called" in project.ran.stdout


def test_a_gradient_that_is_lost_inside_of_a_layer_is_that_layers(run: Callable[..., Any]) -> None:
    case = run("inner_derivative.py").cases()["not_differentiable_on_torch"]
    assert case["outcome"] == "differ"
    for comparison in case["comparisons"]:
        blame = comparison["blame"]
        assert (blame["target"], blame["layer"], blame["confirmed"]) == ("torch", "slope", True)
        assert "introduced in layer 'slope', in its gradient" in blame["text"]
        assert comparison["first"]["reason"] == "it is an array, and None (there is no gradient) on the reference"


def test_parts_are_replayed_with_what_really_comes_from_behind(run: Callable[..., Any]) -> None:
    """A tie of `maximum` has another gradient on one backend for most numbers, and here only 0 comes to it."""
    project = run("root_at_zero.py")
    compared = {item["target"]: item for item in project.cases()["constant_row"]["comparisons"]}
    assert compared["jax"]["verdict"] == "rounding"
    blame = compared["tensorflow"]["blame"]
    assert (blame["target"], blame["op"], blame["layer"]) == ("tensorflow", "keras.ops.sqrt", "deviation")
    script = project.folder / "out" / blame["repro"]
    assert "with c as it came from behind in the case" in script.read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "nan" in done.stdout
