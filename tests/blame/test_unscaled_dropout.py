"""Shared masks are equal, so a dropout that forgets its scale on one backend is found, and in its own layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

CASES = """
import keras
import pytest

from harness import Fit, case


def forget_the_scale(monkeypatch):
    call = keras.layers.Dropout.call

    def unscaled(self, inputs, training=False):
        outputs = call(self, inputs, training=training)
        return outputs * (1 - self.rate) if training else outputs

    monkeypatch.setattr(keras.layers.Dropout, "call", unscaled)


@case
@pytest.mark.parametrize("victim", ["nobody", "torch", "tensorflow", "jax"])
def unscaled_on(victim, rng, target):
    if target.backend == victim:
        forget_the_scale(pytest.MonkeyPatch())
    layers = keras.layers
    model = keras.Sequential(
        [layers.Dense(16, activation="relu", name="hidden"), layers.Dropout(0.25, name="drop"), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    x, y = rng.normal(size=(64, 4)).astype("float32"), rng.normal(size=(64, 1)).astype("float32")
    return Fit(model, x, y, epochs=1, batch_size=32)
"""


@pytest.fixture(scope="module")
def unscaled(make_warm_project: Callable[[], Any]) -> Any:
    """Healthy dropout, and one that is not scaled on each backend in turn."""
    project = make_warm_project()
    project.write("cases/dropout.py", CASES)
    project.ran = project.harness("run", "--out", "out", "--no-blame")
    return project


@pytest.mark.slow
class TestUnscaledDropout:
    def test_healthy_dropout_agrees(self, unscaled: Any) -> None:
        assert unscaled.cases()["unscaled_on[nobody]"]["outcome"] == "agree"

    def test_the_status_is_1(self, unscaled: Any) -> None:
        assert unscaled.ran.returncode == 1
        assert "layer drop" in unscaled.ran.stdout

    @pytest.mark.parametrize(
        ("victim", "differing"), [("torch", {"tensorflow", "jax"}), ("tensorflow", {"tensorflow"}), ("jax", {"jax"})]
    )
    def test_it_is_found_in_the_layer_of_the_dropout(self, unscaled: Any, victim: str, differing: set[str]) -> None:
        """Torch is the reference: where its own dropout is at fault, both others differ from it."""
        comparisons = unscaled.cases()[f"unscaled_on[{victim}]"]["comparisons"]
        assert {found["target"] for found in comparisons if found["verdict"] == "divergent"} == differing
        for found in comparisons:
            if found["target"] in differing:
                first = found["first"]
                assert (first["phase"], first["step"], first["layer"]) == ("forward", 0, "drop")
