"""Traces: what is written is read back bit for bit, and what is damaged or hostile is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors import safe_open

from harness.case import Expected
from harness.errors import TraceError
from harness.trace import NUMBER, PHASES, Header, Note, Observation, PlotEntry, Trace, find_traces, numpy_dtype, write

a_few = settings(max_examples=60, deadline=None)
DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"]
DTYPES += ["float64", "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
HEADER = Header("cases/x.py::y", "torch", "float32", seed=7)


def observation(name: str, value: Any, **changes: Any) -> Observation:
    """An observation of an array, a Python float or a plain value."""
    dtype = NUMBER if isinstance(value, float) else value.dtype.name if isinstance(value, np.ndarray) else None
    stored = value if dtype is None else np.asarray(value)
    return replace(Observation(f"recorded/{name}", "recorded", 0, name, None, dtype, stored), **changes)


def stored(folder: Path, *values: Any) -> list[Any]:
    """What is read back of values that were written."""
    observations = [observation(f"v{position}", value) for position, value in enumerate(values)]
    write(folder, HEADER, observations)
    return [item.value for item in Trace(folder)]


def is_same_array(left: Any, right: Any) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Arrays of every dtype and any bits, NaN of every kind among them."""
    dtype = numpy_dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    count = int(np.prod(shape, dtype=int)) * dtype.itemsize
    data = draw(st.binary(min_size=count, max_size=count))
    return np.frombuffer(bytes(byte & 1 for byte in data) if dtype.kind == "b" else data, dtype).reshape(shape)


def short(value: Any) -> str:
    return repr(value)[:40]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


# Round trips


@given(arrays())
@a_few
def test_an_array_is_read_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, array: Any) -> None:
    (found,) = stored(tmp_path_factory.mktemp("trace"), array)
    assert is_same_array(found, array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0, 3), (2, 3)])
def test_every_dtype_and_shape_is_read_back(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, numpy_dtype(dtype))
    write(tmp_path, HEADER, [observation("x", array)])
    (found,) = Trace(tmp_path)
    assert found.dtype == dtype
    assert found.is_array
    assert is_same_array(found.array, array)


@given(JSON)
@a_few
def test_a_plain_value_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = tmp_path_factory.mktemp("trace")
    (found,) = stored(folder, value)
    assert json.dumps(found) == json.dumps(value)  # as text, since True == 1
    assert not Trace(folder)["recorded/v0"].is_array


@given(st.floats())
@a_few
def test_a_number_is_read_back_and_stays_a_number(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    folder = tmp_path_factory.mktemp("trace")
    (found,) = stored(folder, value)
    assert is_same_array(found, np.asarray(value))
    assert Trace(folder)["recorded/v0"].dtype == NUMBER


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
        np.arange(20)[::-3],
        np.broadcast_to(np.float32(2), (3, 2)),
        np.arange(6, dtype=">f4"),
        np.arange(6, dtype=">i8").reshape(2, 3),
        np.array([1 + 2j, 3 - 4j], ">c8"),
        np.array([1 + 2j, 3 - 4j]).T[::-1],
        np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3).T,
    ],
    ids=["transposed", "fortran", "reversed", "broadcast", "big-endian", "big-endian int", "big-endian complex"]
    + ["reversed complex", "transposed bfloat16"],
)
def test_the_layout_of_an_array_in_memory_does_not_matter(tmp_path: Path, array: Any) -> None:
    (found,) = stored(tmp_path, array)
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_stored_values_are_not_rounded(tmp_path: Path) -> None:
    x = np.nextafter(np.linspace(0.1, 1, 100), 2)
    assert is_same_array(stored(tmp_path, x)[0], x)


