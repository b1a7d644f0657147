"""The state of a layer that is built before anything of it is recorded."""

import keras
import numpy as np
from keras import ops

from harness.worker.capture import state


class LooksAtValues(keras.layers.Layer):
    """Cannot be built on placeholders, for its call asks for a value before it builds a layer that keeps statistics."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)

    def call(self, x, training=None):
        x = x * float(ops.convert_to_numpy(ops.sum(x)))
        return self.drop(self.norm(x, training=training), training=training)


def test_what_is_built_by_a_real_call_is_as_it_was_made():
    layer = LooksAtValues()
    state.build(layer, [ops.convert_to_tensor(np.full((4, 3), 5.0, "float32"))], training=True)
    values = {name.rpartition("/")[2]: ops.convert_to_numpy(value) for name, _, value in state.named(layer.variables)}
    np.testing.assert_array_equal(values["moving_mean"], np.zeros(3))
    np.testing.assert_array_equal(values["moving_variance"], np.ones(3))
    assert values["seed_generator_state"].tolist() == [1, 0]
