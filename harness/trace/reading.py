"""Traces: everything that one target recorded of one case, in order, on disk.

A trace is a folder of two files and, where the case ran once more in float64, a folder of the twin:

```
trace.json          what ran, where, how it ended, and the observations in order of execution
arrays.safetensors  the arrays they name; equal arrays are kept once
twin/               the same two files for the float64 run
repeats/01/, ...    the same two files for each further run, where every backend keeps its own randomness
noise/01/, ...      the same two files for each run in which inputs and weights were disturbed in the last bit
unobserved/         the same two files for a run without instruments
pictures/           what the case drew
```

Both formats hold data only. Reading a trace executes nothing, so a stranger's trace is safe to read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from harness.case import Expected
from harness.errors import CaseError, TraceError
from harness.target import PRECISIONS, backend_of
from harness.version import __version__

SCHEMA = 1
INDEX = "trace.json"
ARRAYS = "arrays.safetensors"
TWIN = "twin"
REPEATS = "repeats"
NOISE = "noise"
UNOBSERVED = "unobserved"
#: The folder of a run in which traces of replays lie.
REPLAYS = "blame"
PICTURES = "pictures"
#: Endings of the files in a case's `tmp_path` that are kept with its trace.
PICTURE_ENDINGS = (".png", ".svg")

Array = NDArray[Any]
T = TypeVar("T")
Plain = str | int | bool | None | list[Any] | dict[str, Any]

Phase = Literal[
    "initial",
    "forward",
    "loss",
    "gradient",
    "update",
    "optimizer",
    "metric",
    "log",
    "event",
    "prediction",
    "recorded",
]
PHASES: tuple[Phase, ...] = get_args(Phase)

Status = Literal["ok", "error", "crashed", "timeout", "unavailable"]
STATUSES: tuple[Status, ...] = get_args(Status)

#: dtypes that safetensors holds as they are. Any other array is kept as its bytes.
_NATIVE = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)
_OTHER = frozenset(("complex64", "complex128"))
#: dtypes that NumPy has by way of ml_dtypes.
EXTENDED = frozenset(("bfloat16", "float8_e4m3fn", "float8_e5m2"))
#: The dtype of a Python float, which has no dtype of its own: kept as a float64 of shape ().
NUMBER = "float"
#: Levels of nesting in a file that is read.
DEEPEST = 100


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a dtype's name in a trace. Raises ValueError for one that cannot stand in a trace."""
    if name == NUMBER:
        return np.dtype(np.float64)
    if name in _NATIVE or name in _OTHER:
        return np.dtype(name)
    if name in EXTENDED:
        extended: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return extended
    raise ValueError(f"there is no dtype {name!r}")


@dataclass(frozen=True)
class Observation:
    """One named value that was recorded.

    Attributes:
        key: unique in its trace, `phase/step/name` or `phase/name`.
        phase: the part of the run that it belongs to.
        step: training steps that were complete when it was made; 0 before training.
        name: what was observed, such as `dense/output` or `loss`.
        layer: the layer it belongs to, or None.
        dtype: of an array, `float` of a Python float, None of a plain value.
        value: a NumPy array (of shape () for a number), or a plain value.
        device: where a tensor or variable lived, such as `cpu:0`; None of what was no tensor.
    """

    key: str
    phase: Phase
    step: int
    name: str
    layer: str | None
    dtype: str | None
    value: Array | Plain
    device: str | None = None

    @property
    def is_array(self) -> bool:
        """Whether this is an array or a number, and not a plain value."""
        return self.dtype is not None

    @property
    def array(self) -> Array:
        """The value of an array or number."""
        assert isinstance(self.value, np.ndarray)
        return self.value


@dataclass(frozen=True)
class Note:
    """A part of a case that was not recorded, and why."""

    part: str
    reason: str


@dataclass(frozen=True)
class Lack:
    """Observations that a target does not have as others do, because of what it is, and why.

    Attributes:
        where: a pattern of keys, in which `*` stands for anything.
    """

    where: str
    reason: str


