"""keras-bio: language models of proteins and DNA, and the geometry of folding."""

import keras
import numpy as np
import pytest
from keras_bio.dna.hyena import config as hyena_config
from keras_bio.dna.hyena import layers as hyena
from keras_bio.protein.esm2 import ESM2Config, ESM2ForSequenceClassification
from keras_bio.protein.esm2 import layers as esm2
from keras_bio.protein.prot_t5 import layers as prot_t5
from keras_bio.structure.esmfold import layers as esmfold

from harness import Fit, Forward, case

ESM2 = ESM2Config(vocab_size=33, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12)
HYENA = hyena_config.HyenaDNAConfig(d_model=6, n_layer=1, d_inner=12, max_seq_len=20, filter_order=8)

OF_SEQUENCES = {
    "ESM2SelfAttention": lambda: esm2.ESM2SelfAttention(ESM2),
    "ESM2FeedForward": lambda: esm2.ESM2FeedForward(ESM2),
    "ESM2EncoderLayer": lambda: esm2.ESM2EncoderLayer(ESM2),
    "ProtT5LayerNorm": lambda: prot_t5.ProtT5LayerNorm(),
    "ProtT5SelfAttentionLayer": lambda: prot_t5.ProtT5SelfAttentionLayer(8, 4, 2),
    "ProtT5EncoderBlock": lambda: prot_t5.ProtT5EncoderBlock(8, 4, 2, 12),
    "ProtT5DenseGatedDense": lambda: prot_t5.ProtT5DenseGatedDense(8, 12),
    "EsmFoldSelfAttention": lambda: esmfold.EsmFoldSelfAttention(8, 2, 4, gated=True),
    "EsmFoldSequenceToPair": lambda: esmfold.EsmFoldSequenceToPair(8, 4, 5),
    "EsmFoldResidueMLP": lambda: esmfold.EsmFoldResidueMLP(8, 12),
    "EsmFoldBackboneUpdate": lambda: esmfold.EsmFoldBackboneUpdate(8),
    "LDDTHead": lambda: esmfold.LDDTHead(8, 6, lddt_bins=5),
}

OF_PAIRS = {
    "EsmFoldPairToSequence": lambda: esmfold.EsmFoldPairToSequence(6, 2),
    "EsmFoldTriangleMultiplicativeUpdate": lambda: esmfold.EsmFoldTriangleMultiplicativeUpdate(6),
    "EsmFoldTriangleMultiplicativeUpdate_incoming": lambda: esmfold.EsmFoldTriangleMultiplicativeUpdate(6, False),
    "EsmFoldTriangleAttention": lambda: esmfold.EsmFoldTriangleAttention(6, 3, 2),
}


@case
@pytest.mark.parametrize("layer", OF_SEQUENCES)
def layer_of_sequences(rng, layer):
    return Forward(OF_SEQUENCES[layer](), rng.normal(size=(2, 5, 8)))


@case
@pytest.mark.parametrize("layer", OF_PAIRS)
def layer_of_pairs(rng, layer):
    return Forward(OF_PAIRS[layer](), rng.normal(size=(1, 4, 4, 6)))


@case
@pytest.mark.parametrize("layer", ["HyenaSin", "HyenaOperator", "HyenaMlp", "HyenaBlock"])
def hyena_layer(rng, layer):
    return Forward(getattr(hyena, layer)(HYENA), rng.normal(size=(2, 7, 8 if layer == "HyenaSin" else 6)))


@case
def rotary_embedding(rng):
    return Forward(esm2.ESM2RotaryEmbedding(4), rng.normal(size=(1, 5, 2, 4)))


@case
def relative_positions():
    return Forward(esmfold.EsmFoldRelativePosition(4, 5), np.arange(6, dtype="int32")[None])


@case
def angles(rng):
    layer = esmfold.EsmFoldAngleResnet(6, 5, 1, num_angles=3)
    return Forward(layer, rng.normal(size=(1, 4, 6)), rng.normal(size=(1, 4, 6)))


@case
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def in_training(rng, optimizer):
    inputs = keras.Input((6,), dtype="int32")
    model = keras.Model(inputs, ESM2ForSequenceClassification(ESM2)(inputs)["logits"])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Fit(model, rng.integers(4, 24, size=(16, 6)), rng.integers(0, 2, size=16), epochs=2, batch_size=8)
