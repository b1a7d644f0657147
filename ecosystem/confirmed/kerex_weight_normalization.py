"""kerex 1.1.8: the weights of WeightNormalization are trained on jax and on no other backend.

Its `call` computes the kernel and hands it to `layer.set_weights`. On tensorflow and torch no gradient passes through
an assignment, so `v` and `g` get none. On jax, where Keras keeps state outside of variables, it does pass.
"""

import keras
import numpy as np
from kerex.layers import WeightNormalization

layer = WeightNormalization(keras.layers.Dense(2))
model = keras.Sequential([layer])
model.compile(keras.optimizers.SGD(0.1), "mse")
x = np.arange(6.0).reshape(2, 3)
model.build((None, 3))
before = [keras.ops.convert_to_numpy(weight).copy() for weight in (layer.v, layer.g)]
model.fit(x, np.ones((2, 2)), verbose=0)
moved = [not np.array_equal(old, weight) for old, weight in zip(before, (layer.v, layer.g), strict=True)]
print(f"{keras.backend.backend()}: v moves: {moved[0]}, g moves: {moved[1]}")
