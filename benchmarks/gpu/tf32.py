"""TF32 by default, on and off: what computes in it is imprecise, and nothing is where it is off."""

import keras
import numpy as np
import pytest
from keras import layers

from harness import Fit, Forward, case

each_way = pytest.mark.parametrize("tf32", ["default", "on", "on for all", "off"])


def switch(target, tf32):
    """Throw the backend's switch, by the calls that its users know. `on for all` is what torch has from 2.9 on."""
    if tf32 == "default" or target.kind == "cpu":
        return
    if target.backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest" if tf32 == "off" else "tensorfloat32")
    elif target.backend == "torch":
        import torch

        if tf32 == "on for all":
            torch.backends.fp32_precision = "tf32"
        else:
            torch.set_float32_matmul_precision("highest" if tf32 == "off" else "high")
            torch.backends.cudnn.allow_tf32 = tf32 == "on"


@case
@each_way
def matmul(tf32, target, rng):
    switch(target, tf32)
    return Forward(layers.Dense(256), rng.normal(size=(128, 512)).astype("float32"))


@case
@each_way
def convolution(tf32, target, rng):
    switch(target, tf32)
    return Forward(layers.Conv2D(32, 3), rng.normal(size=(8, 24, 24, 32)).astype("float32"))


@case
@each_way
def recurrence(tf32, target, rng):
    switch(target, tf32)
    return Forward(layers.LSTM(64), rng.normal(size=(16, 12, 64)).astype("float32"))


@case
@each_way
def training(tf32, target, rng):
    switch(target, tf32)
    model = keras.Sequential(
        [
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    x, y = rng.normal(size=(128, 16, 16, 3)), rng.normal(size=(128, 1))
    return Fit(model, x.astype("float32"), np.tanh(y).astype("float32"), epochs=2, batch_size=32, verbose=0)
