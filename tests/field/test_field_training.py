"""What a training records, on all backends: losses of layers, hidden state, batches, callbacks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"


@pytest.fixture(scope="module")
def run(make_project: Callable[[], Any]) -> Callable[..., Any]:
    """Runs a file of `cases` with the command line, once for all tests of this module, and returns the project."""
    projects: dict[tuple[str, ...], Any] = {}

    def run(file: str, *options: str) -> Any:
        if (file, *options) not in projects:
            project = projects[file, *options] = make_project()
            shutil.copyfile(CASES / file, project.folder / file)
            project.process = project.harness("run", file, "--out", "out", "--no-blame", *options)
        return projects[file, *options]

    return run


def first(case: dict[str, Any], target: str) -> dict[str, Any]:
    """The finding of a target in a case."""
    (comparison,) = [item for item in case["comparisons"] if item["target"] == target]
    found: dict[str, Any] = comparison["first"]
    return found


def test_losses_that_layers_add_are_those_of_the_real_step(run: Callable[..., Any]) -> None:
    project = run("activity_regularizer.py")
    assert {name: case["outcome"] for name, case in project.cases().items()} == dict.fromkeys(
        ["activity_l2", "add_loss_in_layer", "by_hand", "read_afterwards", "of_a_regularised_gradient"], "agree"
    )
    trace = project.trace("activity_l2", "jax")
    assert trace["loss/0/loss"].value > 0
    assert {name: len(project.trace("read_afterwards", name).keys) for name in ("torch", "tensorflow", "jax")} == {
        "torch": 1,
        "tensorflow": 1,
        "jax": 1,
    }


def test_a_stateful_layer_that_a_backend_cannot_train_is_an_error_there(run: Callable[..., Any]) -> None:
    project = run("stateful_rnn.py")
    for case in project.cases().values():
        assert {run["target"]: run["status"] for run in case["runs"]} == {
            "torch": "error",
            "tensorflow": "ok",
            "jax": "ok",
        }


@pytest.mark.parametrize("name", ["stateful_lstm", "stateful_lstm_that_is_reset"])
def test_states_that_a_backend_loses_are_found_after_the_first_step(run: Callable[..., Any], name: str) -> None:
    project = run("stateful_rnn.py", "--targets", "tensorflow,jax", "--reference", "tensorflow")
    case = project.cases()[name]
    found = first(case, "jax")
    assert (found["key"], found["layer"]) == ("update/0/sequential/one/rnn_state", "one")
    for target in ("tensorflow", "jax"):
        trace = project.trace(name, target)
        assert not trace["initial/0/sequential/one/rnn_state#2"].array.any()  # the instruments have put it back
