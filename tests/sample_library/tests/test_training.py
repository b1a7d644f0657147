"""All of it, in a training."""

import keras
import numpy as np
import pytest

from gauges import Calibration, Pinball, StopWhenSettled


@pytest.fixture
def readings():
    rng = np.random.default_rng(2)
    return (rng.normal(size=(64, 4)) + 5).astype("float32"), rng.normal(size=(64, 1)).astype("float32")


def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([Calibration(), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=Pinball(0.9))
    return model


def test_training_lowers_the_loss(readings):
    losses = model().fit(*readings, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_training_ends_when_it_has_settled(readings):
    settled = StopWhenSettled(tolerance=1e6)
    history = model().fit(*readings, epochs=5, callbacks=[settled], verbose=0)
    assert len(history.history["loss"]) == 2
    assert len(settled.changes) == 1


def test_a_saved_model_predicts_the_same(readings, tmp_path):
    trained = model()
    trained.fit(*readings, epochs=1, verbose=0)
    trained.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = readings[0]
    np.testing.assert_allclose(loaded.predict(x, verbose=0), trained.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
