"""alquimodelia: a builder of networks for maps in time, and its layers."""

import pytest
from alquimodelia.builders import transformer
from alquimodelia.builders.unet import UNet

from harness import Fit, Forward, case


@case
def patches(rng):
    return Forward(transformer.Patches(2), rng.normal(size=(2, 4, 4, 3)))


@case
def tubelets(rng):
    return Forward(transformer.TubeletEmbedding(4, (1, 2, 2)), rng.normal(size=(2, 2, 4, 4, 3)))


@case
def positions(rng):
    return Forward(transformer.PositionEmbedding(), rng.normal(size=(2, 5, 4)))


@case
@pytest.mark.parametrize("attention", [False, True])
def unet(rng, attention):
    model = UNet(
        x_timesteps=1,
        y_timesteps=1,
        x_height=8,
        x_width=8,
        num_features_to_train=2,
        num_classes=1,
        n_filters=2,
        number_of_conv_layers=2,
        attention=attention,
    ).model
    return Forward(model, rng.normal(size=(1, *model.input_shape[1:])))


@case
def in_training(rng):
    sizes = {"x_timesteps": 1, "y_timesteps": 1, "x_height": 8, "x_width": 8}
    model = UNet(**sizes, num_features_to_train=2, num_classes=1, n_filters=2, number_of_conv_layers=2).model
    model.compile("adam", "mse")
    x, y = (rng.normal(size=(4, *shape[1:])) for shape in (model.input_shape, model.output_shape))
    return Fit(model, x, y, epochs=1, batch_size=2)
