"""Rounding is amplified in the first step already: data with a large offset."""

import keras

from harness import Fit, case


def spread(y, p):
    return keras.ops.mean(keras.ops.square(p - keras.ops.mean(p) - y))


def net():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), spread, metrics=["mae"])
    return model


def data(rng):
    return (1e5 + rng.normal(size=(32, 4))).astype("float32"), rng.normal(size=(32, 1)).astype("float32")


@case
def loader(rng):
    import torch

    x, y = map(torch.tensor, data(rng))
    return Fit(net(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8), epochs=1)


@case
def generator(rng):
    x, y = data(rng)

    def batches():
        for i in range(0, 32, 8):
            yield x[i : i + 8], y[i : i + 8]

    return Fit(net(), batches(), epochs=1)


@case
def arrays(rng):
    return Fit(net(), *data(rng), batch_size=8, shuffle=False)
