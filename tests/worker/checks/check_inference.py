"""Backends that only infer: what is recorded there, and how what asks for gradients ends."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from harness import Fit, Forward, InferenceOnly, value_and_grad
from harness.backends import runtime
from harness.errors import TargetError
from harness.wire import Replay
from harness.worker.capture.forward import record_forward
from harness.worker.capture.record import Recorder
from harness.worker.capture.replay import replay_case
from harness.worker.capture.training import record_fit

RUNTIME = runtime.current()
BACKEND = RUNTIME.backend
pytestmark = pytest.mark.skipif(BACKEND.trains, reason=f"{BACKEND.name} has gradients")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype(np.float32)
Y = RNG.normal(size=(10, 1)).astype(np.float32)


def as_array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def small():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, activation="tanh", name="first"), layers.Dense(1, name="last")], name="m"
    )
    model.compile("sgd", "mse")
    return model


def outputs_of(model):
    """What the model computes, by NumPy."""
    kernel, bias, last_kernel, last_bias = model.get_weights()
    hidden = np.tanh(X @ kernel + bias)
    return hidden, hidden @ last_kernel + last_bias


def by_key(recorder):
    return {item.key: item.value for item in recorder.observations}


def test_differentiating_is_refused():
    with pytest.raises(InferenceOnly, match=f"no gradients on {BACKEND.name}.* value_and_grad is left out"):
        value_and_grad(lambda x: x**2, 3.0)


def test_compiling_is_refused():
    with pytest.raises(TargetError, match=f"compiles nothing on {BACKEND.name}"):
        RUNTIME.compiled(lambda tensors: tensors, [], jit=False)


@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_training_is_refused_and_not_by_an_error_that_code_may_expect(method):
    with pytest.raises(InferenceOnly, match=rf"model\.{method} is left out") as raised:
        getattr(small(), method)(X, Y)
    assert not isinstance(raised.value, RuntimeError)


def test_fit_records_what_comes_before_training(tmp_path):
    recorder, model = Recorder(), small()
    with pytest.raises(InferenceOnly, match=r"model\.fit"):
        record_fit(Fit(model, X, Y, batch_size=10), recorder, tmp_path)
    seen, (hidden, output) = by_key(recorder), outputs_of(model)
    assert {"initial/0/data/x/0", "initial/0/m/first/kernel", "initial/0/m/last/bias"} <= set(seen)
    np.testing.assert_allclose(seen["forward/0/m/first/output"], hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen["forward/0/m/output"], output, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen["loss/0/loss"], np.mean((output - Y) ** 2), rtol=1e-5)
    assert {key.partition("/")[0] for key in seen} == {"initial", "forward", "loss", "event"}
    assert [key for key in seen if key.startswith("event/")] == ["event/0/callbacks"]


def test_the_twin_ends_there_as_well(tmp_path):
    with pytest.raises(InferenceOnly):
        record_fit(Fit(small(), X, Y), Recorder(twin=True), tmp_path)


def test_the_pass_before_training_leaves_the_model_as_it_was(tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(), layers.Dropout(0.5, seed=1)])
    model.compile("sgd", "mse")
    before = [as_array(variable) for variable in model.variables]
    with pytest.raises(InferenceOnly):
        record_fit(Fit(model, X, X), Recorder(), tmp_path)
    for was, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(was, as_array(variable))


def test_forward_lacks_gradients_alone():
    recorder = Recorder()
    record_forward(Forward(layers.Dense(2, name="d"), X), recorder)
    seen = by_key(recorder)
    expected = X @ seen["initial/0/d/kernel"] + seen["initial/0/d/bias"]
    np.testing.assert_allclose(seen["forward/0/d/output"], expected, rtol=1e-5, atol=1e-6)
    assert [(lack.where, lack.reason) for lack in recorder.lacks] == [
        ("gradient/*", f"Keras has no gradients on {BACKEND.name}")
    ]
    assert recorder.notes == []


def test_arrays_are_inputs_of_the_dtype_that_they_have_elsewhere():
    """NumPy's arrays are tensors of the numpy backend, and yet data."""
    recorder = Recorder()
    record_forward(Forward(lambda x, n: [x * 2, n * 2], np.ones(3), np.ones(3, "int64")), recorder)
    assert [item.dtype for item in recorder.observations] == ["float32", "int32"]


def test_a_tensor_without_a_value_is_none_that_is_recorded():
    seen = []

    class Looking(keras.Layer):
        def call(self, x):
            seen.append(RUNTIME.is_concrete(x * 2))
            return x * 2

    layer = Looking()
    layer(keras.KerasTensor((None, 3)))
    keras.Sequential([keras.Input((3,)), layer]).predict(X, verbose=0)
    assert seen
    assert BACKEND.name == "numpy" or not any(seen)
    assert RUNTIME.is_concrete(ops.tanh(ops.convert_to_tensor(X)) * 2)


def test_predictions_are_computed_in_float32():
    model = small()
    np.testing.assert_allclose(model.predict(X, verbose=0), outputs_of(model)[1], rtol=1e-5, atol=1e-6)


def test_parts_and_their_operations_are_replayed_without_gradients():
    recorder, model = Recorder(), small()
    replay_case(lambda: Fit(model, X, Y, batch_size=10), recorder, Replay(inside="m/first"))
    seen, (hidden, output) = by_key(recorder), outputs_of(model)
    (tanh,) = (key for key in seen if key.endswith("keras.ops.tanh/output"))
    np.testing.assert_allclose(seen[tanh], hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen["forward/0/m/last/output"], output, rtol=1e-5, atol=1e-6)
    assert not any(key.startswith("gradient/") for key in seen)
