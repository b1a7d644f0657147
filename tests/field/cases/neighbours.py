"""Small values that are wrong beside large ones that are right."""

import keras
import numpy as np
from keras import ops

from harness import Forward, case

OFF = 1.2 if keras.backend.backend() == "jax" else 1.0


@case
def beside_a_clock(record):
    record("time", np.float32(1.7e9))
    record("loss", ops.convert_to_tensor(0.5 * OFF, dtype=keras.config.floatx()))


@case
def beside_a_mask(rng):
    def scored(x):
        return ops.softmax(x) * OFF, ops.where(x > 0, x, -1e9)

    return Forward(scored, rng.normal(size=(4, 8)))


@case
def in_one_array_with_a_mask(rng):
    return Forward(lambda x: ops.where(x > 0, x * OFF, -1e9), rng.normal(size=(4, 8)))


@case
def healthy(record, rng):
    x = ops.convert_to_tensor(rng.normal(size=(4, 8)), dtype=keras.config.floatx())
    record("masked", ops.where(x > 0, ops.tanh(x), -1e9))
    record("lowest", ops.where(x > 0, ops.tanh(x), np.finfo("float32").min))
    record("time", np.float32(1.7e9))
