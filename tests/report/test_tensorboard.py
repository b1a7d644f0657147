"""Event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import hostile
import pytest
from synthetic import Case, write_run

from harness.errors import HarnessError, printable
from harness.report import tensorboard
from harness.result.run_folder import RunFolder

Scalars = dict[str, dict[str, dict[int, float]]]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Scalars]:
    """Reads all scalars by run, tag and step, without TensorFlow, which the reader would import."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", ModuleType("notf"))
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    def scalars(folder: Path) -> Scalars:
        multiplexer: Any = EventMultiplexer().AddRunsFromDirectory(str(folder))
        multiplexer.Reload()
        return {
            run: {tag: {event.step: event.value for event in multiplexer.Scalars(run, tag)} for tag in tags["scalars"]}
            for run, tags in multiplexer.Runs().items()
        }

    return scalars


def test_every_log_of_every_target_comes_back(run: RunFolder, tmp_path: Path, read: Callable[[Path], Scalars]) -> None:
    tensorboard.write(run, tmp_path)
    found = read(tmp_path)
    assert sorted(found) == ["jax", "tensorflow", "torch"]
    tags = {f"cases.{case}/{name}" for case in ("a.py::agrees", "a.py::differs[1]") for name in ("loss", "mae")}
    assert all(tags <= set(of_run) for of_run in found.values())  # one tag on all targets: the curves overlay
    assert "cases.b.py::fails/loss" not in found["jax"]
    for target, factor in (("torch", 1.0), ("jax", 1.01)):
        loss = found[target]["cases.a.py::differs[1]/loss"]
        assert loss == pytest.approx({step: factor * math.exp(-step / 10) for step in range(12)}, rel=1e-6)


def test_the_files_are_the_same_whenever_they_are_made(run: RunFolder, tmp_path: Path) -> None:
    first, second = (tensorboard.write(run, tmp_path / name) for name in ("a", "b"))
    assert len(first) == 3
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


@pytest.mark.parametrize("text", hostile.SAMPLES, ids=range(len(hostile.SAMPLES)))
def test_hostile_text_names_no_file_outside(tmp_path: Path, text: str, read: Callable[[Path], Scalars]) -> None:
    run = RunFolder.open(write_run(tmp_path / "run", [Case(text)], ["../../torch", "..", f"x/{text}"]))
    files = tensorboard.write(run, tmp_path / "events")
    assert len({file.parent for file in files}) == 3
    assert all(file.resolve().parent.parent == (tmp_path / "events").resolve() for file in files)
    for tags in read(tmp_path / "events").values():
        assert f"{printable(text).replace('/', '.')}/loss" in tags


def test_without_tensorboard_the_extra_is_named(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(HarnessError, match=r"keras-harness\[tensorboard\]"):
        tensorboard.write(run, tmp_path)
