"""A case that forgets the injected rng."""

import keras
import numpy as np

from harness import Fit, case


@case
def forgetful(record):
    rng = np.random.default_rng()
    record("y", keras.ops.softmax(keras.ops.convert_to_tensor(rng.normal(size=(8, 4)).astype("float32"))))


@case
def forgetful_fit():
    rng = np.random.default_rng()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 1)).astype("float32"))


@case
def seeded_dropout_native(rng):
    drawn = keras.initializers.GlorotUniform(seed=1)
    hidden = [keras.layers.Dense(8, kernel_initializer=drawn), keras.layers.Dropout(0.5, seed=7)]
    model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 1)).astype("float32"))
