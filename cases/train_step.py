"""H6 and H7: an overridden `train_step`, in the three ways that Keras needs: with a loss of its own, and with what
`compile` was given, `test_step` and `predict_step`. And `compute_loss` and `compute_metrics`, in the one they need."""

import keras
import numpy as np
from keras import layers, ops
from simple_dense import digits

from harness import Expected, Fit, case

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


# Where there are no gradients there is no step either.
CustomModel = {"tensorflow": TensorFlowModel, "torch": TorchModel, "jax": JaxModel}.get(
    keras.backend.backend(), TrackedModel
)


def build(model_class):
    """784 → Dense 512 relu → Dropout 0.5 → Dense 10 softmax."""
    inputs = keras.Input(shape=(28 * 28,))
    features = layers.Dense(512, activation="relu")(inputs)
    features = layers.Dropout(0.5, seed=1)(features)
    return model_class(inputs, layers.Dense(10, activation="softmax")(features), name="classifier")


def data():
    """The first 640 of scikit-learn's handwritten digits, enlarged from 8 x 8 to 24 x 24 in a frame of 28 x 28."""
    images, labels = digits()
    enlarged = np.kron(images[:640].reshape(-1, 8, 8), np.ones((1, 3, 3), "float32"))
    return np.pad(enlarged, [(0, 0), (2, 2), (2, 2)]).reshape(-1, 784), labels[:640]


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


class UpdatedMetrics(keras.Model):
    def updated_metrics(self, loss, y, y_pred):
        """Update the loss tracker and the metrics that `compile` was given. Returns their results by name."""
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=ops.shape(y_pred)[0])
            else:
                metric.update_state(y, y_pred)
        return self.get_metrics_result()


@keras.saving.register_keras_serializable("cases")
class TensorFlowCompiledModel(UpdatedMetrics):
    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        return self.updated_metrics(loss, y, y_pred)


@keras.saving.register_keras_serializable("cases")
class TorchCompiledModel(UpdatedMetrics):
    def train_step(self, data):
        import torch

        x, y = data
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.compute_loss(x, y, y_pred)
        loss.backward()
        gradients = [weight.value.grad for weight in self.trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, self.trainable_weights)
        return self.updated_metrics(loss, y, y_pred)


@keras.saving.register_keras_serializable("cases")
class JaxCompiledModel(UpdatedMetrics):
    def loss_and_updates(self, trainable_variables, non_trainable_variables, x, y):
        y_pred, non_trainable_variables = self.stateless_call(
            trainable_variables, non_trainable_variables, x, training=True
        )
        return self.compute_loss(x, y, y_pred), (y_pred, non_trainable_variables)

    def train_step(self, state, data):
        import jax

        trainable, non_trainable, optimizer_variables, metrics_variables = state
        x, y = data
        compute = jax.value_and_grad(self.loss_and_updates, has_aux=True)
        (loss, (y_pred, non_trainable)), gradients = compute(trainable, non_trainable, x, y)
        trainable, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, gradients, trainable)
        with keras.StatelessScope(list(zip(self.metrics_variables, metrics_variables, strict=True))) as scope:
            logs = self.updated_metrics(loss, y, y_pred)
        metrics_variables = [scope.get_current_value(variable) for variable in self.metrics_variables]
        return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)


CompiledModel = {"tensorflow": TensorFlowCompiledModel, "torch": TorchCompiledModel, "jax": JaxCompiledModel}.get(
    keras.backend.backend(), UpdatedMetrics
)