@given(st.lists(st.text(min_size=1), unique=True, max_size=8), st.data())
@a_few
def test_observations_keep_their_order_and_all_that_is_known_of_them(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("trace")
    phases, steps = st.sampled_from(PHASES), st.integers(0, 10**6)
    observations = [
        Observation(name, data.draw(phases), data.draw(steps), f"of {name}", data.draw(st.none() | st.text()), None, 1)
        for name in names
    ]
    write(folder, HEADER, observations)
    trace = Trace(folder)
    assert list(trace) == observations
    assert trace.keys == names
    assert len(trace) == len(names)
    assert [trace[name] for name in reversed(names)] == observations[::-1]
    assert all(name in trace for name in names)
    assert "another key" not in trace


def test_a_header_is_read_back(tmp_path: Path) -> None:
    header = Header(
        case="cases/x.py::y[ä/1]",
        target="jax:cpu",
        precision="float64",
        status="error",
        error="ValueError: ☃\nin line 3",
        seconds=1.25,
        seed=2**31 - 1,
        environment={"keras": "3.15.1", "threads": 2, "x64": True, "devices": ["cpu:0"], "nested": {"a": None}},
        notes=[Note("save", "no such thing"), Note("", "")],
        expect={"jax": Expected("leak", "known", "gradient/*"), "tensorflow": Expected("mismatch", "too", keras="<4")},
        plots=[PlotEntry("boundary", "width", "height", {"points": "recorded/a"}, {"line": "recorded/b"})],
        pictures=["loss.png"],
        source="0123456789abcdef" * 4,
    )
    write(tmp_path, header, [])
    assert Trace(tmp_path).header == header
    assert len(Trace(tmp_path)) == 0


def test_a_declaration_for_the_target_goes_before_one_for_its_backend() -> None:
    backend, target = Expected("leak", "of the backend"), Expected("leak", "of the target")
    declared = replace(HEADER, expect={"jax": backend, "jax:cpu": target})
    assert replace(declared, target="jax:cpu").expected == target
    assert replace(declared, target="jax:gpu+x64").expected == backend
    assert replace(declared, target="jax+x64").expected == backend
    assert replace(declared, target="jax@envs/old/bin/python").expected == backend
    assert replace(declared, target="torch").expected is None
    assert replace(declared, target="jaxen").expected is None


# What is on disk


def test_equal_arrays_are_stored_once(tmp_path: Path) -> None:
    x = np.arange(10_000, dtype=np.float32)
    found = stored(tmp_path, *[x.copy() for _ in range(20)], x + 1)
    assert all(is_same_array(item, x) for item in found[:20])
    assert is_same_array(found[20], x + 1)
    assert 2 * x.nbytes < (tmp_path / "arrays.safetensors").stat().st_size < 3 * x.nbytes


def test_equal_bytes_of_another_shape_or_dtype_are_another_array(tmp_path: Path) -> None:
    zeros = np.zeros((2, 3), np.float32)
    values = [zeros, zeros.T.copy(), zeros.view(np.int32), -zeros, zeros.view(ml_dtypes.bfloat16), zeros[:, 0] * 1j]
    for value, found in zip(values, stored(tmp_path, *values), strict=True):
        assert is_same_array(found, value)
    with safe_open(tmp_path / "arrays.safetensors", framework="numpy") as file:
        assert len(list(file.keys())) == len(values)


def test_the_index_is_strict_json_and_holds_no_array(tmp_path: Path) -> None:
    stored(tmp_path, np.full(3, np.nan), float("inf"), "text")
    text = (tmp_path / "trace.json").read_text(encoding="utf-8")
    index = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert index["schema"] == 1
    assert [entry.get("dtype") for entry in index["observations"]] == ["float64", "float", None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.safetensors", "trace.json"]


@pytest.mark.parametrize(
    "value",
    [
        [float("nan")],
        [float("inf")],
        {"a": -float("inf")},
        ...,
        {1, 2},
        b"bytes",
        [np.float32(1)],
        1j,
        {(1, 2): 3},
    ],
    ids=repr,
)
def test_a_value_that_json_cannot_hold_is_refused_and_leaves_no_trace(tmp_path: Path, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        write(tmp_path, HEADER, [observation("x", 1), observation("y", 2, value=value)])
    with pytest.raises(TraceError, match="holds no trace"):
        Trace(tmp_path)


def test_an_environment_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, replace(HEADER, environment={"x": float("nan")}), [])


def test_a_trace_can_be_written_over_another(tmp_path: Path) -> None:
    stored(tmp_path, np.ones(3), "old")
    assert stored(tmp_path, np.zeros(2, np.int32))[0].tolist() == [0, 0]


# Twins and repeats


def test_a_trace_without_a_twin_has_none(tmp_path: Path) -> None:
    write(tmp_path, HEADER, [])
    (tmp_path / "twin").mkdir()
    assert Trace(tmp_path).twin is None


def test_the_twin_is_the_trace_in_the_folder_of_that_name(tmp_path: Path) -> None:
    write(tmp_path, HEADER, [observation("x", np.ones(2, np.float32))])
    write(tmp_path / "twin", replace(HEADER, precision="float64"), [observation("x", np.full(2, 1 + 2**-50))])
    twin = Trace(tmp_path).twin
    assert twin is not None
    assert (twin.header.precision, twin.twin) == ("float64", None)
    assert is_same_array(twin["recorded/x"].array, np.full(2, 1 + 2**-50))
    assert Trace(tmp_path)["recorded/x"].dtype == "float32"


def test_a_damaged_twin_is_refused_and_not_left_out(tmp_path: Path) -> None:
    write(tmp_path, HEADER, [])
    write(tmp_path / "twin", HEADER, [])
    (tmp_path / "twin" / "trace.json").write_text("{", encoding="utf-8")
    trace = Trace(tmp_path)
    with pytest.raises(TraceError, match="twin"):
        _ = trace.twin


def test_repeats_are_the_traces_in_the_folder_of_that_name_in_order(tmp_path: Path) -> None:
    write(tmp_path, HEADER, [])
    assert Trace(tmp_path).repeats == []
    for name in ("10", "02", "01"):
        write(tmp_path / "repeats" / name, replace(HEADER, seed=int(name)), [observation("x", int(name))])
    (tmp_path / "repeats" / "03").mkdir()
    repeats = Trace(tmp_path).repeats
    assert [(trace.header.seed, trace["recorded/x"].value) for trace in repeats] == [(1, 1), (2, 2), (10, 10)]


def test_a_damaged_repeat_is_refused_and_not_left_out(tmp_path: Path) -> None:
    write(tmp_path, HEADER, [])
    write(tmp_path / "repeats" / "01", HEADER, [])
    (tmp_path / "repeats" / "01" / "trace.json").write_text("{", encoding="utf-8")
    trace = Trace(tmp_path)
    with pytest.raises(TraceError, match="repeats"):
        _ = trace.repeats


def test_all_traces_below_a_folder_are_found_and_no_twin_or_repeat(tmp_path: Path) -> None:
    places = [tmp_path / "b", tmp_path / "a" / "deep" / "er", tmp_path / "a" / "deep"]
    for place in places:
        write(place, HEADER, [])
        write(place / "twin", HEADER, [])
        write(place / "repeats" / "01", HEADER, [])
    (tmp_path / "c").mkdir()
    (tmp_path / "trace.json.part").touch()
    assert find_traces(tmp_path) == sorted(places)
    assert find_traces(places[0]) == [places[0]]


def test_a_folder_without_traces_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, what in (("file", "is not a folder"), ("gone", "is not a folder"), ("empty", "There is no trace")):
        with pytest.raises(TraceError, match=what) as caught:
            find_traces(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


# Damaged and hostile traces


def read_all(folder: Path) -> list[Observation]:
    """Everything that is in a trace, as a comparison reads it."""
    trace = Trace(folder)
    observations = list(trace)
    json.dumps([trace.header.seconds, trace.header.environment, trace.header.seed], allow_nan=False)
    return observations


def check_refused(folder: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read_all(folder)
    assert str(folder) in str(caught.value)


def sample(folder: Path) -> Path:
    """A trace with one of everything in it."""
    observations = [
        observation("array", np.arange(6, dtype=np.float32).reshape(2, 3), layer="dense", step=1),
        observation("half", np.ones(4, ml_dtypes.bfloat16)),
        observation("number", 0.5),
        observation("plain", ["a", 1, None]),
    ]
    header = replace(
        HEADER,
        environment={"threads": 1},
        notes=[Note("part", "reason")],
        expect={"jax": Expected("leak", "reason")},
        plots=[PlotEntry("plot", "x", "y", {"p": "recorded/array"}, {})],
        pictures=["a.png"],
    )
    write(folder, header, observations)
    return folder


def edited(folder: Path, edit: Callable[[Any], Any]) -> Path:
    """The sample, its index changed in place or replaced by what the edit returns."""
    path = sample(folder) / "trace.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    replaced = edit(index)
    path.write_text(json.dumps(index if replaced is None else replaced), encoding="utf-8")
    return folder


def test_the_sample_is_whole(tmp_path: Path) -> None:
    assert len(read_all(edited(tmp_path, lambda _index: None))) == 4


def test_a_folder_that_holds_no_trace_is_named(tmp_path: Path) -> None:
    check_refused(tmp_path)
    check_refused(tmp_path / "gone")
    (tmp_path / "trace.json").mkdir()
    check_refused(tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"not json", b"\xff\xfe", b"\x00", b"[]", b"null", b"1", b'"schema"', b"{}", b"1" * 5000],
    ids=lambda data: repr(data[:10]),
)
def test_an_index_that_is_no_index_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "trace.json").write_bytes(data)
    check_refused(tmp_path)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_an_index_nested_without_end_is_refused(tmp_path: Path, opening: str) -> None:
    (tmp_path / "trace.json").write_text(opening * 100_000, encoding="utf-8")
    check_refused(tmp_path)


@pytest.mark.parametrize("end", [1, 10, 300, -300, -10, -1])
def test_a_truncated_index_is_refused(tmp_path: Path, end: int) -> None:
    path = sample(tmp_path) / "trace.json"
    path.write_bytes(path.read_bytes()[:end])
    check_refused(tmp_path)


@pytest.mark.parametrize("schema", [0, 2, "1", None, [1], 1.5])
def test_another_schema_is_refused_by_its_number(tmp_path: Path, schema: Any) -> None:
    edited(tmp_path, lambda index: index.update(schema=schema))
    with pytest.raises(TraceError) as caught:
        Trace(tmp_path)
    assert f"schema {schema!r}" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


PARTS = ["case", "target", "precision", "status", "error", "seconds", "seed", "environment", "notes", "expect"]
PARTS += ["plots", "pictures", "harness", "observations"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_missing_is_refused(tmp_path: Path, part: str) -> None:
    check_refused(edited(tmp_path, lambda index: index.pop(part) and None))


def test_what_has_no_gradients_to_go_on_with_has_not_failed(tmp_path: Path) -> None:
    for position, (status, inference_only, has_failed) in enumerate(
        [("ok", False, False), ("unavailable", True, False), ("unavailable", False, True), ("error", False, True)]
    ):
        write(tmp_path / str(position), Header("c", "t", "float32", status, inference_only=inference_only), [])
        header = Trace(tmp_path / str(position)).header
        assert (header.inference_only, header.has_failed) == (inference_only, has_failed)


def test_a_trace_from_before_case_files_were_told_is_read(tmp_path: Path) -> None:
    edited(tmp_path, lambda index: index.pop("source") and None)
    assert Trace(tmp_path).header.source is None


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("status", "fine"),
        ("status", ["ok"]),
        ("seed", None),
        ("seed", "x"),
        ("seed", float("inf")),
        ("seed", float("nan")),
        ("seconds", "x"),
        ("seconds", 10**400),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("environment", ["x"]),
        ("environment", 1),
        ("environment", {"x": float("nan")}),
        ("notes", [1]),
        ("notes", [{"part": "p"}]),
        ("expect", []),
        ("expect", {"jax": {"verdict": "rounding", "reason": "r", "where": "*"}}),
        ("expect", {"jax": None}),
        ("plots", [{"name": "x"}]),
        ("plots", [{"name": "p", "x": "", "y": "", "points": [], "lines": {}}]),
        ("pictures", ["../../secret.png"]),
        ("pictures", ["/etc/x.png"]),
        ("pictures", [".hidden.png"]),
        ("pictures", [""]),
        ("pictures", ["a\\b.png"]),
        ("pictures", [1]),
        ("source", 1),
        ("inference_only", 1),
        ("inference_only", True),  # of what is ok: a failure could hide behind it
        ("observations", None),
        ("observations", [1]),
        ("observations", ["key"]),
        ("observations", [["key"]]),
        ("observations", "key"),
        ("observations", [None]),
    ],
    ids=short,
)
def test_a_part_of_another_kind_is_refused(tmp_path: Path, part: str, value: Any) -> None:
    check_refused(edited(tmp_path, lambda index: index.update({part: value})))


@pytest.mark.parametrize("text", ['"seconds": 0.0', '"seed": 7', '"threads": 1'])
def test_a_number_too_large_to_be_one_is_refused(tmp_path: Path, text: str) -> None:
    path = sample(tmp_path) / "trace.json"
    index = path.read_text(encoding="utf-8")
    assert text in index
    path.write_text(index.replace(text, text.partition(":")[0] + ": 1e999"), encoding="utf-8")
    check_refused(tmp_path)


@pytest.mark.parametrize("part", ["key", "phase", "step", "name", "layer", "dtype", "shape", "tensor"])
def test_an_array_of_which_something_is_missing_is_refused(tmp_path: Path, part: str) -> None:
    check_refused(edited(tmp_path, lambda index: index["observations"][0].pop(part) and None))


def test_a_plain_value_that_is_missing_is_refused(tmp_path: Path) -> None:
    check_refused(edited(tmp_path, lambda index: index["observations"][3].pop("value") and None))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("phase", "past"),
        ("phase", None),
        ("phase", ["loss"]),
        ("phase", {}),
        ("step", None),
        ("step", "x"),
        ("step", [1]),
        ("step", True),
        ("step", -1),
        ("step", 10**400),
        ("step", float("inf")),
        ("dtype", "float128"),
        ("dtype", "object"),
        ("dtype", "O"),
        ("dtype", ["float32"]),
        ("dtype", {}),
        ("dtype", 1),
        ("dtype", None),
        ("dtype", "float64"),
        ("dtype", "int32"),
        ("dtype", "complex128"),
        ("shape", [6, 6]),
        ("shape", [2**40, 2**40]),
        ("shape", [2**70]),
        ("shape", [-6]),
        ("shape", [-2, -3]),
        ("shape", [3, 2]),
        ("shape", [2, -1]),
        ("shape", None),
        ("shape", [1.5, 4]),
        ("shape", "x"),
        ("shape", {}),
        ("shape", [1] * 100),
        ("tensor", "t99"),
        ("tensor", None),
        ("tensor", ["t0"]),
        ("tensor", 0),
        ("tensor", "../arrays"),
    ],
    ids=short,
)
def test_an_array_that_is_not_what_the_index_says_is_refused(tmp_path: Path, part: str, value: Any) -> None:
    check_refused(edited(tmp_path, lambda index: index["observations"][0].update({part: value})))


