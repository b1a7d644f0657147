"""keras-hub: the layers that its models are made of, and a metric."""

import keras
import pytest
from keras_hub import layers, metrics

from harness import Fit, Forward, case

OF_SEQUENCES = {
    "FNetEncoder": lambda: layers.FNetEncoder(6, dropout=0.1),
    "TransformerEncoder": lambda: layers.TransformerEncoder(6, 2, dropout=0.1),
    "TransformerDecoder": lambda: layers.TransformerDecoder(6, 2),
    "PositionEmbedding": lambda: layers.PositionEmbedding(8),
    "RotaryEmbedding": lambda: layers.RotaryEmbedding(),
    "SinePositionEncoding": lambda: layers.SinePositionEncoding(),
    "RMSNormalization": lambda: layers.RMSNormalization(4),
}


@case
@pytest.mark.parametrize("layer", OF_SEQUENCES)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def layer_of_sequences(rng, layer, training):
    return Forward(OF_SEQUENCES[layer](), rng.normal(size=(2, 6, 4)), training=training)


@case
def alibi_bias(rng):
    return Forward(layers.AlibiBias(), rng.normal(size=(2, 2, 5, 5)))


@case
def cached_attention(rng):
    return Forward(layers.CachedMultiHeadAttention(2, 3), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 6, 4)))


@case
def masked_words(rng):
    layer = layers.MaskedLMHead(vocabulary_size=7)
    return Forward(layer, rng.normal(size=(2, 6, 4)), mask_positions=rng.integers(0, 6, size=(2, 3)))


@case
@pytest.mark.parametrize("tied", [False, True])
def words(rng, tied):
    layer = layers.TokenAndPositionEmbedding(9, 6, 4, tie_weights=tied, mask_zero=True)
    return Forward(layer, rng.integers(0, 9, size=(2, 6)))


@case
def perplexity(record, rng):
    metric = metrics.Perplexity(from_logits=True, mask_token_id=0)
    for batch in range(2):
        metric.update_state(rng.integers(0, 5, size=(2, 6)), rng.normal(size=(2, 6, 5)).astype("float32"))
        record(f"after batch {batch}", metric.result())


@case
def in_training(rng):
    inputs = keras.Input((6,), dtype="int32")
    hidden = layers.TokenAndPositionEmbedding(9, 6, 4)(inputs)
    hidden = layers.TransformerDecoder(6, 2, dropout=0.1)(layers.TransformerEncoder(6, 2)(hidden))
    model = keras.Model(inputs, keras.layers.Dense(9)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, weighted_metrics=[metrics.Perplexity(from_logits=True)])
    return Fit(model, rng.integers(1, 9, size=(16, 6)), rng.integers(0, 9, size=(16, 6)), epochs=2, batch_size=8)
