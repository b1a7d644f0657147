"""Replays: parts on given values, steps from a given state, and disturbances of the last bit."""

import importlib
import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import harness
from harness import Fit, Forward
from harness.backends import runtime
from harness.judge.compare import differences
from harness.trace import Header, Trace, write
from harness.trace.parts import CASE, LOSS, OPTIMIZER, TAKEN, part_of
from harness.verdict import Verdict
from harness.wire import Replay, Start, Steps
from harness.worker import randomness
from harness.worker.capture.forward import record_forward
from harness.worker.capture.noise import QUIET, ULP, Noise
from harness.worker.capture.record import Recorder
from harness.worker.capture.replay import replay_case
from harness.worker.capture.steps import follow_fit
from harness.worker.capture.training import record_fit

differentiates = pytest.mark.skipif(
    not runtime.current().backend.trains, reason="Keras has no gradients on this backend"
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype("float32")
Y = (X[:, :1] + 0.5).astype("float32")


def written(recorder, folder):
    write(folder, Header("c", "t", "float32"), recorder.observations)
    return Trace(folder)


def replayed(case, folder, **options):
    recorder = Recorder()
    replay_case(case, recorder, Replay(**options))
    return written(recorder, folder)


def value(trace, key):
    return np.asarray(trace[key].value)


def model_of(*features, optimizer="sgd"):
    model = keras.Sequential([keras.Input((3,)), *features], name="m")
    model.compile(optimizer, "mse")
    return model


def small(optimizer="sgd"):
    first = layers.Dense(4, activation="tanh", name="first", kernel_regularizer="l2", bias_constraint="non_neg")
    return model_of(first, layers.Dense(1, name="last"), optimizer=optimizer)


@differentiates
def test_parts_are_recorded_with_what_they_were_given_and_their_gradients(tmp_path):
    model = small()
    trace = replayed(lambda: Fit(model, X, Y, batch_size=5), tmp_path)
    first, last = model.layers
    kernel, bias = (ops.convert_to_numpy(weight) for weight in last.weights)
    hidden = np.tanh(X[:5] @ ops.convert_to_numpy(first.kernel))
    np.testing.assert_array_equal(value(trace, "forward/0/m/first/input"), X[:5])
    np.testing.assert_allclose(value(trace, "forward/0/m/first/output"), hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value(trace, "forward/0/m/last/output"), hidden @ kernel + bias, rtol=1e-5, atol=1e-6)
    # The gradient of sum(c * output), with c as it comes from the loss.
    error = hidden @ kernel + bias - Y[:5]
    c = 2 * error / 5
    np.testing.assert_allclose(value(trace, "gradient/0/m/last/upstream"), c, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(value(trace, "gradient/0/m/last/input"), c @ kernel.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        value(trace, "gradient/0/m/last/weight/m/last/kernel"), hidden.T @ c, rtol=1e-4, atol=1e-6
    )
    penalty = 0.01 * np.sum(ops.convert_to_numpy(first.kernel) ** 2)
    np.testing.assert_allclose(value(trace, "loss/0/m/first/kernel/regularizer"), penalty, rtol=1e-5)
    np.testing.assert_allclose(value(trace, f"loss/0/{LOSS}/value"), np.mean(error**2) + penalty, rtol=1e-5)
    np.testing.assert_allclose(value(trace, f"gradient/0/{LOSS}/input/0"), 2 * error / 5, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(value(trace, f"update/0/{OPTIMIZER}/value/learning rate"), 0.01, rtol=1e-6)
    stepped = kernel - 0.01 * hidden.T @ (2 * error / 5)
    np.testing.assert_allclose(
        value(trace, f"update/0/{OPTIMIZER}/weight/m/last/kernel"), stepped, rtol=1e-4, atol=1e-6
    )
    assert value(trace, "update/0/m/first/bias/constraint").tolist() == [0, 0, 0, 0]


@differentiates
def test_gradients_come_last_part_first(tmp_path):
    trace = replayed(lambda: Fit(small(), X, Y), tmp_path)
    parts = [part_of(entry.name).name for entry in trace.select("gradient") if entry.layer is not None]
    assert list(dict.fromkeys(parts)) == ["m/last", "m/first", "m"]


def test_a_replay_leaves_the_model_as_it_was(tmp_path):
    model = model_of(layers.BatchNormalization(), layers.Dropout(0.5, seed=1), layers.Dense(1), optimizer="adam")
    model.optimizer.build(model.trainable_variables)
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables + model.optimizer.variables]
    replayed(lambda: Fit(model, X, Y), tmp_path)
    for was, variable in zip(before, model.variables + model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(was, ops.convert_to_numpy(variable))


@differentiates
def test_a_part_takes_what_the_reference_had(tmp_path):
    """With other inputs from outside, layers that differ before it do not reach it."""
    own = replayed(lambda: Fit(small(), X, Y), tmp_path / "own")
    model = small()
    model.layers[0].kernel.assign(model.layers[0].kernel * 2)
    model.layers[1].set_weights([value(own, f"initial/0/m/last/weight/m/last/{name}") for name in ("kernel", "bias")])
    given = replayed(lambda: Fit(model, X, Y), tmp_path / "given", given=tmp_path / "own")
    assert not np.allclose(value(given, "forward/0/m/first/output"), value(own, "forward/0/m/first/output"))
    np.testing.assert_array_equal(value(given, "forward/0/m/last/output"), value(own, "forward/0/m/last/output"))
    np.testing.assert_array_equal(value(given, f"gradient/0/{LOSS}/input/0"), value(own, f"gradient/0/{LOSS}/input/0"))


def test_a_mask_stays_with_what_stands_in_for_its_tensor(tmp_path):
    def case():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3, 1)), layers.Masking(), layers.LSTM(2, name="lstm")], name="m")
        x = np.array([[[1.0], [2.0], [0.0]]], "float32")
        return Forward(model, x)

    own = replayed(case, tmp_path / "own")
    given = replayed(case, tmp_path / "given", given=tmp_path / "own")
    key = next(key for key in own.keys if key.startswith("forward/0/m/lstm") and key.endswith("output"))
    np.testing.assert_array_equal(value(given, key), value(own, key))


