"""A layer that computes in float32 whatever floatx is: healthy, and its twin is no twin."""

import keras
from keras import ops

from harness import Forward, case


class Island(keras.layers.Layer):
    def call(self, x):
        y = ops.cast(x, "float32")
        y = ops.mod(y / (ops.mean(y, axis=-1, keepdims=True) + 3.0) + 7.0, 1.0)
        return ops.cast(y, keras.config.floatx())


@case
def healthy(rng):
    return Forward(Island(), rng.uniform(size=(16, 64)))
