"""What a `Fit`, a `Forward` and `record` leave in a recorder, and that recording changes nothing."""

import contextlib
import hashlib
import inspect
import itertools
import random
import types
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

from harness import CaseError, Fit, Forward, Plot, trace
from harness.backends import runtime
from harness.worker import keras_internals, origin, randomness
from harness.worker.capture import state, training
from harness.worker.capture.forward import record_forward
from harness.worker.capture.layers import leave_out, observed_layers, taken
from harness.worker.capture.record import Recorder
from harness.worker.capture.training import record_fit

differentiates = pytest.mark.skipif(
    not runtime.current().backend.trains, reason="Keras has no gradients on this backend"
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2] + 0.5).astype(np.float32)


#: Every event that Keras has for callbacks. `on_batch_begin` and `on_batch_end` are other names of those of training.
HOOKS = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_") and not name.startswith("on_batch_")]


def as_array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def values_of(variables):
    return [as_array(variable.value) for variable in variables]


def assert_all_equal(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


def by_name(recorder, phase):
    """Values of the observations of a phase, by name."""
    return {o.name: o.value for o in recorder.observations if o.phase == phase}


def fit_recorded(fit, folder, **options):
    recorder = Recorder(**options)
    record_fit(fit, recorder, folder)
    return recorder


def sequences(recorder):
    """The sequences of events of `fit`, `evaluate` and `predict`, by name."""
    return {name: value for name, value in by_name(recorder, "event").items() if name in ("fit", "evaluate", "predict")}


def forward_recorded(*arguments, **options):
    recorder = Recorder()
    record_forward(Forward(*arguments, **options), recorder)
    return recorder


def recorded(value):
    """Dtypes and values of what `record` makes of a value, by name."""
    recorder = Recorder()
    recorder.record("it", value)
    return {o.name: (o.dtype, o.value if o.dtype is None else o.value.tolist()) for o in recorder.observations}


def reasons(recorder):
    return {note.part: note.reason for note in recorder.notes}


def linear(optimizer="sgd", **options):
    """One dense layer and mean squared error, whose gradients are known."""
    model = keras.Sequential([keras.layers.Dense(1, name="d")], name="m")
    model.compile(optimizer=optimizer, loss="mse", **options)
    return model


def watching():
    """A callback that keeps every event, and the state of everything when training begins and ends."""

    class Watching(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.events = []
            self.at_start = self.at_end = None

    def hook(name):
        indexed = "batch" in name or "epoch" in name

        def method(self, *arguments, logs=None):
            if name == "on_train_begin":
                self.at_start = everything(self.model)
            if name == "on_train_end":
                self.at_end = everything(self.model)
            (given,) = arguments[indexed:] or (logs,)
            self.events.append([name, arguments[0] if indexed else None, list(given or {})])

        return method

    for name in HOOKS:
        setattr(Watching, name, hook(name))
    return Watching()


def everything(model):
    """The state of a model and of the generators round it."""
    generator = keras_internals.global_seed_generator()
    return SimpleNamespace(
        variables=values_of(model.variables),
        metrics=values_of(model.metrics_variables),
        optimizer=values_of(model.optimizer.variables),
        generators=(
            random.getstate(),
            repr(np.random.get_state()),
            None if generator is None else as_array(generator.state.value).tolist(),
        ),
    )


# One training run, and the same without the harness.


@keras.saving.register_keras_serializable("harness")
class Counting(keras.Layer):
    """Counts its calls."""

    def build(self, shape):  # noqa: ARG002 - Keras' signature
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x):
        self.calls.assign_add(1.0)
        return x


def mixed():
    """Not built, with all kinds of state."""
    model = keras.Sequential(
        [
            Counting(name="count"),
            keras.layers.Dense(4, activation="relu", name="a"),
            keras.layers.Dropout(0.5, name="drop"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(1, name="b"),
        ],
        name="m",
    )
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return model, X, Y


def two_outputs():
    """Built, with a loss for each of its outputs, and draws without a seed."""
    given = keras.Input((3,), name="given")
    hidden = keras.layers.Dense(2, activation="tanh", name="hidden")(given)
    noisy = keras.layers.GaussianNoise(0.1, name="noise")(hidden)
    outputs = {"p": keras.layers.Dense(1, name="p")(noisy), "q": keras.layers.Dense(1, name="q")(hidden)}
    model = keras.Model(given, outputs, name="m")
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss={"p": "mse", "q": "mae"})
    return model, X, {"p": Y, "q": Y}


def trained(make, folder=None):
    """A training run, recorded where there is a folder for it, and plain where there is none."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(11)
    keras.random.uniform((1,))  # so that the generator of unseeded calls has a state to be kept
    model, x, y = make()
    watcher = watching()
    options = {"epochs": 2, "batch_size": 4, "validation_split": 0.2, "callbacks": [watcher], "verbose": 0}
    recorder = Recorder()
    with randomness.shared_order(11):
        if folder is None:
            # TensorFlow's own logs differ in their last digit by whether fit builds the model or finds it built.
            model.build((None, *x.shape[1:]))
            model.fit(x, y, **options)
        else:
            record_fit(Fit(model, x, y, **options), recorder, folder)
    return SimpleNamespace(model=model, watcher=watcher, recorder=recorder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(mixed, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=[mixed, two_outputs])
def both(request, run, tmp_path_factory):
    """The same training run with the harness' recorder and without."""
    recorded = run if request.param is mixed else trained(request.param, tmp_path_factory.mktemp("model"))
    return SimpleNamespace(plain=trained(request.param), recorded=recorded)


def test_recording_changes_no_weight_of_the_trained_model(both):
    assert_all_equal(both.recorded.watcher.at_end.variables, both.plain.watcher.at_end.variables)
    assert_all_equal(both.recorded.watcher.at_end.optimizer, both.plain.watcher.at_end.optimizer)


def test_recording_changes_no_log(both):
    assert both.recorded.model.history.history == both.plain.model.history.history


def test_the_instrumented_pass_leaves_every_weight_and_seed_as_it_was(both):
    assert_all_equal(both.recorded.watcher.at_start.variables, both.plain.watcher.at_start.variables)


def test_the_instrumented_pass_leaves_nothing_in_metrics(both):
    assert len(both.recorded.watcher.at_start.metrics) >= len(both.plain.watcher.at_start.metrics) > 0
    for value in both.recorded.watcher.at_start.metrics:
        assert np.all(value == 0)


def test_the_instrumented_pass_leaves_the_optimizer_as_it_was(both):
    assert_all_equal(both.recorded.watcher.at_start.optimizer, both.plain.watcher.at_start.optimizer)


def test_the_instrumented_pass_leaves_every_generator_as_it_was(both):
    assert both.recorded.watcher.at_start.generators == both.plain.watcher.at_start.generators


def test_nothing_is_left_out(both):
    assert both.recorded.recorder.notes == []


def test_phases_are_in_order_of_execution(run):
    phases = [phase for phase, _ in itertools.groupby(o.phase for o in run.recorder.observations)]
    # Logs of four steps; state after the first, and after the two epochs of two steps.
    state_of = ["update", "optimizer"]
    # The state of metrics when validation begins, when the next epoch does, and when `evaluate` does.
    steps = ["event", "log", *state_of, "event", "log", "metric", "event", "log", *state_of]
    epochs = [*steps, "event", "metric", "event", "log", "event", "log", "metric", "event", "log", *state_of]
    after = ["event", *state_of, "metric", "event", "metric", "event", "prediction", "event", "prediction"]
    assert phases == ["initial", "forward", "loss", "gradient", *epochs, *after]


def test_every_weight_and_seed_is_recorded_first_with_its_layer(run):
    expected = [
        ("m/count/calls", "count"),
        ("m/a/kernel", "a"),
        ("m/a/bias", "a"),
        ("seed_generator_1/seed_generator_state", "drop"),
        ("m/norm/gamma", "norm"),
        ("m/norm/beta", "norm"),
        ("m/norm/moving_mean", "norm"),
        ("m/norm/moving_variance", "norm"),
        ("m/b/kernel", "b"),
        ("m/b/bias", "b"),
    ]
    initial = [o for o in run.recorder.observations if o.phase == "initial" and not o.name.startswith("data/")]
    assert [(o.name, o.layer) for o in initial] == expected
    assert_all_equal([o.value for o in initial], run.watcher.at_start.variables)


def test_the_data_is_recorded_by_its_digest(run):
    initial = by_name(run.recorder, "initial")
    for name, array in (("data/x/0", X), ("data/y/0", Y)):
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        assert initial[name] == {"dtype": "float32", "shape": list(array.shape), "sha256": digest}


def test_layers_are_recorded_in_the_order_they_run_with_what_goes_in_first(run):
    inside = [f"m/{layer}/{end}" for layer in ("count", "a", "drop", "norm", "b") for end in ("input", "output")]
    assert list(by_name(run.recorder, "forward")) == ["m/input", *inside, "m/output"]


def test_layers_are_recorded_as_numpy_computes_them(run):
    forward, initial = by_name(run.recorder, "forward"), by_name(run.recorder, "initial")
    np.testing.assert_array_equal(forward["m/input"], X[:4])
    hidden = np.maximum(X[:4] @ initial["m/a/kernel"] + initial["m/a/bias"], 0)
    np.testing.assert_allclose(forward["m/a/output"], hidden, rtol=1e-5, atol=1e-6)
    dropped = forward["m/drop/output"]
    np.testing.assert_allclose(dropped, np.where(dropped == 0, 0, 2 * hidden), rtol=1e-5, atol=1e-6)
    normal = (dropped - dropped.mean(axis=0)) / np.sqrt(dropped.var(axis=0) + 1e-3)
    np.testing.assert_allclose(forward["m/norm/output"], normal, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(forward["m/output"], normal @ initial["m/b/kernel"], rtol=1e-4, atol=1e-5)


def test_gradients_are_recorded_backwards(run):
    trainable = [variable.path for variable in run.model.trainable_variables]
    assert list(by_name(run.recorder, "gradient")) == trainable[::-1]


def test_the_loss_is_that_of_the_recorded_output(run):
    error = by_name(run.recorder, "forward")["m/output"] - Y[:4]
    assert float(by_name(run.recorder, "loss")["loss"]) == pytest.approx(np.mean(error**2), rel=1e-5)


def test_logs_are_those_of_history(run):
    logs = by_name(run.recorder, "log")
    history = run.model.history.history
    assert sorted(history) == ["loss", "mae", "val_loss", "val_mae"]
    for epoch in range(2):
        assert {name: float(logs[f"epoch {epoch}/{name}"]) for name in history} == {
            name: values[epoch] for name, values in history.items()
        }
    kinds = {o.dtype for o in run.recorder.observations if o.phase == "log"}
    assert kinds == {trace.NUMBER}


def test_each_step_has_its_logs(run):
    steps = [(o.step, o.name) for o in run.recorder.observations if o.name.startswith("batch/")]
    assert steps == [(step, f"batch/{name}") for step in range(4) for name in ("loss", "mae")]
    logs = {o.step: float(o.value) for o in run.recorder.observations if o.name == "batch/loss"}
    # Keras logs the mean over the epoch so far.
    assert [logs[1], logs[3]] == run.model.history.history["loss"]


def test_events_are_those_that_another_callback_sees(run):
    assert {name for name, _, _ in run.watcher.events} > {"on_train_begin", "on_test_batch_end", "on_epoch_end"}
    assert list(sequences(run.recorder)) == ["fit", "evaluate", "predict"]
    assert sequences(run.recorder)["fit"] == run.watcher.events


def test_evaluation_and_prediction_have_events_of_their_own(run):
    _, evaluate, predict = sequences(run.recorder).values()
    batches = [["on_test_batch_begin", "on_test_batch_end"], ["on_predict_batch_begin", "on_predict_batch_end"]]
    assert [name for name, _, _ in evaluate] == ["on_test_begin", *3 * batches[0], "on_test_end"]
    assert [name for name, _, _ in predict] == ["on_predict_begin", *3 * batches[1], "on_predict_end"]


def test_the_weights_after_fit_are_the_models(run):
    at_end = run.watcher.at_end
    for phase, variables, values in (
        ("update", run.model.variables, at_end.variables),
        ("optimizer", run.model.optimizer.variables, at_end.optimizer),
    ):
        after = {o.name: o.value for o in run.recorder.observations if o.key.startswith(f"{phase}/3/after fit/")}
        assert list(after) == [f"after fit/{variable.path}" for variable in variables]
        assert_all_equal(list(after.values()), values)


def test_evaluation_and_predictions_are_the_models(run):
    metrics, predictions = by_name(run.recorder, "metric"), by_name(run.recorder, "prediction")
    expected = run.model.evaluate(X, Y, batch_size=4, verbose=0, return_dict=True)
    found = {name: float(value) for name, value in metrics.items() if " begins/" not in name}
    assert found == {f"evaluate/{name}": value for name, value in expected.items()}
    np.testing.assert_array_equal(predictions["predict"], run.model.predict(X, batch_size=4, verbose=0))


def test_the_loaded_model_predicts_the_same(run):
    predictions = by_name(run.recorder, "prediction")
    np.testing.assert_array_equal(predictions["after load"], predictions["predict"])


def test_the_loaded_model_has_the_same_state(run):
    found = {name: value for name, value in by_name(run.recorder, "prediction").items() if "after load/" in name}
    floating = [v for v in run.model.variables + run.model.optimizer.variables if "float" in v.dtype]
    assert set(found) == {"after load/as many variables"} | {f"after load/{v.path} survived" for v in floating}
    assert set(found.values()) == {True}


def test_what_compile_resolved_to_is_proof_of_what_ran(run):
    assert run.recorder.environment["model"] == {
        "jit_compile": run.model.jit_compile,
        "run_eagerly": False,
        "compiled": runtime.current().backend.compiles is not None,
        "dtype": "float32",
    }


def test_all_that_was_recorded_can_be_written_and_read(run, tmp_path):
    trace.write(tmp_path, trace.Header("case", "target", "float32"), run.recorder.observations)
    read = trace.Trace(tmp_path)
    assert read.keys == [o.key for o in run.recorder.observations]
    for observation in run.recorder.observations:
        value = read[observation.key].value
        if observation.dtype is None:
            assert value == observation.value
        else:
            assert value.dtype == observation.value.dtype
            np.testing.assert_array_equal(value, observation.value)


# Closed forms.


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "with sample weights"])
def test_loss_and_gradients_of_a_linear_model_are_their_closed_forms(weighted, tmp_path):
    weights = np.linspace(0.5, 2, 10).astype(np.float32) if weighted else np.ones(10, np.float32)
    options = {"sample_weight": weights} if weighted else {}
    recorder = fit_recorded(Fit(linear(), X, Y, batch_size=5, shuffle=False, **options), tmp_path)
    initial, gradients = by_name(recorder, "initial"), by_name(recorder, "gradient")
    x, y, w = X[:5].astype(np.float64), Y[:5].astype(np.float64), weights[:5, None].astype(np.float64)
    error = x @ initial["m/d/kernel"] + initial["m/d/bias"] - y
    assert float(by_name(recorder, "loss")["loss"]) == pytest.approx(np.mean(w * error**2), rel=1e-5)
    np.testing.assert_allclose(gradients["m/d/kernel"], 2 * x.T @ (w * error) / 5, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients["m/d/bias"], 2 * np.sum(w * error, axis=0) / 5, rtol=1e-4, atol=1e-6)


