"""Derivatives that layers take inside of themselves, and gradients that depend on what comes from behind."""

from __future__ import annotations

import re
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
        place = r"layer 'slope' \(Slope, inner_derivative\.py:\d+\)"
        assert re.search(f"introduced in {place}, in its gradient", blame["text"])
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


def test_of_two_targets_a_finite_difference_tells_which_gradient_is_wrong(run: Callable[..., Any]) -> None:
    """tensorflow cannot run the layer."""
    project = run("two_targets.py")
    for name in ("gradient_stopped_on_jax", "gradient_stopped_in_training"):
        (blame,) = [item["blame"] for item in project.cases()[name]["comparisons"] if item["target"] == "jax"]
        assert (blame["target"], blame["layer"]) == ("jax", "gate")
        told = re.search(
            r"a finite difference in float64 gives (\S+), and .* (\S+) on jax and (\S+) on torch", blame["text"]
        )
        assert told is not None
        slope, jax, torch = map(float, told.groups())
        assert torch == pytest.approx(slope, rel=1e-4)
        assert jax != pytest.approx(slope, rel=1e-2)


def test_of_two_outputs_it_is_said_that_it_cannot_be_told(run: Callable[..., Any]) -> None:
    project = run("two_targets.py", "--targets", "torch,jax", "-k", "output")
    (comparison,) = project.cases()["output_differs"]["comparisons"]
    assert (comparison["blame"]["target"], comparison["blame"]["confirmed"]) == (None, True)
    assert "of two targets it cannot be told which is right" in project.ran.stdout
