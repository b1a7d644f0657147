"""Arithmetic of the judge: sizes of arrays, and distances between two of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.trace import NUMBER, Array, Observation

#: Kinds of floating dtypes: the extended ones, such as bfloat16, are of kind V.
REAL = "fV"
#: Kinds of dtypes whose values carry rounding.
INEXACT = "fVc"


def rms(array: Array) -> float:
    """Root mean square of the finite elements; 0 of none."""
    wide = widen(array)
    if wide.size == 1:  # most of a long training: its logs
        size = float(abs(wide.item()))
        return size if np.isfinite(size) else 0.0
    finite = np.abs(wide[np.isfinite(wide)])
    if not finite.size:
        return 0.0
    largest = float(finite.max())
    if largest == 0.0:
        return 0.0
    # Scaled first, for squares of very small or large elements would leave the range of float64.
    return largest * float(np.sqrt(np.mean((finite / largest) ** 2)))


def distance(a: Array, b: Array, scale: float) -> tuple[float, tuple[int, ...] | None]:
    """`max|a - b| / scale` over the elements that are finite on both sides, and the index of that maximum.

    Args:
        a, b: of one shape.

    Returns:
        0 and None where the scale is 0 or there is no element.
    """
    if scale == 0.0 or not a.size:
        return 0.0, None
    a, b = widen(a), widen(b)
    finite = np.isfinite(a) & np.isfinite(b)
    difference = np.abs(np.where(finite, a, 0.0) / scale - np.where(finite, b, 0.0) / scale)
    index = np.unravel_index(int(np.argmax(difference)), difference.shape)
    return float(difference[index]), tuple(int(i) for i in index)


def off_a_line(array: Array, exact: Array) -> float:
    """Which part of an array's error is no straight line of the exact values: from 0, a scale or an offset, to 1.

    The root mean square of what the least-squares line through (exact, error) leaves, over that of the error. It is 1
    of fewer than 5 finite elements, through which a line says nothing.
    """
    array, exact = widen(array).ravel(), widen(exact).ravel()
    finite = np.isfinite(array) & np.isfinite(exact)
    error, exact = (array - exact)[finite], exact[finite]
    size = rms(error)
    if error.size < 5 or size == 0.0:
        return 1.0
    centred = exact - exact.mean()
    slope = np.vdot(centred, error) / (np.vdot(centred, centred) or 1.0)
    return rms(error - error.mean() - slope * centred) / size


def widen(array: Array) -> Array:
    """The array in float64, or in complex128."""
    return np.asarray(array, np.complex128 if array.dtype.kind == "c" else np.float64)


def first_index(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """The index of the first element that is true."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def twin_array(twin: Observation | None, shape: tuple[int, ...]) -> Array | None:
    """The array of a twin that can serve as one, being of that shape and wider than float32; None of any other."""
    if twin is None or twin.dtype not in ("float64", "complex128", NUMBER) or twin.array.shape != shape:
        return None
    return twin.array
