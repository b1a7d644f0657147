"""E7: the same batches from arrays, a generator, a `PyDataset`, a `tf.data.Dataset` and a torch `DataLoader`."""

import keras
import numpy as np
from keras import layers, ops, tree

from harness import Fit, backends, case

BATCH = 32


def data(rng):
    """100 rows: three batches of 32, and one of 4."""
    x = rng.normal(size=(100, 6)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2]).astype("float32")


def small_model():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return model


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // BATCH)

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[rows], self.y[rows]


def generator(x, y):
    batches = Batches(x, y)
    while True:
        yield from (batches[index] for index in range(len(batches)))


def sources(x, y):
    """What `fit` takes, by name: positional arguments, and options."""
    found = {
        "arrays": ([x, y], {"batch_size": BATCH}),
        "generator": ([generator(x, y)], {"steps_per_epoch": 4}),
        "PyDataset": ([Batches(x, y)], {}),
        "PyDataset, two workers": ([Batches(x, y, workers=2)], {}),
    }
    if "tensorflow" in backends.installed():
        import tensorflow as tf

        found["tf.data.Dataset"] = ([tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)], {})
    if "torch" in backends.installed():
        import torch

        rows = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        found["torch DataLoader"] = ([torch.utils.data.DataLoader(rows, batch_size=BATCH)], {})
    return found


@case(tags=["slow"])
def the_same_batches_give_the_same_run(rng, record):
    """In `fit`, from one start, and then in `evaluate` and `predict`."""
    x, y = data(rng)
    model = small_model()
    model.optimizer.build(model.trainable_variables)
    variables = model.variables + model.optimizer.variables
    start = [ops.convert_to_numpy(variable) for variable in variables]
    found = {}
    for name, (arguments, options) in sources(x, y).items():
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        history = model.fit(*arguments, epochs=2, shuffle=False, verbose=0, **options).history
        found[name] = {"history": history, "weights": model.get_weights()}
    for name, (arguments, options) in sources(x, y).items():
        options = {"steps": 4} if name == "generator" else options
        found[name]["evaluated"] = model.evaluate(*arguments, verbose=0, **options)
    for name, (arguments, options) in sources(x, y).items():
        options = {"steps": 4} if name == "generator" else options
        found[name]["predicted"] = model.predict(arguments[0], verbose=0, **options)
    for name, values in found.items():
        record(name, values)
        for mine, theirs in zip(tree.flatten(values), tree.flatten(found["arrays"]), strict=True):
            assert np.array_equal(mine, theirs), name


@case(tags=["slow"])
def py_dataset(rng):
    """Its batches are shuffled, as long as `fit` is not told otherwise."""
    return Fit(small_model(), Batches(*data(rng)), epochs=2)


@case
def endless_generator(rng):
    """Epochs of three steps each, from a generator that never ends."""
    return Fit(small_model(), generator(*data(rng)), epochs=3, steps_per_epoch=3)