@dataclass(frozen=True)
class PlotEntry:
    """A recorded `harness.Plot`: its name, its axes, and the keys of its observations by label."""

    name: str
    x: str
    y: str
    points: Mapping[str, str]
    lines: Mapping[str, str]


@dataclass
class Header:
    """What ran, where, and how it ended.

    Attributes:
        case: the case's id.
        target: the target, as text.
        precision: that of the target, which is `float32` unless it says otherwise; of a twin, `float64`, or `float32`
            where the target itself computes in float64.
        status: how it ended.
        error: one paragraph where status is not ok.
        inference_only: whether it is `unavailable` because it asked for gradients, and its backend has none. That is
            no failure: what was recorded before is compared.
        seconds: wall-clock time of the case, without the worker's start.
        seed: of `rng` and every other generator.
        environment: proof of what ran: backend, versions, device, dtypes, jit flags, threads.
        notes: parts that were not recorded.
        lacks: what the target cannot have recorded as others do. It is not compared.
        expect: the known differences that the case declares, by backend or target.
        plots: what of it can be drawn.
        pictures: names of the pictures that the case left, in the folder `pictures` of the trace.
        source: sha256 of the case file, in hexadecimal digits; None where no case ran.
        tags: words that the case is selected by.
    """

    case: str
    target: str
    precision: str
    status: Status = "ok"
    error: str | None = None
    seconds: float = 0.0
    seed: int = 0
    environment: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)
    expect: Mapping[str, Expected] = field(default_factory=dict)
    plots: list[PlotEntry] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    source: str | None = None
    tags: list[str] = field(default_factory=list)
    inference_only: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether it did not end as its target lets it."""
        return self.status != "ok" and not self.inference_only

    @property
    def expected(self) -> Expected | None:
        """The known difference of this trace's own target: declared for it or, failing that, for its backend."""
        return self.expect.get(self.target) or self.expect.get(backend_of(self.target))