def test_state_after_the_first_step_is_one_step_of_gradient_descent_away(tmp_path):
    recorder = fit_recorded(Fit(linear(keras.optimizers.SGD(0.25)), X, Y, batch_size=5, shuffle=False), tmp_path)
    initial, gradients = by_name(recorder, "initial"), by_name(recorder, "gradient")
    first = {o.name: o.value for o in recorder.observations if o.key.startswith("update/0/")}
    for name, gradient in gradients.items():
        np.testing.assert_allclose(first[name], initial[name] - 0.25 * gradient, rtol=1e-5, atol=1e-6)
    optimizer = {o.name.split("/")[-1]: o.value for o in recorder.observations if o.key.startswith("optimizer/0/")}
    assert optimizer["iteration"] == 1
    assert float(optimizer["learning_rate"]) == 0.25


def test_an_epoch_of_one_step_has_its_state_recorded_once(tmp_path):
    recorder = fit_recorded(Fit(linear(), X, Y, batch_size=10, epochs=2), tmp_path)
    kernels = [o.key for o in recorder.observations if o.phase == "update" and o.name == "m/d/kernel"]
    assert kernels == ["update/0/m/d/kernel", "update/1/m/d/kernel"]


def test_a_weight_without_gradient_is_said_to_have_none(tmp_path):
    class Idle(keras.Layer):
        def build(self, shape):  # noqa: ARG002 - Keras' signature
            self.idle = self.add_weight(shape=(2,), name="idle")

        def call(self, x):
            return x

    model = keras.Sequential([Idle(name="i"), keras.layers.Dense(1, name="d")], name="m")
    model.compile(optimizer="sgd", loss="mse")
    gradients = by_name(fit_recorded(Fit(model, X, Y), tmp_path), "gradient")
    assert gradients["m/i/idle"] == "no gradient"
    assert gradients["m/d/kernel"].shape == (3, 1)


