"""qkeras-v3: layers whose weights and activations are quantized."""

import keras
import numpy as np
import pytest
import qkeras

from harness import Fit, Forward, case

QUANTIZERS = [
    "quantized_bits(4,0,1)",
    "quantized_bits(4,0,1,alpha='auto')",
    "quantized_bits(4,0,1,alpha='auto_po2')",
    "quantized_linear(4,0,1)",
    "quantized_relu(4,1)",
    "quantized_tanh(4)",
    "quantized_sigmoid(4)",
    "quantized_ulaw(4,1)",
    "quantized_po2(4,1)",
    "quantized_relu_po2(4,1)",
    "binary(alpha=1)",
    "binary(alpha='auto')",
    "ternary(alpha=1)",
    "ternary(alpha='auto')",
    "hard_sigmoid",
]

WEIGHTS = "quantized_bits(4,0,1,alpha=1)"

OF_PICTURES = {
    "QConv2D": lambda: qkeras.QConv2D(3, 3, kernel_quantizer=WEIGHTS, bias_quantizer=WEIGHTS),
    "QDepthwiseConv2D": lambda: qkeras.QDepthwiseConv2D(3, depthwise_quantizer=WEIGHTS, bias_quantizer=WEIGHTS),
    "QConv2DTranspose": lambda: qkeras.QConv2DTranspose(3, 3, kernel_quantizer=WEIGHTS, bias_quantizer=WEIGHTS),
    "QSeparableConv2D": lambda: qkeras.QSeparableConv2D(
        3, 3, depthwise_quantizer=WEIGHTS, pointwise_quantizer=WEIGHTS, bias_quantizer=WEIGHTS
    ),
    "QAveragePooling2D": lambda: qkeras.QAveragePooling2D(2, average_quantizer=WEIGHTS),
    "QGlobalAveragePooling2D": lambda: qkeras.QGlobalAveragePooling2D(average_quantizer=WEIGHTS),
}

RECURRENT = {
    "QSimpleRNN": lambda **options: qkeras.QSimpleRNN(3, **options),
    "QLSTM": lambda **options: qkeras.QLSTM(3, **options),
    "QGRU": lambda **options: qkeras.QGRU(3, **options),
}


@case
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def quantized(rng, quantizer):
    return Forward(qkeras.QActivation(quantizer), rng.normal(size=(4, 5)))


@case
@pytest.mark.parametrize("quantizer", ["quantized_bits(4,0,1)", "quantized_relu(4,1)", "ternary(alpha=1)"])
def at_halves(quantizer):
    return Forward(qkeras.QActivation(quantizer), np.arange(-8, 9)[None] / 16)


@case
@pytest.mark.parametrize("quantizer", [WEIGHTS, "ternary(alpha=1)", "binary(alpha=1)", "quantized_po2(4,1)"])
def dense(rng, quantizer):
    layer = qkeras.QDense(3, kernel_quantizer=quantizer, bias_quantizer=WEIGHTS)
    return Forward(layer, rng.normal(size=(4, 5)))


@case
@pytest.mark.parametrize("layer", OF_PICTURES)
def layer_of_pictures(rng, layer):
    return Forward(OF_PICTURES[layer](), rng.normal(size=(2, 6, 6, 2)), training=True)


@case
def batch_normalization(rng):
    return Forward(qkeras.QBatchNormalization(), rng.normal(size=(6, 4)), training=True)


@case
@pytest.mark.parametrize("layer", RECURRENT)
def recurrent(rng, layer):
    layer = RECURRENT[layer](kernel_quantizer=WEIGHTS, recurrent_quantizer=WEIGHTS, bias_quantizer=WEIGHTS)
    return Forward(layer, rng.normal(size=(2, 4, 3)))


@case
def adaptive_activation(rng):
    return Forward(qkeras.QAdaptiveActivation("quantized_relu", 4), rng.normal(size=(4, 5)), training=True)


@case
def in_training(rng):
    layers = [
        qkeras.QDense(8, kernel_quantizer=WEIGHTS, bias_quantizer=WEIGHTS),
        qkeras.QActivation("quantized_relu(4)"),
    ]
    model = keras.Sequential([*layers, qkeras.QDense(1, kernel_quantizer="ternary(alpha=1)", bias_quantizer=WEIGHTS)])
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(32, 4)), rng.normal(size=(32, 1)), epochs=2, batch_size=16)
