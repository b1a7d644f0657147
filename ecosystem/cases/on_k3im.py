"""k3im: image models as layers: tokens, patches, mixers, stochastic depth."""

import keras
import pytest
from k3im import cait, cct, cct_1d, eanet, fnet, focalnet, gmlp, gmlp_1d, mlp_mixer, mlp_mixer_1d, vit

from harness import Expected, Fit, Forward, case

OF_TOKENS = {
    "PositionEmb": lambda: cait.PositionEmb(6, 4),
    "CLS_Token": lambda: cait.CLS_Token(4),
    "PositionEmbedding": lambda: cct.PositionEmbedding(6),
    "SequencePooling": lambda: cct.SequencePooling(),
    "FNetLayer": lambda: fnet.FNetLayer(4, 0.2),
    "gMLPLayer": lambda: gmlp.gMLPLayer(6, 4, 0.2),
    "gMLPLayer_1d": lambda: gmlp_1d.gMLPLayer(6, 4, 0.2),
    "MLPMixerLayer": lambda: mlp_mixer_1d.MLPMixerLayer(6, 4, 0.2),
    "LayerScale": lambda: focalnet.LayerScale(0.1, 4),
}

OF_PICTURES = {
    "Patches": lambda: fnet.Patches(2),
    "CCTTokenizer": lambda: cct.CCTTokenizer(3, 1, 1, n_output_channels=[4]),
    "FocalModulation": lambda: focalnet.FocalModulation(4, 3, 2, prefix="focal"),
    "PatchExtract": lambda: eanet.PatchExtract(2),
}

DEPTHS = {
    "cct": lambda: cct.StochasticDepth(0.5),
    "cct_1d": lambda: cct_1d.StochasticDepth(0.5),
    "focalnet": lambda: focalnet.StochasticDepth(0.5),
    "mlp_mixer": lambda: mlp_mixer.DropPath(0.5, seed=3),
}


@case
@pytest.mark.parametrize("layer", OF_TOKENS)
def layer_of_tokens(rng, layer):
    return Forward(OF_TOKENS[layer](), rng.normal(size=(2, 6, 4)))


@case
@pytest.mark.parametrize("layer", OF_PICTURES)
def layer_of_pictures(rng, layer):
    return Forward(OF_PICTURES[layer](), rng.normal(size=(2, 4, 4, 4)))


@case
@pytest.mark.parametrize("layer", DEPTHS)
def stochastic_depth(rng, layer):
    return Forward(DEPTHS[layer](), rng.normal(size=(8, 3, 2)), training=True)


def trained(rng, layer):
    inputs = keras.Input((3, 4))
    hidden = inputs + layer(keras.layers.Dense(4)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(hidden)))
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(32, 3, 4)), rng.normal(size=(32, 1)), epochs=2, batch_size=8)


@case
@pytest.mark.parametrize("layer", ["cct", "focalnet", "mlp_mixer"])
def stochastic_depth_in_training(rng, layer):
    return trained(rng, DEPTHS[layer]())


@case(expect={"jax": Expected("divergent", reason="its seed generator is the module's: the mask stays that of step 0")})
def stochastic_depth_of_cct_1d_in_training(rng):
    return trained(rng, cct_1d.StochasticDepth(0.5))


@case
def in_training(rng):
    model = vit.ViT((8, 8), (4, 4), num_classes=2, dim=4, depth=1, heads=2, mlp_dim=6, dim_head=2)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Fit(model, rng.normal(size=(8, 8, 8, 3)), rng.integers(0, 2, size=8), epochs=1, batch_size=4)
