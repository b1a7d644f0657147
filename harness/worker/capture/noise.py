"""Measured noise: what a last-bit disturbance of inputs and weights does to everything that follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.worker.capture.tensors import is_float, is_float_tensor, numpy_of

#: One unit in the last place of a float32 between 1 and 2.
ULP = 2.0**-23


class Noise:
    """Multiplies floats by `1 + 2**-23 r`, with r drawn from -1, 0 and 1.

    Args:
        number: which of the noise runs this is; 0 for none, which leaves everything as it is.
    """

    def __init__(self, number: int) -> None:
        self._rng = np.random.default_rng(number) if number else None

    def disturbed(self, structure: Any) -> Any:
        """A structure of arrays and tensors with its floats disturbed."""
        import keras

        if self._rng is None:
            return structure

        def disturb(leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f":
                return (leaf * self._factor(leaf.shape)).astype(leaf.dtype)
            return leaf * keras.ops.cast(self._factor(tuple(leaf.shape)), leaf.dtype) if is_float_tensor(leaf) else leaf

        return keras.tree.map_structure(disturb, structure)

    def disturb(self, variables: Iterable[Any]) -> None:
        """Disturb the floating ones among variables."""

        if self._rng is None:
            return
        for variable in variables:
            if is_float(variable):
                value = numpy_of(variable)
                variable.assign((value * self._factor(value.shape)).astype(value.dtype))

    def _factor(self, shape: tuple[int, ...]) -> Any:
        assert self._rng is not None
        return 1.0 + ULP * self._rng.integers(-1, 2, size=shape)


#: No noise.
QUIET = Noise(0)
