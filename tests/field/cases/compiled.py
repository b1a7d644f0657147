"""What Python decides, holds or counts while it is traced, and state that no layer owns: it shows where a step or a
call is compiled."""

import keras
from keras import ops

from harness import Fit, Forward, case

SEEDS = keras.random.SeedGenerator(42)


class Doubled(keras.layers.Layer):
    def call(self, x):
        try:
            float(ops.sum(x))  # a traced value has no number
        except Exception:
            return 2.0 * x
        return 1.0 * x


class Largest(keras.layers.Layer):
    """Keeps some rows. Where it is traced it cannot tell how many, and keeps them all, some of them 0."""

    def call(self, x):
        keep = ops.sum(x, axis=-1) > 0
        try:
            count = int(ops.sum(ops.cast(keep, "int32")))
        except Exception:
            return x * ops.cast(keep, x.dtype)[:, None]
        return ops.take(x, ops.argsort(-ops.cast(keep, "int32"))[:count], axis=0)


class Counting(keras.layers.Layer):
    """Gives half of its input for its first calls, of which one infers shapes."""

    def __init__(self, first, **kwargs):
        super().__init__(**kwargs)
        self.first = first
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x * (0.5 if self.calls <= self.first else 1.0)


class Refusing(keras.layers.Layer):
    def call(self, x):
        return x if int(ops.sum(x)) > 0 else -x


class DropRows(keras.layers.Layer):
    def call(self, x, training=False):
        if not training:
            return x
        return x * ops.floor(0.5 + keras.random.uniform((ops.shape(x)[0], 1), seed=SEEDS, dtype=x.dtype))


class Scaled(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.factor = 1.0

    def call(self, x):
        return x * self.factor


class Grow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.get_layer("scaled").factor *= 1.5


def data(rng):
    return rng.normal(size=(6, 4)).astype("float32")


def whole_numbers():
    return ops.convert_to_numpy(ops.arange(1, 5, dtype="int32"))


def trained(rng, layer, callbacks=(), **options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="first"), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse", **options)
    x, y = rng.normal(size=(24, 4)).astype("float32"), rng.normal(size=(24, 1)).astype("float32")
    return Fit(model, x, y, epochs=2, batch_size=8, callbacks=list(callbacks))


@case
def healthy(rng):
    layers = [keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)]
    return Forward(keras.Sequential(layers), data(rng), training=True)


@case
def healthy_function(rng):
    return Forward(lambda x: ops.softmax(x) + keras.random.uniform((6, 4), seed=SEEDS), data(rng))


class Patches(keras.layers.Layer):
    """Gives the size of its patches beside them, as layers of vision do."""

    def call(self, x):
        return 2.0 * x, (x.shape[0], ops.shape(x)[1]), {"mean": ops.mean(x), "name": "patches", "mask": None}


class TellsItsShape(keras.layers.Layer):
    """Keras does not call it on placeholders, so that they do not build what is inside of it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3)
        self.norm = keras.layers.BatchNormalization()

    def build(self, input_shape):
        super().build(input_shape)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 3)

    def call(self, x, training=False):
        return self.norm(self.dense(x), training=training)


@case
def healthy_that_tells_its_shape(rng):
    return Forward(TellsItsShape(), data(rng), training=True)


@case
def healthy_with_plain_values(rng):
    return Forward(Patches(), data(rng))


@case
def other_values(rng):
    return Forward(Doubled(), data(rng))


@case
def other_shape(rng):
    return Forward(Largest(), data(rng))


@case
def counted(rng):
    return Forward(Counting(2), data(rng))


@case
def refused():
    return Forward(Refusing(), whole_numbers())


@case
def left_out():
    return Forward(Refusing(), whole_numbers(), compiled=False)


@case
def rows_dropped(rng):
    return Forward(DropRows(), data(rng), training=True)


@case
def rows_dropped_in_training(rng):
    return trained(rng, DropRows(name="rows"))


@case
def grown(rng):
    return trained(rng, Scaled(name="scaled"), [Grow()])


@case
def grown_eagerly(rng):
    return trained(rng, Scaled(name="scaled"), [Grow()], run_eagerly=True)


@case
def counted_in_training(rng):
    return trained(rng, Counting(7, name="counting"))
