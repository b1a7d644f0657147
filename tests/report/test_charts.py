"""What charts show: against the traces themselves, computed in another way."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import Case, write_run

from harness.report.charts import CENTRE, LEVELS, RESOLUTIONS, CaseData, Charts, Resolution, level
from harness.result.judgement import Judgement
from harness.result.model import Finding
from harness.result.run_folder import RunFolder
from harness.trace import Header, Observation, Trace, write
from harness.verdict import Verdict

FINEST = RESOLUTIONS[0]
REFERENCES = {"tensorflow": "torch", "jax": "torch"}


def data_of(run: RunFolder, case: int, detail: Resolution = FINEST) -> CaseData:
    traces, unread = run.traces(run.result["cases"][case])
    assert unread == {}
    return Charts(traces, REFERENCES).data(detail)


def run_of(folder: Path, *cases: Case, targets: Any = ("torch", "tensorflow", "jax")) -> RunFolder:
    return RunFolder.open(write_run(folder, cases, targets))


def finding(verdict: Verdict, d64: float | None, explained: float | None) -> Finding:
    judgement = Judgement(verdict, "twins", d32=d64, d64=d64, explained=explained)
    return Finding("loss/0/x", "x", "loss", 0, None, judgement)


# Curves


def test_a_curve_has_every_step_in_five_digits_and_what_is_the_references_is_not_repeated(run: RunFolder) -> None:
    data = data_of(run, 1)
    assert (data["steps"], [curve["name"] for curve in data["curves"]]) == (12, ["loss", "mae"])
    loss = data["curves"][0]
    assert loss["steps"] == list(range(12))
    assert loss["values"]["torch"] == [float(f"{math.exp(-step / 10):.5g}") for step in range(12)]
    assert loss["values"]["jax"] == pytest.approx([1.01 * math.exp(-step / 10) for step in range(12)], rel=1e-4)
    assert loss["values"]["tensorflow"] is None


def test_of_too_many_steps_those_stay_where_targets_differ_most(tmp_path: Path) -> None:
    run = run_of(tmp_path, Case("x.py::long", steps=100))
    traces, _ = run.traces(run.result["cases"][0])
    charts = Charts(traces, REFERENCES)
    charts._logs["jax"]["loss"][37] = 5.0
    curve = charts.data(Resolution(10, 10, 10))["curves"][0]
    assert len(curve["steps"]) == 10
    assert 37 in curve["steps"]
    assert [step // 10 for step in curve["steps"]] == list(range(10))  # spread over all of them


def test_a_log_that_is_not_finite_or_on_one_target_only_has_gaps(tmp_path: Path) -> None:
    for target, values in (("torch", [1.0, math.nan, 3.0]), ("jax", [1.0, 2.0])):
        items = [
            Observation(f"log/{step}/batch/x", "log", step, "batch/x", None, "float", np.array(value))
            for step, value in enumerate(values)
        ]
        write(tmp_path / target, Header("x", target, "float32"), items)
    traces = {target: Trace(tmp_path / target) for target in ("torch", "jax")}
    (curve,) = Charts(traces, REFERENCES).data(FINEST)["curves"]
    assert curve["values"] == {"torch": [1.0, None, 3.0], "jax": [1.0, 2.0, None]}


# Heat maps


@given(st.floats(1e-30, 1e30), st.floats(1e-16, 1.0))
def test_a_level_is_the_distance_over_what_is_explained_in_half_decades(distance: float, explained: float) -> None:
    is_beyond = distance > explained
    verdict = Verdict.DIVERGENT if is_beyond else Verdict.ROUNDING
    found = LEVELS.index(level(finding(verdict, distance, explained))) - CENTRE
    assert (found > 0) == is_beyond
    if 0 < found < len(LEVELS) - CENTRE - 1 or -CENTRE < found < 0:
        assert abs(found / 2 - math.log10(distance / explained)) <= 0.5


@pytest.mark.parametrize(
    ("verdict", "d64", "explained", "character"),
    [
        (Verdict.IDENTICAL, 0.0, 1e-7, "="),
        (Verdict.IDENTICAL, None, None, "="),
        (Verdict.MISMATCH, None, None, "!"),
        (Verdict.DIVERGENT, None, None, "Z"),
        (Verdict.ROUNDING, 1e-7, 1e-7, LEVELS[CENTRE]),
        (Verdict.DIVERGENT, 1.001e-7, 1e-7, LEVELS[CENTRE + 1]),
        (Verdict.DIVERGENT, 1e30, 1e-7, "Z"),
        (Verdict.ROUNDING, 1e-30, 1e-7, "a"),
    ],
)
def test_what_is_no_measured_distance_has_a_character_of_its_own(
    verdict: Verdict, d64: float | None, explained: float | None, character: str
) -> None:
    assert level(finding(verdict, d64, explained)) == character


def test_what_could_not_be_compared_is_said() -> None:
    assert level(None) == "?"


def beyond(text: str) -> list[int]:
    return [n for n, character in enumerate(text) if character == "!" or LEVELS.find(character) > CENTRE]


def test_a_heat_map_has_observations_in_order_by_step_and_the_difference_starts_where_it_does(run: RunFolder) -> None:
    by_target = {item["target"]: item for item in data_of(run, 1)["maps"]}
    assert list(by_target) == ["jax", "tensorflow"]  # the worst first
    traces, _ = run.traces(run.result["cases"][1])
    names = list(dict.fromkeys(f"{item.phase}/{item.name}" for item in traces["torch"]))
    for item in by_target.values():
        assert [name for name, _ in item["rows"]] == names
        assert item["columns"] == [[step, step] for step in range(12)]
    assert all(beyond(text) == [] for _, text in by_target["tensorflow"]["rows"])
    rows = dict(by_target["jax"]["rows"])
    differing = [name for name in names if beyond(rows[name])]
    assert differing[0] == "forward/model/smooth/output"
    assert beyond(rows["log/batch/loss"]) == list(range(12))
    assert beyond(rows["update/head/kernel"]) == [0, 11]
    assert rows["update/head/kernel"][1:11] == " " * 10


def test_steps_that_share_a_column_are_as_bad_as_their_worst_and_rows_left_out_differ_less(tmp_path: Path) -> None:
    run = run_of(tmp_path, Case("x.py::long", steps=40, wrong={"jax": "log/33/batch/loss"}))
    (whole, _) = data_of(run, 0)["maps"]
    (narrow, _) = data_of(run, 0, Resolution(10, 4, 400))["maps"]
    assert narrow["columns"] == [[0, 9], [10, 19], [20, 29], [30, 39]]
    assert beyond(dict(narrow["rows"])["log/batch/loss"]) == [3]
    (coarse, _) = data_of(run, 0, Resolution(10, 4, 3))["maps"]
    assert len(coarse["rows"]) == 3
    assert coarse["left_out"] == len(whole["rows"]) - 3
    differing = [name for name, text in whole["rows"] if beyond(text)]
    assert {name for name, _ in coarse["rows"]} <= set(differing)


def test_a_sequence_of_events_that_differs_is_a_mismatch_in_its_row(run: RunFolder) -> None:
    by_target = {item["target"]: dict(item["rows"]) for item in data_of(run, 2)["maps"]}
    assert by_target["tensorflow"]["event/fit"].strip() == "!"
    assert by_target["jax"]["event/fit"].strip() == "="


def test_what_a_run_that_stopped_did_not_reach_is_not_compared(run: RunFolder) -> None:
    by_target = {item["target"]: item["rows"] for item in data_of(run, 3)["maps"]}
    assert {text.strip() for _, text in by_target["jax"]} >= {"?"}
    assert {character for _, text in by_target["jax"] for character in text.strip()} <= {"?", " "}


# Gradients and the graph


def test_gradients_are_told_by_weight_from_the_last_layer_back(run: RunFolder) -> None:
    gradients = data_of(run, 1)["gradients"]
    assert gradients["names"] == ["head/kernel", "smooth/kernel", "widen/kernel"]
    traces, _ = run.traces(run.result["cases"][1])
    array = traces["torch"]["gradient/0/head/kernel"].array.astype(np.float64)
    assert gradients["values"]["torch"][0] == pytest.approx(math.sqrt((array**2).mean()), rel=1e-4)
    assert gradients["values"]["jax"][0] == pytest.approx(1.01 * gradients["values"]["torch"][0], rel=1e-4)


def test_the_graph_is_a_chain_in_which_the_layers_after_the_wrong_one_differ(run: RunFolder) -> None:
    graph = data_of(run, 1)["graph"]
    assert [path for path, _, _ in graph["layers"]] == ["model/widen", "model/smooth", "model/head"]
    assert graph["edges"] == [(0, 1, True), (1, 2, True)]
    assert [bool(beyond(levels["jax"])) for _, _, levels in graph["layers"]] == [False, True, True]
    assert [bool(beyond(levels["tensorflow"])) for _, _, levels in graph["layers"]] == [False, False, False]


def test_branches_are_told_by_values_and_an_order_that_no_value_tells_is_no_known_edge(tmp_path: Path) -> None:
    a, b, c, d = (np.full((2, 2), value, np.float32) for value in (1.0, 2.0, 3.0, 4.0))
    calls = [("one", [a], b), ("two", [b], c), ("block/both", [b, c], d), ("block", [b, c], d), ("alone", [a + 9], a)]
    items = []
    for path, inputs, output in calls:
        names = [f"m/{path}/input/{n}" if len(inputs) > 1 else f"m/{path}/input" for n in range(len(inputs))]
        for name, value in [*zip(names, inputs, strict=True), (f"m/{path}/output", output)]:
            items.append(Observation(f"forward/0/{name}", "forward", 0, name, path, "float32", value))
    write(tmp_path, Header("x", "torch", "float32"), items)
    graph = Charts({"torch": Trace(tmp_path)}, {}).data(FINEST)["graph"]
    assert [(path, depth) for path, depth, _ in graph["layers"]] == [
        ("m/one", 0),
        ("m/two", 1),
        ("m/block/both", 2),
        ("m/alone", 3),
    ]
    assert graph["edges"] == [(0, 1, True), (0, 2, True), (1, 2, True), (2, 3, False)]


# Size


@pytest.mark.parametrize("case", range(6))
def test_less_detail_is_never_larger_and_all_of_it_is_json(run: RunFolder, case: int) -> None:
    traces, _ = run.traces(run.result["cases"][case])
    charts = Charts(traces, REFERENCES)
    sizes = [len(json.dumps(charts.data(detail), allow_nan=False)) for detail in RESOLUTIONS]
    assert sizes == sorted(sizes, reverse=True)
