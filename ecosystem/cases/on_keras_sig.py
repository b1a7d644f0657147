"""keras-sig: the signature of a path, as a layer."""

import keras
import pytest
from keras_sig import SigLayer

from harness import Fit, Forward, case


@case
@pytest.mark.parametrize("options", [{}, {"stream": True}, {"unroll": True}], ids=["whole", "stream", "unrolled"])
@pytest.mark.parametrize("parallel", [False, True], ids=["scan", "parallel"])
def signature(rng, options, parallel):
    return Forward(SigLayer(depth=3, gpu_optimized=parallel, **options), rng.normal(size=(4, 10, 2)))


@case
def of_one_path(rng):
    return Forward(SigLayer(depth=2, gpu_optimized=False), rng.normal(size=(10, 3)))


@case
def in_training(rng):
    model = keras.Sequential(
        [keras.layers.Dense(3, activation="tanh"), SigLayer(depth=2, gpu_optimized=False), keras.layers.Dense(1)]
    )
    model.compile(optimizer="sgd", loss="mse")
    return Fit(model, rng.normal(size=(32, 8, 2)), rng.normal(size=(32, 1)), epochs=2, batch_size=16)
