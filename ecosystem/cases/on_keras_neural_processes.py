"""keras-neural-processes: encoders, aggregators and the decoder of neural processes.

Its models train themselves with TensorFlow's own tape and distributions, on whichever backend Keras has.
So the training here is of a model that is made of its layers.
"""

import keras
import pytest
from knp import models

from harness import Fit, Forward, case


def network(units):
    return keras.Sequential([keras.layers.Dense(5, activation="relu"), keras.layers.Dense(units)])


@case
@pytest.mark.parametrize("how", ["mean", "max", "sum"])
def simple_aggregator(rng, how):
    return Forward(models.SimpleAggregator(how), rng.normal(size=(2, 5, 3)))


@case
def deterministic_encoder(rng):
    layer = models.DeterministicEncoder(network(4), models.SimpleAggregator("mean"))
    return Forward(layer, rng.normal(size=(2, 5, 1)), rng.normal(size=(2, 5, 1)))


@case
def decoder(rng):
    return Forward(models.Decoder(network(2)), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 1)))


@case
def in_training(rng):
    x, y, target = keras.Input((5, 1)), keras.Input((5, 1)), keras.Input((1, 1))
    encoded = models.DeterministicEncoder(network(4), models.SimpleAggregator("mean"))(x, y)
    mean, _ = models.Decoder(network(2))(encoded, target)
    model = keras.Model([x, y, target], mean)
    model.compile("adam", "mse")
    inputs = [rng.normal(size=(16, 5, 1)), rng.normal(size=(16, 5, 1)), rng.normal(size=(16, 1, 1))]
    return Fit(model, inputs, rng.normal(size=(16, 1, 1)), epochs=2, batch_size=8)
