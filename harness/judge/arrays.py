"""Arithmetic of the judge: sizes of arrays, and distances between two of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.trace import NUMBER, Array, Observation

#: Kinds of floating dtypes: the extended ones, such as bfloat16, are of kind V.
REAL = "fV"
#: Kinds of dtypes whose values carry rounding.
INEXACT = "fVc"
#: Errors of less than this part of the largest one tell nothing of a pattern: they may be rounding.
LARGE = 16


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


def has_pattern(array: Array, exact: Array) -> bool:
    """Whether an array's errors are one factor or one offset, as a formula makes them and rounding does not.

    Looked at are the elements with large errors, at least a `LARGE`th of the largest one: three in four of these have
    the same factor or the same offset, within an eighth of it. It is False of fewer than 4, which may agree by chance.
    """
    array, exact = widen(array).ravel(), widen(exact).ravel()
    finite = np.isfinite(array) & np.isfinite(exact)
    error, exact = (array - exact)[finite], exact[finite]
    sizes = np.abs(error)
    large = sizes >= max(sizes.max(initial=0.0) / LARGE, np.finfo(np.float64).tiny)
    error, exact = error[large], exact[large]
    if error.size < 4:
        return False
    return any(_is_one(values) for values in (error, error[exact != 0] / exact[exact != 0]))


def _is_one(values: Array) -> bool:
    """Whether three in four values are the same, within an eighth."""
    if values.size < 4:
        return False
    middle = np.median(values)
    return bool(np.mean(np.abs(values - middle) <= np.abs(middle) / 8) >= 0.75)


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
