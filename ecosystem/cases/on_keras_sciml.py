"""keras-sciml: differential operators, operator networks, physical constraints and losses."""

import keras
import pytest
from keras_sciml import layers, losses, models

from harness import Fit, Forward, case

OF_FIELDS = {
    "Gradient": lambda: layers.Gradient(dx=0.1),
    "Gradient_periodic": lambda: layers.Gradient(dx=0.1, boundary_condition="periodic"),
    "Laplacian": lambda: layers.Laplacian(dx=0.1),
    "Divergence": lambda: layers.Divergence(dx=0.1),
    "Curl": lambda: layers.Curl(dx=0.1),
    "SpectralConv2D": lambda: layers.SpectralConv2D(3, modes=2),
    "DirichletBC": lambda: layers.DirichletBC(0.5),
    "NeumannBC": lambda: layers.NeumannBC(0.5, dx=0.1),
    "RobinBC": lambda: layers.RobinBC(alpha=1.0, beta=0.5, value=0.3, dx=0.1),
    "PeriodicBC": lambda: layers.PeriodicBC(),
    "BoundsConstraint": lambda: layers.BoundsConstraint(-0.5, 0.5),
    "PositivityConstraint": lambda: layers.PositivityConstraint(0.1),
    "ConservationConstraint": lambda: layers.ConservationConstraint(target=1.0, dx=0.1),
    "IncompressibilityConstraint": lambda: layers.IncompressibilityConstraint(dx=0.1),
    "PoissonResidual": lambda: layers.PoissonResidual(dx=0.1),
}

OF_LINES = {
    "Gradient": lambda: layers.Gradient(dx=0.1),
    "SpectralConv1D": lambda: layers.SpectralConv1D(3, modes=3, use_bias=True),
    "SpectralConv": lambda: layers.SpectralConv(3, modes=3, rank=1),
    "BurgersResidual": lambda: layers.BurgersResidual(nu=0.1, dx=0.1),
    "DiffusionResidual": lambda: layers.DiffusionResidual(dx=0.1),
    "AdvectionResidual": lambda: layers.AdvectionResidual(dx=0.1),
}

LOSSES = {
    "RelativeL2Loss": lambda: losses.RelativeL2Loss(),
    "H1Loss": lambda: losses.H1Loss(dx=0.1),
    "PhysicsLoss": lambda: losses.PhysicsLoss(),
    "BoundaryLoss": lambda: losses.BoundaryLoss(),
    "ConservationLoss": lambda: losses.ConservationLoss(dx=0.1),
}


@case
@pytest.mark.parametrize("layer", OF_FIELDS)
def layer_of_fields(rng, layer):
    return Forward(OF_FIELDS[layer](), rng.normal(size=(2, 6, 6, 2)))


@case
@pytest.mark.parametrize("layer", OF_LINES)
def layer_of_lines(rng, layer):
    return Forward(OF_LINES[layer](), rng.normal(size=(2, 8, 2)))


@case
@pytest.mark.parametrize("include_input", [False, True])
def fourier_features(rng, include_input):
    layer = layers.FourierFeatures(6, scale=1.0, trainable_frequencies=True, include_input=include_input)
    return Forward(layer, rng.normal(size=(5, 2)))


@case
@pytest.mark.parametrize("mode", ["cartesian", "pointwise"])
def deeponet(rng, mode):
    layer = layers.DeepONet(keras.layers.Dense(4), keras.layers.Dense(4), mode=mode)
    return Forward(layer, [rng.normal(size=(5, 3)), rng.normal(size=(5, 2))])


@case
@pytest.mark.parametrize("loss", LOSSES)
def loss(rng, loss):
    return Forward(LOSSES[loss](), rng.normal(size=(2, 6, 6, 1)), rng.normal(size=(2, 6, 6, 1)))


@case
def in_training(rng):
    model = models.FNO1D(modes=3, width=4, depth=2, out_channels=1, projection_dim=6)
    model.compile("adam", losses.RelativeL2Loss())
    return Fit(model, rng.normal(size=(16, 12, 1)), rng.normal(size=(16, 12, 1)), epochs=2, batch_size=8)


@case
def pinn_in_training(rng):
    model = models.PINN(hidden_layers=2, hidden_units=6)
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(32, 2)), rng.normal(size=(32, 1)), epochs=2, batch_size=16)
