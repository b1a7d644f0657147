"""mingru-keras: a gated recurrent unit that is computed by a parallel scan."""

import keras
import pytest
from mingru_keras import MinGRU

from harness import Fit, Forward, case


@case
@pytest.mark.parametrize("steps", [1, 7, 8])
def scan(rng, steps):
    return Forward(MinGRU(5), rng.normal(size=(3, steps, 4)))


@case
def in_training(rng):
    model = keras.Sequential([MinGRU(6), MinGRU(4), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return Fit(model, rng.normal(size=(32, 9, 3)), rng.normal(size=(32, 1)), epochs=2, batch_size=16)
