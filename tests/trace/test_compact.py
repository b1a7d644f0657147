"""Compact recordings: what is kept of arrays, how it is judged, and files that may be a stranger's."""

from __future__ import annotations

import base64
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TraceError
from harness.judge.compare import compare
from harness.result.model import Comparison
from harness.trace import Trace
from harness.trace.compact import COUNT, Compact, compacted, let_forms_differ, read, write
from harness.verdict import Verdict
from tests.judge.recordings import recorded

RNG = np.random.default_rng(5)
KEY = "forward/0/dense/output"


def compact(folder: Path, target: str, value: Any, **options: Any) -> Compact:
    return compacted(recorded(folder, target, {KEY: value}, **options))


def judged(folder: Path, mine: Any, theirs: Any) -> Comparison:
    traces = [compact(folder, "jax", mine), compact(folder, "torch", theirs)]
    let_forms_differ(traces)
    return compare(*traces)


def content(file: Path) -> Any:
    return json.loads(gzip.decompress(file.read_bytes()))


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_a_small_array_is_kept_as_it_is(tmp_path: Path, shape: tuple[int, ...]) -> None:
    value = RNG.normal(size=shape) if shape else np.array(0.3)
    trace = compact(tmp_path, "torch", value)
    assert trace[KEY].array.shape == shape
    np.testing.assert_array_equal(trace[KEY].array, value.astype(np.float32))
    assert trace.twin is not None
    np.testing.assert_array_equal(trace.twin[KEY].array, value)


@pytest.mark.parametrize("size", [COUNT + 1, 1000, 40_000])
def test_sums_have_random_signs_and_the_size_of_the_array(tmp_path: Path, size: int) -> None:
    value = RNG.normal(size=size)
    sums = compact(tmp_path, "torch", value).twin[KEY].array  # type: ignore[index]
    signs = [
        np.random.RandomState(block).randint(0, 2, (COUNT, 1 << 14)) * 2 - 1 for block in range(size // (1 << 14) + 1)
    ]
    expected = np.concatenate(signs, axis=1)[:, :size] @ value / math.sqrt(size)
    np.testing.assert_allclose(sums, expected, rtol=1e-12, atol=1e-14)
    # The mean of squares of as many standard normal numbers as there are sums.
    assert 0.1 < np.mean(sums**2) < 3


@given(st.integers(9, 300), st.integers(0, 1000))
def test_they_are_the_same_function_of_the_values_in_any_shape(size: int, seed: int) -> None:
    from harness.trace.compact import _sums

    value, kind = np.random.default_rng(seed).normal(size=size), np.dtype(np.float64)

    def sums(array: Any) -> Any:
        return _sums(array, kind, is_exact=False)

    np.testing.assert_array_equal(sums(value.reshape(-1, 1)), sums(value))
    np.testing.assert_allclose(sums(2 * value + 1), 2 * sums(value) + sums(np.ones(size)), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda x: x, "identical"),
        (lambda x: x * (1 + 1e-15 * np.sin(np.arange(x.size))), "identical"),
        (lambda x: x * (1 + 3e-8 * np.sin(np.arange(x.size))), "leak"),
        (lambda x: x * 1.001, "divergent"),
        (lambda x: np.where(np.arange(x.size) == 77, x * 1.1, x), "divergent"),
        (lambda x: x[::-1], "divergent"),
        (lambda x: x.reshape(20, 50), "mismatch"),
        (lambda x: np.where(np.arange(x.size) == 77, np.nan, x), "mismatch"),
    ],
)
def test_verdicts_are_those_of_the_arrays(tmp_path: Path, change: Any, verdict: str) -> None:
    value = RNG.normal(size=1000)
    mine = change(value)
    traces = recorded(tmp_path / "a", "jax", {KEY: mine}), recorded(tmp_path / "a", "torch", {KEY: value})
    assert str(compare(*traces).verdict) == verdict
    assert str(judged(tmp_path / "b", mine, value).verdict) == verdict


def test_what_is_infinite_at_other_places_is_a_mismatch_and_at_the_same_is_none(tmp_path: Path) -> None:
    value, other = RNG.normal(size=(2, 50)), RNG.normal(size=50)
    value[0, 3], value[1, 4], other[3] = np.inf, np.inf, -np.inf
    assert judged(tmp_path / "a", *value).verdict is Verdict.MISMATCH
    assert judged(tmp_path / "b", value[0], value[0]).verdict is Verdict.IDENTICAL
    assert judged(tmp_path / "c", value[0], np.where(np.isinf(other), other, value[0])).verdict is Verdict.MISMATCH


