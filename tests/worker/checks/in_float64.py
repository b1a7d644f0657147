"""What becomes of draws, gradients and dtypes in the float64 twin. Prints what it found, as one line of JSON."""

import hashlib
import json

import keras
import numpy as np
from keras import ops

from harness import value_and_grad
from harness.backends import runtime
from harness.worker import keras_internals, randomness


def as_array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def draws():
    """Digests of draws as float32, beside those of `check_randomness.py`."""
    found = {}
    for name, tensor, expected in (
        ("uniform", keras.random.uniform((7, 11), seed=42), "9da8c5e4e27cfe72"),
        ("normal", keras.random.normal((7, 11), 2.0, 3.0, seed=42), "52091b06bd50039b"),
        ("truncated normal", keras.random.truncated_normal((7, 11), seed=42), "dc758f68e85d943b"),
        ("Glorot uniform", keras.initializers.GlorotUniform(seed=42)((7, 11)), "dbd1c7f2d9a5a5b0"),
    ):
        array = as_array(tensor)
        single = array.astype(np.float32)
        found[name] = {
            "dtype": array.dtype.name,
            "is float32": bool(np.all(single == array)),
            "digest": hashlib.sha256(single.tobytes()).hexdigest()[:16],
            "expected": expected,
        }
    return found


class Draws(keras.Layer):
    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(7)

    def call(self, x):
        return {
            "uniform": keras.random.uniform(ops.shape(x), seed=self.generator),
            "mask": keras.random.dropout(x, 0.3, seed=self.generator),
        }


def compiled():
    """Whether compiled draws are those of eager code to the bit."""
    x = np.ones((50, 7))
    eager = Draws()(ops.convert_to_tensor(x))
    graph = keras.Sequential([Draws()]).predict(x, batch_size=50, verbose=0)
    return {name: bool(np.array_equal(as_array(eager[name]), graph[name])) for name in graph}


def functions():
    """Scalar functions of one array of shape (3, 4), each with a layer or operations of its own."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(5, activation="gelu")
    norm = keras.layers.BatchNormalization()
    lstm = keras.layers.LSTM(3)
    lstm.build((1, 3, 4))
    return {
        "dense": lambda x: ops.sum(dense(x) ** 2),
        "batch normalization": lambda x: ops.sum(ops.sin(norm(x, training=True))),
        "lstm": lambda x: ops.sum(lstm(ops.expand_dims(x, 0)) ** 2),
        "segments": lambda x: ops.sum(ops.segment_sum(x, np.array([0, 1, 0]), num_segments=2) ** 3),
        "second derivative": lambda x: ops.sum(value_and_grad(lambda y: ops.sum(ops.tanh(y) ** 3), x)[1] ** 2),
    }


def slope_error(gradients, along, value_at):
    """How far gradients are from a central difference of `value_at(step)` along a direction, relative to it."""
    step = 1e-5
    expected = (value_at(step) - value_at(-step)) / (2 * step)
    found = sum(float(np.sum(as_array(g) * direction)) for g, direction in zip(gradients, along, strict=True))
    return abs(found - expected) / abs(expected)


def of_inputs():
    rng = np.random.default_rng(0)
    x, along = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    errors = {}
    for name, function in functions().items():
        _, gradient = value_and_grad(function, x)
        errors[name] = slope_error(
            [gradient],
            [along],
            lambda step, function=function: float(as_array(function(ops.convert_to_tensor(x + step * along)))),
        )
    return errors


def of_weights():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 4))
    dense = keras.layers.Dense(5, activation="tanh")
    dense.build((None, 4))
    _, gradients = value_and_grad(lambda _: ops.sum(dense(x) ** 2), dense.trainable_variables)
    start = [as_array(variable.value).copy() for variable in dense.trainable_variables]
    along = [rng.normal(size=value.shape) for value in start]

    def value_at(step):
        for variable, value, direction in zip(dense.trainable_variables, start, along, strict=True):
            variable.assign(value + step * direction)
        return float(as_array(ops.sum(dense(x) ** 2)))

    return slope_error(gradients, along, value_at)


def dtypes():
    """Where float64 has to stay float64."""
    tensor = ops.convert_to_tensor(np.ones(2))
    return {
        "floatx": keras.config.floatx(),
        "policy": keras.config.dtype_policy().name,
        "weight": keras.layers.Dense(1, name="d").compute_dtype,
        "result type": keras.backend.result_type("float64", "float32"),
        "with a float": keras.backend.standardize_dtype((tensor * 0.1).dtype),
        "with float32": keras.backend.standardize_dtype(ops.add(tensor, ops.ones(2, dtype="float32")).dtype),
        "mean": keras.backend.standardize_dtype(ops.mean(tensor).dtype),
        "complex": keras.backend.result_type("complex128", "float64"),
    }


def main():
    keras_internals.do_not_import_tensorflow()
    randomness.install()
    runtime.current().set_threads(1)
    runtime.current().widen()
    found = {
        "draws": draws(),
        "compiled": compiled(),
        "slopes": {**of_inputs(), "weights": of_weights()} if runtime.current().backend.trains else {},
        "dtypes": dtypes(),
        "a tenth": float(as_array(ops.cast(0.1, "float64"))),
    }
    print(json.dumps(found))


main()
