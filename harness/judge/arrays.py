"""Arithmetic of the judge: sizes of arrays, and distances between two of them.

Large arrays are looked at piece by piece: one in float64, or a mask of it, would need as much memory again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.trace import NUMBER, PIECE, Array, Elements, Observation, let_go

#: Kinds of floating dtypes: the extended ones, such as bfloat16, are of kind V.
REAL = "fV"
#: Kinds of dtypes whose values carry rounding.
INEXACT = "fVc"
#: Errors of less than this part of the largest one tell nothing of a pattern: they may be rounding.
LARGE = 16


def pieces(*arrays: Array | Elements) -> Iterator[tuple[Array, ...]]:
    """The elements of arrays of one size, in one dimension, and at most `PIECE` of each at once."""
    flat = [array if isinstance(array, Elements) else array.reshape(-1) for array in arrays]
    size = arrays[0].size
    if 0 < size <= PIECE:  # nearly all
        yield tuple([array[:] for array in flat])
        return
    for start in range(0, size, PIECE):
        yield tuple([array[start : start + PIECE] for array in flat])
        for array in flat:
            let_go(array)


def same_bits(a: Array | Elements, b: Array | Elements) -> bool:
    """Whether two arrays of one dtype and shape are equal bit for bit."""
    return all(mine.tobytes() == its.tobytes() for mine, its in pieces(a, b))


def rms(array: Array | Elements) -> float:
    """Root mean square of the finite elements; 0 of none."""
    if array.size == 1 and not isinstance(array, Elements):  # most of a long training: its logs
        size = float(abs(widen(array).item()))
        return size if np.isfinite(size) else 0.0
    largest, total, count = 0.0, 0.0, 0
    for (piece,) in pieces(array):
        finite = np.abs(widen(piece))
        most = float(finite.max(initial=0.0))
        if not np.isfinite(most):
            finite = finite[np.isfinite(finite)]
            most = float(finite.max(initial=0.0))
        count += finite.size
        # Scaled first, for squares of very small or large elements would leave the range of float64.
        if most > largest:
            largest, total = most, total * (largest / most) ** 2
        if largest:
            scaled = finite / largest
            total += float(np.square(scaled, out=scaled).sum())
    return largest * float(np.sqrt(total / count)) if count else 0.0


def distance(a: Array | Elements, b: Array | Elements, scale: float) -> tuple[float, tuple[int, ...] | None]:
    """`max|a - b| / scale` over the elements that are finite on both sides, and the index of that maximum.

    Args:
        a, b: of one shape.

    Returns:
        0 and None where the scale is 0 or there is no element.
    """
    if scale == 0.0 or not a.size:
        return 0.0, None
    largest, place = -1.0, 0
    for number, (mine, its) in enumerate(pieces(a, b)):
        apart, position = _furthest(widen(mine), widen(its), scale)
        if not apart <= largest:
            largest, place = apart, number * PIECE + position
        if np.isnan(largest):
            break
    return largest, tuple(int(i) for i in np.unravel_index(place, a.shape)) if a.shape else ()


def _furthest(mine: Array, its: Array, scale: float) -> tuple[float, int]:
    """The largest distance of elements that are finite on both sides, and its position."""
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(mine - its)
        position = int(np.argmax(apart))  # of NaN, if there is one
        if np.isfinite(apart[position]):
            return float(apart[position] / scale), position
        # The difference of two very large numbers is out of range, unless they are divided first.
        apart = np.where(np.isinf(apart), np.abs(mine / scale - its / scale), apart / scale)
        apart = np.where(np.isfinite(mine) & np.isfinite(its), apart, 0.0)
        position = int(np.argmax(apart))
        return float(apart[position]), position


def has_pattern(array: Array | Elements, exact: Array | Elements) -> bool:
    """Whether an array's errors are one factor or one offset, as a formula makes them and rounding does not.

    Looked at are the elements with large errors, at least a `LARGE`th of the largest one: three in four of these have
    the same factor or the same offset, within an eighth of it. It is False of fewer than 4, which may agree by chance.
    """
    largest = max((np.abs(error).max(initial=0.0) for error, _ in _errors(array, exact)), default=0.0)
    least = max(largest / LARGE, np.finfo(np.float64).tiny)
    large = [(error[np.abs(error) >= least], value[np.abs(error) >= least]) for error, value in _errors(array, exact)]
    if sum(error.size for error, _ in large) < 4:
        return False
    error, value = (np.concatenate(parts) for parts in zip(*large, strict=True))
    return any(_is_one(values) for values in (error, error[value != 0] / value[value != 0]))


def _errors(array: Array | Elements, exact: Array | Elements) -> Iterator[tuple[Array, Array]]:
    """The errors of an array, and the exact values that they are of, where both are finite."""
    for own, value in pieces(array, exact):
        own, value = widen(own), widen(value)
        finite = np.isfinite(own) & np.isfinite(value)
        yield (own - value)[finite], value[finite]


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