@differentiates
def test_the_operations_of_a_part_are_parts(tmp_path):
    model = small()
    trace = replayed(lambda: Fit(model, X, Y, batch_size=5), tmp_path, inside="m/first")
    names = [part_of(entry.name).operation for entry in trace.select() if entry.name.endswith("/arguments")]
    operations = [name for name in names if name is not None]
    assert "keras.ops.matmul" in operations
    assert operations[-1] == "keras.ops.tanh"
    key = next(key for key in trace.keys if "keras.ops.tanh/output" in key)
    np.testing.assert_allclose(
        value(trace, key), np.tanh(value(trace, key.replace("output", "input"))), rtol=1e-5, atol=1e-6
    )
    kernel, bias = (ops.convert_to_numpy(weight) for weight in model.layers[1].weights)
    c = 2 * (value(trace, key) @ kernel + bias - Y[:5]) / 5 @ kernel.T  # what comes from behind to the last operation
    slope = 1 - value(trace, key) ** 2
    gradient = key.replace("forward/", "gradient/").replace("output", "input")
    np.testing.assert_allclose(value(trace, gradient), c * slope, rtol=1e-4, atol=1e-6)


@differentiates
def test_others_are_given_what_comes_from_behind_on_the_reference(tmp_path):
    """Here that is 0 for the second column, and another number on the other side."""

    def case(factor):
        factors = ops.convert_to_tensor(np.array([factor, 0, 1], "float32"))
        return Forward(lambda x: layers.Activation("tanh", name="t")(x) * factors, X)

    own = replayed(lambda: case(1.0), tmp_path / "own")
    given = replayed(lambda: case(5.0), tmp_path / "given", given=tmp_path / "own")
    c = np.random.default_rng(0).standard_normal(X.shape) * [1, 0, 1]
    for trace in (own, given):
        np.testing.assert_allclose(value(trace, "gradient/0/t/upstream"), c, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(value(trace, "gradient/0/t/input"), c / np.cosh(X) ** 2, rtol=1e-4, atol=1e-6)


@differentiates
def test_a_layer_may_differentiate_what_is_given_the_values_of_the_reference(tmp_path):
    class Slope(layers.Layer):
        def __init__(self):
            super().__init__(name="slope")
            self.inner = layers.Dense(1, activation="tanh", name="inner", kernel_initializer="ones")

        def call(self, x):
            return harness.value_and_grad(lambda x: ops.sum(self.inner(x)), x)[1]

    own = replayed(lambda: Forward(Slope(), X, as_trained=False), tmp_path / "own")
    given = replayed(lambda: Forward(Slope(), 2 * X, as_trained=False), tmp_path / "given", given=tmp_path / "own")
    expected = np.broadcast_to(1 / np.cosh(X.sum(axis=1, keepdims=True)) ** 2, X.shape)
    for trace in (own, given):
        np.testing.assert_allclose(value(trace, "forward/0/slope/output"), expected, rtol=1e-4, atol=1e-6)


@differentiates
def test_a_gradient_that_raises_on_one_side_is_a_difference(tmp_path, monkeypatch):
    def case():
        keras.utils.set_random_seed(0)
        return Forward(layers.Dense(2, name="d"), X)

    def failing(*_):
        raise RuntimeError("no rule for this")

    reference = replayed(case, tmp_path / "reference")
    monkeypatch.setattr("harness.worker.capture.replay.projected_gradients", failing)
    target = replayed(case, tmp_path / "target", given=tmp_path / "reference")
    found = differences(target, reference, Verdict.DIVERGENT)
    assert [(item.key, item.judgement.verdict) for item in found] == [
        ("gradient/0/d/input", Verdict.MISMATCH),
        ("gradient/0/d/weight/d/kernel", Verdict.MISMATCH),
        ("gradient/0/d/weight/d/bias", Verdict.MISMATCH),
    ]
    again = replayed(case, tmp_path / "again", given=tmp_path / "reference")
    assert differences(again, target, Verdict.LEAK) == []  # where both raise they agree
    recorder = Recorder()
    replay_case(case, recorder, Replay())
    assert [(note.part, note.reason) for note in recorder.notes] == [
        ("gradients of d", "RuntimeError: no rule for this")
    ]


@differentiates
@pytest.mark.parametrize(
    ("function", "given"),
    [
        (lambda x: ops.argmax(x, axis=-1), X),
        (lambda x: ops.greater(x, 0.5), X),
        (lambda x: ops.add(x, 1), np.arange(3)),
    ],
    ids=["index", "mask", "integers"],
)
def test_what_has_no_gradient_anywhere_makes_no_noise(function, given):
    recorder = Recorder()
    replay_case(lambda: function(ops.convert_to_tensor(given)), recorder, Replay(inside=CASE))
    assert recorder.notes == []
    assert {item.phase for item in recorder.observations} == {"initial", "forward"}


def test_a_layers_source_comes_with_its_imports_but_for_those_of_the_harness(tmp_path, monkeypatch):
    (tmp_path / "my_harness.py").write_text("FACTOR = 2.0\n")
    (tmp_path / "layers_of_mine.py").write_text(
        "from __future__ import annotations\n"
        "import keras, harness\n"
        "import harness.case\n"
        "from harness import case\n"
        "from harness.case import Fit\n"
        "from my_harness import FACTOR\n\n\n"
        "class Scaled(keras.layers.Layer):\n    def call(self, x):\n        return x * FACTOR\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("layers_of_mine").Scaled
    trace = replayed(lambda: Forward(kind(name="s"), X), tmp_path / "trace")
    source = json.loads(trace["initial/0/s/config"].value)["source"]
    assert source.splitlines()[:3] == ["import keras", "from my_harness import FACTOR", ""]
    assert "class Scaled(keras.layers.Layer):" in source


@differentiates
def test_a_layer_made_of_layers_has_operations_and_gradients_of_its_own(tmp_path):
    class Outer(layers.Layer):
        def __init__(self):
            super().__init__(name="outer")
            self.inner = layers.Dense(2, activation="tanh", name="inner", kernel_initializer="ones")

        def call(self, x):
            return ops.exp(self.inner(x))

    trace = replayed(lambda: Forward(Outer(), X, as_trained=False), tmp_path, inside="outer")
    operations = {part_of(entry.name).operation for entry in trace.select("initial")} - {None}
    assert operations == {"keras.ops.exp"}  # those of the inner layer are its own
    parts = [part_of(entry.name) for entry in trace.select("gradient")]
    assert list(dict.fromkeys(part.name for part in parts if part.operation is None)) == ["outer/inner", "outer"]
    kernel = next(key for key in trace.keys if key.startswith("gradient/0/outer/weight") and key.endswith("kernel"))
    c = np.random.default_rng(0).standard_normal((20, 2)).astype("float32")
    hidden = np.tanh(X @ np.ones((3, 2), "float32"))
    expected = X.T @ (c * np.exp(hidden) * (1 - hidden**2))
    np.testing.assert_allclose(value(trace, kernel), expected, rtol=1e-3, atol=1e-4)


def operations_in(trace):
    return [part_of(entry.name).place for entry in trace.select("initial") if entry.name.endswith("/arguments")]


@pytest.mark.parametrize("given", [X, X.tolist(), 0.5], ids=["array", "list", "number"])
def test_operations_are_observed_whatever_they_are_given(tmp_path, given):
    trace = replayed(lambda: ops.exp(given), tmp_path, inside=CASE)
    (place,) = operations_in(trace)
    assert place.endswith("keras.ops.exp")
    np.testing.assert_allclose(value(trace, f"forward/0/{place}/output"), np.exp(np.array(given)), rtol=1e-5)


def test_each_operation_is_counted_by_itself(tmp_path):
    def case():
        for function in (ops.exp, ops.tanh, ops.exp):
            function(ops.convert_to_tensor(X))

    endings = [place.partition("/operation ")[2] for place in operations_in(replayed(case, tmp_path, inside=CASE))]
    assert endings == ["0000 keras.ops.exp", "0000 keras.ops.tanh", "0001 keras.ops.exp"]


def test_what_an_operation_would_have_been_given_is_kept_beside_what_it_is_given(tmp_path):
    def case(factor):
        return lambda: ops.exp(ops.convert_to_tensor(X) * factor)

    replayed(case(1.0), tmp_path / "own", inside=CASE)
    trace = replayed(case(2.0), tmp_path / "given", inside=CASE, given=tmp_path / "own")
    (place,) = operations_in(trace)
    np.testing.assert_allclose(value(trace, f"forward/0/{place}/own"), X * 2)
    np.testing.assert_array_equal(value(trace, f"forward/0/{place}/input"), X)


@pytest.mark.parametrize(("held", "free", "power"), [(False, False, 3), (True, False, 2), (True, True, 3)])
def test_operations_that_are_held_return_what_the_references_did(tmp_path, held, free, power):
    """All but the one that is free."""
    returned = []

    def case(power):
        return lambda: returned.append(ops.convert_to_numpy(ops.power(ops.convert_to_tensor(X), power)))

    (place,) = operations_in(replayed(case(2), tmp_path / "own", inside=CASE))
    options = {"held": held, "free": place if free else None, "given": tmp_path / "own"}
    trace = replayed(case(3), tmp_path / "given", inside=CASE, **options)
    np.testing.assert_allclose(returned[-1], X**power, rtol=1e-5)
    if not free:
        np.testing.assert_allclose(value(trace, f"forward/0/{place}/output"), X**3, rtol=1e-5)


@differentiates
def test_that_a_case_takes_gradients_stands_where_it_first_does():
    def case(recorder):
        def run():
            recorder.record("before", 1)
            harness.value_and_grad(ops.sum, X)
            recorder.record("after", 2)

        return run

    recorder = Recorder()
    replay_case(case(recorder), recorder, Replay(inside=CASE))
    keys = [item.key for item in recorder.observations if item.phase == "recorded" or item.name.endswith(TAKEN)]
    assert keys == ["recorded/before", f"gradient/0/{CASE}/value/{TAKEN}", "recorded/after"]
    recorder = Recorder()
    replay_case(lambda: ops.exp(ops.convert_to_tensor(X)), recorder, Replay(inside=CASE))
    assert not any(item.name.endswith(TAKEN) for item in recorder.observations)


def test_the_operations_of_a_case_are_recorded_with_how_they_were_called(tmp_path):
    def case():
        ops.sum(ops.exp(ops.convert_to_tensor(X)), axis=1, keepdims=True)

    trace = replayed(case, tmp_path, inside=CASE)
    (key,) = (key for key in trace.keys if key.endswith("keras.ops.sum/arguments"))
    called = json.loads(trace[key].value)
    assert called["args"][0] == {"tensor": 0}
    assert 1 in [*called["args"], *called["kwargs"].values()]
    output = value(trace, key.replace("initial", "forward").replace("arguments", "output"))
    np.testing.assert_allclose(output, np.exp(X).sum(axis=1, keepdims=True), rtol=1e-5)


# Steps


def followed(fit, folder, steps, seed=3):
    recorder = Recorder()
    with randomness.shared_order(seed) as order:
        follow_fit(fit, recorder, steps, order)
    return written(recorder, folder)


@pytest.mark.parametrize(
    "options", [{}, {"shuffle": False}, {"validation_split": 0.2}], ids=["shuffled", "in order", "with validation"]
)
def test_the_rows_of_a_step_are_those_that_it_was_trained_on(tmp_path, options):
    """The weight of a model without a bias moves by the gradient of just those rows."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False, name="d")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    trace = followed(Fit(model, X, Y, epochs=3, batch_size=6, **options), tmp_path, Steps(0, 8))
    path = model.layers[0].kernel.path
    assert len({json.dumps(trace[f"initial/{step}/rows"].value) for step in range(9)}) > 2
    for step in range(9):
        rows = trace[f"initial/{step}/rows"].value
        before, after = value(trace, f"initial/{step}/{path}"), value(trace, f"update/{step}/{path}")
        gradient = 2 * X[rows].T @ (X[rows] @ before - Y[rows]) / len(rows)
        np.testing.assert_allclose(after, before - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_each_step_starts_from_the_state_that_is_given(tmp_path):
    def fit(scale):
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        model = small(keras.optimizers.Adam(0.01))
        model.layers[1].kernel.assign(model.layers[1].kernel * scale)
        return Fit(model, X, Y, epochs=2, batch_size=6)

    own = followed(fit(1.0), tmp_path / "own", Steps(2, 5))
    given = followed(fit(3.0), tmp_path / "given", Steps(2, 5, tmp_path / "own"))
    assert own.keys == given.keys
    for key in own.keys:
        np.testing.assert_array_equal(value(own, key), value(given, key), err_msg=key)


def test_a_replay_starts_from_the_state_and_the_rows_it_is_told(tmp_path):
    fit = Fit(small(), X, Y, epochs=2, batch_size=6)
    steps = followed(fit, tmp_path / "steps", Steps(3, 3))
    start = Start(tmp_path / "steps", "initial", 3)
    trace = replayed(lambda: Fit(small(), X, Y), tmp_path / "parts", state=start, rows=[4, 7])
    np.testing.assert_array_equal(value(trace, "forward/0/m/first/input"), X[[4, 7]])
    kernel = value(trace, "initial/0/m/first/weight/m/first/kernel")
    np.testing.assert_array_equal(kernel, value(steps, "initial/3/m/first/kernel"))


# Noise, and no instruments


def test_noise_moves_floats_by_at_most_one_unit_in_the_last_place():
    ones = np.ones((1000, 2), np.float32)
    disturbed = Noise(1).disturbed({"x": ones, "labels": np.arange(3), "tensor": ops.ones((50,))})
    found = {round(float(v), 9) for v in np.ravel((disturbed["x"] - 1) / ULP)}
    assert found == {-1.0, 0.0, 1.0}
    assert disturbed["labels"].tolist() == [0, 1, 2]
    assert not np.array_equal(ops.convert_to_numpy(disturbed["tensor"]), np.ones(50))
    assert not np.array_equal(Noise(2).disturbed(ones), disturbed["x"])
    assert QUIET.disturbed(ones) is ones


def test_noise_reaches_weights_and_all_that_follows():
    def outputs(noise):
        keras.utils.set_random_seed(0)
        recorder = Recorder()
        record_forward(Forward(layers.Dense(40, name="d"), X), recorder, noise)
        return {o.key: o.value for o in recorder.observations}

    quiet, noisy = outputs(QUIET), outputs(Noise(1))
    for key in ("initial/0/d/kernel", "forward/0/d/output"):
        assert not np.array_equal(quiet[key], noisy[key])
        np.testing.assert_allclose(quiet[key], noisy[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("built", [True, False], ids=["built", "not built"])
def test_without_instruments_the_logs_and_predictions_are_the_same(tmp_path, built):
    def recorded(observed):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([*([keras.Input((3,))] if built else []), layers.Dense(4), layers.Dropout(0.5)])
        model.compile("adam", "mse")
        recorder = Recorder()
        (tmp_path / str(observed)).mkdir()
        with randomness.shared_order(3):
            fit = Fit(model, X, X[:, :1], epochs=2, batch_size=6, validation_split=0.2)
            record_fit(fit, recorder, tmp_path / str(observed), observed=observed)
        return {(o.phase, o.name): o.value for o in recorder.observations}

    instrumented, plain = recorded(True), recorded(False)
    assert {name for _, name in plain} == {f"epoch {e}/{n}" for e in (0, 1) for n in ("loss", "val_loss")} | {"predict"}
    for name, found in plain.items():
        np.testing.assert_array_equal(found, instrumented[name])
