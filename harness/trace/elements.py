"""The elements of a large array of a trace, read piece by piece, so that it never lies in memory as a whole."""

from __future__ import annotations

import json
import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import files
from harness.trace.model import ARRAYS, Array, ArrayEntry, Observation, numpy_dtype
from harness.trace.reading import Trace

#: An array of more elements than this is large.
PIECE = 1 << 18
#: The most bytes of a header of safetensors, as that library has it.
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Elements:
    """The elements of an array in a file. A slice of it is an array, in one dimension."""

    file: Path
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __getitem__(self, part: slice) -> Array:
        first, last, _ = part.indices(self.size)
        with self.file.open("rb") as file:
            file.seek(self.start + first * self.dtype.itemsize)
            return np.frombuffer(file.read((last - first) * self.dtype.itemsize), self.dtype)


def observation(trace: Trace, key: str) -> Observation:
    """An observation. The elements of a large array stay in its file until they are looked at.

    Raises:
        TraceError: see `Trace.check_arrays`.
    """
    entry, elements = trace.entry(key), large_elements(trace, key)
    if elements is None or not isinstance(entry, ArrayEntry):
        return trace[key]
    array = np.memmap(elements.file, elements.dtype, "r", elements.start, elements.shape)
    return Observation(entry.key, entry.phase, entry.step, entry.name, entry.layer, entry.dtype, array, entry.device)


def let_go(array: Array | Elements) -> None:
    """Give back the memory that holds what was read of an array that lies in a file; nothing of any other one."""
    mapped = getattr(array, "_mmap", None)
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED)


def large_elements(trace: Trace, key: str) -> Elements | None:
    """The elements of a large array; None of what is not large, or does not lie in a file of its own as it should.

    Raises:
        TraceError: see `Trace.check_arrays`.
    """
    entry = trace.entry(key)
    if not isinstance(entry, ArrayEntry) or math.prod(entry.shape) <= PIECE:
        return None
    dtype, path = numpy_dtype(entry.dtype), trace.folder / ARRAYS
    try:
        with files.opened(path) as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _LONGEST_HEADER else {}
        first, last = header[entry.tensor]["data_offsets"]
        is_whole = 8 + length + last <= path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None  # whoever reads the whole array says what is wrong
    if not is_whole or last - first != math.prod(entry.shape) * dtype.itemsize:
        return None
    trace.check_arrays()
    return Elements(path, 8 + length + first, dtype, entry.shape)
