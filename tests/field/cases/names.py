"""Variables that have another name, or another place, on one backend."""

import keras
import numpy as np
from keras import ops

from harness import Fit, Forward, case

BACKEND = keras.backend.backend()


@keras.saving.register_keras_serializable()
class Renamed(keras.layers.Layer):
    def build(self, shape):
        name = "weights_of_jax" if BACKEND == "jax" else "kernel"
        self.kernel = self.add_weight(shape=(shape[-1], 3), name=name)

    def call(self, x):
        return ops.tanh(x @ self.kernel)


@keras.saving.register_keras_serializable()
class Moved(keras.layers.Layer):
    def build(self, shape):
        for name in ("b", "a") if BACKEND == "torch" else ("a", "b"):
            setattr(self, name, self.add_weight(shape=(shape[-1], 3), name=name, initializer="ones"))

    def call(self, x):
        return x @ self.a + ops.tanh(x @ self.b)


class Inner(keras.layers.Layer):
    """Calls a layer for its softmax on tensorflow, and the function elsewhere."""

    def __init__(self, off=1.0):
        super().__init__()
        self.softmax, self.off = keras.layers.Softmax(), off

    def call(self, x):
        if BACKEND == "tensorflow":
            return self.softmax(x * self.off)
        return ops.softmax(x)


def trained(layer, rng, optimizer):
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return Fit(model, rng.normal(size=(8, 4)).astype("float32"), np.ones((8, 1), "float32"), batch_size=4)


@case
def renamed(rng):
    return trained(Renamed(), rng, keras.optimizers.SGD(0.1, momentum=0.9))


@case
def moved(rng):
    return Forward(Moved(), rng.normal(size=(5, 4)).astype("float32"))


@case
def another_path_inside(rng):
    return Forward(Inner(), rng.normal(size=(5, 4)).astype("float32"))


@case
def another_path_that_is_wrong(rng):
    return Forward(Inner(1.1), rng.normal(size=(5, 4)).astype("float32"))


@case
def nadam(rng):
    return trained(keras.layers.Dense(3, activation="tanh"), rng, "nadam")


@case
def ids_of_two_widths(record):
    ids = np.arange(4, dtype="int64" if BACKEND == "jax" else "int32")
    record("ids", ids)
