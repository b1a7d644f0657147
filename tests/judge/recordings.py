"""Traces that no framework made: exact values, as a target and its twin would have recorded them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from harness.judge.compare import compare
from harness.result.model import Comparison
from harness.trace import NUMBER, Header, Lack, Observation, Trace, write

#: Exact values, and what a target may make of them.
X = np.linspace(1.0, 2.0, 32)
LEAKED, WRONG = X * (1 + 3e-8), X * 1.01
GRADIENTS = Lack("gradient/*", "there are none")
STEPS = ["initial/dense/kernel", "forward/dense/output", "loss/0/loss", "gradient/0/dense/kernel", "loss/1/loss"]


def observation(key: str, value: Any) -> Observation:
    phase, _, rest = key.partition("/")
    step, _, name = rest.partition("/") if rest.partition("/")[0].isdigit() else ("0", "", rest)
    layer = name.rpartition("/")[0] or None
    dtype = NUMBER if isinstance(value, float) else value.dtype.name if isinstance(value, np.ndarray) else None
    return Observation(key, phase, int(step), name, layer, dtype, value if dtype is None else np.asarray(value))


def recorded(
    folder: Path,
    target: str,
    exact: dict[str, Any],
    *,
    twin: bool | list[str] = True,
    precision: str = "float32",
    **header: Any,
) -> Trace:
    """A trace of exact values: rounded to float32 and, of all or some keys, as they are in the twin."""
    single = {
        key: value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value
        for key, value in exact.items()
    }
    place = folder / re.sub(r"\W", "-", target)
    write(place, Header("cases/x.py::y", target, precision, **header), [observation(*item) for item in single.items()])
    if twin is not False:
        kept = [observation(*item) for item in exact.items() if twin is True or item[0] in twin]
        write(place / "twin", Header("cases/x.py::y", target, "float64"), kept)
    return Trace(place)


def healthy(*keys: str) -> dict[str, Any]:
    return {key: X * (1 + position) for position, key in enumerate(keys or STEPS)}


def changed(exact: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The same observations, the named ones (with `__` for `/`) of another value."""
    return exact | {key.replace("__", "/"): value for key, value in values.items()}


def compared(folder: Path, mine: dict[str, Any], theirs: dict[str, Any], **options: Any) -> Comparison:
    """Compare jax with torch; options for either go by its name."""
    return compare(
        recorded(folder, "jax", mine, **options.get("jax", {})),
        recorded(folder, "torch", theirs, **options.get("torch", {})),
    )


def place_of(comparison: Comparison) -> str:
    assert comparison.first is not None
    return comparison.first.key


def without(exact: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in exact.items() if key not in keys}
