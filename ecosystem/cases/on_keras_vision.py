"""keras-vision: blocks of MobileViT and FastViT."""

import keras
import pytest
from keras_vision.fastvit import base_layers as fastvit
from keras_vision.fastvit.conv_ffn import ConvFFN
from keras_vision.fastvit.mobileone import MobileOneBlock
from keras_vision.fastvit.multihead_self_attention import MHSA
from keras_vision.fastvit.rep_cpe import RepCPE
from keras_vision.fastvit.squeeze_excite import SEBlock
from keras_vision.MobileViT_v1 import base_layers as base
from keras_vision.MobileViT_v1 import mobile_vit_v1_block as v1
from keras_vision.MobileViT_v1.multihead_self_attention_2D import MultiHeadSelfAttention
from keras_vision.MobileViT_v2 import mobile_vit_v2_block as v2
from keras_vision.MobileViT_v2.linear_attention import LinearSelfAttention

from harness import Fit, Forward, case

OF_PICTURES = {
    "ConvLayer": lambda: base.ConvLayer(4, 3, 2),
    "InvertedResidualBlock": lambda: base.InvertedResidualBlock(4, 4, 1, 2),
    "MobileViT_v1_Block": lambda: v1.MobileViT_v1_Block(4, 8, 2, 1, 2),
    "MobileViT_v2_Block": lambda: v2.MobileViT_v2_Block(4, 8, 2, 1),
    "MobileOneBlock": lambda: MobileOneBlock(4, 4, 3, padding=1),
    "RepMixer": lambda: fastvit.RepMixer(4),
    "RepMixerBlock": lambda: fastvit.RepMixerBlock(4),
    "ConvFFN": lambda: ConvFFN(4, 6),
    "MHSA": lambda: MHSA(4, 2),
    "RepCPE": lambda: RepCPE(4, 4, (3, 3)),
    "SEBlock": lambda: SEBlock(4, 0.5),
    "LayerScale": lambda: fastvit.LayerScale(0.1, (1, 1, 4)),
    "DropPath": lambda: fastvit.DropPath(0.4),
}

OF_TOKENS = {
    "MultiHeadSelfAttention": lambda: MultiHeadSelfAttention(2, 4),
    "Transformer_v1": lambda: v1.Transformer(2, 4),
}

OF_PATCHES = {
    "LinearSelfAttention": lambda: LinearSelfAttention(4),
    "Transformer_v2": lambda: v2.Transformer(4),
}


@case
@pytest.mark.parametrize("layer", OF_PICTURES)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def layer_of_pictures(rng, layer, training):
    return Forward(OF_PICTURES[layer](), rng.normal(size=(2, 6, 6, 4)), training=training)


@case
@pytest.mark.parametrize("layer", OF_TOKENS)
def layer_of_tokens(rng, layer):
    return Forward(OF_TOKENS[layer](), rng.normal(size=(2, 5, 4)))


@case
@pytest.mark.parametrize("layer", OF_PATCHES)
def layer_of_patches(rng, layer):
    return Forward(OF_PATCHES[layer](), rng.normal(size=(2, 3, 5, 4)))


@case
def in_training(rng):
    inputs = keras.Input((8, 8, 3))
    hidden = base.InvertedResidualBlock(4, 4, 1, 2)(base.ConvLayer(4, 3, 2)(inputs))
    hidden = v1.MobileViT_v1_Block(4, 4, 2, 1, 2)(hidden)
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Fit(model, rng.normal(size=(8, 8, 8, 3)), rng.integers(0, 2, size=8), epochs=1, batch_size=4)