# Layers.


def forward_names(model, x):
    model(x)
    recorder = Recorder()
    with observed_layers(recorder):
        model(x)
    return list(by_name(recorder, "forward"))


def test_a_layer_called_twice_is_numbered():
    shared = keras.layers.Dense(3, name="dense")
    given = keras.Input((3,))
    names = forward_names(keras.Model(given, shared(shared(given)), name="m"), X)
    assert names == [
        "m/input",
        *(f"m/{n}/{end}" for n in ("dense", "dense#2") for end in ("input", "output")),
        "m/output",
    ]


def test_layers_inside_layers_are_named_by_their_path():
    block = keras.Sequential([keras.layers.Dense(2, name="d")], name="block")
    names = forward_names(keras.Sequential([block], name="m"), X)
    inside = [f"m/block/{place}" for place in ("input", "d/input", "d/output", "output")]
    assert names == ["m/input", *inside, "m/output"]


@pytest.mark.parametrize(
    ("where", "left_out"),
    [
        ("m/slope/inner", ["m/slope/inner/*", "m/slope/inner#*"]),
        ("m/slope/inner#3", ["m/slope/inner/*", "m/slope/inner#*"]),
        ("m/slope#2/inner", ["m/slope#2/inner/*", "m/slope#2/inner#*"]),  # and nothing of the first call of `slope`
        ("inner#2", ["inner/*", "inner#*"]),
    ],
)
def test_of_a_call_without_values_that_layer_is_left_out_where_it_is_called(where, left_out):
    recorder = Recorder()
    for _ in range(2):
        leave_out(where, recorder, 0)
    assert [lack.where for lack in recorder.lacks] == [f"forward/0/{pattern}" for pattern in left_out]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.LSTM(2, name="opaque"),
        lambda: keras.layers.RNN(keras.layers.GRUCell(2), name="opaque"),
        lambda: keras.layers.TimeDistributed(keras.layers.Dense(2), name="opaque"),
    ],
    ids=["LSTM", "RNN of a cell", "TimeDistributed"],
)
def test_what_runs_inside_a_recurrent_layer_is_not_recorded_and_what_follows_is(layer):
    model = keras.Sequential([layer(), keras.layers.Dense(1, name="after")], name="m")
    inside = [f"m/{name}/{end}" for name in ("opaque", "after") for end in ("input", "output")]
    assert forward_names(model, X[:, :, None]) == ["m/input", *inside, "m/output"]