@pytest.mark.parametrize("shape", [[-1], [2, -1], [5], [2, 2, 2]])
def test_a_shape_that_is_not_that_of_the_bytes_is_refused(tmp_path: Path, shape: list[int]) -> None:
    check_refused(edited(tmp_path, lambda index: index["observations"][1].update(shape=shape)))


def test_two_observations_of_one_key_are_refused(tmp_path: Path) -> None:
    check_refused(edited(tmp_path, lambda index: index["observations"].append(index["observations"][0])))


def tensors(*entries: tuple[str, list[int], int]) -> bytes:
    """A safetensors file of zeros: each tensor's dtype, shape and bytes."""
    header, start = {}, 0
    for position, (dtype, shape, size) in enumerate(entries):
        header[f"t{position}"] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(start)


HALF, NUMBER_BYTES = ("U8", [8], 8), ("F64", [], 8)


def test_arrays_written_by_the_format_alone_are_read(tmp_path: Path) -> None:
    (sample(tmp_path) / "arrays.safetensors").write_bytes(tensors(("F32", [2, 3], 24), HALF, NUMBER_BYTES))
    assert [np.count_nonzero(item.array) for item in read_all(tmp_path)[:3]] == [0, 0, 0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 100,
        b"\xff" * 7 + b"\x7f" + b"{}",
        tensors(),
        tensors(("F32", [2, 3], 24), HALF),
        tensors(("F64", [2, 3], 48), HALF, NUMBER_BYTES),
        tensors(("I32", [2, 3], 24), HALF, NUMBER_BYTES),
        tensors(("BF16", [2, 3], 12), HALF, NUMBER_BYTES),
        tensors(("F8_E4M3", [2, 3], 6), HALF, NUMBER_BYTES),
        tensors(("F8_E8M0", [2, 3], 6), HALF, NUMBER_BYTES),
        tensors(("F32", [2, 3], 12), HALF, NUMBER_BYTES),
        tensors(("F32", [2**60, 2**60], 24), HALF, NUMBER_BYTES),
        tensors(("F32", [0, 2**62], 0), HALF, NUMBER_BYTES),
        tensors(("F32", [5], 20), HALF, NUMBER_BYTES),
        tensors(("F32", [2, 3], 24), ("U8", [7], 7), NUMBER_BYTES),
    ],
    ids=["empty", "noise", "endless header", "no tensors", "one missing", "float64", "int32", "bfloat16", "float8"]
    + ["scales", "too few bytes", "overflow", "nothing by much", "five elements", "odd bytes"],
)
def test_arrays_that_are_not_what_the_index_says_are_refused(tmp_path: Path, data: bytes) -> None:
    (sample(tmp_path) / "arrays.safetensors").write_bytes(data)
    check_refused(tmp_path)


