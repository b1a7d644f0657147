"""Who is named for what is no layer: data by their rows, metrics, losses of several, callbacks, by class and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import trace
from harness.blame import clues
from harness.case import CaseRef
from harness.result import words
from harness.result.culprits import Culprits
from harness.trace import Changed, Header, Key, Observation, Phase, Trace
from harness.trace.parts import part_of

parametrize = pytest.mark.parametrize

PLACES = {
    "layer/gate": "Gate, net.py:15",
    "layer/first": "Dense",
    "loss": "Cosh, net.py:33",
    "metric/near": "Near, net.py:36",
    "metric/far": "MeanAbsoluteError",
    "metric/mean_3": "Mean",
    "optimizer": "Adam",
    "callback/Halve": "Halve, net.py:70",
    "callback/Halve/on_epoch_end": "Halve.on_epoch_end, net.py:71",
}
CASE = CaseRef("net.py::it", "/nowhere/net.py", "it")


def told(name: str, layer: str | None = None, loss: str | None = None, **more: str) -> tuple[str, str | None]:
    part = part_of(name)
    assert part is not None
    return Culprits(PLACES | more).part(part, name, layer, loss)


def written(folder: Path, name: str, values: Mapping[str, Any], **header: Any) -> Trace:
    """A trace of plain values and arrays by key, without a twin."""
    observations = []
    for key, value in values.items():
        phase, step, rest = key.split("/", 2)
        array = value if isinstance(value, np.ndarray) else None
        dtype = None if array is None else array.dtype.name
        phase_: Phase = phase  # type: ignore[assignment]
        observations.append(Observation(key, phase_, int(step), rest, None, dtype, value))
    trace.write(folder / name, Header(CASE.id, name, "float32", **header), observations)
    return Trace(folder / name)


class TestNames:
    @parametrize(
        ("name", "layer", "place"),
        [
            pytest.param("m/gate/output", "gate", "layer 'gate' (Gate, net.py:15)", id="of the user"),
            pytest.param("m/first/kernel/regularizer", "first", "layer 'first' (Dense)", id="of keras"),
            pytest.param("m/other/output", "other", "layer 'other'", id="unknown"),
            pytest.param("(loss)/value", None, "the loss (Cosh, net.py:33)", id="loss"),
            pytest.param("(metrics)/state/near/seen", None, "metric 'near' (Near, net.py:36)", id="state"),
            pytest.param("(metrics)/value/out_near", None, "metric 'near' (Near, net.py:36)", id="of an output"),
            pytest.param("(metrics)/state/mean/total", None, "metric 'mean_3' (Mean)", id="counted"),
        ],
    )
    def test_a_part_and_what_to_open_of_it(self, name: str, layer: str | None, place: str) -> None:
        assert told(name, layer) == (place, place)

    def test_what_nobody_can_name_is_told_all_the_same(self) -> None:
        assert told("(metrics)/value/unheard") == ("the metrics", None)
        assert told("(case)/value") == ("the case itself", None)

    def test_the_optimizer_is_opened_and_not_its_step(self) -> None:
        assert told("(optimizer)/weight/m/kernel") == ("the optimizer's step (Adam)", "the optimizer (Adam)")

    def test_methods_of_the_model_stand_for_what_they_compute(self) -> None:
        loss = told("(loss)/value", compute_loss="Net.compute_loss, net.py:12")
        assert loss == ("the loss (Net.compute_loss, net.py:12)", "Net.compute_loss (net.py:12)")
        metrics = told("(metrics)/value/near", compute_metrics="Net.compute_metrics, net.py:20")
        whole = "the metrics (Net.compute_metrics, net.py:20), metric 'near' (Near, net.py:36)"
        assert metrics == (whole, "Net.compute_metrics (net.py:20)")

    def test_of_several_losses_the_one_of_the_output_is_named(self) -> None:
        place = "the loss of 'b' (Cosh, net.py:40)"
        assert told("(loss)/value/b", loss="b", **{"loss/b": "Cosh, net.py:40"}) == (place, place)

    def test_the_target_that_stands_alone_has_the_first_word(self) -> None:
        culprits = Culprits({"layer/gate": "Other, net.py:99"}, PLACES)
        assert culprits.layer("gate") == "layer 'gate' (Other, net.py:99)"
        assert culprits.layer("first") == "layer 'first' (Dense)"

    def test_a_hook_that_is_not_known_is_the_callback(self) -> None:
        culprits = Culprits(PLACES)
        assert culprits.hook("Halve#2", "on_epoch_end") == "Halve.on_epoch_end (net.py:71)"
        assert culprits.hook("Halve", None) == "Halve (net.py:70)"
        assert culprits.hook("Gone", "on_epoch_end") == "Gone"


class TestRows:
    KEY = "initial/0/data/y/0"

    def rows(self, folder: Path, torch: Any, jax: Any, tensorflow: Any = None) -> clues.Rows | None:
        sides = {"torch": torch, "jax": jax, "tensorflow": torch if tensorflow is None else tensorflow}
        traces = {name: written(folder, name, {self.KEY: np.asarray(array)}) for name, array in sides.items()}
        return clues.rows(traces, self.KEY, "jax", "torch")

    def test_the_row_and_what_each_target_has_in_it(self, tmp_path: Path) -> None:
        torch = np.arange(8, dtype="float32").reshape(4, 2)
        jax = torch.copy()
        jax[2, 1] = 5.01
        found = self.rows(tmp_path, torch, jax)
        assert found is not None
        assert (found.rows, found.count, found.index) == ([2], 4, [1])
        assert found.sides == [("5.01", ["jax"]), ("5", ["torch", "tensorflow"])]
        assert not found.is_reordered

    def test_as_many_digits_as_tell_them_apart(self, tmp_path: Path) -> None:
        found = self.rows(tmp_path, np.array([1.0]), np.array([1.0 + 1e-8]), np.array([2.0]))
        assert found is not None
        assert [text for text, _ in found.sides] == ["1", "1.00000001", "2"]
        assert found.index == []

    def test_rows_in_another_order_are_seen(self, tmp_path: Path) -> None:
        found = self.rows(tmp_path, np.array([1, 2, 3, 4]), np.array([2, 1, 3, 4]))
        assert found is not None
        assert (found.rows, found.is_reordered) == ([0, 1], True)
        text = words.rows_reordered("x", None, found.rows)
        assert text == "x has the same rows in another order: rows 0 and 1 are elsewhere"

    def test_nan_on_both_sides_does_not_differ(self, tmp_path: Path) -> None:
        found = self.rows(tmp_path, np.array([np.nan, 1.0]), np.array([np.nan, 2.0]))
        assert found is not None
        assert found.rows == [1]

    @parametrize(
        "array",
        [
            pytest.param(np.zeros(3), id="other shape"),
            pytest.param(np.zeros(()), id="a number"),
            pytest.param(np.zeros(2), id="equal"),
        ],
    )
    def test_there_may_be_no_such_row(self, tmp_path: Path, array: Any) -> None:
        assert self.rows(tmp_path, np.zeros(2), array) is None

    @parametrize(
        ("rows", "sentence"),
        [
            pytest.param([2], "row 2 of y differs: 1 on jax, and 2 on torch", id="one"),
            pytest.param([2, 5], "row 2 of y differs (and row 5): 1 on jax, and 2 on torch", id="two"),
            pytest.param(
                [2, 5, 6, 7, 8],
                "row 2 of y differs (and rows 5, 6, 7 and 1 more): 1 on jax, and 2 on torch",
                id="many",
            ),
            pytest.param([*range(9)], "all 9 rows of y differ, the first: 1 on jax, and 2 on torch", id="all"),
        ],
    )
    def test_how_many_more(self, rows: Sequence[int], sentence: str) -> None:
        assert words.rows_differ("y", None, rows, 9, [], [("1", ["jax"]), ("2", ["torch"])]) == sentence


class TestValues:
    def test_what_agrees_but_for_rounding_is_told_once(self, tmp_path: Path) -> None:
        key = "metric/3/epoch 1 begins/near/seen"
        numbers = {"torch": 12.0, "jax": 0.5, "tensorflow": np.nextafter(np.float32(0.5), np.float32(1))}
        traces = {name: written(tmp_path, name, {key: np.float32(value)[...]}) for name, value in numbers.items()}
        assert clues.values(traces, key, None) == [("12", ["torch"]), ("0.5", ["jax", "tensorflow"])]

    def test_a_target_may_lack_it(self, tmp_path: Path) -> None:
        key = "metric/3/epoch 1 begins/near/seen"
        traces = {name: written(tmp_path, name, {key: 3} if name == "torch" else {}) for name in ("torch", "jax")}
        sides = clues.values(traces, key, None)
        assert sides == [("3", ["torch"]), ("", ["jax"])]
        told = words.left_in_metric("`Near` (net.py:36)", "seen", (), "epoch 1 begins", sides, None)
        assert told == (
            "only `Near` (net.py:36) differs: its state `seen` is 3 when epoch 1 begins on torch, and not there on jax"
        )


class TestCallbacks:
    KEY = str(Key("event", 3, "callback/Halve/after epoch 0"))

    def traces(self, folder: Path, **sides: tuple[str | None, tuple[str, str] | None]) -> dict[str, Trace]:
        return {
            name: written(
                folder,
                name,
                {} if what is None else {self.KEY: what},
                changes={} if what in (None, "nothing") else {self.KEY: Changed("on_epoch_end", rate)},
            )
            for name, (what, rate) in sides.items()
        }

    def told(self, traces: Mapping[str, Trace]) -> str:
        found = clues.changes(traces, self.KEY)
        sides = [(change.what, change.rate, change.targets) for change in found]
        return words.changed_by("Halve.on_epoch_end (net.py:71)", "after epoch 0", sides)

    def test_the_rate_is_told_in_numbers(self, tmp_path: Path) -> None:
        nothing = ("nothing", None)
        sides = self.traces(tmp_path, torch=nothing, tensorflow=("learning rate", ("0.0005", "0.00025")), jax=nothing)
        assert self.told(sides) == (
            "learning rate 0.0005 → 0.00025 by Halve.on_epoch_end (net.py:71) after epoch 0 on tensorflow only, "
            "and nothing on torch and jax"
        )

    def test_what_else_is_changed_and_where_it_is_not_called(self, tmp_path: Path) -> None:
        sides = self.traces(tmp_path, torch=("learning rate, weights", ("1", "2")), jax=(None, None))
        assert self.told(sides) == (
            "learning rate 1 → 2, and weights changed by Halve.on_epoch_end (net.py:71) after epoch 0 on torch, "
            "and it is not called on jax"
        )

    @parametrize(
        ("theirs", "found"),
        [
            pytest.param(("0.001", "0.0005"), True, id="another rate"),
            pytest.param(("0.001", "0.000100001"), False, id="rounding"),
            pytest.param(("0.002", "0.0002"), False, id="inherited"),
        ],
    )
    def test_a_rate_is_another_where_it_was_the_same_before(
        self, tmp_path: Path, theirs: tuple[str, str], found: bool
    ) -> None:
        rates = {"torch": ("0.001", "0.0001"), "jax": theirs}
        traces = self.traces(tmp_path, **{name: ("learning rate", rate) for name, rate in rates.items()})
        assert (clues.changed_otherwise(traces["jax"], traces["torch"], 3) == self.KEY) is found
        assert clues.changed_otherwise(traces["jax"], traces["torch"], 2) is None
