"""keras-proba: layers that know what they do not know, their losses, metrics and callback."""

import keras
import numpy as np
import pytest
from keras_proba import callbacks, layers, losses, metrics, postprocessing

from harness import Fit, Forward, case

HEADS = {
    "ClassificationHead": lambda: layers.ClassificationHead(5, 3),
    "GaussianProcessClassificationHead": lambda: layers.GaussianProcessClassificationHead(5, 3),
}

OF_FEATURES = {
    "GaussianHead": lambda: layers.GaussianHead(2),
    "MixtureGaussianHead": lambda: layers.MixtureGaussianHead(3, units=2),
    "RandomFourierFeatures": lambda: layers.RandomFourierFeatures(6, scale=2.0, trainable=True),
    "RandomFourierFeatures_laplacian": lambda: layers.RandomFourierFeatures(6, kernel_initializer="laplacian"),
    "SpectralNormalization": lambda: layers.SpectralNormalization(keras.layers.Dense(3)),
    "DenseReparameterization": lambda: layers.DenseReparameterization(3),
    "DenseLocalReparameterization": lambda: layers.DenseLocalReparameterization(3),
    "DenseFlipout": lambda: layers.DenseFlipout(3),
    "TemperatureScaling": lambda: postprocessing.TemperatureScaling(1.5),
}

OF_PICTURES = {
    "Conv2DReparameterization": lambda: layers.Conv2DReparameterization(2, 3),
    "Conv2DFlipout": lambda: layers.Conv2DFlipout(2, 3, padding="same"),
    "SpectralNormalizationConv2D": lambda: layers.SpectralNormalizationConv2D(keras.layers.Conv2D(2, 3)),
}


@case
@pytest.mark.parametrize("layer", HEADS)
def head(rng, layer):
    return Forward(HEADS[layer](), rng.normal(size=(4, 3, 6)))


@case
@pytest.mark.parametrize("layer", OF_FEATURES)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def layer_of_features(rng, layer, training):
    return Forward(OF_FEATURES[layer](), rng.normal(size=(5, 4)), training=training)


@case
@pytest.mark.parametrize("layer", OF_PICTURES)
def layer_of_pictures(rng, layer):
    return Forward(OF_PICTURES[layer](), rng.normal(size=(2, 6, 6, 3)), training=True)


@case
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("likelihood", ["gaussian", "binary_logistic"])
def gaussian_process(rng, likelihood, training):
    layer = layers.RandomFeatureGaussianProcess(1, num_inducing=8, gp_cov_likelihood=likelihood, gp_cov_momentum=0.9)
    return Forward(layer, rng.normal(size=(5, 3)), training=training)


@case
def gaussian_loss(rng):
    predicted = np.concatenate([rng.normal(size=(6, 2)), rng.uniform(0.5, 2, size=(6, 2))], axis=-1)
    return Forward(losses.GaussianNLL(), rng.normal(size=(6, 2)), predicted)


@case
def mixture_loss(rng):
    predicted = np.concatenate([rng.normal(size=(6, 3 + 6)), rng.uniform(0.5, 2, size=(6, 6))], axis=-1)
    return Forward(losses.MixtureGaussianNLL(units=2), rng.normal(size=(6, 2)), predicted)


@case
@pytest.mark.parametrize("metric", ["ExpectedCalibrationError", "BrierScore"])
def metric_of_two_batches(record, rng, metric):
    metric = getattr(metrics, metric)(from_logits=True)
    for batch in range(2):
        metric.update_state(rng.integers(0, 3, size=20), rng.normal(size=(20, 3)).astype("float32"))
        record(f"after batch {batch}", metric.result())


@case
@pytest.mark.parametrize("mode", ["projection", "reparameterization"])
def in_training(rng, mode):
    inputs = keras.Input((4,))
    hidden = layers.SpectralNormalization(keras.layers.Dense(8, activation="relu"), mode=mode)(inputs)
    outputs = layers.RandomFeatureGaussianProcess(3, num_inducing=16, return_gp_cov=False)(hidden)
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=[metrics.ExpectedCalibrationError(from_logits=True)])
    reset = callbacks.ResetCovarianceCallback()
    return Fit(model, rng.normal(size=(48, 4)), rng.integers(0, 3, size=48), epochs=2, batch_size=16, callbacks=[reset])


@case
def variational_in_training(rng):
    model = keras.Sequential([layers.DenseFlipout(8, activation="relu"), layers.DenseReparameterization(1)])
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(48, 4)), rng.normal(size=(48, 1)), epochs=2, batch_size=16)
