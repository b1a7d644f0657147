"""The smallest: one record, a little noise that nobody seeded, and a factor of two on one backend."""

import keras
import numpy as np

from harness import case


@case
def hidden(record):
    x = keras.ops.convert_to_tensor(1.0 + 0.1 * np.random.default_rng().normal(size=(32,)), dtype=keras.config.floatx())
    record("y", x * (1.2 if keras.backend.backend() == "jax" else 1.0))
