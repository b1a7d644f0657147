"""What a training records, on all backends: losses of layers, hidden state, batches, callbacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"


def first(case: dict[str, Any], target: str) -> dict[str, Any]:
    """The finding of a target in a case."""
    (comparison,) = [item for item in case["comparisons"] if item["target"] == target]
    found: dict[str, Any] = comparison["first"]
    return found


def told(case: dict[str, Any], target: str) -> tuple[str | None, str | None, str | None]:
    """The key of a target's finding, who stands alone, and whose the difference is; None where nothing was found."""
    (comparison,) = [item for item in case["comparisons"] if item["target"] == target]
    found, blame = comparison["first"], comparison["blame"]
    return found and found["key"], blame and blame["target"], blame and blame["text"]


def test_losses_that_layers_add_are_those_of_the_real_step(run: Callable[..., Any]) -> None:
    project = run("activity_regularizer.py", "--no-blame")
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
    project = run("stateful_rnn.py", "--no-blame")
    for case in project.cases().values():
        assert {run["target"]: run["status"] for run in case["runs"]} == {
            "torch": "error",
            "tensorflow": "ok",
            "jax": "ok",
        }


@pytest.mark.parametrize("name", ["stateful_lstm", "stateful_lstm_that_is_reset"])
def test_states_that_a_backend_loses_are_found_after_the_first_step(run: Callable[..., Any], name: str) -> None:
    project = run("stateful_rnn.py", "--targets", "tensorflow,jax", "--reference", "tensorflow", "--no-blame")
    case = project.cases()[name]
    found = first(case, "jax")
    assert (found["key"], found["layer"]) == ("update/0/sequential/one/rnn_state", "one")
    for target in ("tensorflow", "jax"):
        trace = project.trace(name, target)
        assert not trace["initial/0/sequential/one/rnn_state#2"].array.any()  # the instruments have put it back


BATCHES = "the pipeline gives other batches: seed it, or use arrays"


@pytest.mark.parametrize(
    ("name", "key", "alone", "rows"),
    [
        ("shuffled_by_tensorflow", "event/0/data/x", "jax", "all 4 rows"),
        ("shuffled_by_torch", "event/0/data/x", "tensorflow", "all 4 rows"),
        ("drawn_by_a_generator", "event/0/data/x", "torch", "all 4 rows"),
        ("one_other_batch_late", "event/4/data/x/a", "jax", "all 4 rows"),
        ("shuffled_anew_in_each_pass", "event/0/data/x", "tensorflow", "row 1"),
    ],
)
def test_other_batches_are_found_before_what_they_lead_to(
    run: Callable[..., Any], name: str, key: str, alone: str, rows: str
) -> None:
    case = run("other_batches.py").cases()[name]
    assert case["outcome"] == "differ"
    *found, whose = told(case, "jax" if alone == "torch" else alone)
    assert found == [key, alone]
    step = key.split("/")[1]
    name = key.removeprefix(f"event/{step}/data/")
    assert whose.startswith(f"{BATCHES}; {rows} of {name} in the batch of step {step} differ")


@pytest.mark.parametrize("name", ["equal_values_of_other_widths", "validated_and_evaluated_on_the_way"])
def test_equal_batches_are_no_difference(run: Callable[..., Any], name: str) -> None:
    project = run("other_batches.py")
    assert project.cases()[name]["outcome"] == "agree"
    steps = {
        target: [key for key in project.trace(name, target).keys if key.endswith("/data/x") and key.startswith("event")]
        for target in ("torch", "tensorflow", "jax")
    }
    assert steps["torch"] == steps["tensorflow"] == steps["jax"] != []


def test_callbacks_in_another_order_are_found(run: Callable[..., Any]) -> None:
    cases = run("callbacks.py").cases()
    order = (
        "other callbacks are called, or in another order: Reader, Smooth on jax; Smooth, Reader on torch and tensorflow"
    )
    assert told(cases["order"], "jax") == ("event/0/callbacks", "jax", order)
    assert told(cases["order"], "tensorflow") == (None, None, None)


def test_the_callback_that_changes_the_learning_rate_is_named(run: Callable[..., Any]) -> None:
    cases = run("callbacks.py").cases()
    by = "by `Halve.on_epoch_end` (callbacks.py:25) after epoch 0 on tensorflow only"
    rate = f"learning rate 0.001 → 0.0005 {by}, and nothing on torch and jax"
    assert told(cases["rate"], "tensorflow") == ("event/3/callback/Halve/after epoch 0", "tensorflow", rate)
    assert told(cases["rate"], "jax") == (None, None, None)


@pytest.mark.parametrize(
    ("name", "target", "key", "text"),
    [
        (
            "weights",
            "jax",
            "event/1/callback/Clip/after batch 1",
            "weights changed by `Clip.on_train_batch_end` (callback_changes.py:20) after batch 1 on jax only",
        ),
        (
            "logs",
            "tensorflow",
            "event/2/callback/Rename/after epoch 0",
            "logs (error) changed by `Rename.on_epoch_end` (callback_changes.py:27) after epoch 0 on torch, "
            "and logs (mistake) changed on tensorflow and jax",
        ),
        ("missing", "tensorflow", "event/0/callbacks", "other callbacks are called"),
    ],
)
def test_what_a_callback_does_on_one_backend_is_told(
    run: Callable[..., Any], name: str, target: str, key: str, text: str
) -> None:
    found, _, whose = told(run("callback_changes.py").cases()[name], target)
    assert found == key
    assert whose is not None
    assert whose.startswith(text)


def test_callbacks_that_do_the_same_agree(run: Callable[..., Any]) -> None:
    assert run("callback_changes.py").cases()["all_the_same"]["outcome"] == "agree"
