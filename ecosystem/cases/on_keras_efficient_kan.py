"""keras-efficient-kan: a Kolmogorov-Arnold layer of B-splines."""

import keras
import numpy as np
import pytest
from keras_efficient_kan import KANLinear

from harness import Fit, Forward, case

LAYERS = {
    "default": {},
    "no_layernorm": {"use_layernorm": False},
    "fine_grid": {"grid_size": 5, "spline_order": 2},
    "silu": {"base_activation": "silu", "use_bias": False},
}


@case
@pytest.mark.parametrize("options", LAYERS)
def spline_layer(rng, options):
    return Forward(KANLinear(4, **LAYERS[options]), rng.uniform(-1.5, 1.5, size=(6, 3)))


@case
def sequences_in_training_mode(rng):
    return Forward(KANLinear(4, dropout=0.3), rng.uniform(-1, 1, size=(3, 5, 2)), training=True)


@case
def at_the_knots():
    return Forward(KANLinear(3, use_layernorm=False), np.linspace(-1, 1, 7).reshape(7, 1))


@case
def in_training(rng):
    model = keras.Sequential([KANLinear(8), KANLinear(1)])
    model.compile(optimizer="adam", loss="mse")
    return Fit(model, rng.uniform(-1, 1, size=(64, 3)), rng.normal(size=(64, 1)), epochs=2, batch_size=16)
