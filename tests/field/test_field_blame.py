"""Whose a difference is, in small inputs on which the wrong part was blamed, or none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"
RUN = (
    "masked_row.py::attention_with_a_row_all_masked",
    "noisy_layer.py",
    "unrelated_gradient.py",
    "numpy_operands.py",
    "whose.py",
)


@pytest.fixture(scope="module")
def blamed(make_project: Callable[[], Any]) -> Any:
    project = make_project()
    shutil.copytree(CASES, project.folder / "cases")
    project.ran = project.harness("run", *(f"cases/{name}" for name in RUN), "--out", "out")
    assert project.ran.returncode == 1, project.ran.stderr
    return project


def blame_of(project: Any, case: str, target: str, *, confirmed: bool = True) -> dict[str, Any]:
    (comparison,) = [item for item in project.cases()[case]["comparisons"] if item["target"] == target]
    blame: dict[str, Any] = comparison["blame"]
    assert blame["confirmed"] is confirmed
    return blame


def shows(project: Any, blame: dict[str, Any]) -> bool:
    """Whether there is a script that shows the difference when it is run once more."""
    return subprocess.run([sys.executable, project.folder / "out" / blame["repro"]], check=False).returncode == 1


@pytest.mark.parametrize("target", ["tensorflow", "jax"])
def test_a_gradient_of_what_a_layer_does_between_its_layers_is_blamed(blamed: Any, target: str) -> None:
    blame = blame_of(blamed, "attention_with_a_row_all_masked", target)
    assert (blame["target"], blame["layer"]) == ("torch", "multi_head_attention")
    assert blame["op"] == "keras.ops.dot_product_attention"
    assert ", in its gradient" in blame["text"]
    assert shows(blamed, blame)


def test_so_is_that_of_a_models_own_call_in_training(blamed: Any) -> None:
    blame = blame_of(blamed, "model_of_ones_own", "jax")
    assert (blame["target"], blame["op"]) == ("jax", "keras.ops.absolute")
    assert ", in its gradient" in blame["text"]
    assert shows(blamed, blame)


def test_an_operation_is_not_blamed_for_the_arguments_that_it_is_called_with(blamed: Any) -> None:
    blame = blame_of(blamed, "noisy", "tensorflow")
    assert (blame["target"], blame["layer"], blame["op"]) == ("tensorflow", "noisy_norm", "keras.ops.power")
    assert blame["text"].endswith("it calls keras.ops.power with 2.001 on tensorflow, with 2.0 elsewhere")
    # A script of the layer would draw its noise from each backend's own generator.
    assert blame["repro"] is None


def test_nor_for_those_that_are_arrays(blamed: Any) -> None:
    blame = blame_of(blamed, "exponent_is_an_array", "tensorflow")
    assert (blame["target"], blame["op"]) == ("tensorflow", "keras.ops.power")
    assert blame["text"].endswith("it calls keras.ops.power with 2.5 on tensorflow, with 2 elsewhere")
    assert shows(blamed, blame)


def test_an_operation_that_one_backend_alone_calls_is_told(blamed: Any) -> None:
    blame = blame_of(blamed, "called_on_jax_alone", "jax")
    assert blame["text"] == "introduced in layer 'bounded': it calls keras.ops.tanh on jax alone"
    assert shows(blamed, blame)


def test_what_a_case_makes_between_operations_is_its_own(blamed: Any) -> None:
    for case in ("unrelated", "beside_another_difference"):
        blame = blame_of(blamed, case, "jax")
        assert (blame["target"], blame["part"], blame["op"], blame["repro"]) == ("jax", "(case)", None, None)
        assert blame["text"].startswith("introduced in the case itself, in 'b'")
    blame = blame_of(blamed, "scaled_between", "jax")
    assert blame["text"].startswith("introduced in the case itself: what it gives to keras.ops.tanh differs already")


def test_a_gradient_that_is_taken_beside_it_has_not_made_it(blamed: Any) -> None:
    """What jax differentiates is not observed there, so it could be that."""
    blame = blame_of(blamed, "beside_a_gradient", "jax", confirmed=False)
    assert (blame["target"], blame["op"], blame["repro"]) == ("jax", None, None)


@pytest.mark.parametrize("case", ["gaps", "gaps_with_count", "beside_another_difference"])
def test_operations_on_arrays_are_seen(blamed: Any, case: str) -> None:
    blame = blame_of(blamed, case, "tensorflow")
    assert (blame["part"], blame["op"]) == ("(case)", "keras.ops.segment_max")
    assert shows(blamed, blame)


def test_where_all_agree_nothing_is_blamed(blamed: Any) -> None:
    assert blamed.cases()["negative_id"]["outcome"] == "agree"
