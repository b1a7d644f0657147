"""Mistakes on jax alone in what is no layer: metrics, losses of several outputs, callbacks, and rows of data."""

import keras
from keras import ops

from harness import Fit, case

ON_JAX = keras.backend.backend() == "jax"


class Near(keras.metrics.Metric):
    """Share of predictions within 0.5, which a mistake may spoil."""

    def __init__(self, mistake=None, name="near"):
        super().__init__(name=name)
        self.hits = self.add_weight(name="hits", initializer="zeros")
        self.seen = self.add_weight(name="seen", initializer="zeros")
        self.mistake = mistake if ON_JAX else None

    def update_state(self, y_true, y_pred, sample_weight=None):
        hit = ops.abs(y_pred - ops.cast(y_true, y_pred.dtype)) < (0.7 if self.mistake == "update" else 0.5)
        self.hits.assign_add(ops.sum(ops.cast(hit, self.hits.dtype)))
        self.seen.assign_add(ops.cast(ops.size(hit), self.seen.dtype))

    def result(self):
        return self.hits / ops.maximum(self.seen, 1) + (0.125 if self.mistake == "result" else 0.0)

    def reset_state(self):
        self.hits.assign(0.0)
        if self.mistake != "reset":
            self.seen.assign(0.0)


class Cosh(keras.losses.Loss):
    def __init__(self, factor=1.0):
        super().__init__(name="cosh")
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * ops.mean(ops.log(ops.cosh(y_pred - y_true)), axis=-1)


class Own(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = ops.mean(ops.square(y - y_pred))
        return 1.001 * loss if ON_JAX else loss


class Fall(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        rate = self.model.optimizer.learning_rate
        rate.assign(float(ops.convert_to_numpy(rate)) * (0.25 if ON_JAX else 0.5))


class Sliced(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(12 * index, 12 * index + 12)
        y = self.y[rows].copy()
        y[5] *= 1.01 if ON_JAX and index == 2 else 1.0
        return self.x[rows], y


def arrays(rng):
    return rng.normal(size=(48, 4)).astype("float32"), rng.normal(size=(48, 1)).astype("float32")


def trained(rng, cls=keras.Model, loss="mse", metrics=None, epochs=2, **options):
    inputs = keras.Input((4,))
    model = cls(inputs, keras.layers.Dense(1, name="last")(keras.layers.Dense(3, "tanh", name="first")(inputs)))
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=metrics)
    return Fit(model, *arrays(rng), epochs=epochs, batch_size=12, **options)


@case
def update(rng):
    return trained(rng, metrics=[Near("update")])


@case
def result(rng):
    return trained(rng, metrics=["mae", Near("result")])


@case
def forgotten_before_evaluate(rng):
    return trained(rng, metrics=[Near("reset")], epochs=1)


@case
def of_two_outputs(rng):
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("one", "two")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["mse", Cosh(1.001 if ON_JAX else 1.0)])
    x, y = arrays(rng)
    return Fit(model, x, [y, y], batch_size=12)


@case
def own_loss(rng):
    return trained(rng, Own, loss=None)


@case
def rates(rng):
    return trained(rng, callbacks=[Fall()])


@case
def rows(rng):
    x, y = arrays(rng)
    fit = trained(rng, epochs=1)
    return Fit(fit.model, Sliced(x, y), shuffle=False)


@case
def healthy(rng):
    metrics = [Near(), keras.metrics.AUC(), keras.metrics.R2Score(), "mae"]
    return trained(rng, metrics=metrics, validation_split=0.25)
