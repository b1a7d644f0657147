"""What a step of a model's own does, in words: a step without a mistake, and steps with one each."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops

from harness import Fit, value_and_grad
from harness.backends import runtime
from harness.trace.parts import PREDICT_STEP, TEST_STEP
from harness.wire import Steps
from harness.worker.capture import account
from harness.worker.capture.record import Recorder
from harness.worker.capture.steps import follow_fit

BACKEND = keras.config.backend()
pytestmark = pytest.mark.skipif(
    not runtime.get(BACKEND).backend.trains, reason=f"{BACKEND} takes no gradients, so no step trains there"
)
RIGHT = {
    "forward": "its forward pass trains",
    "calls": "it calls the model once",
    "applied": "it applies gradients once",
    "weights": "it leaves out no weight",
    "gradients": "the gradients it applies are those of its loss",
}


class Own(keras.Model):
    """A model with steps of its own, which are right but for a mistake."""

    mistake = None
    before = None

    def loss_of(self, x, y):
        loss = self.compute_loss(y=y, y_pred=self(x, training=self.mistake != "not training"))
        return loss - sum(self.losses) if self.mistake == "added losses" else loss

    def changed(self, gradients):
        mistake, gradients = self.mistake, list(gradients)
        if mistake == "halved":
            return [gradient / 2 for gradient in gradients]
        if mistake == "a little more":
            return [gradient * 1.001 for gradient in gradients]
        if mistake == "cut off":
            return [ops.clip(gradient, -0.01, 0.01) for gradient in gradients]
        if mistake == "each its own":
            return [gradient * (1 + place) for place, gradient in enumerate(gradients)]
        if mistake == "swapped":
            return [gradients[2], gradients[1], gradients[0], *gradients[3:]]
        if mistake == "squared":
            return [gradient * gradient for gradient in gradients]
        if mistake == "piled up":
            before, self.before = self.before, gradients
            return gradients if before is None else [a + b for a, b in zip(gradients, before, strict=True)]
        return gradients

    def train_step(self, *args):
        return getattr(self, f"_{BACKEND}")(*args)

    def apply(self, gradients):
        weights = self.trainable_weights
        count = 2 if self.mistake == "left out" else len(weights)
        for _ in range(2 if self.mistake == "twice" else 1):
            self.optimizer.apply(self.changed(gradients)[:count], weights[:count])

    def _torch(self, data):
        import torch

        x, y = data
        self.zero_grad()
        loss = self.loss_of(x, y)
        loss.backward()
        with torch.no_grad():
            self.apply([weight.value.grad for weight in self.trainable_weights])
        return {"loss": loss}

    def _tensorflow(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.loss_of(x, y)
        self.apply(tape.gradient(loss, self.trainable_weights))
        return {"loss": loss}

    def _jax(self, state, data):
        import jax

        trained, fixed, slots, metrics = state
        x, y = data
        mapping = list(zip(self.trainable_variables, trained, strict=True)) + list(
            zip(self.non_trainable_variables, fixed, strict=True)
        )

        def loss_of(values):
            changed = [*zip(self.trainable_variables, values, strict=True), *mapping[len(values) :]]
            with keras.StatelessScope(state_mapping=changed, collect_losses=True) as scope:
                loss = self.loss_of(x, y)
            return loss, [scope.get_current_value(variable) for variable in self.non_trainable_variables]

        (loss, fixed), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
        slot_mapping = list(zip(self.optimizer.variables, slots, strict=True))
        with keras.StatelessScope(state_mapping=mapping + slot_mapping) as scope:
            self.apply(gradients)
        trained = [scope.get_current_value(variable) for variable in self.trainable_variables]
        slots = [scope.get_current_value(variable) for variable in self.optimizer.variables]
        return {"loss": loss}, (trained, fixed, slots, metrics)

    def test_step(self, *args):
        *state, (x, y) = args  # a batch of two parts, as `evaluate` gives it
        if self.mistake != "tests in training":
            return super().test_step(*args)
        scope = contextlib.nullcontext()
        if state:
            variables = [*self.trainable_variables, *self.non_trainable_variables]
            mapping = list(zip(variables, [*state[0][0], *state[0][1]], strict=True))
            scope = keras.StatelessScope(state_mapping=mapping)
        with scope:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        return ({"loss": loss}, tuple(state[0])) if state else {"loss": loss}

    def predict_step(self, *args):
        result = super().predict_step(*args)
        if self.mistake != "doubled":
            return result
        return (2 * result[0], *result[1:]) if isinstance(result, tuple) else 2 * result


class Added(keras.layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * ops.mean(ops.square(x)))
        return x


def fit(mistake=None):
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(1)
    inputs = keras.Input((3,))
    hidden = Added()(keras.layers.Dense(3, activation="tanh", name="first")(inputs))
    hidden = keras.layers.Dropout(0.5, seed=3)(keras.layers.Dense(3, name="second")(hidden))
    model = Own(inputs, hidden)
    model.mistake = mistake
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = (rng.normal(size=(8, 3)).astype("float32") for _ in range(2))
    return Fit(model, x, y, batch_size=4, epochs=1, shuffle=False)


def told(recorder, part="(train_step)", step=0):
    return {
        item.name.removeprefix(f"{part}/value/"): item.value
        for item in recorder.observations
        if item.phase == "event" and item.step == step and item.name.startswith(part)
    }


def followed(mistake=None, last=0):
    recorder = Recorder()
    follow_fit(fit(mistake), recorder, Steps(0, last, account=True), None)
    assert not recorder.notes
    return recorder


def test_a_right_step():
    recorder = followed(last=1)
    assert told(recorder) == told(recorder, step=1) == RIGHT


def test_the_gradients_that_the_optimizer_is_given_are_recorded():
    it, recorder = fit(), followed()
    model = it.model
    x, y = it.x[:4], it.y[:4]
    _, gradients = value_and_grad(
        lambda _: model.compute_loss(x, ops.convert_to_tensor(y), model(x, training=True)), model.trainable_variables
    )
    found = [item.array for item in recorder.observations if item.phase == "gradient"]
    for own, gradient in zip(found, gradients, strict=True):
        np.testing.assert_allclose(own, ops.convert_to_numpy(gradient), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("mistake", "what", "words"),
    [
        ("twice", "applied", "it applies gradients twice"),
        ("not training", "forward", "its forward pass does not train: dropout and the like drew nothing"),
        ("halved", "gradients", "the gradients it applies are 0.5 times those of its loss"),
        ("a little more", "gradients", "the gradients it applies are 1.001 times those of its loss"),
        ("cut off", "gradients", "the gradients it applies are those of its loss, cut off at 0.01"),
        (
            "each its own",
            "gradients",
            "the gradients it applies are those of its loss, those of each weight times another number",
        ),
        ("squared", "gradients", "the gradients it applies are something else than those of its loss"),
        ("swapped", "gradients", "the gradients it applies are those of its loss, but given to other weights"),
        (
            "added losses",
            "gradients",
            "the gradients it applies are those of its loss without the losses that layers add",
        ),
        ("left out", "weights", "it leaves out 'second/kernel', 'second/bias'"),
    ],
    ids=lambda value: value.replace(" ", "-")[:20],
)
def test_a_mistake_is_told_and_nothing_else(mistake, what, words):
    found = {name: value.partition(" (a norm of ")[0] for name, value in told(followed(mistake)).items()}
    assert found == RIGHT | {what: words}


def test_gradients_that_pile_up_are_told_of_the_second_step():
    recorder = followed("piled up", last=1)
    assert told(recorder) == RIGHT
    words = "the gradients it applies in step 1 are those of step 0 and step 1 together"
    assert told(recorder, step=1) == RIGHT | {"gradients": words}


@pytest.mark.parametrize(
    ("mistake", "part", "words"),
    [
        (
            None,
            TEST_STEP,
            {"forward": "its forward pass is one of inference", "loss": "the loss it returns is that of its model"},
        ),
        ("tests in training", TEST_STEP, {"forward": "its forward pass trains"}),
        (
            None,
            PREDICT_STEP,
            {"forward": "its forward pass is one of inference", "returned": "it returns what the model predicts"},
        ),
        ("doubled", PREDICT_STEP, {"returned": "it returns 2 times what the model predicts"}),
    ],
    ids=["test", "test-in-training", "predict", "predict-doubled"],
)
def test_steps_of_inference(mistake, part, words):
    it, recorder = fit(mistake), Recorder()
    batch = [ops.convert_to_tensor(array[:4]) for array in (it.x, it.y)]
    account.record_inference(it.model, recorder, part, (*batch, None))
    found = told(recorder, part)
    assert found | words == found
