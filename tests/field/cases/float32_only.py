"""A fast path for float32 on one backend, with a fault that float64 never meets."""

import keras
from keras import ops

from harness import Forward, case


class FastPath(keras.layers.Layer):
    def call(self, x):
        y = ops.square(x)
        if keras.backend.backend() == "jax" and keras.backend.standardize_dtype(x.dtype) == "float32":
            return y
        return y * 1.5


@case
def many_elements(rng):
    return Forward(FastPath(), rng.normal(size=(8, 16)))


@case
def few_elements(rng):
    return Forward(FastPath(), rng.normal(size=(1, 3)))
