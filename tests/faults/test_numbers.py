"""Numbers and names at the edge of what there is: every report tells them, and a script that has them runs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.blame.script import Script, Side, distances
from harness.errors import HarnessError
from harness.judge.case import judge_case
from harness.report import github, html, junit, markdown, plots, show, table, tensorboard
from harness.report.console import Detail, make_console, print_result
from harness.result import file
from harness.result.model import Result
from harness.result.run_folder import RunFolder
from harness.trace import Header, Observation, PlotEntry, Trace, compact, write
from harness.trace.parts import name_in, operation, part_of
from harness.verdict import Verdict

CASE, LARGEST = "cases/x.py::y", sys.float_info.max
LOSSES = [LARGEST, -LARGEST, 5e-324, np.inf, np.nan, -np.inf, 3e38, 1.0, LARGEST]
NAME = "line\nfeed \ud800"


def observations(scale: float, dtype: Any) -> list[Observation]:
    def array(key: str, value: Any, kind: Any = np.float64) -> Observation:
        phase, step, name = key.split("/", 2)
        return Observation(key, phase, int(step), name, NAME, np.dtype(kind).name, np.asarray(value, kind))  # type: ignore[arg-type]

    with np.errstate(over="ignore", invalid="ignore"):
        losses = [np.asarray(value * scale, np.float64).astype(dtype) for value in LOSSES]
    return [
        *(array(f"log/{step}/batch/loss", value, dtype) for step, value in enumerate(losses)),
        array("log/3/batch/two", [1.0, 2.0]),
        array("log/4/batch/complex", 1 + 2j, np.complex64),
        array("log/4/batch/none", np.zeros(0)),
        array(f"gradient/0/{NAME}/kernel", [LARGEST, LARGEST * scale, 1.0]),
        array(f"forward/0/model/{NAME}/output", [LARGEST, -LARGEST * scale, 1.0]),
        array("recorded/0/points", [[LARGEST, -LARGEST], [1.0, np.nan]]),
        Observation("recorded/n", "recorded", 0, "n", None, None, 10**400 + int(10 * scale)),
        Observation("recorded/t", "recorded", 0, "t", None, None, NAME),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Trace]]:
    folder, traces = tmp_path_factory.mktemp("run"), {}
    for target, scale in (("torch", 1.0), ("jax", 0.5)):
        for place, precision in ((folder / target, "float32"), (folder / target / "twin", "float64")):
            plot = PlotEntry("p", "x", "y", {"points": "recorded/0/points"}, {"lines": "recorded/0/points"})
            write(place, Header(CASE, target, precision, plots=[plot]), observations(scale, np.dtype(precision)))
        traces[target] = Trace(folder / target)
    case = judge_case(CASE, traces, "torch", Verdict.DIVERGENT, folder)
    file.write(folder / file.FILE, Result("torch", ["torch", "jax"], "both", Verdict.DIVERGENT, cases=[case]).to_json())
    return RunFolder.open(folder), traces


TOLD: dict[str, Callable[[RunFolder, dict[str, Trace], Path], object]] = {
    "page": lambda run, _, __: html.page(run),
    "junit": lambda run, _, __: junit.document(run),
    "markdown": lambda run, _, __: markdown.summary(run).encode(),
    "github": lambda run, _, __: github.failures(run),
    "csv": lambda run, _, place: table.write_csv(run, place),
    "parquet": lambda run, _, place: table.write_parquet(run, place),
    "tensorboard": lambda run, _, place: tensorboard.write(run, place),
    "pictures": lambda _, traces, place: plots.draw(traces, "torch", place, "x"),
    "console": lambda run, _, __: print_result(make_console(), run, "x", Detail.VERBOSE),
    "a trace": lambda _, traces, __: show.print_trace(make_console(), traces["jax"]),
    "two traces": lambda _, traces, __: show.print_pair(make_console(), traces["jax"], traces["torch"]),
    "observations": lambda _, traces, __: show.print_observations(make_console(), traces["jax"], "*"),
    "compact": lambda _, traces, place: (compact.write(place, traces.values()), compact.read(place)),
}


@pytest.mark.parametrize("how", TOLD)
def test_numbers_and_names_of_any_kind_are_told(
    run: tuple[RunFolder, dict[str, Trace]], tmp_path: Path, how: str
) -> None:
    TOLD[how](*run, tmp_path / "x")


NUMBERS = ["1" + "0" * 400, "1e400", "NaN", "-Infinity", "9" * 5000, '"1"', "-1", "true", "1.5", "null", "[]"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["seconds", "seed", "step", "shape", "schema"])
def test_a_number_that_is_none_of_ours_is_refused_or_read(tmp_path: Path, field: str, number: str) -> None:
    """In a trace, whatever field it stands in."""
    write(
        tmp_path, Header(CASE, "jax", "float32"), [Observation("loss/0/x", "loss", 0, "x", None, "float32", np.ones(2))]
    )
    index = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    (holder,) = [item for item in (index, index["observations"][0]) if field in item]
    holder[field] = ["@"] if field == "shape" else "@"
    (tmp_path / "trace.json").write_text(json.dumps(index).replace('"@"', number), encoding="utf-8")
    with contextlib.suppress(HarnessError):
        show.print_trace(make_console(), Trace(tmp_path))


@pytest.mark.parametrize("name", ["line\nfeed", "a/output", "\r\n", "\u2028", "weight"])
def test_a_part_is_found_whatever_its_layer_is_called(name: str) -> None:
    for what in ("output", "config", "upstream"):
        part = part_of(name_in(f"model/{name}", what, None))  # type: ignore[arg-type]
        assert part is not None
        assert (part.name, part.what, part.operation) == (f"model/{name}", what, None)
        inner = part_of(f"{operation(f'model/{name}', 3, 'keras.ops.tanh')}/{what}")
        assert inner is not None
        assert (inner.name, inner.operation, inner.number) == (f"model/{name}", "keras.ops.tanh", 3)


# Scripts that show a difference


def script(values: Any, call: str, setup: str = "") -> Script:
    """One whose sides are one backend, told apart by a variable."""
    sides = Side("one", {"KERAS_BACKEND": "jax", "SIDE": "1"}), Side("two", {"KERAS_BACKEND": "jax", "SIDE": "2"})
    return Script("It differs.", call, (values,), setup, False, (), sides, 1e-5)


SIDE = "(os.environ['SIDE'] == '2')"


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("size", [2, 40])
@pytest.mark.parametrize(("call", "status"), [("inputs[0]", 0), (f"inputs[0] + {SIDE}", 1)])
def test_a_script_of_values_that_are_no_numbers_runs_and_is_right(
    tmp_path: Path, dtype: str, size: int, call: str, status: int
) -> None:
    values = np.tile(np.array([np.inf, np.nan, -np.inf, 1.0]), size).astype(dtype)
    config = {"low": -float("inf"), "of": [float("nan")]}
    setup = f"\nCONFIG = {config!r}\n"
    call = f"keras.ops.real({call})" if dtype == "complex64" else call
    path = tmp_path / "repro.py"
    path.write_text(script(values, call, setup).text(), encoding="utf-8")
    ran = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert "Error" not in ran.stderr, ran.stderr
    assert ran.returncode == status, ran.stdout


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ([np.nan, 1], [np.nan, 1], 0),
        ([np.inf, 1], [np.inf, 1], 0),
        ([np.inf, 1], [-np.inf, 1], np.inf),
        ([np.nan, 1], [np.inf, 1], np.inf),
        ([np.nan, 1], [0, 1], np.inf),
        ([0, 0], [0, 0], 0),
        ([2, 2], [2, 2.2], 0.2 / np.sqrt(4.42)),
    ],
)
def test_distances_of_what_may_be_no_numbers(first: Any, second: Any, apart: float) -> None:
    for one, two in ((first, second), (second, first)):
        assert np.max(distances(np.array(one, float), np.array(two, float))) == pytest.approx(apart)


@given(st.lists(st.floats(width=32), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_what_is_equal_is_not_apart(values: list[float]) -> None:
    assert not np.any(distances(np.array(values), np.array(values)))