def build_small(model_class):
    """64 → Dense 32 relu → Dropout 0.25 → Dense 10 softmax, compiled."""
    inputs = keras.Input(shape=(64,))
    features = layers.Dense(32, activation="relu")(inputs)
    features = layers.Dropout(0.25, seed=1)(features)
    model = model_class(inputs, layers.Dense(10, activation="softmax")(features), name="classifier")
    model.compile(keras.optimizers.RMSprop(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def small_data():
    images, labels = digits()
    return images[:320], labels[:320]


@case
def train_step_with_what_compile_was_given():
    x, y = small_data()
    return Fit(build_small(CompiledModel), x, y, epochs=2, batch_size=64, validation_split=0.2)


@case
def train_step_with_what_compile_was_given_equals_built_in(record):
    x, y = small_data()
    models = {"custom": build_small(CompiledModel), "built-in": build_small(keras.Model)}
    models["built-in"].set_weights(models["custom"].get_weights())
    histories = [
        model.fit(x, y, epochs=2, batch_size=64, shuffle=False, verbose=0).history for model in models.values()
    ]
    record("history", dict(zip(models, histories, strict=True)))
    record("weights", {name: model.get_weights() for name, model in models.items()})
    assert list(histories[0]) == list(histories[1])
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)
    for mine, theirs in zip(*(model.get_weights() for model in models.values()), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@keras.saving.register_keras_serializable("cases")
class MirroringModel(UpdatedMetrics):
    """Evaluates and predicts with the mean of what it says of the pixels and of the pixels in reverse."""

    def with_mirrored(self, x):
        return (self(x, training=False) + self(ops.flip(x, axis=1), training=False)) / 2

    def test_step(self, data):
        x, y = data
        y_pred = self.with_mirrored(x)
        return self.updated_metrics(self.compute_loss(x, y, y_pred, training=False), y, y_pred)

    def predict_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.with_mirrored(x)


@keras.saving.register_keras_serializable("cases")
class JaxMirroringModel(MirroringModel):
    def test_step(self, state, data):
        trainable, non_trainable, metrics_variables = state
        variables = self.trainable_variables + self.non_trainable_variables + self.metrics_variables
        values = trainable + non_trainable + metrics_variables
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            logs = super().test_step(data)
        metrics_variables = [scope.get_current_value(variable) for variable in self.metrics_variables]
        return logs, (trainable, non_trainable, metrics_variables)

    def predict_step(self, state, data):
        trainable, non_trainable = state
        variables = self.trainable_variables + self.non_trainable_variables
        with keras.StatelessScope(list(zip(variables, trainable + non_trainable, strict=True))):
            return super().predict_step(data), non_trainable


Mirroring = JaxMirroringModel if keras.backend.backend() == "jax" else MirroringModel


@case
def custom_test_and_predict_steps():
    x, y = small_data()
    return Fit(build_small(Mirroring), x, y, epochs=1, batch_size=64, validation_split=0.2)


@case
def custom_test_and_predict_steps_by_hand(record):
    (x, y), model = small_data(), build_small(Mirroring)
    evaluated, predicted = model.evaluate(x, y, verbose=0, return_dict=True), model.predict(x, verbose=0)
    record("evaluate", evaluated)
    record("predict", predicted)
    expected = (ops.convert_to_numpy(model(x)) + ops.convert_to_numpy(model(x[:, ::-1]))) / 2
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)
    np.testing.assert_allclose(evaluated["loss"], -np.log(expected[np.arange(len(y)), y]).mean(), rtol=1e-5)
    np.testing.assert_allclose(evaluated["accuracy"], (expected.argmax(axis=1) == y).mean(), rtol=1e-6)


@keras.saving.register_keras_serializable("cases")
class PricedModel(keras.Model):
    """Adds a price on large outputs to the loss that `compile` was given, and reports it and the root of the sum."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.price = keras.metrics.Mean(name="price")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        price = 0.1 * ops.mean(ops.square(y_pred))
        self.price.update_state(price, sample_weight=ops.shape(y_pred)[0])
        return super().compute_loss(x, y, y_pred, sample_weight, training) + price

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        return {**logs, "root": ops.sqrt(logs["loss"])}


def priced_model():
    inputs = keras.Input(shape=(4,))
    model = PricedModel(inputs, layers.Dense(1)(layers.Dense(8, activation="tanh")(inputs)), name="priced")
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="evaluate returns Python's floats on torch, and float32 on tensorflow and jax",
            where="metric/*/evaluate/*",
            keras="<3.14",
        )
    }
)
def overridden_compute_loss_and_metrics(rng):
    x = rng.normal(size=(80, 4)).astype("float32")
    return Fit(priced_model(), x, x[:, :1] * 2, epochs=2, batch_size=16, validation_split=0.2)


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="train_on_batch returns Python's floats on torch, and float32 on tensorflow and jax",
            where="recorded/logs/*",
            keras="<3.14",
        )
    }
)
def overridden_compute_loss_and_metrics_by_hand(rng, record):
    model, x = priced_model(), rng.normal(size=(90, 4)).astype("float32")
    y = x[:, :1] * 2
    logs = model.evaluate(x, y, batch_size=32, verbose=0, return_dict=True)
    record("logs", logs)
    predicted = model.predict(x, verbose=0).astype("float64")
    error, price = ((predicted - y) ** 2).mean(), 0.1 * (predicted**2).mean()
    expected = {
        "loss": error + price,
        "price": price,
        "mae": np.abs(predicted - y).mean(),
        "root": (error + price) ** 0.5,
    }
    assert set(logs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5)
