"""D1, D2: a dense layer written by hand, alone and as a stack trained on handwritten digits."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.datasets import load_digits

from harness import Fit, Forward, case


@keras.saving.register_keras_serializable("cases")
class SimpleDense(keras.layers.Layer):
    """`activation(inputs @ W + b)`, with weights that are made when the first input's shape is known."""

    def __init__(self, units, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.W = self.add_weight(name="W", shape=(input_shape[-1], self.units), initializer="random_normal")
        self.b = self.add_weight(name="b", shape=(self.units,), initializer="zeros")

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, self.W) + self.b)

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "units": self.units, "activation": activation}


def stack():
    """32-64-32 relu and 10 softmax. A name and a function are both accepted as an activation."""
    return keras.Sequential(
        [
            SimpleDense(32, activation="relu"),
            SimpleDense(64, activation=keras.activations.relu),
            SimpleDense(32, activation="relu"),
            SimpleDense(10, activation="softmax"),
        ]
    )


def digits():
    """The 1,797 handwritten digits of scikit-learn: images of 64 pixels from 0 to 1, and labels."""
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype("float32"), labels.astype("int32")


@case
@pytest.mark.parametrize("activation", ["relu", "tanh", None])
def layer(activation, rng):
    return Forward(SimpleDense(32, activation), rng.normal(size=(2, 784)).astype("float32"))


@case
def weights_appear_with_the_first_input(record):
    dense = SimpleDense(32, activation="relu")
    assert not dense.weights
    output = dense(np.ones((2, 784), "float32"))
    assert output.shape == (2, 32)
    record("output", output)
    record("weights", {weight.name: weight for weight in dense.weights})


@case
def config_round_trip(rng, record):
    model = stack()
    assert not model.weights
    x = rng.normal(size=(5, 64)).astype("float32")
    y = model(x)
    copy = keras.Sequential.from_config(model.get_config())
    copy(x)
    copy.set_weights(model.get_weights())
    record("output", y)
    record("output of the copy", copy(x))
    assert np.array_equal(ops.convert_to_numpy(y), ops.convert_to_numpy(copy(x)))


@case
def stack_on_digits():
    model = stack()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = digits()
    return Fit(model, x, y, epochs=3, batch_size=128, validation_split=0.2)
