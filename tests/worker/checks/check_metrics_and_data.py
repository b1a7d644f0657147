"""What is recorded of metrics, of what callbacks change, and of rows of data, so that a blame can name them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from harness import Fit
from harness.backends import runtime
from harness.trace import Changed, Header, Trace, write
from harness.wire import Replay
from harness.worker import randomness
from harness.worker.capture import metrics
from harness.worker.capture.record import Recorder
from harness.worker.capture.replay import replay_case
from harness.worker.capture.training import record_fit

trains = pytest.mark.skipif(not runtime.current().backend.trains, reason="Keras does not train on this backend")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype("float32")
Y = (X[:, :1] + 0.5).astype("float32")


class Near(keras.metrics.Metric):
    def __init__(self, forgets=False, name="near"):
        super().__init__(name=name)
        self.seen = self.add_weight(name="seen", initializer="zeros")
        self.forgets = forgets

    def update_state(self, y_true, y_pred, sample_weight=None):  # noqa: ARG002 - Keras' signature
        self.seen.assign_add(ops.cast(ops.size(y_pred), self.seen.dtype))

    def result(self):
        return 2 * self.seen

    def reset_state(self):
        if not self.forgets:
            self.seen.assign(0.0)


class Halve(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras' signature
        if epoch:
            rate = self.model.optimizer.learning_rate
            rate.assign(float(ops.convert_to_numpy(rate)) / 2)


def compiled(metric=None):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, name="last")], name="m")
    model.compile(keras.optimizers.SGD(0.25), "mse", metrics=[metric or Near()])
    return model


def recorded(fit, folder):
    recorder = Recorder()
    folder.mkdir(exist_ok=True)
    with randomness.shared_order(3):
        record_fit(fit, recorder, folder)
    return recorder


def replayed(fit, folder, **options):
    recorder = Recorder()
    replay_case(lambda: fit, recorder, Replay(**options))
    write(folder, Header("c", "t", "float32"), recorder.observations)
    return Trace(folder)


def begun(recorder):
    """The state of metrics when something begins, by step and name."""
    found = [item for item in recorder.observations if item.phase == "metric" and " begins/" in item.name]
    return {(item.step, item.name): float(item.value) for item in found}


@trains
@pytest.mark.parametrize("forgets", [False, True], ids=["reset", "forgotten"])
def test_metrics_are_recorded_when_epochs_validations_and_evaluations_begin(tmp_path, forgets):
    fit = Fit(compiled(Near(forgets)), X, Y, epochs=2, batch_size=5, validation_split=0.25)
    found = begun(recorded(fit, tmp_path / "x"))
    places = [
        (2, "validation of epoch 0 begins"),
        (2, "epoch 1 begins"),
        (5, "validation of epoch 1 begins"),
        (5, "evaluate begins"),
    ]
    # After 15 rows of training and 5 of validation in each epoch. The loss is a metric of Keras' own.
    seen = dict(zip(places, [15, 20, 35, 40] if forgets else [0] * 4, strict=True))
    expected = {(step, f"{place}/near/seen"): value for (step, place), value in seen.items()}
    expected |= {(step, f"{place}/loss/{name}"): 0.0 for step, place in places for name in ("total", "count")}
    assert found == expected


def test_names_that_keras_counts_are_the_same_on_every_backend():
    model = compiled()
    own = [keras.metrics.Mean(), keras.metrics.Mean(), Near(name="top_5"), Near(name="top_5")]
    for position, metric in enumerate(own):
        setattr(model, f"own_{position}", metric)
    own[2].counted = own[2].add_variable((), "zeros")
    recorder = Recorder()
    metrics.record_state(recorder, "metric", "here", model, 0)
    names = [item.name.removeprefix("here/") for item in recorder.observations]
    assert [name for name in names if not name.startswith("loss/")] == [
        "mean/total",
        "mean/count",
        "mean/total#2",
        "mean/count#2",
        "top_5/seen",
        "top_5/variable",
        "top_5/seen#2",
    ]


@trains
def test_what_a_callback_did_to_the_rate_is_kept_beside_its_event(tmp_path):
    recorder = recorded(Fit(compiled(), X, Y, epochs=2, batch_size=10, callbacks=[Halve()]), tmp_path / "x")
    assert recorder.changes == {"event/3/callback/Halve/after epoch 1": Changed("on_epoch_end", ("0.25", "0.125"))}
    assert "event/1/callback/Halve/after epoch 0" in {item.key for item in recorder.observations}
    place = recorder.places["callback/Halve/on_epoch_end"]
    assert place.startswith("Halve.on_epoch_end, ")


@trains
def test_a_replay_tells_the_update_of_a_metric_from_its_result(tmp_path):
    trace = replayed(Fit(compiled(), X, Y), tmp_path, rows=[4, 7])
    update, result = "metric/0/(metrics)/state/near/seen", "metric/0/(metrics)/value/near"
    assert (float(trace[update].value), float(trace[result].value)) == (2.0, 4.0)
    assert trace.keys.index(update) < trace.keys.index(result)
    assert trace["forward/0/(metrics)/input"].array.shape == (2, 1)


@trains
def test_a_replay_has_the_loss_of_each_output(tmp_path):
    inputs = keras.Input((3,))
    outputs = [layers.Dense(1, name="a")(inputs), layers.Dense(1, name="b")(inputs)]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", [keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()])
    trace = replayed(Fit(model, X, [Y, Y]), tmp_path, rows=[4, 7])
    a, b, total = (float(trace[f"loss/0/(loss)/value{name}"].value) for name in ("/a", "/b", ""))
    assert a + b == pytest.approx(total)
    predicted = [ops.convert_to_numpy(output) for output in model(X[[4, 7]])]
    assert b == pytest.approx(np.abs(predicted[1] - Y[[4, 7]]).mean(), rel=1e-5)


def test_an_array_of_the_data_is_recorded_whole(tmp_path):
    trace = replayed(Fit(compiled(), X, Y, validation_data=(X[:2], Y[3:5])), tmp_path, data="validation_data/1")
    assert trace.keys == ["initial/0/data/validation_data/1"]
    np.testing.assert_array_equal(trace[trace.keys[0]].value, Y[3:5])


@trains
def test_an_array_of_one_batch_is_recorded_and_training_ends(tmp_path):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            asked.append(index)
            return X[5 * index : 5 * index + 5], Y[5 * index : 5 * index + 5]

    asked = []
    fit = Fit(compiled(), Batches(), epochs=3, shuffle=False, validation_data=(X, Y))
    trace = replayed(fit, tmp_path, data="y", batch=6)
    assert trace.keys == ["event/6/data/y"]
    np.testing.assert_array_equal(trace[trace.keys[0]].value, Y[10:15])
    assert fit.model.optimizer.iterations == 7
