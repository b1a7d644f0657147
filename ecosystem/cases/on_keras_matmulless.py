"""keras-matmulless: layers whose weights are rounded to -1, 0 and 1."""

import keras
import pytest
from keras_mml import layers

from harness import Fit, Forward, case

OF_SEQUENCES = {
    "DenseMML": lambda: layers.DenseMML(3, use_bias=True),
    "GLUMML": lambda: layers.GLUMML(3, intermediate_size=6),
    "SwiGLUMML": lambda: layers.SwiGLUMML(3, intermediate_size=6),
    "RMSNorm": lambda: layers.RMSNorm(),
    "GRUMML": lambda: layers.GRUMML(4),
    "GRUMML_fully": lambda: layers.GRUMML(4, fully_mml=True, num_heads=2),
    "LRUMML": lambda: layers.LRUMML(4, 3),
    "AttentionMML": lambda: layers.AttentionMML(2, 4),
    "TransformerBlockMML": lambda: layers.TransformerBlockMML(4, 8, 2),
}


@case
@pytest.mark.parametrize("layer", OF_SEQUENCES)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def layer_of_sequences(rng, layer, training):
    return Forward(OF_SEQUENCES[layer](), rng.normal(size=(2, 5, 4)), training=training)


@case
def tokens(rng):
    layer = layers.TokenEmbedding(6, 9, 4, with_positions=True)
    return Forward(layer, rng.integers(0, 9, size=(2, 6)))


@case
def patches(rng):
    return Forward(layers.Patches(2), rng.normal(size=(2, 4, 4, 3)))


@case
def in_training(rng):
    model = keras.Sequential([layers.DenseMML(8, activation="relu"), layers.DenseMML(4), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(32, 4)), rng.normal(size=(32, 1)), epochs=2, batch_size=16)


@case
def recurrent_in_training(rng):
    model = keras.Sequential([layers.GRUMML(4), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(16, 5, 3)), rng.normal(size=(16, 1)), epochs=1, batch_size=8)
