"""segmodels-keras: losses and metrics of segmentation, and one small network.

CategoricalCELoss, both focal losses and what is told the indexes of classes are left out: they call `keras.ops.epsilon`
and `keras.ops.permute_dimensions`, which Keras 3 has not, on every backend alike.
"""

import keras
import numpy as np
import pytest
from segmodels_keras import losses, metrics

from harness import Fit, Forward, case

LOSSES = {
    "JaccardLoss": lambda: losses.JaccardLoss(),
    "JaccardLoss_weights": lambda: losses.JaccardLoss(class_weights=np.array([1.0, 2.0, 0.5], "float32")),
    "DiceLoss": lambda: losses.DiceLoss(),
    "DiceLoss_image": lambda: losses.DiceLoss(beta=2, per_image=True),
    "BinaryCELoss": lambda: losses.BinaryCELoss(),
    "sum": lambda: losses.DiceLoss() + 2.0 * losses.BinaryCELoss(),
}

METRICS = {
    "IOUScore": lambda: metrics.IOUScore(threshold=0.4),
    "IOUScore_image": lambda: metrics.IOUScore(per_image=True),
    "FScore": lambda: metrics.FScore(beta=2, threshold=0.4),
    "Precision": lambda: metrics.Precision(threshold=0.4),
    "Recall": lambda: metrics.Recall(),
}


def masks(rng):
    return np.eye(3, dtype="float32")[rng.integers(0, 3, size=(2, 5, 5))]


@case
@pytest.mark.parametrize("loss", LOSSES)
def loss(rng, loss):
    return Forward(LOSSES[loss](), masks(rng), rng.dirichlet(np.ones(3), size=(2, 5, 5)))


@case
@pytest.mark.parametrize("metric", METRICS)
def metric(rng, metric):
    return Forward(METRICS[metric](), masks(rng), rng.dirichlet(np.ones(3), size=(2, 5, 5)))


@case
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def in_training(rng, activation):
    layers = [keras.layers.Conv2D(4, 3, padding="same", activation="relu"), keras.layers.Conv2D(3, 1)]
    model = keras.Sequential([*layers, keras.layers.Activation(activation)])
    model.compile("adam", losses.DiceLoss() + losses.BinaryCELoss(), metrics=[metrics.IOUScore(threshold=0.5)])
    labels = np.eye(3, dtype="float32")[rng.integers(0, 3, size=(16, 5, 5))]
    return Fit(model, rng.normal(size=(16, 5, 5, 2)), labels, epochs=2, batch_size=8)
