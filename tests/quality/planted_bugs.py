"""The mistakes that `planted.py` plants, each on one backend, with what should be said of it.

Nothing here imports Keras: lines are read from the source.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("planted.py")


@dataclass(frozen=True)
class Planted:
    """A mistake on one backend, and what a person would open to mend it.

    Attributes:
        scenario: the function of `planted.py` that makes the case.
        how: what that is given on the victim. On every other backend, and in the healthy twin, it is given nothing.
        code: the class at fault, or a method of it, as `Loop.train_step`; more than one where either is right. Nothing
            where no class is at fault, as of data.
        method: the method that has to be named; None where the class is enough.
        rows: the rows of the data that have to be named.
    """

    name: str
    target: str
    scenario: str
    how: Mapping[str, Any]
    code: tuple[str, ...] = ()
    method: str | None = None
    rows: tuple[int, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.code))

    @property
    def places(self) -> tuple[str, ...]:
        """Where the code at fault is written, as `planted.py:60`."""
        return tuple(f"{FILE.name}:{lines()[name]}" for name in self.code)


@cache
def lines() -> dict[str, int]:
    """The line of each class in `planted.py` and of each method, as `Loop.train_step`."""
    found = {}
    for node in ast.parse(FILE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = node.lineno
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            found |= {f"{node.name}.{method.name}": method.lineno for method in methods}
    return found


def _step(name: str, target: str, mistake: str, *, scenario: str = "looped", code: str = "Loop.train_step") -> Planted:
    method = code.partition(".")[2]
    return Planted(name, target, scenario, {"mistake": mistake}, (code,), method)


def _metric(name: str, target: str, mistake: str, method: str) -> Planted:
    return Planted(name, target, "measured", {"mistake": mistake}, ("Near", f"Near.{method}"))


def _callback(name: str, target: str, of: str, factor: float) -> Planted:
    how = {"callback": of, "factor": factor}
    return Planted(name, target, "called_back", how, (of, f"{of}.on_epoch_end"), "on_epoch_end")


def _data(name: str, target: str, rows: tuple[int, ...], **how: Any) -> Planted:
    return Planted(name, target, "trained", how, rows=rows)


BUGS = (
    # Steps that the model overrides
    _step("torch_updates_twice", "torch", "two updates"),
    _step("jax_updates_twice", "jax", "two updates"),
    _step("tensorflow_clips", "tensorflow", "clipped"),
    _step("torch_clips", "torch", "clipped"),
    _step("jax_does_not_train", "jax", "not training"),
    _step("torch_does_not_train", "torch", "not training"),
    _step("tensorflow_climbs", "tensorflow", "wrong sign"),
    _step("torch_mixes_up_variables", "torch", "mixed up"),
    _step("tensorflow_trains_a_part", "tensorflow", "a part"),
    _step("torch_gradients_pile_up_under_adam", "torch", "gradients pile up"),
    _step("gradients_pile_up_on_torch", "torch", "gradients pile up", scenario="netted", code="Net.train_step"),
    _step("jax_leaves_out_penalties", "jax", "no penalty", scenario="penalised", code="Penalised.train_step"),
    _step("tensorflow_tests_as_it_trains", "tensorflow", "training", scenario="evaluated", code="Tested.test_step"),
    _step("jax_scales_predictions", "jax", "scaled", scenario="predicting", code="Predicting.predict_step"),
    # Layers and losses
    Planted("torch_stops_a_gradient", "torch", "trained", {"stopped": True}, ("Gate", "Gate.call")),
    Planted("tensorflow_loss_is_off", "tensorflow", "trained", {"factor": 1.0002}, ("Cosh", "Cosh.call")),
    # Metrics
    _metric("torch_metric_forgets", "torch", "forgets", "reset_state"),
    _metric("jax_metric_forgets", "jax", "forgets", "reset_state"),
    _metric("tensorflow_metric_counts_twice", "tensorflow", "counts twice", "update_state"),
    _metric("jax_metric_divides_by_one_more", "jax", "one more", "result"),
    # Callbacks
    _callback("tensorflow_halves_the_rate", "tensorflow", "Halve", 0.5),
    _callback("jax_callback_moves_weights", "jax", "Shrink", 0.99),
    # Data
    _data("jax_last_target_is_scaled", "jax", (47,), scaled_target=1.01),
    _data("torch_row_is_scaled", "torch", (7,), scaled_row=1.01),
    _data("tensorflow_rows_are_swapped", "tensorflow", (3, 17), swapped=True),
    # Where it is compiled alone: everywhere else the same code runs eagerly
    Planted("jax_counts_in_python", "jax", "counting", {"compiled": True}, ("Warming", "Warming.train_step")),
    Planted("tensorflow_keeps_a_flag", "tensorflow", "flagged", {"compiled": True}, ("Steep", "Steep.call", "Steepen")),
)
