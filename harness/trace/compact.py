"""Compact recordings: traces as one small file, to be kept beside the code and held against recordings made elsewhere.

Of an array only dtype and shape are kept, and `COUNT` sums of its elements with random signs, divided by the root of
their number: `s_j = sum_i sign_ij a_i / sqrt(n)`. Such sums keep sizes and distances (Achlioptas, "Database-friendly
random projections", JCSS 66 (2003)), so they are judged like the array itself, in both precisions. An array of at most
`COUNT` elements is kept as it is, and one of integers as a digest.

A file is JSON, compressed by gzip. It holds data only: reading it executes nothing.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import files
from harness.errors import TraceError
from harness.plain import from_plain
from harness.trace.model import (
    AGAIN,
    COMPILED,
    EAGER,
    TWIN,
    Array,
    ArrayEntry,
    Entry,
    Header,
    Observation,
    Phase,
    PlainEntry,
    numpy_dtype,
)
from harness.trace.reading import Trace, header_of, parse_json

SCHEMA = 1
#: Sums that are kept of an array.
COUNT = 8
#: The format of gzip, as zlib calls it.
_GZIP = 16 + zlib.MAX_WBITS
#: What is kept of an environment: what two recordings are told apart by. Names of places are not.
_KEPT = ("backend", "versions", "device", "randomness", "floatx", "dtype_policy", "placement", "model")


@dataclass(frozen=True)
class _Item:
    """An observation in a file: a plain value, or an array by base64 of its elements or of their sums."""

    key: str
    phase: Phase
    step: int
    name: str
    layer: str | None = None
    form: str = ""
    value: Any = None
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    data: str = ""


@dataclass(frozen=True)
class _Recording:
    harness: str
    header: dict[str, Any]
    observations: list[_Item]
    twin: _Recording | None = None


class Compact(Trace):
    """A trace in which sums stand for arrays.

    Attributes:
        forms: dtype and shape of each array, in words, by key.
    """

    def __init__(
        self, place: Path, harness: str, header: Header, items: Sequence[tuple[Entry, str, Array | None]]
    ) -> None:
        self.folder = place
        self.harness = harness
        self.header = header
        self.forms = {entry.key: form for entry, form, _ in items}
        self._new_names: Mapping[tuple[Phase, str], str] = {}
        self._entries = {entry.key: entry for entry, _, _ in items}
        self._values = {str(position): array for position, (_, _, array) in enumerate(items)}
        self._others: dict[str, Trace] = {}

    def _array(self, entry: ArrayEntry) -> Array:
        array = self._values[entry.tensor]
        assert array is not None
        return array

    def _beside(self, folder: Path) -> Trace | None:
        other = self._others.get(folder.name)
        return other.renamed(self._new_names) if other is not None and self._new_names else other

    def add(self, name: str, other: Trace | None) -> None:
        """Put another trace beside this one, such as its twin, if there is one."""
        if other is not None:
            self._others[name] = other

    def tell_forms(self, keys: Iterable[str]) -> None:
        """Let the form of some arrays stand for them, as a plain value, because it differs between traces."""
        for key in keys:
            if key in self._entries:
                entry = self._entries[key]
                what = (entry.key, entry.phase, entry.step, entry.name, entry.layer)
                self._entries[key] = PlainEntry(*what, self.forms[key])


def compacted(trace: Trace) -> Compact:
    """A trace, its twin and its second run, with sums in place of arrays.

    The calls of a `Forward` that lie beside it, compiled and eager, are compared with one another, and stay whole.
    """
    if isinstance(trace, Compact):
        return trace
    twin = trace.twin
    exact = {item.key for item in trace if twin is not None and item.key in twin and _is_exact(item, twin[item.key])}
    made = _compact(trace, exact)
    made.add(TWIN, None if twin is None else _compact(twin, exact))
    made.add(AGAIN, None if trace.again is None else compacted(trace.again))
    if trace.compiled is not None:
        made.add(COMPILED, trace.compiled)
        made.add(EAGER, trace.eager)
    return made


def _compact(trace: Trace, exact: set[str]) -> Compact:
    kept = [_kept(position, item, is_exact=item.key in exact) for position, item in enumerate(trace)]
    return Compact(trace.folder, trace.harness, trace.header, kept)


def _is_exact(item: Observation, twin: Observation) -> bool:
    """Whether a twin has the same values, so that nothing was rounded. Then their sums have to be the same too."""
    return item.is_array and twin.is_array and np.array_equal(item.array, twin.array)


def _kept(position: int, item: Observation, *, is_exact: bool) -> tuple[Entry, str, Array | None]:
    what = (item.key, item.phase, item.step, item.name, item.layer)
    if item.dtype is None:
        return PlainEntry(*what, item.value), "", None
    array = item.array
    form = _form(item.dtype, array.shape)
    if array.size > COUNT and array.dtype.kind in "biu":
        digest = hashlib.sha256(np.ascontiguousarray(array.astype(np.int64)).tobytes()).hexdigest()[:16]
        return PlainEntry(*what, f"whole numbers of shape {array.shape}, sha256 {digest}"), form, None
    if array.size > COUNT:
        finite = np.isfinite(array)
        if not finite.all():
            form = f"{form}, of which {array.size - finite.sum()} are not finite, sha256 {_digest(array, finite)}"
        array = _sums(np.where(finite, array, 0), array.dtype, is_exact=is_exact)
    return ArrayEntry(*what, item.dtype, array.shape, str(position), item.device), form, array


def _digest(array: Array, finite: NDArray[np.bool_]) -> str:
    """A digest of which elements are infinite, negative infinite, or no number."""
    kinds = np.where(finite, 0, np.where(np.isnan(array), 1, np.where(array.real > 0, 2, 3)))
    return hashlib.sha256(kinds.astype(np.int8).tobytes()).hexdigest()[:16]


def _form(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype} of shape {shape}"


def _sums(array: Array, dtype: np.dtype[Any], *, is_exact: bool) -> Array:
    wide = array.ravel().astype(np.complex128 if dtype.kind == "c" else np.float64)
    blocks = (wide[start : start + _BLOCK] for start in range(0, wide.size, _BLOCK))
    parts = [_signs(number)[:, : block.size] @ block for number, block in enumerate(blocks)]
    sums: Array = np.sum(parts, axis=0) / math.sqrt(wide.size)
    if is_exact:  # a twin has the sums of its trace, to the bit
        sums = sums.astype(np.complex64 if dtype.kind == "c" else np.float32)
    return sums.astype(dtype)


#: Elements that are summed at once.
_BLOCK = 1 << 14


@cache
def _signs(block: int) -> NDArray[np.float64]:
    """Signs of shape (`COUNT`, `_BLOCK`), the same in every version of NumPy: `RandomState` is frozen."""
    bits = np.random.RandomState(block).randint(0, 2, (COUNT, _BLOCK))
    return np.asarray(bits * 2.0 - 1.0)


def let_forms_differ(traces: Sequence[Compact]) -> None:
    """Let the forms of arrays be compared where traces of one case have arrays of different forms."""
    twins = [trace.twin for trace in traces if isinstance(trace.twin, Compact)]
    for group in (traces, twins):
        forms: dict[str, set[str]] = {}
        for trace in group:
            for key, form in trace.forms.items():
                forms.setdefault(key, set()).add(form)
        apart = [key for key, found in forms.items() if len(found) > 1]
        for trace in group:
            trace.tell_forms(apart)


# Files


def write(file: Path, traces: Iterable[Trace]) -> int:
    """Write traces, each with its twin, as one file. Returns its bytes."""
    recordings = []
    for trace in map(compacted, traces):
        twin = trace.twin
        recordings.append({**_told(trace), "twin": _told(twin) if isinstance(twin, Compact) else None})
    text = json.dumps({"schema": SCHEMA, "recordings": recordings}, allow_nan=False, separators=(",", ":"))
    data = gzip.compress(text.encode(), mtime=0)
    files.write(file, data)
    return len(data)


def read(file: Path) -> list[Compact]:
    """The traces of a file, each with its twin.

    Raises:
        TraceError: the file holds no compact recording, or one that cannot be trusted to be whole.
    """
    try:
        data = parse_json(_unpacked(files.read(file)).decode())
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"it has schema {found!r}, and this version of the harness reads schema {SCHEMA}")
        recordings = from_plain(data.get("recordings"), list[_Recording], "recordings")
        return [_read(file, recording) for recording in recordings]
    except (OSError, zlib.error, ValueError) as error:
        raise TraceError(f"{str(file)!r} is no compact recording: {error}. Record the cases again.") from None


def _unpacked(data: bytes) -> bytes:
    """What gzip compressed. Python's own reader goes through zeros after its end one by one, be they gigabytes."""
    unpacking = zlib.decompressobj(_GZIP)
    text = unpacking.decompress(data, files.LARGEST_TEXT + 1)
    if len(text) > files.LARGEST_TEXT:
        raise ValueError(f"it has more than {files.LARGEST_TEXT} bytes")
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("it ends too early, or has something after its end")
    return text


