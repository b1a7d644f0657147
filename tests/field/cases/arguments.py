"""Arguments that are given in other ways than most do: by keyword, in dicts, to a `fit` of one's own. Healthy."""

import keras
import numpy as np
from keras import ops

from harness import Fit, Forward, case


class Shift(keras.layers.Layer):
    def call(self, x, statistics):
        return x / ops.expand_dims(statistics["width"], -1) - statistics["middle"]


class Whole(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.shift = Shift()

    def call(self, x):
        return self.shift(x, statistics={"width": 2 + ops.max(ops.abs(x), axis=-1), "middle": x * 0.5})


@case
def dict_by_keyword(rng):
    return Forward(Whole(), rng.normal(size=(4, 3)).astype("float32"))


@case
def arrays_by_keyword(rng):
    def scaled(x, rate, state):
        return x * rate + state["z"] * state["a"][1]

    x, z = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    return Forward(scaled, x, rate=0.5, state={"z": z, "a": [1, z]})


@case
def mask_by_keyword(rng):
    x = rng.normal(size=(2, 3, 4))
    return Forward(keras.layers.MultiHeadAttention(2, 3), x, value=x, attention_mask=np.ones((2, 3, 3), bool))


class Small(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        return self.dense(x)


class WithoutY(Small):
    def compute_loss(self, x=None, y=None, y_pred=None, *others, **parts):
        return ops.mean(ops.square(x[:, :2] - y_pred))

    def fit(self, x=None, **options):
        return super().fit(x=x, **options)


class ByKeyword(Small):
    def fit(self, *, dataset, **options):
        return super().fit(*dataset, **options)


class OtherNames(Small):
    def fit(self, data, epochs=1, callbacks=None):
        zeros = np.zeros((len(data), 2), "float32")
        super().fit(data, zeros, epochs=epochs, callbacks=callbacks, verbose=0, batch_size=8)

    def evaluate(self, data):
        return {"first": float(super().predict(data, verbose=0)[0, 0])}

    def predict(self, data):
        return super().predict(data, verbose=0)[:, 0]


class OtherMethod(Small):
    def learn(self, x, y, epochs, callbacks=None):
        self.fit(x, y, epochs=epochs, callbacks=callbacks, batch_size=8, verbose=0)


class NoCallbacks(Small):
    def fit(self, x, y):
        return super().fit(x, y)


def compiled(kind):
    model = kind()
    model.compile("sgd", "mse")
    return model


def data(rng):
    return rng.normal(size=(16, 5)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")


@case
def without_y(rng):
    return Fit(compiled(WithoutY), data(rng)[0], epochs=2, batch_size=8)


@case
def data_by_keyword(rng):
    return Fit(compiled(ByKeyword), dataset=data(rng), epochs=2, batch_size=8)


@case
def fit_with_other_names(rng):
    return Fit(compiled(OtherNames), data(rng)[0], epochs=2)


@case
def another_method(rng):
    model = compiled(OtherMethod)
    return Fit(model, *data(rng), epochs=2, fit=model.learn)


@case
def fit_without_callbacks(rng):
    return Fit(compiled(NoCallbacks), *data(rng))
