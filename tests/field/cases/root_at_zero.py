"""The deviation of each row; that of a constant row is sqrt(relu(0)).

What reaches the root from behind is 0 there, so its gradient is 0 times infinity: NaN on torch and jax, 0 on
tensorflow. Not `keras.ops.maximum`, which differs at a tie for another upstream gradient only.
"""

import keras
from keras import ops

from harness import Forward, case


class Deviation(keras.layers.Layer):
    def call(self, x):
        mean = ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x), axis=-1, keepdims=True) - ops.square(mean)
        return ops.square(x) * ops.sqrt(ops.maximum(variance, 0.0))


@case
def constant_row(rng):
    x = rng.normal(size=(4, 4)).astype("float32")
    x[1] = 0.0
    return Forward(Deviation(), x)
