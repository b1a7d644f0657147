"""Weights as if they had been trained. Those of a new layer hide faults: a scale of 1, a bias of 0, a variance of 1.

The values are drawn for each variable by its path, so they are the same on every target and in both precisions, but for
rounding where a constraint computes with them.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.worker.capture.tensors import is_float, numpy_of

#: Parts of the names of weights that a layer moves by itself, instead of being trained.
_STATISTICS = {"mean", "variance", "var", "std", "stddev", "deviation"}
#: How far a value may move: a number by half of itself, and what was 0 by this much.
_MOST = 0.25


def move_weights(layer: Any) -> None:
    """Move the weights of a built layer or model that are as an initializer makes them without drawing.

    Those are made of one number, or of 0 and one number. Random weights, as of a kernel, stay as they are, and so do
    weights that are neither trained nor statistics: seeds, counters and tables. Signs stay, so variances stay positive,
    and constraints hold.
    """
    for variable in layer.variables:
        statistic = _STATISTICS.intersection(variable.path.rpartition("/")[2].split("_"))
        if not is_float(variable) or not (variable.trainable or statistic):
            continue
        value = numpy_of(variable).astype(np.float64)
        if len(np.unique(value[value != 0])) > 1 or not value.size:
            continue
        # No variance is negative, and what a constraint would cut off at 0 would hide as much as 0 does.
        upwards = bool(statistic - {"mean"}) or variable.constraint is not None
        moved = _moved(value, zlib.crc32(variable.path.encode("utf-8", "surrogatepass")), upwards=upwards)
        variable.assign(moved.astype(np.float32).astype(variable.dtype))
        if variable.constraint is not None:
            variable.assign(variable.constraint(variable.value))


def _moved(value: NDArray[np.float64], seed: int, *, upwards: bool) -> NDArray[np.float64]:
    """Numbers up to half of themselves away, and 0 up to `_MOST`, or less where many are summed; perhaps not below."""
    drawn = np.random.default_rng(seed).uniform(-1.0, 1.0, value.shape)
    summed = math.prod(value.shape[:-1]) if value.ndim > 1 else 1
    zeros = (np.abs(drawn) if upwards else drawn) * min(_MOST, 1 / math.sqrt(summed))
    return np.where(value != 0, value * (1 + drawn / 2), zeros)
