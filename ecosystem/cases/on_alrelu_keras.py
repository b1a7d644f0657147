"""alrelu-keras: the absolute leaky ReLU, fixed and trained."""

import keras
import numpy as np
import pytest
from alrelu_keras import ALReLU, TrainableALReLU

from harness import Expected, Fit, Forward, case

LAYERS = {"fixed": lambda: ALReLU(0.1), "trained": TrainableALReLU, "trained_from_0.3": lambda: TrainableALReLU(0.3)}


@case
@pytest.mark.parametrize("layer", LAYERS)
def activation(rng, layer):
    return Forward(LAYERS[layer](), rng.normal(size=(4, 7)))


KINK = Expected("divergent", reason="backends choose another derivative at a kink", where="gradient/0/input")


@case(expect={"tensorflow": KINK, "jax": KINK})
def at_its_kink():
    return Forward(ALReLU(0.1), np.array([[-1.0, 0.0, 1.0]]))


@case
def in_training(rng):
    layers = [keras.layers.Dense(8), ALReLU(), keras.layers.Dense(8), TrainableALReLU(0.2), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(optimizer="adam", loss="mse")
    return Fit(model, rng.normal(size=(64, 5)), rng.normal(size=(64, 1)), epochs=2, batch_size=16)
