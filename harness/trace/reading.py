"""Reading a trace: the index at once, arrays when they are asked for."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from harness import files
from harness.errors import TraceError
from harness.plain import from_plain
from harness.target import PRECISIONS
from harness.trace.key import below
from harness.trace.model import (
    AGAIN,
    ARRAYS,
    COMPILED,
    EAGER,
    FULL,
    INDEX,
    NATIVE,
    NOISE,
    REPEATS,
    REPLAYS,
    SCHEMA,
    TWIN,
    UNOBSERVED,
    Array,
    ArrayEntry,
    Entry,
    Header,
    Observation,
    Phase,
    PlainEntry,
    numpy_dtype,
)

#: Levels of nesting in a file that is read, and the most values in it.
DEEPEST = 100
MOST_VALUES = 1 << 24
#: The bytes that the arrays of a trace may have together, however few lie on the disk; and for each byte on the disk.
_ALWAYS, _FOR_EACH = 1 << 30, 1 << 10
#: Keys of a header that traces of earlier versions do not have.
_ADDED_LATER = ("lacks", "raised", "source", "tags", "inference_only", "unowned", "python_state", "places", "changes")


class Trace:
    """A trace on disk. The index is read at once, and each array when it is asked for.

    Raises:
        TraceError: the folder holds no trace, or one that cannot be trusted to be whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new_names: Mapping[tuple[Phase, str], str] = {}
        try:
            index = parse_json(files.read_text(folder / INDEX))
        except (FileNotFoundError, NotADirectoryError):
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
            self.harness = from_plain(index.get("harness"), str, "harness")
            self.header = header_of(index)
            entries = [_entry(data) for data in from_plain(index.get("observations"), list[Any], "observations")]
        except ValueError as error:
            raise TraceError(f"{folder / INDEX} is not a trace: {error}. Record the case again.") from None
        self._entries = {entry.key: entry for entry in entries}
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

    def __getitem__(self, key: str) -> Observation:
        entry = self._entries[key]
        what = (entry.key, entry.phase, entry.step, entry.name, entry.layer)
        if isinstance(entry, PlainEntry):
            return Observation(*what, None, entry.value)
        return Observation(*what, entry.dtype, self._array(entry), entry.device)

    def entry(self, key: str) -> Entry:
        """An observation without its elements being read."""
        return self._entries[key]

    def select(
        self, phase: Phase | None = None, *, step: int | None = None, layer: str | None = None, name: str | None = None
    ) -> Iterator[Entry]:
        """The observations that are of all that is given, in order of execution, without their elements being read.

        Args:
            name: that of one observation, or what those of a structure are below, as `dense/input` of `dense/input/0`.
        """
        for entry in self._entries.values():
            if (
                phase in (None, entry.phase)
                and step in (None, entry.step)
                and layer in (None, entry.layer)
                and (name in (None, entry.name) or below(entry.name, str(name)) is not None)
            ):
                yield entry

    def renamed(self, names: Mapping[tuple[Phase, str], str]) -> Trace:
        """The same trace with other names for some observations, and so the traces that lie beside it.

        Args:
            names: the new name by phase and name.
        """
        trace = copy(self)
        for name in [name for name, value in vars(Trace).items() if isinstance(value, cached_property)]:
            vars(trace).pop(name, None)
        trace._new_names = names
        entries = [_called(entry, names) for entry in self._entries.values()]
        trace._entries = {entry.key: entry for entry in entries}
        return trace

    def _beside(self, folder: Path) -> Trace | None:
        """The trace in a folder of this one, with the same names; None where there is none."""
        if not os.path.lexists(folder / INDEX):
            return None
        return Trace(folder).renamed(self._new_names) if self._new_names else Trace(folder)

    def _all_beside(self, name: str) -> list[Trace]:
        found = (self._beside(folder) for folder in sorted((self.folder / name).glob("*")))
        return [trace for trace in found if trace is not None]

    @cached_property
    def twin(self) -> Trace | None:
        """The float64 run of the same case on the same target, or None where there is none."""
        return self._beside(self.folder / TWIN)

    @cached_property
    def repeats(self) -> list[Trace]:
        """Further runs of the same case on the same target, with other seeds."""
        return self._all_beside(REPEATS)

    @cached_property
    def noise(self) -> list[Trace]:
        """Runs of the same case on the same target, with inputs and weights disturbed in the last bit."""
        return self._all_beside(NOISE)

    @cached_property
    def again(self) -> Trace | None:
        """A second run of the same case on the same target, with a twin if the first has one; None if there is none."""
        return self._beside(self.folder / AGAIN)

    @cached_property
    def unobserved(self) -> Trace | None:
        """The run of the same case on the same target without instruments, or None where there is none."""
        return self._beside(self.folder / UNOBSERVED)

    @cached_property
    def eager(self) -> Trace | None:
        """What the same target does where nothing is compiled, with a twin; None where there is none."""
        return self._beside(self.folder / EAGER)

    @cached_property
    def full(self) -> Trace | None:
        """A run of the same case on the same target that computes float32 in all its bits; None where there is none."""
        return self._beside(self.folder / FULL)

    @cached_property
    def compiled(self) -> Trace | None:
        """What the same target does where a call is compiled, with a twin; None where that is this trace, or none."""
        return self._beside(self.folder / COMPILED)

    @cached_property
    def _file(self) -> Any:
        try:
            with files.opened(self.folder / ARRAYS) as stream:
                self._check_demand(stream)
            return safe_open(self.folder / ARRAYS, framework="numpy")
        except (OSError, ValueError, SafetensorError) as error:
            raise TraceError(f"{self.folder / ARRAYS} cannot be read: {error}. Record the case again.") from None

    def _check_demand(self, stream: BinaryIO) -> None:
        """Raise ValueError if the arrays demand far more memory than the file that holds them has bytes on the disk."""
        arrays = (entry for entry in self._entries.values() if isinstance(entry, ArrayEntry))
        demanded = sum(math.prod(entry.shape) * numpy_dtype(entry.dtype).itemsize for entry in arrays)
        if demanded > _ALWAYS and demanded > _ALWAYS + _FOR_EACH * (there := files.bytes_on_disk(stream)):
            raise ValueError(f"its arrays demand {demanded} bytes, and {there} lie on the disk")

    def check_arrays(self) -> None:
        """Raise TraceError if the file of the arrays cannot be read, or is far too small for what they demand."""
        assert self._file

    def _array(self, entry: ArrayEntry) -> Array:
        file, dtype = self._file, numpy_dtype(entry.dtype)
        try:
            array = np.asarray(file.get_tensor(entry.tensor))
            if dtype.name not in NATIVE:
                array = np.frombuffer(array.tobytes(), dtype)
            elif array.dtype != dtype or array.shape != entry.shape:
                raise ValueError(f"it is {array.dtype} of shape {array.shape}")
            return array.reshape(entry.shape)
        except Exception as error:  # a stranger's file: the reader has no list of what it may raise
            raise TraceError(
                f"The array of {entry.key!r} in {self.folder} is not {dtype} of shape {entry.shape}: {error}. "
                "Record the case again."
            ) from None


