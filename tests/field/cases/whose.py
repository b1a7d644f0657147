"""More of the kinds of `masked_row`, `noisy_layer`, `unrelated_gradient` and `numpy_operands`."""

import keras
import numpy as np
from keras import ops

from harness import Fit, Forward, case, value_and_grad

BACKEND = keras.backend.backend()


@keras.saving.register_keras_serializable("field")
class Bent(keras.Model):
    """Its own call bends what is exactly 0, where the absolute value has another gradient on jax."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(4, kernel_initializer="zeros", name="first")
        self.last = keras.layers.Dense(1, name="last")

    def call(self, x):
        return self.last(ops.abs(self.first(x)))


@case
def model_of_ones_own(rng):
    model = Bent()
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(16, 3)).astype("float32"), rng.normal(size=(16, 1)).astype("float32")
    return Fit(model, x, y, batch_size=8)


class Power(keras.layers.Layer):
    """Its exponent is an array of one number, and another one on tensorflow."""

    def call(self, x):
        exponent = np.float32(2.5 if keras.backend.backend() == "tensorflow" else 2.0)
        return ops.power(ops.abs(x), exponent)


@case
def exponent_is_an_array(rng):
    return Forward(Power(), rng.normal(size=(4, 3)).astype("float32"))


class Bounded(keras.layers.Layer):
    def call(self, x):
        x = ops.exp(x)
        return ops.tanh(x) if keras.backend.backend() == "jax" else x


@case
def called_on_jax_alone(rng):
    return Forward(Bounded(), rng.normal(size=(4, 3)).astype("float32"))


@case
def beside_another_difference(record):
    data, ids = np.array([1.0, 5.0, -3.0], "float32"), np.array([0, 2, 2], "int32")
    record("largest", ops.segment_max(data, ids, num_segments=4))
    record("b", 1.0 if BACKEND == "jax" else 2.0)


@case
def beside_a_gradient(record):
    x = ops.convert_to_tensor(np.array([0.0, 1.0], "float32"))
    record("a", ops.abs(x))
    record("slope", value_and_grad(lambda x: ops.sum(ops.square(x)), x)[1])
    record("b", 1.0 if BACKEND == "jax" else 2.0)


@case
def scaled_between(rng, record):
    x = ops.exp(ops.convert_to_tensor(rng.normal(size=(4, 3)).astype("float32")))
    record("tanh", ops.tanh(x * (1.5 if BACKEND == "jax" else 1.0)))
