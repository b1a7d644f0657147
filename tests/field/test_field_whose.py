"""Who is named for mistakes in what is no layer: each by its class and line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NEAR = "metric 'near' (Near, named.py:11)"
RATES = (
    "learning rate 0.1 → 0.05 by `Fall.on_epoch_end` (named.py:50) after epoch 0 on torch, "
    "and learning rate 0.1 → 0.025 on jax"
)


@pytest.mark.parametrize(
    ("name", "key", "text", "culprit"),
    [
        ("update", "log/0/batch/near", f"introduced in {NEAR}, in its update", NEAR),
        ("result", "log/0/batch/near", f"introduced in {NEAR}, in its result", NEAR),
        (
            "forgotten_before_evaluate",
            "metric/3/evaluate begins/near/seen",
            "only `Near` (named.py:11) differs: its state `seen` is 0 when evaluate begins on torch, and 48 on jax",
            NEAR,
        ),
        (
            "of_two_outputs",
            "loss/0/loss",
            "introduced in the loss of 'two' (Cosh, named.py:34)",
            "the loss of 'two' (Cosh, named.py:34)",
        ),
        (
            "own_loss",
            "loss/0/loss",
            "introduced in the loss (Own.compute_loss, named.py:44)",
            "Own.compute_loss (named.py:44)",
        ),
        ("rates", "optimizer/3/sgd/learning_rate", RATES, "Fall.on_epoch_end (named.py:50)"),
        (
            "rows",
            "event/2/data/y",
            "row 5 of y in the batch of step 2 differs: ",
            "the case's pipeline: y in the batch of step 2",
        ),
    ],
)
def test_what_is_no_layer_is_named(run: Callable[..., Any], name: str, key: str, text: str, culprit: str) -> None:
    (comparison,) = run("named.py", "--targets", "torch,jax").cases()[name]["comparisons"]
    assert comparison["first"]["key"] == key
    assert comparison["blame"]["text"].startswith(text)
    assert comparison["blame"]["culprit"] == culprit


def test_healthy_metrics_raise_no_alarm(run: Callable[..., Any]) -> None:
    assert run("named.py", "--targets", "torch,jax").cases()["healthy"]["outcome"] == "agree"
