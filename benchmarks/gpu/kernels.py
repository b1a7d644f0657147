"""Kernels that may add in another order each time, a fault among them, and what turns order into another value."""

import keras
import numpy as np
from keras import layers, ops

from harness import Fit, Forward, case, value_and_grad


def sums(values, rng):
    """Of values in a hundred places. On torch this is `scatter_reduce`, which Keras calls in float32 alone."""
    places = ops.convert_to_tensor(rng.integers(0, 100, size=len(values)).astype("int32"))
    return ops.segment_sum(ops.convert_to_tensor(values), places, num_segments=100)


def added(values, rng):
    """The same by `index_put_` on torch, in any precision."""
    places = ops.convert_to_tensor(rng.integers(0, 100, size=(len(values), 1)).astype("int32"))
    return ops.scatter_update(ops.zeros(100, dtype=values.dtype), places, values, reduction="add")


@case
def scatter_add(record, rng):
    values = rng.normal(size=1_000_000).astype("float32")
    record("sums", sums(values, rng))
    record("added", added(ops.convert_to_tensor(values, dtype=keras.config.floatx()), rng))


@case
def embedding(rng):
    """Its gradient is a sum over the rows that were looked up."""
    model = keras.Sequential([layers.Embedding(50, 32), layers.GlobalAveragePooling1D(), layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    words, y = rng.integers(0, 50, size=(256, 64)), rng.normal(size=(256, 1))
    return Fit(model, words.astype("int32"), y.astype("float32"), epochs=2, batch_size=64, verbose=0)


@case
def large_reductions(record, rng):
    values = ops.convert_to_tensor(rng.normal(size=10_000_000).astype("float32"), dtype=keras.config.floatx())
    record("sum, mean, deviation", [ops.sum(values), ops.mean(values), ops.std(values)])
    _, gradient = value_and_grad(lambda x: ops.logsumexp(x), values[:1_000_000])
    record("gradient of logsumexp", gradient)


@case
def convolution_backward(rng):
    return Forward(layers.Conv2D(64, 3, padding="same"), rng.normal(size=(16, 48, 48, 32)).astype("float32"))


@case
def fault_among_them(target, rng):
    """One part in ten thousand too much on jax, after a sum whose order may vary: divergent, and no chance."""
    factor = 1.0001 if target.backend == "jax" else 1.0
    values = rng.normal(size=200_000).astype("float32")
    return Forward(lambda x: added(x, np.random.default_rng(0)) * factor, values)


@case
def last_bits(record, rng):
    """The last bits of sums: what does not repeat itself has others each time, which is no difference of functions."""
    computed = ops.convert_to_numpy(sums(rng.normal(size=1_000_000).astype("float32"), rng))
    record("bits", (np.asarray(computed, dtype="float32").view("int32") & 7).tolist())
