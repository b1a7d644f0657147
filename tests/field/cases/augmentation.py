"""A layer that fails in float64 on one backend: what comes after it is judged without twins, and must not be blamed."""

import keras

from harness import Fit, case


def net(*first):
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model = keras.Sequential([*first, *layers])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@case
def with_rotation(rng):
    x, y = rng.uniform(size=(16, 16, 16, 3)).astype("float32"), rng.integers(0, 2, size=(16,))
    return Fit(net(keras.layers.RandomRotation(0.1)), x, y, epochs=1, batch_size=8)
