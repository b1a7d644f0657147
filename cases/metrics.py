"""F1, F2: metrics used by themselves, and one that is written by hand, by itself and in `compile`."""

import keras
import numpy as np
from keras import ops

from harness import Fit, case


@case
def accuracy(record):
    """Sparse labels against one-hot predictions that are all right."""
    metric = keras.metrics.SparseCategoricalAccuracy()
    record("before", metric.result())
    metric.update_state(ops.array([0, 1, 2]), ops.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    record("result", metric.result())
    record("variables", metric.variables)
    assert f"{float(metric.result()):.2f}" == "1.00"
    assert float(metric.result()) == 1.0

    metric.update_state(ops.array([0]), ops.array([[0.2, 0.7, 0.1]]))
    record("after a wrong one", metric.result())
    assert float(metric.result()) == 0.75
    metric.reset_state()
    record("variables after reset", metric.variables)
    assert float(metric.result()) == 0.0


@case
def mean(record):
    """Of the numbers from 0 to 4, one by one."""
    metric = keras.metrics.Mean()
    for value in range(5):
        metric.update_state(float(value))
        record(f"up to {value}", metric.result())
    record("variables", metric.variables)
    assert f"{float(metric.result()):.2f}" == "2.00"
    assert float(metric.result()) == 2.0

    metric.reset_state()
    record("after reset", metric.result())
    assert float(metric.result()) == 0.0
    metric.update_state(ops.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    record("at once", metric.result())
    assert float(metric.result()) == 2.0
    metric.update_state(7.0, sample_weight=5)
    record("weighted", metric.result())
    assert float(metric.result()) == 4.5


@keras.saving.register_keras_serializable("cases")
class RootMeanSquaredError(keras.metrics.Metric):
    """The root of the mean squared error over all samples since the last reset, weighted if weights are given."""

    def __init__(self, name="rmse", **kwargs):
        super().__init__(name=name, **kwargs)
        self.squared_error = self.add_weight(name="squared_error", initializer="zeros")
        self.weight = self.add_weight(name="weight", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype)
        squared = ops.mean(ops.square(y_true - y_pred), axis=-1)
        weights = ops.ones_like(squared) if sample_weight is None else ops.cast(sample_weight, self.dtype)
        self.squared_error.assign_add(ops.sum(squared * ops.reshape(weights, ops.shape(squared))))
        self.weight.assign_add(ops.sum(weights))

    def result(self):
        return ops.sqrt(self.squared_error / self.weight)

    def reset_state(self):
        self.squared_error.assign(0.0)
        self.weight.assign(0.0)


@case
def by_hand(rng, record):
    metric = RootMeanSquaredError()
    y_true, y_pred = rng.normal(size=(2, 60, 3)).astype("float32")
    weights = rng.uniform(0.5, 2.0, size=60).astype("float32")
    for start in range(0, 60, 25):  # the last batch is not full
        rows = slice(start, start + 25)
        metric.update_state(y_true[rows], y_pred[rows], sample_weight=weights[rows])
        record(f"state after row {start}", [metric.squared_error, metric.weight])
    record("weighted", metric.result())
    squared = ((y_true.astype("float64") - y_pred) ** 2).mean(axis=1)
    expected = np.sqrt((squared * weights).sum() / weights.sum(dtype="float64"))
    np.testing.assert_allclose(ops.convert_to_numpy(metric.result()), expected, rtol=1e-6)

    metric.reset_state()
    record("state after reset", [metric.squared_error, metric.weight])
    metric.update_state(np.array([[0.0], [1.0]]), np.array([[3.0], [5.0]]))
    record("unweighted", metric.result())
    np.testing.assert_allclose(ops.convert_to_numpy(metric.result()), np.sqrt(12.5), rtol=1e-6)


@case
def in_compile(rng):
    model = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
    model.compile(optimizer="rmsprop", loss="mse", metrics=[RootMeanSquaredError()])
    x = rng.normal(size=(90, 4)).astype("float32")
    y = np.sin(x.sum(axis=1, keepdims=True)).astype("float32")
    return Fit(model, x, y, epochs=2, batch_size=32, sample_weight=rng.uniform(0.5, 2.0, 90).astype("float32"))
