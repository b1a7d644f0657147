"""keras-custom: layers for operations, as other formats have them."""

import keras
import numpy as np
import pytest
from keras_custom import layers
from keras_custom.layers import numpy as operations

from harness import Fit, Forward, case

LAYERS = {
    "Clip": lambda: layers.Clip(-0.5, 0.5),
    "Floor": lambda: layers.Floor(),
    "Ceil": lambda: layers.Ceil(),
    "Identity": lambda: layers.Identity(),
    "Pow": lambda: layers.Pow(3),
    "PlusConstant": lambda: layers.PlusConstant(np.array([1.0, 2.0, 3.0, 4.0], "float32"), minus=True),
    "MulConstant": lambda: layers.MulConstant(2.5),
    "DivConstant": lambda: layers.DivConstant(2.5),
    "Max": lambda: layers.Max(1),
    "Mean": lambda: layers.Mean(1),
    "Min": lambda: layers.Min(1),
    "Sum": lambda: layers.Sum(1),
    "ReduceL2": lambda: layers.ReduceL2(1),
    "Argmax": lambda: layers.Argmax(-1),
    "Abs": lambda: operations.Abs(),
    "AMax": lambda: operations.AMax(axis=1),
    "Arcsinh": lambda: operations.Arcsinh(),
    "Arctan": lambda: operations.Arctan(),
    "Cosh": lambda: operations.Cosh(),
    "Cumprod": lambda: operations.Cumprod(axis=1),
    "Cumsum": lambda: operations.Cumsum(axis=1),
    "Expm1": lambda: operations.Expm1(),
    "Flip": lambda: operations.Flip(axis=1),
}


@case
@pytest.mark.parametrize("layer", LAYERS)
def layer_of_rows(rng, layer):
    return Forward(LAYERS[layer](), rng.normal(size=(3, 4)))


@case
@pytest.mark.parametrize("operation", ["Arctan2", "Hstack", "Cross"])
def of_two(rng, operation):
    return Forward(getattr(operations, operation)(), [rng.normal(size=(4, 3)), rng.normal(size=(4, 3))])


@case
@pytest.mark.parametrize("layer", ["Log", "Log10", "Log1p"])
def of_positive_numbers(rng, layer):
    return Forward(getattr(operations, layer)(), rng.uniform(0.1, 3, size=(3, 4)))


@case
def at_its_bounds():
    return Forward(layers.Clip(-0.5, 0.5), np.array([[-1.0, -0.5, 0.0, 0.5, 1.0]]))


@case
def padding(rng):
    return Forward(layers.ConstantPadding2D(0.5, (1, 2)), rng.normal(size=(2, 3, 4, 2)))


@case
def in_training(rng):
    hidden = [keras.layers.Dense(6), layers.PlusConstant(0.5), layers.Pow(2), operations.Arctan()]
    model = keras.Sequential([*hidden, layers.MulConstant(2.0), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(32, 4)), rng.normal(size=(32, 1)), epochs=2, batch_size=16)
