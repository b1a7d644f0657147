"""Callbacks that differ on one backend: their order, and what one of them does to the learning rate."""

import keras

from harness import Fit, case

BACKEND = keras.backend.backend()


class Smooth(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs["smooth_loss"] = 0.9 * logs["loss"]


class Reader(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(logs.get("smooth_loss"))


class Halve(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 or BACKEND == "tensorflow":
            rate = self.model.optimizer.learning_rate
            rate.assign(float(keras.ops.convert_to_numpy(rate)) * 0.5)


def trained(rng, callbacks):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    x, y = rng.normal(size=(64, 8)).astype("float32"), rng.normal(size=(64, 1)).astype("float32")
    return Fit(model, x, y, epochs=3, batch_size=16, callbacks=callbacks)


@case
def order(rng):
    pair = [Smooth(), Reader()]
    return trained(rng, pair[::-1] if BACKEND == "jax" else pair)


@case
def rate(rng):
    return trained(rng, [Halve()])