def test_several_inputs_and_outputs_are_numbered():
    class Crossed(keras.Layer):
        def call(self, x, y):
            return {"sum": x + y, "difference": x - y}

    recorder = Recorder()
    with observed_layers(recorder):
        Crossed(name="c")(ops.convert_to_tensor(X), y=ops.ones_like(X))
    forward = by_name(recorder, "forward")
    assert list(forward) == ["c/input/0", "c/input/1", "c/output/0", "c/output/1"]
    assert {o.layer for o in recorder.observations} == {"c"}
    np.testing.assert_array_equal(forward["c/input/0"], X)


def test_layers_are_not_observed_once_the_context_is_closed_or_has_failed():
    call = keras.Layer.__call__
    recorder = Recorder()

    class Failing(keras.Layer):
        def call(self, x):  # noqa: ARG002 - Keras' signature
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), observed_layers(recorder):
        Failing(name="f")(X)
    assert keras.Layer.__call__ is call
    keras.layers.Dense(1)(X)
    assert list(by_name(recorder, "forward")) == ["f/input"]


def test_shapes_that_are_only_inferred_are_neither_recorded_nor_counted():
    recorder, layer = Recorder(), keras.layers.Dense(1, name="d")
    with observed_layers(recorder):
        layer(keras.Input((3,)))
        assert recorder.observations == []
        layer(X)
    assert list(by_name(recorder, "forward")) == ["d/input", "d/output"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: x, False),
        (lambda x, training=None: x, True),  # noqa: ARG005 - the name is what is looked for
        (lambda x, **_: x, True),
        (keras.layers.Dropout.call, True),
    ],
    ids=["no", "yes", "any", "method"],
)
def test_takes_training(call, expected):
    assert taken(call, {"training": True}) == ({"training": True} if expected else {})


# Batches, and whether the instruments say what the first step says.


def ordered(fit, folder, seed=3):
    """What a `Fit` records where arrays are shuffled in the shared order."""
    recorder = Recorder()
    with randomness.shared_order(seed) as order:
        record_fit(fit, recorder, folder, order=order)
    return recorder


@pytest.mark.parametrize(
    "options",
    [{}, {"shuffle": False}, {"initial_epoch": 1}, {"sample_weight": np.arange(10.0)}, {"validation_split": 0.3}],
    ids=["shuffled", "in order", "from a later epoch", "weighted", "split"],
)
def test_the_instruments_look_at_the_batch_that_training_begins_with(options, tmp_path):
    recorder = ordered(Fit(linear(), X, Y, batch_size=4, epochs=2, **options), tmp_path)
    rows = by_name(recorder, "initial")["rows"]
    assert (rows == [0, 1, 2, 3]) is (options == {"shuffle": False})
    first = by_name(recorder, "event")["data/x"]
    taken = {o.step: o.value for o in recorder.observations if o.name == "data/x"}
    assert taken[0]["sha256"] == hashlib.sha256(X[rows].tobytes()).hexdigest()
    assert first["dtype"] == "float32"
    values = {o.key: o.value for o in recorder.observations}
    np.testing.assert_allclose(values["loss/0/loss"], values["log/0/batch/loss"], rtol=1e-5)
    assert recorder.lacks == []


def test_batches_of_equal_values_have_equal_digests(tmp_path):
    def taken(x, y, name):
        recorder = ordered(Fit(linear(), x, y, batch_size=4, epochs=2, shuffle=False), tmp_path / name)
        return {o.key: o.value["sha256"] for o in recorder.observations if o.name.startswith("data/") and o.step < 6}

    whole = np.arange(10)[:, None]
    one = taken(X, whole.astype("int32"), "one")
    for name in ("x", "y"):
        assert [key for key in one if key.startswith("event") and key.endswith(f"data/{name}")] == [
            f"event/{step}/data/{name}" for step in range(6)
        ]
    other = taken(X.astype("float64"), whole, "other")
    assert {k: v for k, v in one.items() if k.startswith("event")} == {
        k: v for k, v in other.items() if k.startswith("event")
    }
    changed = np.array(X)
    changed[5, 1] += 1.0
    third = taken(changed, whole, "third")
    assert {key for key in one if key.startswith("event") and third[key] != one[key]} == {
        "event/1/data/x",
        "event/4/data/x",
        "event/5/data/evaluate/1/x",
        "event/5/data/predict/1/x",
    }


def test_an_instrument_that_says_something_else_than_the_step_is_not_compared(tmp_path, monkeypatch):
    real = training.compute_loss
    monkeypatch.setattr(training, "compute_loss", lambda *arguments: real(*arguments) + 0.1)
    recorder = ordered(Fit(linear("adam"), X, Y, batch_size=4), tmp_path)
    assert [lack.where for lack in recorder.lacks] == ["forward/0/*", "loss/0/*", "gradient/0/*"]
    assert "fault of the harness and not of the case" in recorder.lacks[0].reason


@pytest.mark.parametrize(("optimizer", "expected"), [("sgd", ["gradient/0/*"]), ("adam", [])])
def test_a_gradient_that_is_not_the_one_that_was_applied_is_not_compared(optimizer, expected, tmp_path, monkeypatch):
    real = training.value_and_grad_once

    def doubled(function, weights):
        value, gradients = real(function, weights)
        return value, [gradient * 2 for gradient in gradients]

    monkeypatch.setattr(training, "value_and_grad_once", doubled)
    recorder = ordered(Fit(linear(optimizer), X, Y, batch_size=4), tmp_path)
    assert [lack.where for lack in recorder.lacks] == expected


def test_a_first_step_on_weights_that_a_callback_changed_is_not_held_against_the_instruments(tmp_path):
    class Doubling(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):  # noqa: ARG002 - Keras' signature
            for variable in self.model.trainable_variables:
                variable.assign(2 * variable)

    recorder = ordered(Fit(linear(), X, Y, batch_size=4, callbacks=[Doubling()]), tmp_path)
    assert by_name(recorder, "event")["callback/Doubling/before training"] == "weights"
    assert recorder.lacks == []


# What callbacks change.


