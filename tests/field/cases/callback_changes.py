"""Callbacks that do something else on one backend, or the same on all."""

import keras

from harness import Fit, case

BACKEND = keras.backend.backend()


def trained(rng, callbacks):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    x, y = rng.normal(size=(48, 8)).astype("float32"), rng.normal(size=(48, 1)).astype("float32")
    return Fit(model, x, y, epochs=2, batch_size=16, validation_split=0.25, callbacks=callbacks)


class Clip(keras.callbacks.Callback):
    """Clips the weights after one batch, on jax alone."""

    def on_train_batch_end(self, batch, logs=None):
        if BACKEND == "jax" and batch == 1:
            for weight in self.model.trainable_variables:
                weight.assign(keras.ops.clip(weight.value, -0.1, 0.1))


class Rename(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs["error" if BACKEND == "torch" else "mistake"] = logs["loss"]


class Reads(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        assert logs["loss"] > 0


@case
def weights(rng):
    return trained(rng, [Reads(), Clip()])


@case
def logs(rng):
    return trained(rng, [Rename()])


@case
def missing(rng):
    return trained(rng, [Reads()] if BACKEND == "tensorflow" else [Reads(), Rename()])


@case
def all_the_same(rng):
    schedule = keras.callbacks.LearningRateScheduler(lambda _, rate: rate * 0.5)
    best = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    average = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logs.update(twice=2 * logs["loss"]))
    return trained(rng, [schedule, [best, average], Reads()])
