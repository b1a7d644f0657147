"""One finding, seen closely."""

from __future__ import annotations

import copy
import io
import os
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from rich.console import Console
from synthetic import Case, write_run

from harness.errors import TraceError, printable
from harness.report import finding
from harness.result.run_folder import RunFolder


def printed(run: RunFolder, *names: str, width: int = 300) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    finding.print_finding(console, run, *names)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def rows(lines: list[str], title: str) -> list[str]:
    """The rows of the table with that title."""
    start = next(number for number, line in enumerate(lines) if line.startswith(title))
    end = next((number for number in range(start, len(lines)) if not lines[number]), len(lines))
    return lines[start + 2 : end]


def test_the_worst_elements_stand_side_by_side_with_those_of_the_float64_runs(run: RunFolder) -> None:
    lines = printed(run, "differs", "jax")
    assert lines[1].startswith("jax: 'model/smooth/output' in the forward pass differs: 1.6e-02 off")
    assert not any("harness show" in line for line in lines)
    traces, _ = run.traces(run.result["cases"][1])
    key = "forward/0/model/smooth/output"
    arrays = [traces["jax"][key].array, traces["torch"][key].array]
    arrays += [traces[target].twin[key].array for target in ("jax", "torch")]  # type: ignore[index]
    apart = np.abs(arrays[0].astype(float) - arrays[1].astype(float))
    shown = rows(lines, "the worst of 32 elements, of which 32 differ")
    assert len(shown) == 8
    for row, place in zip(shown, np.argsort(-apart.reshape(-1), kind="stable"), strict=False):
        index, _, numbers = row.partition("]")
        assert eval(f"{index}]") == list(np.unravel_index(place, apart.shape))
        np.testing.assert_allclose([float(n) for n in numbers.split()], [a.reshape(-1)[place] for a in arrays])


def test_the_reference_can_be_named_as_well(run: RunFolder) -> None:
    assert printed(run, "differs", "torch") == printed(run, "differs", "jax")


def test_what_was_recorded_of_the_layer_and_around_the_finding_is_shown_in_order(run: RunFolder) -> None:
    lines = printed(run, "differs[1]")
    traces, _ = run.traces(run.result["cases"][1])
    keys = traces["torch"].keys
    place = keys.index("forward/0/model/smooth/output")
    around = [row.split()[0] for row in rows(lines, "in order of execution")]
    assert around == keys[place - 4 : place + 5]
    of_layer = [row.split()[0] for row in rows(lines, "the history of layer smooth")]
    assert of_layer == [key for key in keys if traces["torch"][key].layer == "smooth"][: len(of_layer)]
    assert of_layer[0] == "initial/0/smooth/kernel"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("nothing",), "has 'nothing' in its name. It has: cases/a.py::agrees, "),
        (("cases/a.py",), "cases have 'cases/a.py' in their names: "),
        (("agrees",), "Nothing worse than rounding was found in cases/a.py::agrees."),
        (("differs", "tensorflow"), "was found in cases/a.py::differs[1] on tensorflow"),
        (("differs", "numpy"), "The run has no target 'numpy'. It has: torch, tensorflow, jax."),
    ],
)
def test_what_is_not_there_is_told(run: RunFolder, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(TraceError) as error:
        printed(run, *names)
    assert said in str(error.value)


def test_the_last_run_is_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TraceError, match="There is no run in 'runs' yet"):
        finding.run_named("last")
    for number, name in enumerate(("b", "a")):
        file = write_run(tmp_path / "runs" / name, [Case("cases/x.py::y")]) / "result.json"
        os.utime(file, (number, number))
    assert finding.run_named("last").path == Path("runs/a")
    write_run(tmp_path / "last", [Case("cases/x.py::y")])
    assert finding.run_named("last").path == Path("last")  # a folder of that name is meant


@hostile.anything
def test_hostile_text_stays_text(run: RunFolder, text: str) -> None:
    result: Any = copy.deepcopy(run.result)
    (first,) = [item["first"] for item in result["cases"][1]["comparisons"] if item["target"] == "jax"]
    first["layer"], first["reason"] = text, text
    lines = printed(RunFolder(run.path, run.shown, result), "differs", "jax", width=100_000)
    assert [c for line in lines for c in line if not c.isprintable()] == []
    assert any(printable(text).partition("\n")[0].rstrip() in line for line in lines)