def test_what_a_callback_changes_is_recorded_where_it_does(tmp_path):
    class Changing(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):  # noqa: ARG002 - Keras' signature
            if batch == 1:
                self.model.optimizer.learning_rate.assign(0.5)

        def on_batch_end(self, batch, logs=None):  # noqa: ARG002 - Keras' signature
            if batch == 2:
                self.model.layers[0].kernel.assign(self.model.layers[0].kernel * 2)

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras' signature
            logs["more"] = 1.0
            self.model.optimizer.iterations.assign(0)
            self.model.stop_training = True

    class Idle(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None): ...

    callbacks = [[Changing()], keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: None), Idle(), Idle()]
    recorder = ordered(Fit(linear(), X, Y, batch_size=4, epochs=2, callbacks=callbacks), tmp_path)
    found = {
        (o.step, o.name.removeprefix("callback/")): o.value
        for o in recorder.observations
        if o.name.startswith("callback/")
    }
    assert found == {
        (0, "LambdaCallback/before epoch 0"): "nothing",
        (0, "Changing/before batch 0"): "nothing",
        (0, "Changing/after batch 0"): "nothing",
        (1, "Changing/before batch 1"): "learning rate",
        (1, "Changing/after batch 1"): "nothing",
        (2, "Changing/before batch 2"): "nothing",
        (2, "Changing/after batch 2"): "weights",
        (2, "Changing/after epoch 0"): "optimizer, logs (more), whether training goes on",
        (2, "Idle/after epoch 0"): "nothing",
        (2, "Idle#2/after epoch 0"): "nothing",
    }
    assert by_name(recorder, "event")["callbacks"] == ["Changing", "LambdaCallback", "Idle", "Idle"]


# Callbacks, and other ways to call fit.


@pytest.mark.parametrize("wrap", [lambda c: (c,), lambda c: c], ids=["tuple", "bare"])
def test_callbacks_are_called_however_they_are_given(wrap, tmp_path):
    watcher = watching()
    recorder = fit_recorded(Fit(linear(), X, Y, callbacks=wrap(watcher)), tmp_path)
    assert sequences(recorder)["fit"] == watcher.events
    assert by_name(recorder, "event")["callbacks"] == ["Watching"]
    assert watcher.events[-1][0] == "on_train_end"


def test_callbacks_may_be_none(tmp_path):
    recorder = fit_recorded(Fit(linear(), X, Y, callbacks=None), tmp_path)
    fit = sequences(recorder)["fit"]
    assert [fit[0][0], fit[-1][0]] == ["on_train_begin", "on_train_end"]


