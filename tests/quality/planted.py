"""Mistakes that people make on one backend, one a case, in parts that are no layer, or not a layer alone.

The table of them is `planted_bugs.py`. The model, the loop and the loss are right where the mistake is not, and each
has a healthy twin: its scenario without a mistake. `python tests/quality/score_planted.py` runs all of them.
"""

import keras
import pytest
from keras import ops
from planted_bugs import BUGS

from harness import Fit, case

BACKEND = keras.backend.backend()


class Gate(keras.layers.Layer):
    """x * sigmoid(w x + b), elementwise."""

    def __init__(self, stopped=False, **kwargs):
        super().__init__(**kwargs)
        self.stopped = stopped

    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1],), initializer="ones")
        self.b = self.add_weight(name="b", shape=(shape[-1],), initializer="zeros")

    def call(self, x):
        gate = ops.sigmoid(x * self.w + self.b)
        return x * (ops.stop_gradient(gate) if self.stopped else gate)


class Steep(keras.layers.Layer):
    """tanh, and steeper where somebody wants it."""

    slope = 1.0

    def call(self, x):
        return ops.tanh(self.slope * x)


class Cosh(keras.losses.Loss):
    """log cosh of the error, and a wrong factor where it is given."""

    def __init__(self, factor=1.0):
        super().__init__(name="cosh")
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * ops.mean(ops.log(ops.cosh(y_pred - ops.cast(y_true, y_pred.dtype))), axis=-1)


class Near(keras.metrics.Metric):
    """Share of predictions within 0.5."""

    def __init__(self, mistake=None, name="near"):
        super().__init__(name=name)
        self.hits = self.add_weight(name="hits", initializer="zeros")
        self.seen = self.add_weight(name="seen", initializer="zeros")
        self.mistake = mistake

    def update_state(self, y_true, y_pred, sample_weight=None):
        hit = ops.cast(ops.abs(y_pred - ops.cast(y_true, y_pred.dtype)) < 0.5, "float32")
        times = 2.0 if self.mistake == "counts twice" else 1.0
        self.hits.assign_add(ops.cast(times * ops.sum(hit), self.hits.dtype))
        self.seen.assign_add(ops.cast(ops.size(hit), self.seen.dtype))

    def result(self):
        return self.hits / ops.maximum(self.seen + (1.0 if self.mistake == "one more" else 0.0), 1.0)

    def reset_state(self):
        self.hits.assign(0.0)
        if self.mistake != "forgets":
            self.seen.assign(0.0)


class Halve(keras.callbacks.Callback):
    """Multiplies the learning rate after each epoch."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) * self.factor


class Shrink(keras.callbacks.Callback):
    """Multiplies a kernel after each epoch."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def on_epoch_end(self, epoch, logs=None):
        kernel = self.model.get_layer("first").kernel
        kernel.assign(kernel * self.factor)


