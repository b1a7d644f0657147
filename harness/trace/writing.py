"""Writing a trace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from harness import files
from harness.trace.model import ARRAYS, INDEX, NATIVE, SCHEMA, Array, ArrayEntry, Entry, Header, Observation, PlainEntry
from harness.version import __version__


def write(folder: Path, header: Header, observations: Sequence[Observation]) -> None:
    """Write a trace. The index is written last and put in place at once, so a trace that can be read is complete.

    Raises:
        OSError: it cannot be written.
        TypeError, ValueError: a plain value or the environment holds what JSON cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Array] = {}
    names: dict[str, str] = {}
    entries: list[dict[str, Any]] = []
    for item in observations:
        what = (item.key, item.phase, item.step, item.name, item.layer)
        if item.dtype is None:
            entries.append(_plain(PlainEntry(*what, item.value)))
            continue
        native_order = item.array.dtype.newbyteorder("=")
        array = np.ascontiguousarray(item.array, native_order).reshape(item.array.shape)
        digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
        if digest not in names:
            names[digest] = f"t{len(names)}"
            is_native = array.dtype.name in NATIVE
            tensors[names[digest]] = array if is_native else np.frombuffer(array.tobytes(), np.uint8)
        entries.append(_plain(ArrayEntry(*what, item.dtype, array.shape, names[digest], item.device)))
    with files.made(folder / ARRAYS) as place:
        save_file(tensors, place)
    index = {"schema": SCHEMA, "harness": __version__, **asdict(header), "observations": entries}
    files.write(folder / INDEX, json.dumps(index, indent=1, allow_nan=False).encode())


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry as the index has it. Only what was a tensor has a device."""
    return {name: value for name, value in vars(entry).items() if (name, value) != ("device", None)}
