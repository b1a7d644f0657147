"""Arguments by keyword, dicts among them, and models whose `fit`, `evaluate` or `predict` take less than Keras' do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def ran(run: Callable[..., Any]) -> Any:
    return run("arguments.py", "--no-blame")


HEALTHY = (
    "dict_by_keyword",
    "arrays_by_keyword",
    "mask_by_keyword",
    "without_y",
    "data_by_keyword",
    "fit_with_other_names",
    "another_method",
)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_code_agrees_however_it_is_called(ran: Any, name: str) -> None:
    case = ran.cases()[name]
    assert case["outcome"] == "agree", case
    assert all(comparison["observations"] >= 4 for comparison in case["comparisons"])


def test_gradients_are_taken_of_arrays_by_keyword(ran: Any) -> None:
    gradients = [key for key in ran.trace("arrays_by_keyword", "jax").keys if key.startswith("gradient/")]
    assert len(gradients) == 3  # of x, and of both places of z


def test_steps_and_predictions_of_a_fit_of_ones_own_are_recorded(ran: Any) -> None:
    for name in ("without_y", "data_by_keyword", "fit_with_other_names", "another_method"):
        keys = ran.trace(name, "tensorflow").keys
        assert any(key.startswith("log/") and key.endswith("/epoch 1/loss") for key in keys)
        # Without an x there is nothing to predict from, which is said.
        assert any(key.startswith("prediction/") for key in keys) is (name != "data_by_keyword")
    assert "the Fit has no x: what its fit takes by other names was not looked at" in ran.ran.stdout


def test_a_fit_that_takes_no_callbacks_is_refused_in_words(ran: Any) -> None:
    case = ran.cases()["fit_without_callbacks"]
    assert case["outcome"] == "error"
    assert "fit of NoCallbacks takes no callbacks" in case["runs"][0]["error"]