class Steepen(keras.callbacks.Callback):
    """Tells a layer to be steeper after each epoch, as people write it who think of eager code."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.get_layer("steep").slope += 0.5


class Loop(keras.Model):
    """An overridden train_step for three backends. `mistake` names what is done wrong, on the backend that has it."""

    mistake = None

    def train_step(self, *args):
        return {"tensorflow": self._tensorflow, "torch": self._torch, "jax": self._jax}[BACKEND](*args)

    def _torch(self, data):
        import torch

        x, y = data
        if self.mistake != "gradients pile up":
            self.zero_grad()
        loss = self.compute_loss(y=y, y_pred=self(x, training=self.mistake != "not training"))
        loss.backward()
        gradients = [v.value.grad for v in self.trainable_weights]
        if self.mistake == "clipped":
            torch.nn.utils.clip_grad_norm_([v.value for v in self.trainable_weights], 0.1)
        if self.mistake == "mixed up":
            gradients[2], gradients[3] = gradients[3], gradients[2]
        with torch.no_grad():
            self.optimizer.apply(gradients, self.trainable_weights)
            if self.mistake == "two updates":
                self.optimizer.apply(gradients, self.trainable_weights)
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}

    def _tensorflow(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        weights = self.trainable_weights
        if self.mistake == "a part":
            weights = weights[:2]
        gradients = tape.gradient(loss, weights)
        if self.mistake == "clipped":
            gradients, _ = tf.clip_by_global_norm(gradients, 0.1)
        if self.mistake == "wrong sign":
            gradients = [-gradient for gradient in gradients]
        self.optimizer.apply(gradients, weights)
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}

    def _jax(self, state, data):
        import jax

        trained, fixed, slots, metrics = state
        x, y = data

        def loss_of(trained, fixed):
            y_pred, fixed = self.stateless_call(trained, fixed, x, training=self.mistake != "not training")
            return self.compute_loss(y=y, y_pred=y_pred), fixed

        (loss, fixed), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained, fixed)
        trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
        if self.mistake == "two updates":
            trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
        metrics = self._loss_tracker.stateless_update_state(metrics, loss)
        return {"loss": self._loss_tracker.stateless_result(metrics)}, (trained, fixed, slots, metrics)


class Warming(Loop):
    """A loss that counts for more with each step, which Python counts: right where train_step is not compiled."""

    steps = 0

    def train_step(self, *args):
        self.steps += 1
        return super().train_step(*args)

    def compute_loss(self, *args, **given):
        return super().compute_loss(*args, **given) * min(1.0, 0.5 + 0.1 * max(self.steps - 1, 0))


class Penalised(keras.Model):
    """A train_step with a loss of its own, to which it adds what regularisers ask for."""

    mistake = None

    def train_step(self, *args):
        return {"tensorflow": self._tensorflow, "torch": self._torch, "jax": self._jax}[BACKEND](*args)

    def _loss_of(self, y, y_pred, penalties):
        loss = ops.mean(ops.square(y_pred - ops.cast(y, y_pred.dtype)))
        return loss if self.mistake == "no penalty" else loss + sum(penalties)

    def _torch(self, data):
        import torch

        x, y = data
        self.zero_grad()
        loss = self._loss_of(y, self(x, training=True), self.losses)
        loss.backward()
        gradients = [v.value.grad for v in self.trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, self.trainable_weights)
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}

    def _tensorflow(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self._loss_of(y, self(x, training=True), self.losses)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}

    def _jax(self, state, data):
        import jax

        trained, fixed, slots, metrics = state
        x, y = data

        def loss_of(trained, fixed):
            y_pred, fixed, penalties = self.stateless_call(trained, fixed, x, training=True, return_losses=True)
            return self._loss_of(y, y_pred, penalties), fixed

        (loss, fixed), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained, fixed)
        trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
        metrics = self._loss_tracker.stateless_update_state(metrics, loss)
        return {"loss": self._loss_tracker.stateless_result(metrics)}, (trained, fixed, slots, metrics)


class Net(keras.Model):
    """A subclassed model with a train_step, in which torch has to forget the gradients of the step before."""

    mistake = None

    def __init__(self):
        super().__init__()
        self.a, self.b = keras.layers.Dense(6, activation="tanh", name="a"), keras.layers.Dense(1, name="b")

    def call(self, x, training=False):
        return self.b(self.a(x))

    def train_step(self, *args):
        return {"tensorflow": self._tensorflow, "torch": self._torch, "jax": self._jax}[BACKEND](*args)

    _tensorflow, _torch, _jax = Loop._tensorflow, Loop._torch, Loop._jax


class Tested(keras.Model):
    """A test_step for three backends."""

    mistake = None

    def test_step(self, *args):
        training = self.mistake == "training"
        if BACKEND == "jax":
            (trained, fixed, metrics), (x, y) = args
            y_pred, fixed = self.stateless_call(trained, fixed, x, training=training)
            metrics = self._loss_tracker.stateless_update_state(metrics, self.compute_loss(y=y, y_pred=y_pred))
            return {"loss": self._loss_tracker.stateless_result(metrics)}, (trained, fixed, metrics)
        ((x, y),) = args
        self._loss_tracker.update_state(self.compute_loss(y=y, y_pred=self(x, training=training)))
        return {"loss": self._loss_tracker.result()}


class Predicting(keras.Model):
    """A predict_step for three backends."""

    mistake = None

    def predict_step(self, *args):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(args[-1])
        factor = 1.001 if self.mistake == "scaled" else 1.0
        if BACKEND == "jax":
            y_pred, fixed = self.stateless_call(*args[0], x, training=False)
            return factor * y_pred, fixed
        return factor * self(x, training=False)


def trained(
    rng,
    cls=keras.Model,
    mistake=None,
    middle=None,
    regularizer=None,
    stopped=False,
    factor=1.0,
    scaled_target=1.0,
    scaled_row=1.0,
    swapped=False,
    metrics=None,
    eagerly=False,
    **options,
):
    """48 rows in 4 batches, twice, through a gate and dropout."""
    x, y = rng.normal(size=(48, 6)).astype("float32"), rng.normal(size=(48, 1)).astype("float32")
    x[7] *= scaled_row
    y[-1] *= scaled_target
    if swapped:
        x[[3, 17]] = x[[17, 3]]
    inputs = keras.Input((6,))
    first = keras.layers.Dense(12, kernel_regularizer=regularizer, name="first")(inputs)
    hidden = (middle or Gate(stopped, name="gate"))(first)
    model = cls(inputs, keras.layers.Dense(1, name="last")(keras.layers.Dropout(0.25, name="drop")(hidden)))
    model.mistake = mistake
    model.compile(keras.optimizers.Adam(0.01), Cosh(factor), metrics=metrics, run_eagerly=eagerly)
    return Fit(model, x, y, epochs=2, batch_size=12, **options)


def looped(rng, mistake=None):
    return trained(rng, Loop, mistake)


def penalised(rng, mistake=None):
    return trained(rng, Penalised, mistake, regularizer=keras.regularizers.L2(0.01))


def evaluated(rng, mistake=None):
    return trained(rng, Tested, mistake)


def predicting(rng, mistake=None):
    return trained(rng, Predicting, mistake)


def netted(rng, mistake=None):
    model = Net()
    model.mistake = mistake
    model.compile(keras.optimizers.SGD(0.05), "mse")
    x, y = rng.normal(size=(32, 4)).astype("float32"), rng.normal(size=(32, 1)).astype("float32")
    return Fit(model, x, y, epochs=2, batch_size=8)


def measured(rng, mistake=None):
    return trained(rng, metrics=[Near(mistake)])


def called_back(rng, callback=None, factor=1.0):
    return trained(rng, callbacks=[kind(factor if kind.__name__ == callback else 1.0) for kind in (Halve, Shrink)])


def counting(rng, compiled=False):
    return trained(rng, Warming, eagerly=not compiled)


def flagged(rng, compiled=False):
    return trained(rng, middle=Steep(name="steep"), eagerly=not compiled, callbacks=[Steepen()])


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        trained,
        looped,
        penalised,
        evaluated,
        predicting,
        netted,
        measured,
        called_back,
        counting,
        flagged,
    )
}


@case
@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def planted(bug, rng, target):
    return SCENARIOS[bug.scenario](rng, **(bug.how if target.backend == bug.target else {}))


@case
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def healthy(scenario, rng):
    return scenario(rng)
