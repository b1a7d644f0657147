"""Pipelines that give other batches: on one backend, or in each run."""

import keras
import numpy as np

from harness import Fit, case

BACKEND = keras.backend.backend()


def model():
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    net.compile("adam", "mse")
    return net


def arrays(rng):
    return rng.normal(size=(24, 3)).astype("float32"), rng.normal(size=(24, 1)).astype("float32")


class Sliced(keras.utils.PyDataset):
    """Batches of arrays, in an order."""

    def __init__(self, x, y, order):
        super().__init__()
        self.x, self.y, self.order = x, y, order

    def __len__(self):
        return len(self.order)

    def __getitem__(self, index):
        rows = slice(4 * self.order[index], 4 * self.order[index] + 4)
        return {"b": self.x[rows], "a": self.x[rows] + 1.0}, self.y[rows]


@case
def shuffled_by_tensorflow(rng):
    import tensorflow as tf

    rows = np.random.default_rng(1 if BACKEND == "jax" else 0).permutation(24)
    x, y = arrays(rng)
    dataset = tf.data.Dataset.from_tensor_slices((x[rows], y[rows]))
    return Fit(model(), dataset.batch(4), epochs=2)


@case
def shuffled_by_torch(rng):
    import torch

    generator = torch.Generator().manual_seed(1 if BACKEND == "tensorflow" else 0)
    data = torch.utils.data.TensorDataset(*map(torch.from_numpy, arrays(rng)))
    return Fit(model(), torch.utils.data.DataLoader(data, batch_size=4, shuffle=True, generator=generator), epochs=2)


@case
def drawn_by_a_generator(rng):
    def batches():
        own = np.random.default_rng(1 if BACKEND == "torch" else 0)
        while True:
            yield own.normal(size=(4, 3)).astype("float32"), own.normal(size=(4, 1)).astype("float32")

    return Fit(model(), batches(), epochs=2, steps_per_epoch=3)


@case
def one_other_batch_late(rng):
    x, y = arrays(rng)
    inner = keras.layers.Concatenate()
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((3,), name="b")}
    net = keras.Model(inputs, keras.layers.Dense(1)(inner([inputs["a"], inputs["b"]])))
    net.compile("sgd", "mse")
    order = [0, 1, 2, 3, 5, 4] if BACKEND == "jax" else [0, 1, 2, 3, 4, 5]
    return Fit(net, Sliced(x, y, order), epochs=1, shuffle=False)


@case
def equal_values_of_other_widths(rng):
    import tensorflow as tf

    x, y = arrays(rng)
    wide = BACKEND == "jax"
    x = x.astype("float64" if wide else "float32")
    labels = (y > 0).astype("int64" if wide else "int32")
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    dataset = (
        tf.data.Dataset.from_tensor_slices((x, labels)).shuffle(24, seed=5, reshuffle_each_iteration=False).batch(4)
    )
    return Fit(net, dataset, epochs=2)


@case
def validated_and_evaluated_on_the_way(rng):
    x, y = arrays(rng)

    class Evaluating(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.evaluate(x[:5], y[:5], verbose=0)

    return Fit(model(), x, y, epochs=2, batch_size=8, validation_split=0.25, callbacks=[Evaluating()])


@case
def shuffled_anew_in_each_pass(rng):
    import tensorflow as tf

    # Keras on torch and jax looks at a batch before training, which is a pass more than on tensorflow.
    net = keras.Sequential([keras.layers.Dense(1)])
    net.compile("sgd", "mse")
    return Fit(net, tf.data.Dataset.from_tensor_slices(arrays(rng)).shuffle(24, seed=5).batch(4), epochs=2)
