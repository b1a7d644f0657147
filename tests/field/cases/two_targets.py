"""What two targets can tell, where there are no more or the third one cannot run a case."""

import keras
from keras import ops

from harness import Fit, Forward, case

BACKEND = keras.backend.backend()


class Gate(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        if BACKEND == "tensorflow":
            raise NotImplementedError("not on this backend")
        gate = ops.sigmoid(x * self.w)
        return x * (ops.stop_gradient(gate) if BACKEND == "jax" else gate)


@case
def gradient_stopped_on_jax(rng):
    return Forward(Gate(name="gate"), rng.normal(size=(4, 3)).astype("float32"))


@case
def gradient_stopped_in_training(rng):
    first, last = keras.layers.Dense(4, name="first"), keras.layers.Dense(1, name="last")
    model = keras.Sequential([keras.Input((3,)), first, Gate(name="gate"), last])
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 1)).astype("float32"))


@case
def output_differs(rng):
    return Forward(
        lambda x: ops.tanh(x) * (1.5 if BACKEND == "jax" else 1.0), rng.normal(size=(4, 3)).astype("float32")
    )
