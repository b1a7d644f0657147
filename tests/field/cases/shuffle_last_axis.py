"""random.shuffle along the last axis: on torch rows were mixed instead."""

import keras
import numpy as np

from harness import case


@case
def columns_are_only_permuted(rng, record):
    x = np.arange(24, dtype="float32").reshape(4, 6)
    y = keras.ops.convert_to_numpy(keras.random.shuffle(keras.ops.convert_to_tensor(x), axis=-1, seed=3))
    record("shuffled", y)
    record("columns stay together", bool(np.all(np.diff(y, axis=0) == 6.0)))
