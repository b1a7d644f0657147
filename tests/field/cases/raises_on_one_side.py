"""Repeated dilation until nothing changes: reported to have no gradient on jax."""

import keras

from harness import Fit, Forward, case

ops = keras.ops


def dilate(marker, mask):
    big = ops.max_pool(marker, 3, strides=1, padding="same")
    return ops.minimum(big, mask)


@keras.saving.register_keras_serializable()
class Reconstruct(keras.layers.Layer):
    def call(self, x):
        marker, mask = x
        _, out, _ = ops.while_loop(
            lambda last, new, mask: ops.logical_not(ops.all(ops.equal(last, new))),  # noqa: ARG005
            lambda last, new, mask: (new, dilate(new, mask), mask),  # noqa: ARG005
            (marker, dilate(marker, mask), mask),
        )
        return out


@case
def reconstruct(rng):
    mask = rng.uniform(size=(2, 6, 6, 1)).astype("float32")
    return Forward(Reconstruct(), [mask * 0.7, mask])


@case
def reconstruct_in_training(rng):
    x = keras.Input((6, 6, 1))
    h = keras.layers.Conv2D(1, 3, padding="same")(x)
    h = Reconstruct()([h - 0.3, h])
    model = keras.Model(x, h)
    model.compile("sgd", "mse")
    img = rng.uniform(size=(8, 6, 6, 1)).astype("float32")
    return Fit(model, img, img, batch_size=4)
