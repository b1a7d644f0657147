"""kerex: Fourier layers, attention, wrappers, autoencoders and callbacks.

SpatialAttention, ChannelAttention, FiLM and TemporalSlice are left out: they cannot be built, on every backend alike.
"""

import keras
import pytest
from kerex import layers, models
from kerex.callbacks import LRCSVLogger, ThresholdEarlyStopping, WeightNormLogger

from harness import Expected, Fit, Forward, case

OF_LINES = {
    "FNO1D": lambda: layers.FNO1D(4, 3),
    "AttentionPooling1D": lambda: layers.AttentionPooling1D(2, num_heads=2),
    "ChannelAttentionModule1D": lambda: layers.ChannelAttentionModule1D(reduction_ratio=2),
    "SmoothUpSampling1D": lambda: layers.SmoothUpSampling1D(3, 3, padding="same"),
    "FFTUpSampling1D": lambda: layers.FFTUpSampling1D(size=2),
    "Residual": lambda: layers.Residual(keras.layers.Conv1D(4, 3, padding="same")),
}

OF_PICTURES = {
    "FNO2D": lambda: layers.FNO2D(4, 3),
    "AttentionPooling2D": lambda: layers.AttentionPooling2D(2, num_heads=2),
    "ChannelAttentionModule2D": lambda: layers.ChannelAttentionModule2D(reduction_ratio=2),
    "SmoothUpSampling2D": lambda: layers.SmoothUpSampling2D(3, 3, padding="same"),
    "FFTUpSampling2D": lambda: layers.FFTUpSampling2D(size=2),
    "CBAM": lambda: layers.CBAM(keras.layers.Conv2D(4, 3, padding="same"), reduction_ratio=2),
}


@case
@pytest.mark.parametrize("layer", OF_LINES)
def layer_of_lines(rng, layer):
    return Forward(OF_LINES[layer](), rng.normal(size=(2, 8, 4)))


@case
@pytest.mark.parametrize("layer", OF_PICTURES)
def layer_of_pictures(rng, layer):
    return Forward(OF_PICTURES[layer](), rng.normal(size=(2, 8, 8, 4)))


@case(expect={"jax": Expected("mismatch", reason="its weights get gradients on jax alone", where="gradient/*")})
def weight_normalization(rng):
    return Forward(layers.WeightNormalization(keras.layers.Dense(3)), rng.normal(size=(4, 5)))


@case
def attention_gate(rng):
    return Forward(layers.AttentionGate(), [rng.normal(size=(2, 4, 4, 3)), rng.normal(size=(2, 4, 4, 3))])


@case
def in_training(rng):
    model = models.NeuralOperator1D([4, 4], 3)
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(16, 12, 2)), rng.normal(size=(16, 12, 4)), epochs=2, batch_size=8)


@case
def unet_in_training(rng):
    model = models.Unet1D([4, 6], kernel_size=3)
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(8, 16, 4)), rng.normal(size=(8, 16, 4)), epochs=2, batch_size=4)


@case
def callbacks_in_training(rng, tmp_path):
    model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    callbacks = [
        LRCSVLogger(str(tmp_path / "log.csv")),
        WeightNormLogger(str(tmp_path / "norms.csv")),
        ThresholdEarlyStopping(monitor="loss", threshold=0.1),
    ]
    return Fit(model, rng.normal(size=(16, 3)), rng.normal(size=(16, 1)), epochs=3, batch_size=8, callbacks=callbacks)
