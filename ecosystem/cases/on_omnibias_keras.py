"""omnibias-keras: units that compute derivatives and integrals of their activation in closed form."""

import keras
import pytest
from omnibias.keras import (
    GrowableOperatorMultiBiasUnit,
    OperatorBlock,
    OperatorMultiBiasUnit,
    cmbConv1D,
    cmbConv2D,
    cmbDense,
)
from omnibias.keras.blocks.conv import AnalyticGaussianConv1D, AnalyticGaussianConv2D
from omnibias.keras.tempered_blocks import LearnablePReLU, TemperedActivation

from harness import Fit, Forward, case

OPERATIONS = ["identity", "grad", "laplacian", "band", "integral"]


@case
@pytest.mark.parametrize("op", OPERATIONS)
def operator_block(rng, op):
    return Forward(OperatorBlock(op, base="tanh", channels=3), rng.normal(size=(4, 3)))


@case
def derivative_block(rng):
    return Forward(OperatorBlock("derivative", base="tanh", channels=3, derivative_order=3), rng.normal(size=(4, 3)))


@case
@pytest.mark.parametrize("base", ["sigmoid", "tanh", "gaussian", "softplus", "sin"])
def unit(rng, base):
    return Forward(OperatorMultiBiasUnit(3, K=3, base=base, init_delta=0.5), rng.normal(size=(4, 3)))


@case
def growable_unit(rng):
    return Forward(GrowableOperatorMultiBiasUnit(3, init_K=2, K_max=4), rng.normal(size=(4, 3)))


@case
@pytest.mark.parametrize("op", ["identity", "grad"])
def dense(rng, op):
    return Forward(cmbDense(3, op=op), rng.normal(size=(4, 5)))


@case
@pytest.mark.parametrize("padding", ["same", "valid"])
def convolution(rng, padding):
    return Forward(cmbConv1D(3, 3, padding=padding), rng.normal(size=(2, 6, 2)))


@case
def convolution_of_pictures(rng):
    return Forward(cmbConv2D(3, 3), rng.normal(size=(2, 5, 5, 2)))


@case
@pytest.mark.parametrize("order", [0, 1, 2])
def gaussian_convolution(rng, order):
    layer = AnalyticGaussianConv1D(2, 5, derivative_order=order, learnable_sigma=True)
    return Forward(layer, rng.normal(size=(2, 8, 2)))


@case
def gaussian_convolution_of_pictures(rng):
    layer = AnalyticGaussianConv2D(2, 3, derivative_order=(1, 0), learnable_sigma=True)
    return Forward(layer, rng.normal(size=(2, 6, 6, 2)))


@case
def tempered_activation(rng):
    return Forward(TemperedActivation("softplus", 2.0, learnable_beta=True), rng.normal(size=(4, 3)))


@case
def learned_prelu(rng):
    return Forward(LearnablePReLU(), rng.normal(size=(4, 3)))


@case
def in_training(rng):
    model = keras.Sequential([cmbDense(6, op="grad", base="tanh"), cmbDense(4), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(32, 3)), rng.normal(size=(32, 1)), epochs=2, batch_size=16)
