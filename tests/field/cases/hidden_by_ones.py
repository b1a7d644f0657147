"""A normalisation with fixed statistics divides by the variance on jax, and by its root elsewhere.

Where the statistics are those of a new layer (0 and 1) that is the same, so a real difference hides. With weights
that have been trained it shows.
"""

import keras
from keras import ops

from harness import Forward, case


class FixedNorm(keras.layers.Layer):
    def build(self, shape):
        self.mean = self.add_weight(name="mean", shape=(shape[-1],), initializer="zeros", trainable=False)
        self.variance = self.add_weight(name="variance", shape=(shape[-1],), initializer="ones", trainable=False)

    def call(self, x):
        root = 1.0 if keras.backend.backend() == "jax" else 0.5
        return (x - self.mean) / ops.power(self.variance, root)


@case
def new_layer(rng):
    return Forward(FixedNorm(), rng.normal(size=(4, 3)).astype("float32"))


@case
def as_it_is_made(rng):
    return Forward(FixedNorm(), rng.normal(size=(4, 3)).astype("float32"), as_trained=False)
