"""Keys, and the names that are made in one place and read in another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.trace import Header, Key, Observation, Trace, write
from harness.trace.key import below, numbered, unnumbered


def test_a_key_is_spelled_with_its_step_where_it_has_one() -> None:
    assert str(Key("update", 3, "dense/kernel")) == "update/3/dense/kernel"
    assert str(Key("recorded", None, "a/b")) == "recorded/a/b"
    assert str(Key("recorded", 0, "a")) == "recorded/0/a"


def test_what_is_below_a_name_is_told_from_what_only_starts_like_it() -> None:
    assert below("batch/loss", "batch") == "loss"
    assert below("batch/", "batch") == ""
    assert below("batch", "batch") is None
    assert below("batches/loss", "batch") is None


@given(st.text("ab/", min_size=1), st.integers(1, 12))
def test_what_is_numbered_is_told_without_its_number(name: str, count: int) -> None:
    names = numbered(name, count)
    assert len(set(names)) == count
    assert {unnumbered(one) for one in names} == {name}


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    """Two steps of two layers, and a plain value."""
    what = [
        ("forward", 0, "m/a/input/0", "a"),
        ("forward", 0, "m/a/input/1", "a"),
        ("forward", 0, "m/a/inputs", "a"),
        ("update", 0, "a/kernel", "a"),
        ("update", 1, "a/kernel", "a"),
        ("update", 1, "b/kernel", "b"),
    ]
    observations = [
        Observation(str(Key(phase, step, name)), phase, step, name, layer, "float32", np.ones(2, np.float32))  # type: ignore[arg-type]
        for phase, step, name, layer in what
    ]
    write(
        tmp_path,
        Header("c", "t", "float32"),
        [*observations, Observation("event/fit", "event", 1, "fit", None, None, [])],
    )
    return Trace(tmp_path)


def test_entries_are_selected_by_what_they_are_of_and_come_in_order(trace: Trace) -> None:
    assert [entry.key for entry in trace.select()] == trace.keys
    assert [entry.key for entry in trace.select("update", step=1)] == ["update/1/a/kernel", "update/1/b/kernel"]
    assert [entry.key for entry in trace.select(layer="b")] == ["update/1/b/kernel"]
    assert [entry.step for entry in trace.select(name="a/kernel")] == [0, 1]
    assert [entry.name for entry in trace.select("forward", name="m/a/input")] == ["m/a/input/0", "m/a/input/1"]
    assert list(trace.select("loss")) == []


def test_no_array_is_read_to_select_entries(trace: Trace) -> None:
    (trace.folder / "arrays.safetensors").unlink()
    assert len(list(trace.select())) == 7
    assert trace.entry("event/fit").step == 1