def write(folder: Path, header: Header, observations: list[Observation]) -> None:
    """Write a trace. The index comes last and at once, so a trace that can be read is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Array] = {}
    digests: dict[str, str] = {}
    entries = []
    for item in observations:
        entry: dict[str, Any] = {
            "key": item.key,
            "phase": item.phase,
            "step": item.step,
            "name": item.name,
            "layer": item.layer,
        }
        if item.dtype is not None:
            native_order = item.array.dtype.newbyteorder("=")
            array = np.ascontiguousarray(item.array, native_order).reshape(item.array.shape)
            digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
            if digest not in digests:
                digests[digest] = f"t{len(digests)}"
                native = array.dtype.name in _NATIVE
                tensors[digests[digest]] = array if native else np.frombuffer(array.tobytes(), np.uint8)
            entry |= {"dtype": item.dtype, "shape": list(array.shape), "tensor": digests[digest]}
            entry |= {} if item.device is None else {"device": item.device}
        else:
            entry["value"] = item.value
        entries.append(entry)
    save_file(tensors, folder / ARRAYS)
    index = {
        "schema": SCHEMA,
        "harness": __version__,
        **asdict(header),
        "observations": entries,
    }
    temporary = folder / (INDEX + ".part")
    temporary.write_text(json.dumps(index, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(temporary, folder / INDEX)


@dataclass(frozen=True)
class _Entry:
    """An observation as the index has it: everything but the elements of its array."""

    phase: Phase
    step: int
    name: str
    layer: str | None
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    tensor: str = ""
    plain: Plain = None
    device: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> _Entry:
        phase = _one_of(data["phase"], PHASES)
        step, name = _kind(data["step"], int), _kind(data["name"], str)
        if not 0 <= step < 2**63:
            raise ValueError(f"there is no step {step}")
        layer = None if data["layer"] is None else _kind(data["layer"], str)
        if "tensor" not in data and "dtype" not in data:
            return cls(phase, step, name, layer, plain=data["value"])
        numpy_dtype(_kind(data["dtype"], str))
        shape = tuple(_kind(length, int) for length in _kind(data["shape"], list))
        if any(length < 0 for length in shape):
            raise ValueError(f"there is no shape {shape}")
        device = _kind(data["device"], str) if "device" in data else None
        return cls(phase, step, name, layer, data["dtype"], shape, _kind(data["tensor"], str), device=device)


class Trace:
    """A trace on disk. Arrays are read when they are asked for, so a large trace costs little memory.

    Raises:
        TraceError: the folder holds no trace, or one that cannot be trusted to be whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            index = parse_json((folder / INDEX).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise TraceError(f"{folder} holds no trace: there is no {INDEX} in it.") from None
        except (OSError, ValueError) as error:
            raise TraceError(f"{folder / INDEX} cannot be read: {error}. Record the case again.") from None
        if not isinstance(index, dict) or index.get("schema") != SCHEMA:
            found = index.get("schema") if isinstance(index, dict) else type(index).__name__
            raise TraceError(
                f"{folder / INDEX} has schema {found!r}, and this version of the harness reads schema {SCHEMA}. "
                "Record the case again with this version."
            )
        try:
            self.harness = _kind(index["harness"], str)
            self.header = _header(index)
            entries = [(_kind(data["key"], str), _Entry.from_json(data)) for data in _kind(index["observations"], list)]
        except (AttributeError, CaseError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise TraceError(
                f"{folder / INDEX} is not a trace: {type(error).__name__}: {error}. Record the case again."
            ) from None
        self._entries = dict(entries)
        if len(self._entries) != len(entries):
            raise TraceError(f"{folder / INDEX} is not a trace: two observations have one key. Record the case again.")

    @property
    def keys(self) -> list[str]:
        """Keys of all observations, in order of execution."""
        return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Observation]:
        return (self[key] for key in self._entries)

    def name_of(self, key: str) -> str:
        """The name of an observation, without its value being read."""
        return self._entries[key].name

    def step_of(self, key: str) -> int:
        """The step of an observation, without its value being read."""
        return self._entries[key].step

    def content(self, key: str) -> str | None:
        """What stands for the elements of an array, without their being read: equal arrays of a trace share it."""
        entry = self._entries[key]
        return entry.tensor if entry.dtype is not None else None

    def __getitem__(self, key: str) -> Observation:
        entry = self._entries[key]
        value = entry.plain if entry.dtype is None else self._array(key, entry, numpy_dtype(entry.dtype))
        return Observation(key, entry.phase, entry.step, entry.name, entry.layer, entry.dtype, value, entry.device)

    @cached_property
    def twin(self) -> Trace | None:
        """The float64 run of the same case on the same target, or None where there is none."""
        folder = self.folder / TWIN
        return Trace(folder) if (folder / INDEX).exists() else None

    @cached_property
    def repeats(self) -> list[Trace]:
        """Further runs of the same case on the same target, with other seeds."""
        return [Trace(folder) for folder in sorted((self.folder / REPEATS).glob("*")) if (folder / INDEX).exists()]

    @cached_property
    def noise(self) -> list[Trace]:
        """Runs of the same case on the same target, with inputs and weights disturbed in the last bit."""
        return [Trace(folder) for folder in sorted((self.folder / NOISE).glob("*")) if (folder / INDEX).exists()]

    @cached_property
    def unobserved(self) -> Trace | None:
        """The run of the same case on the same target without instruments, or None where there is none."""
        folder = self.folder / UNOBSERVED
        return Trace(folder) if (folder / INDEX).exists() else None

    @cached_property
    def _file(self) -> Any:
        try:
            return safe_open(self.folder / ARRAYS, framework="numpy")
        except (OSError, SafetensorError) as error:
            raise TraceError(f"{self.folder / ARRAYS} cannot be read: {error}. Record the case again.") from None

    def _array(self, key: str, entry: _Entry, dtype: np.dtype[Any]) -> Array:
        file = self._file
        try:
            array = np.asarray(file.get_tensor(entry.tensor))
            if dtype.name not in _NATIVE:
                array = np.frombuffer(array.tobytes(), dtype)
            elif array.dtype != dtype or array.shape != entry.shape:
                raise ValueError(f"it is {array.dtype} of shape {array.shape}")
            return array.reshape(entry.shape)
        except Exception as error:  # a stranger's file: the reader has no list of what it may raise
            raise TraceError(
                f"The array of {key!r} in {self.folder} is not {dtype} of shape {entry.shape}: {error}. "
                "Record the case again."
            ) from None


def parse_json(text: str) -> Any:
    """Read JSON as it is written here: strictly, for Python's reader takes NaN, and 1e999 for infinity.

    Raises:
        ValueError: it is not JSON, or nested deeper than anything that is written here.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    def finite(number: str) -> float:
        return float(number) if math.isfinite(float(number)) else refuse(number)

    try:
        data = json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(data, DEEPEST)
    return data


def _check_depth(data: Any, left: int) -> None:
    if not left:
        raise ValueError("it is nested too deeply")
    for item in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        _check_depth(item, left - 1)


def _header(index: Mapping[str, Any]) -> Header:
    seconds, inference_only = index["seconds"], _kind(index.get("inference_only", False), bool)  # older traces lack it
    if inference_only and index["status"] != "unavailable":
        raise ValueError(f"inference_only is of what is unavailable, and not of what is {index['status']}")
    return Header(
        case=_kind(index["case"], str),
        target=_kind(index["target"], str),
        precision=_one_of(index["precision"], ("float32", *PRECISIONS)),
        status=_one_of(index["status"], STATUSES),
        error=None if index["error"] is None else _kind(index["error"], str),
        seconds=float(seconds) if type(seconds) is int else _kind(seconds, float),
        seed=_kind(index["seed"], int),
        environment=_kind(index["environment"], dict),
        notes=[Note(_kind(note["part"], str), _kind(note["reason"], str)) for note in _kind(index["notes"], list)],
        lacks=[_lack(lack) for lack in _kind(index.get("lacks", []), list)],  # older traces have none
        expect={target: Expected.from_json(data) for target, data in _kind(index["expect"], dict).items()},
        plots=[_plot_entry(entry) for entry in _kind(index["plots"], list)],
        pictures=[_file_name(name) for name in _kind(index["pictures"], list)],
        source=None if index.get("source") is None else _kind(index["source"], str),  # which older traces lack
        tags=[_kind(tag, str) for tag in _kind(index.get("tags", []), list)],  # older traces have none
        inference_only=inference_only,
    )


def _lack(lack: Mapping[str, Any]) -> Lack:
    return Lack(_kind(lack["where"], str), _kind(lack["reason"], str))


def _plot_entry(entry: Mapping[str, Any]) -> PlotEntry:
    points, lines = ({str(label): str(key) for label, key in entry[what].items()} for what in ("points", "lines"))
    return PlotEntry(str(entry["name"]), str(entry["x"]), str(entry["y"]), points, lines)


def _file_name(name: Any) -> str:
    """A name that stays in its folder, wherever the trace comes from."""
    if not isinstance(name, str) or re.fullmatch(r"[\w.-]+", name) is None or name.startswith("."):
        raise ValueError(f"{name!r} is not the name of a picture")
    return name


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")
    return value


def _kind(value: Any, kind: type[T]) -> T:
    """A value of one type exactly: a bool is no int."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def find_traces(folder: Path) -> list[Path]:
    """The folders of all traces below a folder, those that belong to another left out, in order of name.

    Raises:
        TraceError: the folder does not exist, or holds no trace.
    """
    if not folder.is_dir():
        raise TraceError(f"{str(folder)!r} is not a folder. Name the folder that `harness record` wrote.")
    found = sorted(
        index.parent
        for index in folder.rglob(INDEX)
        if index.parent.name not in (TWIN, UNOBSERVED)
        and index.parent.parent.name not in (REPEATS, NOISE)
        and REPLAYS not in index.relative_to(folder).parts
    )
    if not found:
        raise TraceError(f"There is no trace in {str(folder)!r}. Name the folder that `harness record` wrote.")
    return found
