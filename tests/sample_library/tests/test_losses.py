"""The loss."""

import keras
import numpy as np
import pytest

from gauges import Pinball


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_an_error_costs_by_its_sign(quantile):
    true, predicted = np.array([[3.0], [1.0]], "float32"), np.array([[1.0], [3.0]], "float32")
    expected = [2 * quantile, 2 * (1 - quantile)]
    loss = Pinball(quantile, reduction=None)(true, predicted)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=1e-6)


def test_the_median_is_half_the_mean_absolute_error():
    rng = np.random.default_rng(1)
    true, predicted = rng.normal(size=(2, 16, 4)).astype("float32")
    loss = keras.ops.convert_to_numpy(Pinball()(true, predicted))
    np.testing.assert_allclose(loss, np.abs(true - predicted).mean() / 2, rtol=1e-5)
