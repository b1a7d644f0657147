"""What a replay on the reference records for scripts alone: how parts are made, and what they are called with."""

import functools
import json

import keras
import numpy as np
import pytest
from keras import layers, ops

from harness import Fit
from harness.backends import runtime
from harness.trace import Header, Trace, write
from harness.wire import Replay
from harness.worker.capture.record import Recorder
from harness.worker.capture.replay import _described, _source_of, replay_case

trained = pytest.mark.skipif(not runtime.current().backend.trains, reason="Keras does not train on this backend")
X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
FACTOR = 2.0


def doubled(x):
    return ops.multiply(x, FACTOR)


class Doubling(layers.Layer):
    def call(self, x):
        return doubled(x)


class Made(layers.Layer):
    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


def near(y_true, y_pred):
    return ops.abs(y_true - y_pred)


class Twice(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.inner = layers.Dense(3, name="inner")

    def call(self, x):
        return self.inner(self.inner(x))


def replayed(folder, given=None):
    model = keras.Sequential([keras.Input((3,)), Twice(name="twice"), layers.Dense(1, name="last")], name="m")
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, "mse", metrics=["mae", near, keras.metrics.MeanSquaredError(name="square")])
    recorder = Recorder()
    replay_case(lambda: Fit(model, X, X[:, :1], batch_size=6), recorder, Replay(given=given))
    write(folder, Header("c", "t", "float32"), recorder.observations)
    return Trace(folder)


@trained
def test_the_reference_alone_records_what_a_script_needs(tmp_path):
    own = replayed(tmp_path / "own")
    given = replayed(tmp_path / "given", given=tmp_path / "own")

    def config(place):
        return json.loads(own[f"initial/0/{place}/config"].value)

    assert config("(optimizer)")["class"] == "SGD"
    assert config("(optimizer)")["config"]["momentum"] == 0.9
    assert config("(loss)") == {"loss": {"text": "mse"}, "weights": None}
    assert config("(metrics)/value/square")["class"] == "MeanSquaredError"
    assert (config("(metrics)/value/near")["class"], config("(metrics)/value/near")["is_function"]) == ("near", True)
    assert config("m/twice")["composed"] is True
    state = [entry.name.rpartition("/")[2] for entry in own.select("initial", name="(optimizer)/state")]
    assert state[:2] == ["iteration", "learning_rate"]
    assert len(state) == 2 + 4
    np.testing.assert_array_equal(own["forward/0/(loss)/given/1"].value, X[:, :1])
    np.testing.assert_array_equal(own["forward/0/(metrics)/value/square/given/0"].value, X[:, :1])
    # It is not compared: a replay on given values has none of it.
    new = (
        "(optimizer)/config",
        "(optimizer)/state",
        "(loss)/given",
        "(loss)/config",
        "(metrics)/value/near/",
        "m/twice/config",
    )
    assert not [entry.key for entry in given.select() if any(f"initial/0/{name}" in entry.key for name in new)]
    assert not [entry.key for entry in given.select() if "/given" in entry.key]


def test_a_source_has_what_it_uses_of_its_module():
    source = _source_of(Doubling)
    space = {}
    exec(source, space)  # our own
    np.testing.assert_allclose(ops.convert_to_numpy(space["Doubling"]()(X)), 2 * X)
    assert "Twice" not in source
    assert "from harness" not in source


def test_a_class_made_in_a_function_has_a_source_that_stands_by_itself():
    class Inner(layers.Layer):
        def call(self, x):
            return doubled(x)

    space = {}
    exec(_source_of(Inner), space)
    np.testing.assert_allclose(ops.convert_to_numpy(space["Inner"]()(X)), 2 * X)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Doubling, None),
        (lambda: Made(near), "no get_config"),
        (lambda: lambda x: x, "a lambda"),
        (lambda: functools.partial(near), "get_config"),
        (lambda: type("Dynamic", (layers.Layer,), {"__module__": __name__})(), "has no source"),
    ],
    ids=["a layer", "a layer of a function", "a lambda", "a partial", "a class without source"],
)
def test_why_something_cannot_be_made_elsewhere(make, why):
    described = _described(make())
    assert (described.get("why") is None) == (why is None), described
    assert why is None or why in described["why"]