def test_integers_of_two_widths_are_equal_by_value(tmp_path: Path) -> None:
    value = np.arange(100, dtype=np.int32)
    assert compact(tmp_path, "torch", value)[KEY].value == compact(tmp_path, "jax", value.copy())[KEY].value
    assert judged(tmp_path / "a", value + 1, value).verdict is Verdict.MISMATCH


def test_values_that_a_twin_does_not_round_stay_so(tmp_path: Path) -> None:
    value = RNG.normal(size=100).astype(np.float32).astype(np.float64)
    trace = compact(tmp_path, "torch", value)
    assert trace.twin is not None
    np.testing.assert_array_equal(trace[KEY].array, trace.twin[KEY].array)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    values = {
        KEY: RNG.normal(size=(30, 4)),
        "loss/0/loss": np.array(0.25),
        "event/0/fit": [["on_train_begin", None, []]],
    }
    values["initial/table"] = np.arange(20)
    environment = {"versions": {"keras": "3.15.1"}, "interpreter": "/home/somebody/python"}
    trace = recorded(tmp_path, "torch", values, environment=environment)
    file = tmp_path / "golden.gz"
    assert write(file, [trace]) == file.stat().st_size
    (found,) = read(file)
    kept = compacted(trace)
    assert found.keys == kept.keys
    assert found.twin is not None
    assert kept.twin is not None
    for one, other in ((found, kept), (found.twin, kept.twin)):
        for key in one.keys:
            if one[key].is_array:
                np.testing.assert_array_equal(one[key].array, other[key].array)
            else:
                assert one[key].value == other[key].value
            assert (one[key].dtype, one[key].layer) == (other[key].dtype, other[key].layer)
    assert found.header.environment == {"versions": {"keras": "3.15.1"}}
    assert found.header.case == trace.header.case
    comparison = compare(compacted(recorded(tmp_path / "jax", "jax", values)), found)
    assert (comparison.verdict, comparison.bases.get("twins")) == (Verdict.IDENTICAL, 2)


@pytest.mark.parametrize("value", ["", None, 0, False, [], {}, ["", None]])
def test_plain_values_are_given_back_as_they_are(tmp_path: Path, value: Any) -> None:
    write(tmp_path / "golden.gz", [recorded(tmp_path, "torch", {"recorded/plain": value})])
    (found,) = read(tmp_path / "golden.gz")
    assert found["recorded/plain"].value == value
    assert type(found["recorded/plain"].value) is type(value)


def test_the_same_traces_give_the_same_bytes(tmp_path: Path) -> None:
    trace = recorded(tmp_path, "torch", {KEY: RNG.normal(size=100)})
    for name in "ab":
        write(tmp_path / name, [trace])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_layer_takes_less_than_a_kilobyte(tmp_path: Path) -> None:
    keys = ["initial/0/d/kernel", "initial/0/d/bias", "forward/0/d/input", KEY]
    keys += ["gradient/0/d/bias", "gradient/0/d/kernel", "gradient/0/input", "update/0/d/seed"]
    traces: list[Trace] = []
    for number in range(25):
        values = {key: RNG.normal(size=(64, 64)) for key in keys}
        traces.append(recorded(tmp_path / str(number), "torch", values))
    assert write(tmp_path / "golden.gz", traces) < 25 * 1000


def changed(file: Path, **values: Any) -> None:
    data = content(file)
    item = data["recordings"][0]["observations"][0]
    item |= values
    file.write_bytes(gzip.compress(json.dumps(data).encode()))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"data": base64.b64encode(b"1234").decode()}, "has 4 bytes"),
        ({"data": "?"}, "is no compact recording"),
        ({"dtype": "object"}, "there is no dtype 'object'"),
        ({"shape": [-8]}, r"no float32 of shape \(-8,\)"),
        ({"step": -1}, "no step"),
        ({"phase": "x"}, "which is not one of"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(tmp_path: Path, values: dict[str, Any], reason: str) -> None:
    file = tmp_path / "golden.gz"
    write(file, [recorded(tmp_path, "torch", {KEY: RNG.normal(size=100)})])
    changed(file, **values)
    with pytest.raises(TraceError, match=reason):
        read(file)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", gzip.compress(b"[]"), gzip.compress(b'{"schema": 9}'), gzip.compress(b"{}")[:9]],
    ids=["empty", "no gzip", "a list", "of another schema", "cut"],
)
def test_no_recording_is_told_from_one(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "golden.gz"
    file.write_bytes(data)
    with pytest.raises(TraceError, match=r"golden\.gz' is no compact recording"):
        read(file)
