"""Whose a difference is, in small inputs on which the wrong part was blamed, or none."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"
#: The file of each case.
FILES = {
    "attention_with_a_row_all_masked": "masked_row.py",
    "noisy": "noisy_layer.py",
    "unrelated": "unrelated_gradient.py",
    **dict.fromkeys(("gaps", "gaps_with_count", "negative_id"), "numpy_operands.py"),
}


class Blamed:
    """Runs each case when it is first asked for."""

    def __init__(self, project: Any) -> None:
        self._project = project
        self._seen: dict[str, dict[str, Any]] = {}

    def case(self, name: str) -> dict[str, Any]:
        """A case of `result.json`."""
        if name not in self._seen:
            self._project.harness("run", f"cases/{FILES.get(name, 'whose.py')}::{name}", "--out", name)
            self._seen |= self._project.cases(name)
        return self._seen[name]

    def blame(self, name: str, target: str, *, confirmed: bool = True) -> dict[str, Any]:
        (comparison,) = [item for item in self.case(name)["comparisons"] if item["target"] == target]
        blame: dict[str, Any] = comparison["blame"]
        assert blame["confirmed"] is confirmed
        return blame

    def shows(self, name: str, blame: dict[str, Any]) -> bool:
        """Whether there is a script that shows the difference when it is run once more."""
        script = self._project.folder / name / blame["repro"]
        return subprocess.run([sys.executable, script], check=False, env=self._project.environment).returncode == 1


@pytest.fixture(scope="module")
def blamed(make_warm_project: Callable[[], Any]) -> Blamed:
    project = make_warm_project()
    shutil.copytree(CASES, project.folder / "cases")
    return Blamed(project)


@pytest.mark.parametrize("target", ["tensorflow", "jax"])
def test_a_gradient_of_what_a_layer_does_between_its_layers_is_blamed(blamed: Blamed, target: str) -> None:
    blame = blamed.blame("attention_with_a_row_all_masked", target)
    assert (blame["target"], blame["layer"]) == ("torch", "multi_head_attention")
    assert blame["op"] == "keras.ops.dot_product_attention"
    assert ", in its gradient" in blame["text"]
    assert blamed.shows("attention_with_a_row_all_masked", blame)


def test_so_is_that_of_a_models_own_call_in_training(blamed: Blamed) -> None:
    blame = blamed.blame("model_of_ones_own", "jax")
    assert (blame["target"], blame["op"]) == ("jax", "keras.ops.absolute")
    assert ", in its gradient" in blame["text"]
    assert blamed.shows("model_of_ones_own", blame)


def test_an_operation_is_not_blamed_for_the_arguments_that_it_is_called_with(blamed: Blamed) -> None:
    blame = blamed.blame("noisy", "tensorflow")
    assert (blame["target"], blame["layer"], blame["op"]) == ("tensorflow", "noisy_norm", "keras.ops.power")
    assert blame["text"].endswith("it calls keras.ops.power with 2.001 on tensorflow, with 2.0 elsewhere")
    # A script of the layer would draw its noise from each backend's own generator.
    assert blame["repro"] is None


def test_nor_for_those_that_are_arrays(blamed: Blamed) -> None:
    blame = blamed.blame("exponent_is_an_array", "tensorflow")
    assert (blame["target"], blame["op"]) == ("tensorflow", "keras.ops.power")
    assert blame["text"].endswith("it calls keras.ops.power with 2.5 on tensorflow, with 2 elsewhere")
    assert blamed.shows("exponent_is_an_array", blame)


def test_an_operation_that_one_backend_alone_calls_is_told(blamed: Blamed) -> None:
    blame = blamed.blame("called_on_jax_alone", "jax")
    place = r"layer 'bounded' \(Bounded, cases/whose\.py:\d+\)"
    assert re.fullmatch(f"introduced in {place}: it calls keras.ops.tanh on jax alone", blame["text"])
    assert blamed.shows("called_on_jax_alone", blame)


def test_what_a_case_makes_between_operations_is_its_own(blamed: Blamed) -> None:
    for case in ("unrelated", "beside_another_difference"):
        blame = blamed.blame(case, "jax")
        assert (blame["target"], blame["part"], blame["op"], blame["repro"]) == ("jax", "(case)", None, None)
        assert blame["text"].startswith("introduced in the case itself, in 'b'")
    blame = blamed.blame("scaled_between", "jax")
    assert blame["text"].startswith("introduced in the case itself: what it gives to keras.ops.tanh differs already")


def test_a_gradient_that_is_taken_beside_it_has_not_made_it(blamed: Blamed) -> None:
    """What jax differentiates is not observed there, so it could be that."""
    blame = blamed.blame("beside_a_gradient", "jax", confirmed=False)
    assert (blame["target"], blame["op"], blame["repro"]) == ("jax", None, None)


@pytest.mark.parametrize("case", ["gaps", "gaps_with_count", "beside_another_difference"])
def test_operations_on_arrays_are_seen(blamed: Blamed, case: str) -> None:
    blame = blamed.blame(case, "tensorflow")
    assert (blame["part"], blame["op"]) == ("(case)", "keras.ops.segment_max")
    assert blamed.shows(case, blame)


def test_where_all_agree_nothing_is_blamed(blamed: Blamed) -> None:
    assert blamed.case("negative_id")["outcome"] == "agree"
