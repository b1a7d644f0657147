"""A noisy layer of one's own with a fault on one backend that is not in its noise."""

import keras

from harness import Fit, case


@keras.saving.register_keras_serializable()
class NoisyNorm(keras.layers.Layer):
    def __init__(self, **kw):
        super().__init__(**kw)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x, training=False):
        if training:
            x = x + 0.1 * keras.random.normal(keras.ops.shape(x), seed=self.seeds)
        power = 2.001 if keras.backend.backend() == "tensorflow" else 2.0  # the fault
        return x / (1.0 + keras.ops.mean(keras.ops.power(keras.ops.abs(x), power), axis=-1, keepdims=True))


@case
def noisy(rng):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), NoisyNorm(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return Fit(
        model, rng.normal(size=(16, 6)).astype("float32"), rng.normal(size=(16, 1)).astype("float32"), batch_size=8
    )