@pytest.mark.parametrize("end", [7, 8, 50, -20, -1])
def test_truncated_arrays_are_refused(tmp_path: Path, end: int) -> None:
    path = sample(tmp_path) / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:end])
    check_refused(tmp_path)


def test_arrays_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = sample(tmp_path) / "arrays.safetensors"
    path.unlink()
    check_refused(tmp_path)
    path.mkdir()
    check_refused(tmp_path)


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested lists and dicts, as a container and a key in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places_in(value[key])


def is_read_or_refused(folder: Path) -> bool:
    try:
        read_all(folder)
    except TraceError as error:
        return str(folder) in str(error)
    return True


@given(st.data(), JSON | st.floats() | st.sampled_from([2**70, -1, [2**70], [-1], {"verdict": "leak"}]))
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_an_index_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, value: Any
) -> None:
    def edit(index: Any) -> None:
        container, key = data.draw(st.sampled_from([*places_in(index)]))
        container[key] = value

    assert is_read_or_refused(edited(tmp_path_factory.mktemp("trace"), edit))


@given(st.sampled_from(["trace.json", "arrays.safetensors"]), st.floats(0, 1, exclude_max=True), st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_whatever_byte_is_damaged_a_trace_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, file: str, where: float, byte: int
) -> None:
    path = sample(tmp_path_factory.mktemp("trace")) / file
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] = byte
    path.write_bytes(data)
    assert is_read_or_refused(path.parent)
