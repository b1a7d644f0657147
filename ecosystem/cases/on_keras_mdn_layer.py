"""keras-mdn-layer: mixture density networks: the layer, its loss, its sampling and its metric."""

import keras
import keras_mdn_layer as mdn

from harness import Fit, Forward, case


@case
def layer(rng):
    return Forward(mdn.MDN(2, 3), rng.normal(size=(5, 4)))


@case
def loss(rng):
    return Forward(mdn.get_mixture_loss_func(2, 3), rng.normal(size=(6, 2)), rng.uniform(0.5, 2, size=(6, 15)))


@case
def sampling(rng):
    keras.utils.set_random_seed(7)
    return Forward(mdn.get_mixture_sampling_fun(2, 3), rng.uniform(0.5, 2, size=(6, 15)))


@case
def in_training(rng):
    model = keras.Sequential([keras.layers.Dense(8, activation="tanh"), mdn.MDN(2, 3)])
    model.compile(optimizer="adam", loss=mdn.get_mixture_loss_func(2, 3))
    return Fit(model, rng.normal(size=(64, 3)), rng.normal(size=(64, 2)), epochs=2, batch_size=16)


@case
def in_training_with_its_metric(rng):
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.layers.Dense(8, activation="tanh"), mdn.MDN(2, 3)])
    accuracy = mdn.get_mixture_mse_accuracy(2, 3)
    model.compile(optimizer="sgd", loss=mdn.get_mixture_loss_func(2, 3), metrics=[accuracy])
    return Fit(model, rng.normal(size=(32, 3)), rng.normal(size=(32, 2)), epochs=1, batch_size=16)
