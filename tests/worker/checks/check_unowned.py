"""Variables that nothing owns, and what Python holds of a model."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from harness import Fit, Forward
from harness.backends import runtime
from harness.worker.capture import python_state, unowned
from harness.worker.capture.forward import call_again, record_forward
from harness.worker.capture.record import Recorder

RUNTIME = runtime.current()
X = np.arange(6, dtype=np.float32).reshape(2, 3)
COUNTER = None
BOTH = []


class Counting(keras.layers.Layer):
    """Updates a variable of this module in each call, and returns what it has become."""

    def call(self, x):
        COUNTER.assign_add(1.0)
        return x + COUNTER


@pytest.fixture(autouse=True)
def _variables():
    """Variables of this module. They are made here, since a backend may not start before its threads are set."""
    global COUNTER
    COUNTER = keras.Variable(np.zeros((), np.float32), name="counter")
    BOTH[:] = [keras.Variable(np.ones(2, np.float32), name=name) for name in "ab"]


def by_key(recorder):
    return {item.key: item.value for item in recorder.observations}


def test_a_variable_that_no_layer_owns_is_recorded_by_its_name():
    recorder = Recorder()
    record_forward(Forward(Counting(name="c"), X), recorder)
    found = by_key(recorder)
    assert found["initial/0/unowned/COUNTER"] == 0.0
    # The instruments call the layer more than once, and what is left is the effect of one call.
    assert found["update/0/unowned/COUNTER"] == 1.0
    np.testing.assert_array_equal(found["forward/0/c/output"], X + 1)
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (line,) = [number for number, text in enumerate(lines, 1) if text.startswith("COUNTER = ")]
    assert recorder.unowned["unowned/COUNTER"].endswith(f"check_unowned.py:{line}")


def test_variables_in_a_list_are_told_apart():
    recorder = Recorder()
    with unowned.watched(list) as updated:
        BOTH[1].assign(2 * ops.ones(2))
    updated.record(recorder, 0)
    assert set(by_key(recorder)) == {"initial/0/unowned/BOTH/b", "update/0/unowned/BOTH/b"}


def test_one_that_no_module_has_is_called_by_its_path():
    variable = keras.Variable(np.zeros(2, np.float32), name="local")
    recorder = Recorder()
    with unowned.watched(list) as updated:
        variable.assign(ops.ones(2))
    updated.record(recorder, 3)
    assert recorder.unowned == {f"unowned/{variable.path}": None}
    np.testing.assert_array_equal(by_key(recorder)[f"update/3/unowned/{variable.path}"], np.ones(2))


@pytest.mark.skipif(RUNTIME.backend.compiles is None, reason="fit compiles nothing on this backend")
def test_what_one_began_with_is_known_where_only_compiled_code_updates_it():
    def function(tensors):
        COUNTER.assign_add(1.0)
        return tensors[0]

    COUNTER.assign(4.0)
    recorder = Recorder()
    with unowned.watched(list) as updated:
        RUNTIME.compiled(function, None, jit=RUNTIME.backend.compiles == "jit")([ops.convert_to_tensor(0.0)])
    updated.record(recorder, 0)
    found = by_key(recorder)
    assert (found["initial/0/unowned/COUNTER"], found["update/0/unowned/COUNTER"]) == (4.0, 5.0)


def test_owned_variables_are_not_among_them():
    with unowned.watched(lambda: BOTH) as updated:
        BOTH[0].assign(ops.ones(2))
        keras.random.uniform((2,))  # moves the generator that Keras itself keeps
    assert updated.variables() == []


def test_what_comes_to_be_owned_is_no_longer_among_them():
    owned = []
    with unowned.watched(lambda: owned) as updated:
        BOTH[0].assign(ops.ones(2))
        BOTH[1].assign(ops.ones(2))
        assert [variable.name for variable in updated.variables()] == ["a", "b"]
        owned.append(BOTH[0])
        assert [variable.name for variable in updated.variables()] == ["b"]


def test_they_are_put_back():
    def fail(updated):
        with updated.preserved([]):
            COUNTER.assign(5.0)
            raise ValueError("on purpose")

    with unowned.watched(list) as updated:
        with pytest.raises(ValueError, match="on purpose"):
            fail(updated)
        assert float(COUNTER.value) == 0.0


@pytest.mark.skipif(RUNTIME.backend.compiles is None, reason="fit compiles nothing on this backend")
def test_a_compiled_function_is_traced_once():
    traced = []

    def function(tensors):
        traced.append(1)
        return tensors[0] * 2.0

    compiled = RUNTIME.compiled(function, None, jit=RUNTIME.backend.compiles == "jit")
    for value in (1.0, 3.0):
        assert float(compiled([ops.convert_to_tensor(value)])) == 2 * value
    assert len(traced) == 1


@pytest.mark.skipif(RUNTIME.backend.compiles is None, reason="fit compiles nothing on this backend")
def test_a_compiled_call_keeps_what_is_owned():
    mine = keras.Variable(np.zeros((), np.float32), name="mine")

    def function(tensors):
        mine.assign_add(1.0)
        COUNTER.assign_add(1.0)
        return tensors[0] + mine

    compiled = RUNTIME.compiled(function, [mine], jit=RUNTIME.backend.compiles == "jit")
    assert [float(compiled([ops.convert_to_tensor(0.0)])) for _ in range(3)] == [1.0, 2.0, 3.0]
    assert float(mine.value) == 3.0
    # As in `fit`: on jax what a step makes of other variables is lost.
    assert float(COUNTER.value) == (0.0 if RUNTIME.backend.name == "jax" else 3.0)


@pytest.mark.skipif(RUNTIME.backend.compiles is None, reason="fit compiles nothing on this backend")
@pytest.mark.parametrize("mode", [None, RUNTIME.backend.compiles])
def test_a_layer_is_called_twice_from_its_first_state(mode):
    def make():
        x = np.ones((4, 3), np.float32)
        return Forward(keras.layers.BatchNormalization(momentum=0.5), x, training=True, as_trained=False)

    keras.layers.BatchNormalization()  # takes the first name
    recorder = Recorder()
    call_again(make, recorder, mode)
    found = by_key(recorder)
    name = "batch_normalization"
    for step, mean in enumerate([0.5, 0.75]):
        np.testing.assert_allclose(found[f"update/{step}/{name}/moving_mean"], np.full(3, mean))
        np.testing.assert_allclose(found[f"forward/{step}/{name}/output"], np.zeros((4, 3)), atol=1e-6)
    assert len(found) == 6


@pytest.mark.parametrize(
    ("value", "again", "repeats"),
    [
        (np.ones(3), np.ones(3) * (1 + 1e-6), True),
        (np.ones(3), np.ones(3) * 1.1, False),
        (np.ones(3), np.ones(4), False),
        (np.ones((3, 1)), np.ones((3, 3)), False),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), True),
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], ["a", "c"], False),
        (["a", "b"], np.ones(2), False),
    ],
)
def test_a_second_call_repeats_the_first_or_not(value, again, repeats):
    from harness.worker.child import _repeats

    recorders = Recorder(), Recorder()
    for recorder, output in zip(recorders, (value, again), strict=True):
        recorder.add("forward", "layer/output", output, step=0)
    assert _repeats(*recorders) is repeats
    assert not _repeats(Recorder(), recorders[1])


class Plain(keras.layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.rate = 0.5
        self._steps = [1, 2]
        self.table = np.arange(3)
        self.large = np.zeros(2000)
        self.function = print
        self.kept = {"a": "b"}

    def call(self, x):
        return x


def test_what_python_holds_of_a_layer():
    layer = Plain(name="p")
    layer(X)
    assert python_state.of(layer) == {
        "Plain.rate": "0.5",
        "Plain._steps": "[1, 2]",
        "Plain.table": "[0, 1, 2]",
        "Plain.large": "ndarray of 2000 values",
        "Plain.kept": "{'a': 'b'}",
    }


def test_what_python_holds_of_a_model_that_was_trained():
    model = keras.Sequential([keras.Input((3,)), Plain(name="p"), Plain(name="q"), keras.layers.Dropout(0.25)])
    model.compile("sgd", "mse", loss_weights=[0.5])
    model.compute_loss(X, ops.convert_to_tensor(X), ops.convert_to_tensor(X))
    found = python_state.of(model)
    assert found["Plain.rate"] == found["Plain.rate of 'q'"] == "0.5"
    assert (found["Dropout.rate"], found["loss weights"]) == ("0.25", "[0.5]")
    assert not any(name.startswith("Sequential._") for name in found)


@pytest.mark.skipif(not RUNTIME.backend.trains, reason="Keras has no gradients on this backend")
def test_what_a_callback_changes_that_only_python_holds_is_recorded(tmp_path):
    from harness.worker.capture.training import record_fit

    class Grow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - the signature of the hook
            self.model.layers[0].rate *= 2

    model = keras.Sequential([keras.Input((3,)), Plain(name="p"), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    recorder = Recorder()
    record_fit(Fit(model, X, X[:, :1], callbacks=[Grow()]), recorder, tmp_path)
    assert by_key(recorder)["event/0/callback/Grow/after epoch 0"] == "`Plain.rate`"
    assert recorder.python_state["Plain.rate"] == "1.0"


@pytest.mark.skipif(RUNTIME.backend.compiles is None, reason="fit compiles nothing on this backend")
def test_a_keyword_is_an_argument_of_a_compiled_call_as_an_input_is():
    known = []

    class Picks(keras.layers.Layer):
        def call(self, x, *, rows, scale):
            known.append([RUNTIME.is_concrete(tensor) for tensor in (x, rows["of"])])
            return ops.take(x, rows["of"], axis=0) * scale

    recorder = Recorder()
    rows = {"of": np.array([1, 0, 1], np.int32)}
    call_again(lambda: Forward(Picks(name="picks"), X, rows=rows, scale=2.0), recorder, RUNTIME.backend.compiles)
    assert known[-1] == [False, False]
    np.testing.assert_array_equal(by_key(recorder)["forward/0/picks/output"], 2 * X[[1, 0, 1]])
