"""H6: an overridden `train_step`, in the three ways that Keras needs, and equal to the built-in one."""

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

from harness import Fit, case

loss_fn = keras.losses.SparseCategoricalCrossentropy()


class TrackedModel(keras.Model):
    """Reports its own loss, through a tracker that `fit` resets at each epoch."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]


@keras.saving.register_keras_serializable("cases")
class TensorFlowModel(TrackedModel):
    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = loss_fn(y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


@keras.saving.register_keras_serializable("cases")
class TorchModel(TrackedModel):
    def train_step(self, data):
        import torch

        x, y = data
        self.zero_grad()
        loss = loss_fn(y, self(x, training=True))
        loss.backward()
        gradients = [weight.value.grad for weight in self.trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, self.trainable_weights)
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


@keras.saving.register_keras_serializable("cases")
class JaxModel(TrackedModel):
    def loss_and_updates(self, trainable_variables, non_trainable_variables, x, y):
        y_pred, non_trainable_variables = self.stateless_call(
            trainable_variables, non_trainable_variables, x, training=True
        )
        return loss_fn(y, y_pred), non_trainable_variables

    def train_step(self, state, data):
        import jax

        trainable, non_trainable, optimizer_variables, metrics_variables = state
        x, y = data
        compute = jax.value_and_grad(self.loss_and_updates, has_aux=True)
        (loss, non_trainable), gradients = compute(trainable, non_trainable, x, y)
        trainable, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, gradients, trainable)
        metrics_variables = self.loss_tracker.stateless_update_state(metrics_variables, loss)
        logs = {"loss": self.loss_tracker.stateless_result(metrics_variables)}
        return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)


CustomModel = {"tensorflow": TensorFlowModel, "torch": TorchModel, "jax": JaxModel}[keras.backend.backend()]


def build(model_class):
    """784 → Dense 512 relu → Dropout 0.5 → Dense 10 softmax."""
    inputs = keras.Input(shape=(28 * 28,))
    features = layers.Dense(512, activation="relu")(inputs)
    features = layers.Dropout(0.5, seed=1)(features)
    return model_class(inputs, layers.Dense(10, activation="softmax")(features), name="classifier")


def data():
    """The first 640 of scikit-learn's handwritten digits, enlarged from 8 x 8 to 24 x 24 in a frame of 28 x 28."""
    images, labels = load_digits(return_X_y=True)
    enlarged = np.kron(images[:640].reshape(-1, 8, 8) / 16, np.ones((1, 3, 3)))
    return np.pad(enlarged, [(0, 0), (2, 2), (2, 2)]).reshape(-1, 784).astype("float32"), labels[:640].astype("int32")


@case
def custom_train_step():
    model = build(CustomModel)
    model.compile(optimizer=keras.optimizers.RMSprop())
    x, y = data()
    return Fit(model, x, y, epochs=2, batch_size=64)


@case
def custom_equals_built_in(record):
    x, y = data()
    custom, built_in = build(CustomModel), build(keras.Model)
    built_in.set_weights(custom.get_weights())
    custom.compile(optimizer=keras.optimizers.RMSprop())
    built_in.compile(optimizer=keras.optimizers.RMSprop(), loss=loss_fn)
    histories = [
        model.fit(x, y, epochs=2, batch_size=64, shuffle=False, verbose=0).history["loss"]
        for model in (custom, built_in)
    ]
    record("loss", dict(zip(["custom", "built-in"], histories, strict=True)))
    record("weights", {"custom": custom.get_weights(), "built-in": built_in.get_weights()})
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-5)
    for mine, theirs in zip(custom.get_weights(), built_in.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
