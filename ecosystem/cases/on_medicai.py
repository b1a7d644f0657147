"""medicai: blocks, losses and metrics of medical images."""

import keras
import numpy as np
import pytest
from medicai import blocks, layers, losses, metrics

from harness import Fit, Forward, case

OF_PICTURES = {
    "UNetBasicBlock": lambda: blocks.UNetBasicBlock(3, norm_name="batch"),
    "UNetResBlock": lambda: blocks.UNetResBlock(3),
    "UNETRBasicBlock": lambda: blocks.UNETRBasicBlock(3),
    "SqueezeExcitation": lambda: layers.SqueezeExcitation(2),
    "AtrousSpatialPyramidPooling": lambda: layers.AtrousSpatialPyramidPooling([1, 2], 3),
    "AdaptiveAveragePooling2D": lambda: layers.AdaptiveAveragePooling2D((2, 3)),
    "AdaptiveMaxPooling2D": lambda: layers.AdaptiveMaxPooling2D(2),
    "ResizingND_nearest": lambda: layers.ResizingND(scale_factor=(2, 2)),
    "ResizingND_fraction": lambda: layers.ResizingND(scale_factor=(1.25, 1.25)),
    "ResizingND_bilinear": lambda: layers.ResizingND(scale_factor=(2, 2), interpolation="bilinear"),
}

OF_VOLUMES = {
    "SeparableConv3D": lambda: layers.SeparableConv3D(3, 3),
    "DepthwiseConv3D": lambda: layers.DepthwiseConv3D(3),
    "AdaptiveAveragePooling3D": lambda: layers.AdaptiveAveragePooling3D(2),
    "ResizingND_corners": lambda: layers.ResizingND((5, 3, 7), interpolation="trilinear", align_corners=True),
    "ResizingND_trilinear": lambda: layers.ResizingND(scale_factor=(2, 2, 2), interpolation="trilinear"),
}

OF_TOKENS = {
    "ViTMLP": lambda: layers.ViTMLP(6, 4, 0.2),
    "DropPath": lambda: layers.DropPath(0.4, seed=3),
    "EfficientPairedAttention": lambda: layers.EfficientPairedAttention(6, 4, 3, num_heads=2),
}

LOSSES = [
    "BinaryDiceLoss",
    "BinaryDiceCELoss",
    "BinaryIoULoss",
    "BinaryTverskyLoss",
    "BinaryGeneralizedDiceLoss",
    "BinaryCenterlineDiceLoss",
    "CategoricalDiceLoss",
    "CategoricalDiceCELoss",
    "CategoricalIoULoss",
    "CategoricalTverskyLoss",
    "CategoricalGeneralizedDiceLoss",
]


@case
@pytest.mark.parametrize("layer", OF_PICTURES)
def layer_of_pictures(rng, layer):
    return Forward(OF_PICTURES[layer](), rng.normal(size=(2, 6, 6, 4)), training=True)


@case
@pytest.mark.parametrize("layer", OF_VOLUMES)
def layer_of_volumes(rng, layer):
    return Forward(OF_VOLUMES[layer](), rng.normal(size=(1, 4, 4, 4, 2)))


@case
@pytest.mark.parametrize("layer", OF_TOKENS)
def layer_of_tokens(rng, layer):
    return Forward(OF_TOKENS[layer](), rng.normal(size=(4, 6, 4)), training=True)


@case
@pytest.mark.parametrize("loss", LOSSES)
def loss_of_pictures(rng, loss):
    masks = np.eye(3, dtype="float32")[rng.integers(0, 3, size=(2, 6, 6))]
    return Forward(getattr(losses, loss)(from_logits=True, num_classes=3), masks, rng.normal(size=(2, 6, 6, 3)))


@case
@pytest.mark.parametrize("loss", ["SparseDiceLoss", "SparseIoULoss", "SparseTverskyLoss", "SparseDiceCELoss"])
def loss_of_labels(rng, loss):
    labels = rng.integers(0, 3, size=(2, 6, 6, 1)).astype("float32")
    return Forward(getattr(losses, loss)(from_logits=True, num_classes=3), labels, rng.normal(size=(2, 6, 6, 3)))


@case
@pytest.mark.parametrize("metric", ["BinaryDiceMetric", "CategoricalDiceMetric"])
def metric_of_two_batches(record, rng, metric):
    metric = getattr(metrics, metric)(from_logits=True, num_classes=3)
    for batch in range(2):
        masks = np.eye(3, dtype="float32")[rng.integers(0, 3, size=(2, 6, 6))]
        metric.update_state(masks, rng.normal(size=(2, 6, 6, 3)).astype("float32"))
        record(f"after batch {batch}", metric.result())


@case
def in_training(rng):
    inputs = keras.Input((8, 8, 2))
    hidden = blocks.UNetResBlock(4)(inputs)
    outputs = keras.layers.Conv2D(3, 1)(layers.SqueezeExcitation(2)(hidden))
    model = keras.Model(inputs, outputs)
    model.compile("adam", losses.CategoricalDiceCELoss(from_logits=True, num_classes=3))
    masks = np.eye(3, dtype="float32")[rng.integers(0, 3, size=(8, 8, 8))]
    return Fit(model, rng.normal(size=(8, 8, 8, 2)), masks, epochs=2, batch_size=4)