def _called(entry: Entry, names: Mapping[tuple[Phase, str], str]) -> Entry:
    name = names.get((entry.phase, entry.name))
    if name is None:
        return entry
    return replace(entry, name=name, key=f"{entry.key.removesuffix(entry.name)}{name}")


def parse_json(text: str) -> Any:
    """Read JSON strictly. Python's own reader would accept NaN, and read 1e999 as infinity.

    Raises:
        ValueError: the text is not JSON, is nested deeper than `DEEPEST`, or has more values than `MOST_VALUES`.
    """
    if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES} values")

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
        if isinstance(item, (dict, list)):
            _check_depth(item, left - 1)


def header_of(index: Mapping[str, Any]) -> Header:
    """The header that an index has. Raises ValueError for one that is not a header."""
    for name in (field.name for field in fields(Header)):
        if name not in index and name not in _ADDED_LATER:
            raise ValueError(f"it has no {name!r}")
    header = from_plain(index, Header)
    if header.precision not in ("float32", *PRECISIONS):
        raise ValueError(f"{header.precision!r} is not one of float32, {', '.join(PRECISIONS)}")
    if header.inference_only and header.status != "unavailable":
        raise ValueError(f"inference_only is of what is unavailable, and not of what is {header.status}")
    for name in header.pictures:
        # A name with a path in it could lead out of the folder, if the trace is a stranger's.
        if re.fullmatch(r"[\w.-]+", name) is None or name.startswith("."):
            raise ValueError(f"{name!r} is not the name of a picture")
    return header


def _entry(data: Any) -> Entry:
    if isinstance(data, dict) and ("tensor" in data or "dtype" in data):
        return from_plain(data, ArrayEntry, "an observation")
    return from_plain(data, PlainEntry, "an observation")


def find_traces(folder: Path) -> list[Path]:
    """The folders of all traces below a folder, in order of name. Twins, repeats and replays are not among them.

    Raises:
        TraceError: the folder does not exist, or holds no trace.
    """
    if not folder.is_dir():
        raise TraceError(f"{str(folder)!r} is not a folder. Name the folder that `harness record` wrote.")
    found = sorted(
        index.parent
        for index in folder.rglob(INDEX)
        if index.parent.name not in (TWIN, UNOBSERVED, AGAIN, EAGER, COMPILED, FULL)
        and index.parent.parent.name not in (REPEATS, NOISE)
        and REPLAYS not in index.relative_to(folder).parts
    )
    if not found:
        raise TraceError(f"There is no trace in {str(folder)!r}. Name the folder that `harness record` wrote.")
    return found
