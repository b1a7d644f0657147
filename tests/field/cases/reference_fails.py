"""Cases that raise on torch, which is the reference: whether the others agree is worth knowing all the same."""

import keras
from keras import ops

from harness import Forward, case


class Squash(keras.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        if keras.backend.backend() == "torch":
            raise NotImplementedError("there is no squash on torch")
        return ops.tanh(x) * self.factor


@case
def others_agree(rng):
    return Forward(Squash(), rng.normal(size=(4, 3)).astype("float32"))


@case
def others_differ(rng):
    factor = 1.5 if keras.backend.backend() == "jax" else 1.0
    return Forward(Squash(factor), rng.normal(size=(4, 3)).astype("float32"))
