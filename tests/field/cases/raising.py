"""A layer that raises on some backends only: while it is built, called, traced, or loaded."""

import keras
from keras import ops

from harness import Fit, Forward, case

BACKEND = keras.backend.backend()


def refuse():
    raise RuntimeError("this backend is not\nfor me")


@keras.saving.register_keras_serializable("raising")
class Picky(keras.layers.Layer):
    def __init__(self, when, **options):
        super().__init__(**options)
        self.when = when

    def build(self, shape):
        if (self.when, BACKEND) == ("built", "jax"):
            refuse()

    def call(self, x):
        if (self.when, BACKEND) == ("called", "jax"):
            refuse()
        if self.when == "traced" and BACKEND != "torch":
            float(ops.sum(x))  # a traced value has no number
        return ops.tanh(x)

    def get_config(self):
        return {**super().get_config(), "when": self.when}

    @classmethod
    def from_config(cls, config):
        if (config["when"], BACKEND) == ("loaded", "jax"):
            refuse()
        return cls(**config)


def trained(rng, when):
    model = keras.Sequential([keras.layers.Dense(3), Picky(when, name="picky")])
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 3)).astype("float32"))


@case
def built(rng):
    return trained(rng, "built")


@case
def traced(rng):
    return trained(rng, "traced")


@case
def loaded(rng):
    return trained(rng, "loaded")


@case
def forward(rng):
    return Forward(Picky("called"), rng.normal(size=(8, 4)).astype("float32"))
