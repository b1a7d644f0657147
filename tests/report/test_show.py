"""Traces on the terminal: one, an observation of it, and two side by side."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.errors import TraceError
from harness.report import show
from harness.result.run_folder import RunFolder
from harness.trace import Header, Observation, Trace, write


def printed(function: Any, *arguments: Any) -> list[str]:
    """The lines that a function prints."""
    console = Console(file=io.StringIO(), width=300, color_system=None)
    function(console, *arguments)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.fixture
def pair(run: RunFolder) -> list[Trace]:
    """The traces of the case that differs, on jax and on the reference."""
    traces, _ = run.traces(run.result["cases"][1])
    return [traces["jax"], traces["torch"]]


def test_a_trace_is_shown_with_its_tags_and_each_observation_in_a_line(pair: list[Trace]) -> None:
    lines = printed(show.print_trace, pair[0])
    assert lines[0] == "cases/a.py::differs[1] on jax, float32: ok"
    assert "  tags      layers, slow" in lines
    table = lines[lines.index(next(line for line in lines if line.startswith("observation"))) + 1 :]
    assert [line.split()[0] for line in table] == pair[0].keys


def test_an_observation_is_shown_in_both_precisions_with_its_elements(pair: list[Trace]) -> None:
    lines = printed(show.print_observations, pair[0], "gradient/0/head/*")
    assert lines[:2] == ["gradient/0/head/kernel", "  phase gradient, step 0, layer head: float32 4 x 4"]
    numbers = [float(word) for line in lines if line.lstrip().startswith("[") for word in line.strip(" []").split()]
    expected = [pair[0]["gradient/0/head/kernel"].array, pair[0].twin["gradient/0/head/kernel"].array]  # type: ignore[index]
    np.testing.assert_allclose(np.reshape(numbers, (2, 4, 4)), expected, rtol=1e-6)


def test_two_traces_are_shown_side_by_side_with_what_is_judged(pair: list[Trace]) -> None:
    lines = printed(show.print_pair, *pair)
    assert lines[0] == "cases/a.py::differs[1]: jax against torch"
    rows = {line.split()[0]: line for line in lines[2:]}
    assert list(rows) == pair[1].keys
    assert "rounding" in rows["forward/0/model/smooth/input"]
    assert rows["forward/0/model/smooth/output"].split()[-3:] == ["divergent", "1.6e-02", "1.4e-06"]
    only = printed(show.print_pair, *pair, "loss/*")
    assert [line.split()[0] for line in only[2:]] == ["loss/0/loss"]


@pytest.mark.parametrize(("number", "count"), [(3, 30)])
def test_what_could_not_be_compared_is_counted(run: RunFolder, number: int, count: int) -> None:
    traces, _ = run.traces(run.result["cases"][number])
    lines = printed(show.print_pair, traces["jax"], traces["torch"])
    assert lines[-1] == f"{count} observations could not be compared."


def test_a_key_that_matches_nothing_and_traces_of_two_cases_are_refused(run: RunFolder, pair: list[Trace]) -> None:
    with pytest.raises(TraceError, match="'nothing/'"):
        printed(show.print_observations, pair[0], "nothing/")
    with pytest.raises(TraceError, match="'nothing/'"):
        printed(show.print_pair, *pair, "nothing/")
    traces, _ = run.traces(run.result["cases"][0])
    with pytest.raises(TraceError, match="two cases"):
        printed(show.print_pair, pair[0], traces["torch"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.array([np.nan, np.nan]), "2 not finite"),
        (np.array([1.0, np.inf]), "rms 1, from 1 to 1, 1 not finite"),
        (np.zeros((0, 2)), "empty"),
        (np.array([1, 2]), "1 ... 2"),
        (np.array(True), "True"),
    ],
)
def test_values_of_any_kind_are_summed_up_in_a_line(tmp_path: Path, value: Any, shown: str) -> None:
    write(
        tmp_path,
        Header("x", "jax", "float32"),
        [Observation("recorded/x", "recorded", 0, "x", None, value.dtype.name, value)],
    )
    assert printed(show.print_trace, Trace(tmp_path))[-1].endswith(f" {shown}")
