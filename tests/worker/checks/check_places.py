"""Where the code under test is written, as a training and a forward pass record it."""

import inspect
from pathlib import Path

import keras
import numpy as np
from keras import ops

from harness import Fit
from harness.worker.capture import places

HERE = Path(__file__).parent


class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


class Far(keras.metrics.Metric):
    def update_state(self, y_true, y_pred, sample_weight=None):
        pass

    def result(self):
        return ops.zeros(())


def off(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class Net(keras.Model):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


class Quiet(keras.callbacks.Callback):
    pass


def line_of(code):
    return f"{code.__qualname__}, check_places.py:{inspect.getsourcelines(code)[1]}"


def fit(**options):
    inputs = keras.Input((2,))
    model = Net(inputs, keras.layers.Dense(1, name="last")(Twice(name="twice")(inputs)))
    model.compile("sgd", **options)
    return Fit(model, np.ones((4, 2), "float32"), np.ones((4, 1), "float32"))


def test_what_is_the_users_has_a_file_and_a_line():
    found = places.of_fit(fit(loss=off), [Quiet()], HERE)
    assert found["layer/twice"] == line_of(Twice)
    assert found["loss"] == line_of(off)
    assert found["compute_loss"] == line_of(Net.compute_loss)
    assert found["callback/Quiet"] == line_of(Quiet)


def test_what_is_not_the_users_has_its_name():
    found = places.of_fit(fit(loss=keras.losses.Huber()), [keras.callbacks.TerminateOnNaN()], HERE)
    assert found["layer/last"] == "Dense"
    assert found["loss"] == "Huber"
    assert found["optimizer"] == "SGD"
    assert found["callback/TerminateOnNaN"] == "TerminateOnNaN"
    assert "train_step" not in found
    assert "loss" not in places.of_fit(fit(loss="mse"), [], HERE)


def test_metrics_are_found_once_they_are_built():
    it = fit(loss="mse", metrics=[Far(name="far"), off])
    it.model.compute_metrics(it.x, ops.ones((4, 1)), ops.ones((4, 1)))
    found = places.of_fit(it, [], HERE)
    assert found["metric/far"] == line_of(Far)
    assert found["metric/off"] == line_of(off)


def test_of_several_losses_each_has_its_output():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, [keras.layers.Dense(1, name=name)(inputs) for name in "abc"])
    model.compile("sgd", [off, "mse", keras.losses.Huber()])
    model.compute_loss(None, [ops.zeros((2, 1))] * 3, [ops.ones((2, 1))] * 3)
    found = places.of_fit(Fit(model, None), [], HERE)
    assert (found["loss/a"], found["loss/b"], found["loss/c"]) == (line_of(off), "mean_squared_error", "Huber")
    assert "loss" not in found


def test_hooks_of_a_callback_are_found_where_they_are_its_own():
    class Loud(Quiet):
        def on_batch_end(self, batch, logs=None):
            pass

    own = keras.callbacks.LambdaCallback(on_epoch_end=off)
    found = places.of_fit(fit(loss="mse"), [Loud(), own], HERE)
    hook = f"Loud.on_batch_end, check_places.py:{inspect.getsourcelines(Loud.on_batch_end)[1]}"
    hooks = {name: place for name, place in found.items() if name.startswith("callback/Loud/")}
    assert hooks == {"callback/Loud/on_batch_end": hook}
    assert found["callback/LambdaCallback/on_epoch_end"] == line_of(off)


def test_a_layer_has_the_places_of_those_in_it():
    model = keras.Sequential([keras.Input((2,)), Twice(name="twice"), keras.layers.Dense(1, name="last")])
    found = places.of_layer(model, HERE)
    assert (found["layer/twice"], found["layer/last"]) == (line_of(Twice), "Dense")
