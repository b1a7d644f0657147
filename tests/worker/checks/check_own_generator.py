"""Whether the backend's own random functions give what they promise is found where a case calls them."""

import keras
import numpy as np
import pytest
from keras import ops

from harness.trace.key import AS_PROMISED
from harness.worker import own_generator
from harness.worker.capture.record import Recorder

X = np.arange(40, dtype=np.float32).reshape(4, 10)


@pytest.fixture
def found():
    """What is recorded of the functions that a test calls."""
    own_generator.begin()

    def found():
        recorder = Recorder()
        own_generator.record(recorder)
        return {item.name: item.value for item in recorder.observations}

    yield found
    own_generator.begin()


def wrapped(native, shared=None, name="uniform"):
    """A function of Keras' random module, as a case calls it through Keras' public one."""
    looked_at = own_generator.looked_at(name, native, shared or native)
    scope = {"__name__": own_generator._PUBLIC, "looked_at": looked_at}
    exec("def public(*args, **options):\n    return looked_at(*args, **options)", scope)
    return scope["public"]


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    return ops.convert_to_tensor(np.random.default_rng(seed).uniform(minval, maxval, shape).astype(dtype or "float32"))


def shuffle(x, axis=0, seed=None):
    order = np.random.default_rng(seed).permutation(x.shape[axis])
    return ops.take(x, ops.convert_to_tensor(order), axis=axis)


def test_what_keeps_its_promise_is_recorded_as_such(found):
    wrapped(uniform)((600,), 1.0, 3.0, seed=1)
    wrapped(shuffle, name="shuffle")(ops.convert_to_tensor(X), axis=-1, seed=1)
    assert found() == dict.fromkeys(["generator/keras.random.shuffle", "generator/keras.random.uniform"], AS_PROMISED)


@pytest.mark.parametrize(
    ("native", "said"),
    [
        (lambda *args, **options: uniform(*args, **options) * 2, "outside of 1.0 to 3.0"),
        (lambda *args, **options: uniform(*args, **options)[:5], "of shape (5,)"),
        (lambda *args, **options: ops.cast(uniform(*args, **options), "int32"), "it gives int32"),
        (lambda *args, **options: uniform(*args, **options) / 100 + 2, "its deviation is"),
        (lambda *args, **options: uniform(*args, **options) / 2 + 0.5, "its mean is"),
        (lambda *args, **options: uniform(*args, **options) @ "x", "it raises"),
    ],
)
def test_what_breaks_it_is_said(found, native, said):
    def broken(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
        return native(shape, minval, maxval, dtype, seed)

    wrapped(broken, uniform)((600,), 1.0, 3.0, seed=1)
    assert said in found()["generator/keras.random.uniform"]


def test_a_shuffle_that_breaks_columns_apart_is_found(found):
    def apart(x, axis=0, seed=None):
        rng = np.random.default_rng(seed)
        return ops.convert_to_tensor(rng.permuted(ops.convert_to_numpy(x), axis=axis))

    wrapped(apart, shuffle, "shuffle")(ops.convert_to_tensor(X), axis=-1, seed=1)
    assert found()["generator/keras.random.shuffle"] == "what stands at one place along axis -1 does not stay together"


def test_what_keras_itself_draws_is_not_looked_at(found):
    keras.layers.Dense(3).build((2, 4))
    assert found() == {}
