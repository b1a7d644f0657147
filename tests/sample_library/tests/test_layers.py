"""The layer, in the style of Keras' own tests."""

import unittest

import keras
import numpy as np

from gauges import Calibration


class CalibrationTest(unittest.TestCase):
    def assert_all_close(self, actual, expected, **tolerances):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(actual), expected, **tolerances)

    def test_without_training_readings_stay_as_they_are(self):
        readings = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
        self.assert_all_close(Calibration()(readings), readings)

    def test_training_moves_the_drift_towards_the_mean(self):
        readings = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
        layer = Calibration(momentum=0.75)
        layer(readings, training=True)
        self.assert_all_close(layer.drift, 0.25 * readings.mean(axis=0), rtol=1e-5, atol=1e-6)

    def test_drift_is_taken_off(self):
        readings = np.full((8, 2), 3.0, "float32")
        layer = Calibration(momentum=0.0)
        self.assert_all_close(layer(readings, training=True), np.zeros((8, 2)), atol=1e-6)

    def test_config_makes_the_same_layer(self):
        layer = Calibration.from_config(Calibration(momentum=0.5).get_config())
        assert layer.momentum == 0.5
