"""A bias in front of a normalisation: its gradient is 0 but for rounding, and Adam makes a whole step of that. Healthy.

With `--quick`, where there is no float64 run, too.
"""

import keras

from harness import Fit, case


@case
def bias_that_does_nothing(rng):
    norm, last = keras.layers.BatchNormalization(), keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(6, name="first"), norm, keras.layers.ReLU(), last])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = rng.normal(size=(32, 5)).astype("float32"), rng.normal(size=(32, 1)).astype("float32")
    return Fit(model, x, y, epochs=2, batch_size=16)
