"""A network of 20 million parameters: what recording costs."""

import time

import keras
import pytest
from keras import layers

from harness import Fit, case


class Clock(keras.callbacks.Callback):
    """Prints how long each epoch took. The first one includes compiling."""

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002 - Keras' signature
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras' signature
        print(f"epoch {epoch} took {time.perf_counter() - self.started:.4f} s", flush=True)


@case
@pytest.mark.parametrize("widths", [(4096, 3072, 1024), (512, 256, 128)], ids=["20 million", "700 thousand"])
def dense(widths, rng):
    """From 1024 numbers to 10 classes by Adam, 10 steps in each of 3 epochs."""
    model = keras.Sequential([layers.Dense(width, activation="relu") for width in widths] + [layers.Dense(10)])
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = rng.normal(size=(640, 1024)).astype("float32"), rng.integers(0, 10, size=640).astype("int32")
    return Fit(model, x, y, epochs=3, batch_size=64, verbose=0, callbacks=[Clock()])