def test_a_callback_that_stops_training_is_heard(tmp_path):
    class Stopping(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras' signature
            self.model.stop_training = epoch == 1

    recorder = fit_recorded(Fit(linear(), X, Y, epochs=5, callbacks=[Stopping()]), tmp_path)
    assert [name for name in by_name(recorder, "log") if name.startswith("epoch")] == ["epoch 0/loss", "epoch 1/loss"]


def test_a_pydataset_is_looked_at_by_its_first_batch(tmp_path):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return X[5 * index : 5 * index + 5], Y[5 * index : 5 * index + 5]

    recorder = fit_recorded(Fit(linear(), Batches(), shuffle=False), tmp_path)
    np.testing.assert_array_equal(by_name(recorder, "forward")["m/input"], X[:5])
    assert recorder.notes == []


def test_what_cannot_be_known_of_a_generator_is_noted(tmp_path):
    def batches():
        while True:
            yield X, Y

    recorder = fit_recorded(Fit(linear(), batches(), steps_per_epoch=2), tmp_path)
    found = reasons(recorder)
    assert set(found) == {
        "forward, layer by layer, and gradients",
        "initial weights",
        "evaluate, predict and save",
    }
    assert "generator cannot be looked at before training" in found["forward, layer by layer, and gradients"]
    assert {o.phase for o in recorder.observations} == {"log", "update", "optimizer", "event"}


def test_a_model_without_a_loss_is_noted(tmp_path):
    class OwnLoss(keras.Layer):
        def call(self, x):
            self.add_loss(ops.mean(x**2))
            return x

    model = keras.Sequential([keras.layers.Dense(1, name="d"), OwnLoss(name="o")], name="m")
    model.compile(optimizer="sgd")
    recorder = fit_recorded(Fit(model, X), tmp_path)
    found = reasons(recorder)
    assert found["gradients"] == "compile was given no loss"
    assert "no loss" in found["evaluate"]
    assert by_name(recorder, "gradient") == {}
    assert by_name(recorder, "prediction")["predict"].shape == (10, 1)


def test_a_model_that_cannot_be_saved_and_loaded_is_noted(tmp_path):
    class Unknown(keras.Layer):
        def __init__(self, needed):  # noqa: ARG002 - a model that is loaded does not have it
            super().__init__(name="u")

        def call(self, x):
            return x

    model = keras.Sequential([keras.layers.Dense(1, name="d"), Unknown(1)], name="m")
    model.compile(optimizer="sgd", loss="mse")
    recorder = fit_recorded(Fit(model, X, Y), tmp_path)
    assert list(reasons(recorder)) == ["save to .keras, and load"]
    assert "after load" not in by_name(recorder, "prediction")


def test_weights_that_do_not_survive_the_round_trip_are_recorded_as_such(tmp_path):
    @keras.saving.register_keras_serializable("harness")
    class Forgetful(keras.layers.Dense):
        def load_own_variables(self, store):
            pass

    model = keras.Sequential([keras.Input((3,)), Forgetful(1, name="d")], name="m")
    model.compile(optimizer="sgd", loss="mse")
    predictions = by_name(fit_recorded(Fit(model, X, Y), tmp_path), "prediction")
    survived = {name.split("/")[-1]: value for name, value in predictions.items() if name.endswith("survived")}
    assert survived["kernel survived"] is False
    assert survived["learning_rate survived"] is True
    assert not np.array_equal(predictions["after load"], predictions["predict"])


def test_an_exception_in_training_reaches_the_case(tmp_path):
    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002 - Keras' signature
            raise RuntimeError("on purpose")

    fit = Fit(linear(), X, Y, callbacks=[Failing()])
    with pytest.raises(RuntimeError, match="on purpose"):
        fit_recorded(fit, tmp_path)


def test_an_exception_in_training_of_the_twin_is_noted(tmp_path):
    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002 - Keras' signature
            raise RuntimeError("on purpose")

    recorder = fit_recorded(Fit(linear(), X, Y, callbacks=[Failing()]), tmp_path, twin=True)
    assert reasons(recorder)["fit and all that follows"].startswith("RuntimeError: on purpose\n  at ")
    assert by_name(recorder, "gradient") != {}


def test_fit_is_refused_what_is_no_model(tmp_path):
    with pytest.raises(CaseError, match=r"takes a keras\.Model, and was given Dense"):
        fit_recorded(Fit(keras.layers.Dense(1), X, Y), tmp_path)


def test_fit_is_refused_a_model_that_is_not_compiled(tmp_path):
    with pytest.raises(CaseError, match="call compile on 'm'"):
        fit_recorded(Fit(keras.Sequential([keras.layers.Dense(1)], name="m"), X, Y), tmp_path)


# Forward.


def projection(shape):
    """The fixed directions that outputs are projected on: a plain sum would not see errors that cancel."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@differentiates
def test_forward_of_a_layer_records_output_and_gradients_in_closed_form():
    recorder = forward_recorded(keras.layers.Dense(2, name="d"), X)
    initial, c = by_name(recorder, "initial"), projection((10, 2))
    output, gradients = by_name(recorder, "forward")["d/output"], by_name(recorder, "gradient")
    np.testing.assert_allclose(output, X @ initial["d/kernel"] + initial["d/bias"], rtol=1e-5, atol=1e-6)
    assert list(gradients) == ["d/bias", "d/kernel", "input"]
    np.testing.assert_allclose(gradients["d/kernel"], X.T @ c, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradients["d/bias"], c.sum(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradients["input"], c @ initial["d/kernel"].T, rtol=1e-4, atol=1e-5)


@differentiates
def test_forward_of_a_function_takes_any_structure_and_numbers_what_it_is_given():
    recorder = forward_recorded(lambda pair, factor: pair["a"] * pair["b"] * factor, {"a": X, "b": X + 1}, factor=2.0)
    gradients, c = by_name(recorder, "gradient"), projection(X.shape)
    np.testing.assert_allclose(by_name(recorder, "forward")["output"], 2 * X * (X + 1), rtol=1e-5, atol=1e-6)
    assert list(gradients) == ["input/0", "input/1"]
    np.testing.assert_allclose(gradients["input/0"], 2 * (X + 1) * c, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradients["input/1"], 2 * X * c, rtol=1e-4, atol=1e-5)


def test_the_weights_of_a_forward_are_moved_as_training_would_move_them():
    class Mixed(keras.Layer):
        def build(self, shape):  # noqa: ARG002 - Keras' signature
            self.kernel = self.add_weight(name="kernel", shape=(3, 4), initializer="glorot_uniform")
            self.positive = self.add_weight(name="positive", shape=(4,), initializer="zeros", constraint="non_neg")
            minus_one = keras.initializers.Constant(-1.0)
            loose = keras.constraints.MaxNorm(10.0)
            self.negative = self.add_weight(name="negative", shape=(4,), initializer=minus_one, constraint=loose)
            self.table = self.add_weight(name="table", shape=(4,), initializer="ones", trainable=False)
            self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", dtype="int32", trainable=False)

        def call(self, x):
            return (x @ self.kernel + self.positive) * self.table * self.negative

    made, moved = (
        by_name(
            forward_recorded(keras.Sequential([layer(), keras.layers.BatchNormalization()]), X, **options), "initial"
        )
        for layer, options in ((Mixed, {"as_trained": False}), (Mixed, {}))
    )
    for (name, old), (_, new) in zip(made.items(), moved.items(), strict=True):
        last = name.rpartition("/")[2]
        if last in ("table", "calls"):
            np.testing.assert_array_equal(old, new)
        elif last != "kernel":  # which is drawn anew
            assert len(np.unique(new)) == 4, name
            around_1, bounds = (0.5, 1.5), {"positive": (0, 0.25), "negative": (-1.5, -0.5)}
            low, high = {"gamma": around_1, "moving_variance": around_1, **bounds}.get(last, (-0.25, 0.25))
            assert (low <= new).all(), name
            assert (new <= high).all(), name


@pytest.mark.parametrize("training", [False, True])
def test_forward_passes_training_and_keeps_the_effects_of_one_call(training):
    layer = keras.layers.BatchNormalization(momentum=0.9, name="n")
    recorder = forward_recorded(layer, X, training=training, as_trained=False)
    moved = by_name(recorder, "update")["n/moving_mean"]
    expected = 0.1 * X.mean(axis=0) if training else np.zeros(3)
    np.testing.assert_allclose(moved, expected, rtol=1e-5, atol=1e-6)


@differentiates
def test_forward_drops_the_same_in_output_and_gradient():
    layer = keras.layers.Dropout(0.5, seed=3, name="d")
    recorder = forward_recorded(layer, np.ones((10, 3)), training=True)
    output, gradient = by_name(recorder, "forward")["d/output"], by_name(recorder, "gradient")["input"]
    np.testing.assert_allclose(gradient, output * projection((10, 3)), rtol=1e-6)
    assert as_array(layer.seed_generator.state.value).tolist() == [3, 1]


@differentiates
def test_forward_of_integers_has_gradients_of_weights_alone():
    recorder = forward_recorded(keras.layers.Embedding(5, 2, name="e"), np.array([[1, 1, 3]]))
    gradients, c = by_name(recorder, "gradient"), projection((1, 3, 2))[0]
    assert list(gradients) == ["e/embeddings"]
    np.testing.assert_allclose(gradients["e/embeddings"][1], c[0] + c[1], rtol=1e-5)
    assert np.all(gradients["e/embeddings"][[0, 2, 4]] == 0)


def test_forward_gives_integers_as_int32_and_floats_as_floatx():
    given = {"integers": np.array([1, 2], "int64"), "floats": np.array([1.0, 2.0]), "flag": True}
    recorder = forward_recorded(lambda x: [x["integers"] * 1, x["floats"] * 1, x["flag"]], given)
    outputs = [(o.dtype, o.value if o.dtype is None else o.value.tolist()) for o in recorder.observations[:3]]
    assert outputs == [("int32", [1, 2]), ("float32", [1.0, 2.0]), (None, True)]


@differentiates
@pytest.mark.parametrize(
    ("function", "given", "reason"),
    [
        (lambda x: x + 1, np.array([1, 2]), "neither a floating input nor a trainable weight"),
        (lambda x: ops.argmax(x, axis=-1), X, "no floating output"),
    ],
    ids=["inputs", "outputs"],
)
def test_forward_without_anything_floating_says_why_there_are_no_gradients(function, given, reason):
    recorder = forward_recorded(function, given)
    assert reason in reasons(recorder)["gradients"]
    assert list(by_name(recorder, "forward")) == ["output"]


def test_forward_takes_a_layer_that_looks_at_values():
    class Looking(keras.Layer):
        def call(self, x):
            return x * 2 if float(as_array(ops.max(x))) > 0 else x

    recorder = forward_recorded(Looking(name="l"), X)
    np.testing.assert_array_equal(by_name(recorder, "forward")["l/output"], 2 * X)


@differentiates
def test_forward_says_where_there_is_no_gradient():
    recorder = forward_recorded(lambda x, y: x * ops.stop_gradient(y), X, X)
    assert by_name(recorder, "gradient")["input/1"] == "no gradient"


def test_forward_is_refused_what_cannot_be_called():
    with pytest.raises(CaseError, match="was given int"):
        forward_recorded(3, X)


# What record takes.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (None, None)),
        (True, (None, True)),
        (3, (None, 3)),
        ("text", (None, "text")),
        (1.5, (trace.NUMBER, 1.5)),
        (np.float32(1.5), ("float32", 1.5)),
        (np.int64(3), ("int64", 3)),
        (np.array([1, 2], np.int8), ("int8", [1, 2])),
        (np.array([True]), ("bool", [True])),
        (np.zeros((0, 3)), ("float64", [])),
        (1 + 2j, ("complex128", 1 + 2j)),
        (np.array(["a", "b"]), (None, ["a", "b"])),
        ([1, "x", None, (True, [])], (None, [1, "x", None, [True, []]])),
        ({"a": 1, 2: {"b": None}}, (None, {"a": 1, "2": {"b": None}})),
    ],
    ids=repr,
)
def test_record_takes_plain_values_and_arrays(value, expected):
    assert recorded(value) == {"it": expected}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32", "bool"])
@pytest.mark.parametrize("shape", [(), (2,)], ids=["scalar", "vector"])
@pytest.mark.parametrize(
    "make", [ops.ones, partial(keras.Variable, "ones", trainable=False)], ids=["tensor", "variable"]
)
def test_record_takes_tensors_and_variables_of_every_dtype(make, dtype, shape):
    tensor = make(shape=shape, dtype=dtype)
    assert recorded(tensor) == {"it": (dtype, np.ones(shape).tolist())}


def test_record_takes_bfloat16_arrays():
    assert recorded(np.ones(2, ml_dtypes.bfloat16)) == {"it": ("bfloat16", [1, 1])}


def test_record_names_nested_values_by_their_path():
    value = {"a": [1, 2.5, {"b": ops.ones(2)}], "c": {"plain": [None, "x"]}, "d": (X[:1, :1], 3)}
    assert recorded(value) == {
        "it/a/0": (None, 1),
        "it/a/1": (trace.NUMBER, 2.5),
        "it/a/2/b": ("float32", [1.0, 1.0]),
        "it/c": (None, {"plain": [None, "x"]}),
        "it/d/0": ("float32", X[:1, :1].tolist()),
        "it/d/1": (None, 3),
    }


def test_what_is_recorded_stays_when_its_source_changes():
    variable, array = keras.Variable([1.0]), np.ones(1)
    recorder = Recorder()
    recorder.record("variable", variable)
    recorder.record("array", array)
    variable.assign([2.0])
    array[0] = 2.0
    assert [o.value.tolist() for o in recorder.observations] == [[1.0], [1.0]]


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        b"bytes",
        np.array(["2020-01-01"], "datetime64[D]"),
        np.array(["a", 1.5], object),
        np.zeros(2, [("a", "f4")]),
        np.longdouble(1.5),
        [1.5, object()],
        keras.KerasTensor((2,)),
    ],
    ids=["object", "set", "bytes", "dates", "objects", "structured", "long double", "nested", "symbolic"],
)
def test_record_refuses_what_a_trace_cannot_hold(value):
    with pytest.raises(CaseError, match=r"cannot be recorded\. Give it a tensor"):
        Recorder().record("it", value)


def test_record_takes_a_plot_as_coordinates_and_remembers_what_they_are():
    recorder = Recorder()
    recorder.record("boundary", Plot(points={"ones": X[:, :2]}, lines={"level": Y @ np.ones((1, 2))}, x="u", y="v"))
    assert [o.key for o in recorder.observations] == ["recorded/boundary/points/ones", "recorded/boundary/lines/level"]
    np.testing.assert_array_equal(recorder.observations[0].value, X[:, :2])
    (plot,) = recorder.plots
    assert (plot.name, plot.x, plot.y) == ("boundary", "u", "v")
    assert plot.points == {"ones": "recorded/boundary/points/ones"}
    assert plot.lines == {"level": "recorded/boundary/lines/level"}


@pytest.mark.parametrize("coordinates", [X, X[0], [[1.0, 2.0]]], ids=["three columns", "one row", "no array"])
def test_record_refuses_a_plot_of_other_shapes(coordinates):
    with pytest.raises(CaseError, match=r"'level', which is not an array of shape \(n, 2\)"):
        Recorder().record("boundary", Plot(lines={"level": coordinates}))


@pytest.mark.parametrize("name", ["", 3, None])
def test_record_refuses_what_is_no_name(name):
    with pytest.raises(CaseError, match="takes a name first"):
        Recorder().record(name, 1)


@pytest.mark.parametrize(
    ("first", "second"), [(("a", 1), ("a", 1)), (("a/0", 1.5), ("a", [2.5]))], ids=["same", "by its path"]
)
def test_record_refuses_a_name_twice(first, second):
    recorder = Recorder()
    recorder.record(*first)
    with pytest.raises(CaseError, match="Two observations have one name: 'a"):
        recorder.record(*second)


def test_keys_tell_phases_and_steps_apart():
    recorder = Recorder()
    recorder.record("a", 1)
    recorder.add("log", "a", 1, step=0)
    recorder.add("log", "a", 1, step=1, layer="l")
    assert [(o.key, o.step, o.layer) for o in recorder.observations] == [
        ("recorded/a", 0, None),
        ("log/0/a", 0, None),
        ("log/1/a", 1, "l"),
    ]


# Parts.


#: What paths are relative to in what these checks record.
HERE = Path(__file__).parent


@pytest.mark.parametrize(("optional", "twin"), [(True, False), (False, True)], ids=["optional", "of the twin"])
def test_a_part_that_may_fail_is_noted_with_the_line_that_raised(optional, twin):
    recorder, line = Recorder(HERE, twin=twin), inspect.currentframe().f_lineno
    with recorder.part("it", optional=optional):
        raise ValueError("first line\n\n\x1b[1msecond line\x1b[0m")
    where = f"check_record.py:{line + 2}, in {inspect.currentframe().f_code.co_name}"
    assert reasons(recorder) == {"it": f"ValueError: first line\nsecond line\n  at {where}"}


def test_what_a_part_raised_is_kept_with_what_was_recorded_before():
    recorder = Recorder(HERE)
    with recorder.part("first", optional=True):
        raise ValueError("1")
    recorder.record("a", 1)
    with pytest.raises(KeyError), recorder.part("second"):
        raise KeyError("2")
    told = [(raised.part, raised.error.splitlines()[0], raised.after) for raised in recorder.raised]
    assert told == [("first", "ValueError: 1", None), ("second", "KeyError: '2'", "recorded/a")]


def test_a_long_reason_is_shortened():
    recorder = Recorder(twin=True)
    with recorder.part("it"):
        raise ValueError("x" * 5000)
    assert reasons(recorder)["it"].splitlines()[0] == ("ValueError: " + "x" * 5000)[: origin.LONGEST] + "..."


def test_the_line_is_the_deepest_that_is_of_no_framework():
    def inner():
        keras.ops.reshape(np.ones(3), (2, 2))

    def outer():
        try:
            inner()
        except Exception as error:
            raise RuntimeError("something else") from error

    with pytest.raises(RuntimeError) as found:
        outer()
    line = inspect.getsourcelines(outer)[1] + 4
    assert origin.line_of(found.value, HERE) == f"check_record.py:{line}, in outer"
    told = origin.described(found.value, HERE)
    assert told.splitlines()[0] == "RuntimeError: something else"
    assert "\n  which came from " in told


class ParticularError(Exception):
    def __init__(self, place):
        super().__init__(f"wrong at {place.number}")


class OfTwoError(Exception):
    def __init__(self, place, number):
        super().__init__(f"wrong at {place}: {number}")


@pytest.mark.parametrize("error", [ParticularError(types.SimpleNamespace(number=7)), OfTwoError("it", 7)])
def test_an_error_that_keras_cannot_put_its_words_before_is_told_itself(error):
    class Raises(keras.layers.Layer):
        def call(self, _):
            raise error

    with pytest.raises((AttributeError, TypeError)) as found:
        keras.Sequential([Raises()])(np.ones((1, 1)))
    told = origin.described(found.value, HERE).splitlines()
    assert told[0] == f"{type(error).__name__}: {error}"
    assert told[-1].endswith("in call")


def test_where_no_such_line_raised_it_is_that_of_what_came_before_or_of_the_class():
    def user():
        keras.ops.reshape(np.ones(3), (2, 2))

    try:
        user()
    except Exception as error:
        came_from = error
    alone = RuntimeError("without a line of its own")
    alone.__context__ = came_from
    assert origin.line_of(alone, HERE) == f"check_record.py:{inspect.getsourcelines(user)[1] + 1}, in user"

    class Unknown(keras.Layer):
        def get_config(self):
            return {"what": object()}

    found = None
    try:
        keras.saving.serialize_keras_object({"a": [Unknown()]})
    except TypeError as error:
        found = error
    frames = found.__traceback__.tb_next  # without this test
    where = f"check_record.py:{inspect.getsourcelines(Unknown)[1]}, in Unknown"
    assert origin.line_of(found.with_traceback(frames), HERE) == where


def test_a_part_that_must_not_fail_raises():
    recorder = Recorder()
    with pytest.raises(ValueError, match="on purpose"), recorder.part("it"):
        raise ValueError("on purpose")
    assert recorder.notes == []


@pytest.mark.parametrize("error", [CaseError("wrong"), KeyboardInterrupt()], ids=["CaseError", "KeyboardInterrupt"])
def test_no_part_hides_a_wrong_case_or_an_interrupt(error):
    with pytest.raises(type(error)), Recorder(twin=True).part("it", optional=True):
        raise error


# State.


@pytest.mark.parametrize("fails", [False, True], ids=["without an error", "after an error"])
def test_preserved_puts_variables_and_generators_back(fails):
    keras.random.uniform((1,))
    variable = keras.Variable([1.0, 2.0])
    seed = keras_internals.global_seed_generator()

    def now():
        return (
            *(value.tolist() for value in values_of([variable, seed.state])),
            random.getstate(),
            repr(np.random.get_state()),
        )

    def change():
        with state.preserved([variable]):
            variable.assign([3.0, 4.0])
            for draw in (partial(keras.random.uniform, (1,)), random.random, np.random.random):
                draw()
            if fails:
                raise RuntimeError("on purpose")

    before = now()
    with contextlib.suppress(RuntimeError):
        change()
    assert now() == before


def test_preserved_forgets_a_generator_that_was_not_there():
    with state.preserved([]):
        keras.random.uniform((1,))
    assert keras_internals.global_seed_generator() is None


def test_two_variables_of_one_path_are_numbered():
    variables = [keras.Variable([float(value)], name="v") for value in range(2)]
    assert [(name, layer) for name, layer, _ in state.named(variables)] == [("v", None), ("v#2", None)]


def test_integer_state_is_plain_and_floating_state_an_array():
    recorder = Recorder()
    counted = keras.Variable([1, 2], dtype="int32", trainable=False, name="counted")
    state.record_variables(recorder, "initial", [counted, keras.Variable([1.0], name="weight")], 0, prefix="p/")
    assert [(o.key, o.dtype) for o in recorder.observations] == [
        ("initial/0/p/counted", None),
        ("initial/0/p/weight", "float32"),
    ]
    assert recorder.observations[0].value == [1, 2]


def test_seeds_of_a_backends_own_generator_are_not_recorded():
    layer = keras.layers.Dropout(0.5, seed=1, name="d")
    weight = keras.Variable([1.0], name="weight")
    for native, expected in ((False, 2), (True, 1)):
        recorder = Recorder(native=native)
        state.record_variables(recorder, "initial", [*layer.variables, weight], 0)
        assert len(recorder.observations) == expected
        assert recorder.observations[-1].name == "weight"


def test_the_state_of_a_model_is_all_that_training_changes():
    model = linear("adam", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    found = {id(variable) for variable in state.model_state(model)}
    wanted = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    assert found == {id(variable) for variable in wanted}
    assert len(state.model_state(model)) == len(found)
