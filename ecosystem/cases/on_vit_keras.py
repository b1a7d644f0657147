"""vit-keras: the layers of a vision transformer."""

import keras
import pytest
from vit_keras import layers

from harness import Fit, Forward, case

LAYERS = {
    "ClassToken": lambda: layers.ClassToken(),
    "AddPositionEmbs": lambda: layers.AddPositionEmbs(),
    "MultiHeadSelfAttention": lambda: layers.MultiHeadSelfAttention(num_heads=2),
    "TransformerBlock": lambda: layers.TransformerBlock(num_heads=2, mlp_dim=6, dropout=0.2),
}


@case
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def layer_of_tokens(rng, layer, training):
    return Forward(LAYERS[layer](), rng.normal(size=(2, 5, 4)), training=training)


@case
def in_training(rng):
    inputs = keras.Input((8, 8, 3))
    tokens = keras.layers.Reshape((4, 6))(keras.layers.Conv2D(6, 4, strides=4)(inputs))
    tokens = layers.AddPositionEmbs()(layers.ClassToken()(tokens))
    tokens, _ = layers.TransformerBlock(num_heads=2, mlp_dim=8, dropout=0.1)(tokens)
    model = keras.Model(inputs, keras.layers.Dense(2)(tokens[:, 0]))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Fit(model, rng.normal(size=(8, 8, 8, 3)), rng.integers(0, 2, size=8), epochs=2, batch_size=4)
