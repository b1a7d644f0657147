"""A layer that cannot be saved on jax, whose config holds what JSON cannot there. The rest is healthy."""

import keras

from harness import Fit, case


@keras.saving.register_keras_serializable("field")
class Table(keras.layers.Layer):
    def call(self, x):
        return 2 * x

    def get_config(self):
        config = super().get_config()
        if keras.backend.backend() == "jax":
            config["scale"] = object()
        return config


@case
def saved(rng):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3), Table(name="table")])
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(8, 5)).astype("float32"), rng.normal(size=(8, 3)).astype("float32")
    return Fit(model, x, y, epochs=1, batch_size=8)