def _read(file: Path, recording: _Recording) -> Compact:
    items = [_entry(position, item) for position, item in enumerate(recording.observations)]
    trace = Compact(file, recording.harness, header_of(recording.header), items)
    if len(trace) != len(items):
        raise ValueError(f"two observations of {trace.header.case} have one key")
    if recording.twin is not None:
        trace.add(TWIN, _read(file, recording.twin))
    return trace


def _entry(position: int, item: _Item) -> tuple[Entry, str, Array | None]:
    what = (item.key, item.phase, item.step, item.name, item.layer)
    if item.dtype is None:
        return PlainEntry(*what, item.value), item.form, None
    dtype, data = numpy_dtype(item.dtype), base64.b64decode(item.data, validate=True)
    if len(data) != math.prod(item.shape) * dtype.itemsize:
        raise ValueError(f"{item.key!r} has {len(data)} bytes, which are no {item.dtype} of shape {item.shape}")
    array = np.frombuffer(data, dtype).reshape(item.shape)
    return ArrayEntry(*what, item.dtype, item.shape, str(position)), item.form, array


def _told(trace: Compact) -> dict[str, Any]:
    environment = {name: value for name, value in trace.header.environment.items() if name in _KEPT}
    header = replace(trace.header, environment=environment, pictures=[], plots=[], seconds=0.0)
    observations = [_item(trace, key) for key in trace.keys]
    return {"harness": trace.harness, "header": asdict(header), "observations": observations}


def _item(trace: Compact, key: str) -> dict[str, Any]:
    entry = trace.entry(key)
    what = (entry.key, entry.phase, entry.step, entry.name, entry.layer, trace.forms[key])
    if isinstance(entry, PlainEntry):
        item = _Item(*what, value=entry.value)
    else:
        data = base64.b64encode(np.ascontiguousarray(trace[key].array).tobytes()).decode()
        item = _Item(*what, dtype=entry.dtype, shape=entry.shape, data=data)
    return {name: value for name, value in asdict(item).items() if name == "value" or value not in (None, "", ())}
