"""H1 to H5: training and inference mode, and training loops written by hand, step by step and compiled."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from simple_dense import digits

from harness import Forward, case, value_and_grad

loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@case
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("layer", [layers.Dropout, layers.BatchNormalization])
def layer_in_a_mode(layer, training, rng):
    instance = layer(0.5, seed=1) if layer is layers.Dropout else layer()
    return Forward(instance, rng.normal(2.0, 3.0, size=(32, 6)).astype("float32"), training=training)


@case
def dropout_drops_only_when_training(record):
    dropout, x = layers.Dropout(0.25, seed=1), np.ones((40, 50), "float32")
    outputs = {
        mode: ops.convert_to_numpy(dropout(x, training=mode == "training")) for mode in ("inference", "training")
    }
    record("outputs", outputs)
    assert np.array_equal(outputs["inference"], x)
    kept = outputs["training"] != 0
    assert 0.7 < kept.mean() < 0.8  # about: three of four are kept
    np.testing.assert_allclose(outputs["training"][kept], 4 / 3, rtol=1e-6)


@case
def moving_statistics_move_only_when_training(rng, record):
    """From 0 and 1 by a tenth of the way to the batch's mean and variance; a frozen layer keeps its own."""
    x = rng.normal(2.0, 3.0, size=(64, 4)).astype("float32")
    norm = layers.BatchNormalization(momentum=0.9)
    norm.build(x.shape)

    def statistics():
        return [ops.convert_to_numpy(norm.moving_mean), ops.convert_to_numpy(norm.moving_variance)]

    initial = statistics()
    norm(x, training=False)
    assert all(np.array_equal(a, b) for a, b in zip(initial, statistics(), strict=True))
    norm(x, training=True)
    moved = statistics()
    np.testing.assert_allclose(moved[0], 0.1 * x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(moved[1], 0.9 + 0.1 * x.var(axis=0), rtol=1e-5)
    norm.trainable = False
    frozen = norm(x, training=True)
    assert all(np.array_equal(a, b) for a, b in zip(moved, statistics(), strict=True))
    record("moving statistics", moved)
    record("output of the frozen layer", frozen)


def image_classifier():
    """Flatten → Dense 128 → BatchNorm → Dropout 0.5 → Dense 10, which gives logits."""
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(128, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, seed=1, name="dropout"),
            layers.Dense(10, name="logits"),
        ],
        name="classifier",
    )


def random_images(rng, count=1000):
    return rng.random((count, 28, 28), "float32"), rng.integers(0, 10, size=count).astype("int32")


def batches(x, y, size):
    """The data in order, as tensors; the last batch may not be full."""
    for start in range(0, len(x), size):
        yield ops.convert_to_tensor(x[start : start + size]), ops.convert_to_tensor(y[start : start + size])


def train_step(model, optimizer, x, y):
    """One step, the same on every backend. Returns the loss and the logits."""

    def compute_loss(_):
        logits = model(x, training=True)
        return loss_fn(y, logits), logits

    (loss, logits), gradients = value_and_grad(compute_loss, model.trainable_variables, has_aux=True)
    optimizer.apply(gradients, model.trainable_variables)
    return loss, logits


def state_of(model):
    """Weights by name. A seed has another integer dtype on each backend, and is recorded as plain numbers."""
    values = {weight.path: ops.convert_to_numpy(weight) for weight in model.variables}
    return {name: value if value.dtype.kind == "f" else value.tolist() for name, value in values.items()}


@case
def weights_that_a_step_changes(rng, record):
    """A call for inference changes nothing, one for training the state, and a step the trainable weights as well."""
    model, optimizer = image_classifier(), keras.optimizers.Adam(1e-3)
    (x, y), *_ = batches(*random_images(rng, 32), size=32)

    def changed(action):
        before = state_of(model)
        action()
        return [name for name, value in state_of(model).items() if not np.array_equal(value, before[name])]

    state = [weight.path for weight in model.non_trainable_variables]
    names = {
        "inference": changed(lambda: model(x, training=False)),
        "training": changed(lambda: model(x, training=True)),
        "step": changed(lambda: train_step(model, optimizer, x, y)),
    }
    assert names["inference"] == []
    assert names["training"] == state
    assert set(names["step"]) - {"classifier/hidden/bias", "hidden/bias"} >= set(state)
    # The bias before the normalisation has no gradient but rounding, so nothing is said of it.
    record("changed", {mode: [name for name in found if "hidden/bias" not in name] for mode, found in names.items()})
    record("state", state_of(model))


@case(tags=["slow"])
def hand_written_loop(rng, record):
    """The loss of each step of 5 epochs, and what the last one left."""
    model, optimizer = image_classifier(), keras.optimizers.Adam(1e-3)
    x, y = random_images(rng)
    for epoch in range(5):
        losses = [train_step(model, optimizer, *batch)[0] for batch in batches(x, y, 32)]
        record(f"losses of epoch {epoch}", ops.stack(losses))
    record("weights", state_of(model))
    record("optimizer", [ops.convert_to_numpy(v) for v in optimizer.variables[2:]])
    # Each of the 160 steps moved the statistics and took the dropout's next mask.
    seeds = [value for name, value in state_of(model).items() if "seed" in name]
    assert seeds == [[1, 160]]


@case(tags=["slow"])
def loop_with_metric_trackers(rng, record):
    """The same, with trackers that are reset at each epoch."""
    model, optimizer = image_classifier(), keras.optimizers.Adam(1e-3)
    loss_tracker, accuracy = keras.metrics.Mean(name="loss"), keras.metrics.SparseCategoricalAccuracy()
    x, y = random_images(rng, 400)
    for epoch in range(3):
        losses = []
        for x_batch, y_batch in batches(x, y, 32):
            loss, logits = train_step(model, optimizer, x_batch, y_batch)
            loss_tracker.update_state(loss)
            accuracy.update_state(y_batch, logits)
            losses.append(float(loss))
        record(f"epoch {epoch}", {metric.name: metric.result() for metric in (loss_tracker, accuracy)})
        # The tracker averages over batches, whatever their size.
        np.testing.assert_allclose(float(loss_tracker.result()), np.mean(losses), rtol=1e-5)
        for metric in (loss_tracker, accuracy):
            metric.reset_state()
            assert all(float(variable) == 0 for variable in metric.variables)


def digit_images(count=640):
    """The first handwritten digits: images of 8 x 8 pixels from 0 to 1, and labels."""
    images, labels = digits()
    return images[:count].reshape(-1, 8, 8), labels[:count]


def digit_classifier():
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.25, seed=1),
            layers.Dense(10),
        ]
    )


class Loop:
    """Training and evaluation, with logs for each epoch as `fit` would give them."""

    def __init__(self, model, optimizer):
        self.model = model
        self.optimizer = optimizer
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.metrics = [self.accuracy, self.loss_tracker]

    def train_step(self, x, y):
        loss, logits = train_step(self.model, self.optimizer, x, y)
        self.update(y, logits, loss)

    def test_step(self, x, y):
        logits = self.model(x, training=False)
        self.update(y, logits, loss_fn(y, logits))

    def update(self, y, logits, loss):
        self.accuracy.update_state(y, logits)
        self.loss_tracker.update_state(loss, sample_weight=len(y))

    def over(self, step, data, prefix=""):
        for metric in self.metrics:
            metric.reset_state()
        for x, y in data:
            step(x, y)
        return {prefix + metric.name: float(metric.result()) for metric in self.metrics}

    def run(self, train, validation, epochs, batch_size):
        history = []
        for _ in range(epochs):
            logs = self.over(self.train_step, batches(*train, batch_size))
            logs |= self.over(self.test_step, batches(*validation, batch_size), prefix="val_")
            history.append(logs)
        return history


@case(tags=["slow"])
def training_and_evaluation_loop(record):
    """RMSprop for four epochs; and `fit` gives the same."""
    by_hand, by_fit = digit_classifier(), digit_classifier()
    by_fit.set_weights(by_hand.get_weights())
    x, y = digit_images()
    train, validation = (x[:512], y[:512]), (x[512:], y[512:])
    history = Loop(by_hand, keras.optimizers.RMSprop(0.003)).run(train, validation, epochs=4, batch_size=48)
    by_fit.compile(keras.optimizers.RMSprop(0.003), loss_fn, metrics=["accuracy"])
    of_fit = by_fit.fit(*train, validation_data=validation, epochs=4, batch_size=48, shuffle=False, verbose=0).history
    for epoch, logs in enumerate(history):
        record(f"epoch {epoch}", logs)
        assert set(logs) == set(of_fit) == {"accuracy", "loss", "val_accuracy", "val_loss"}
        for name, value in logs.items():
            np.testing.assert_allclose(value, of_fit[name][epoch], rtol=1e-3)
    record("weights", {"by hand": by_hand.get_weights(), "by fit": by_fit.get_weights()})
    for mine, theirs in zip(by_hand.get_weights(), by_fit.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    assert history[-1]["val_accuracy"] > 0.6  # about


def small_classifier():
    return keras.Sequential(
        [keras.Input((8, 8)), layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dense(10)]
    )


def tensorflow_losses(model, optimizer, data, compiled):
    import tensorflow as tf

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_fn(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)
        return loss

    step = tf.function(step) if compiled else step
    return [step(x, y) for x, y in data]


def torch_losses(model, optimizer, data, compiled):
    import torch

    def step(x, y):
        model.zero_grad()
        loss = loss_fn(y, model(x, training=True))
        loss.backward()
        gradients = [weight.value.grad for weight in model.trainable_weights]
        with torch.no_grad():
            optimizer.apply(gradients, model.trainable_weights)
        return loss.detach()

    # inductor, the default, writes C++ and takes a minute; aot_eager goes as far as the graph of the gradients.
    step = torch.compile(step, backend="aot_eager") if compiled else step
    return [step(x, y) for x, y in data]


def jax_losses(model, optimizer, data, compiled):
    import jax

    def compute_loss(trainable, non_trainable, x, y):
        logits, non_trainable = model.stateless_call(trainable, non_trainable, x, training=True)
        return loss_fn(y, logits), non_trainable

    def step(state, x, y):
        trainable, non_trainable, optimizer_variables = state
        compute = jax.value_and_grad(compute_loss, has_aux=True)
        (loss, non_trainable), gradients = compute(trainable, non_trainable, x, y)
        trainable, optimizer_variables = optimizer.stateless_apply(optimizer_variables, gradients, trainable)
        return loss, (trainable, non_trainable, optimizer_variables)

    step = jax.jit(step) if compiled else step
    variables = [model.trainable_variables, model.non_trainable_variables, optimizer.variables]
    state = [[variable.value for variable in group] for group in variables]
    losses = []
    for x, y in data:
        loss, state = step(state, x, y)
        losses.append(loss)
    for group, values in zip(variables, state, strict=True):
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)
    return losses


def any_losses(model, optimizer, data, _):
    """On a backend that is none of these. Without gradients it goes no further than the first step."""

    def step(x, y):
        loss, gradients = value_and_grad(lambda _: loss_fn(y, model(x, training=True)), model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)
        return loss

    return [step(x, y) for x, y in data]


losses_of = {"tensorflow": tensorflow_losses, "torch": torch_losses, "jax": jax_losses}.get(
    keras.backend.backend(), any_losses
)


@case(tags=["slow"])
def compiled_step(record):
    """`tf.function`, `torch.compile` and `jax.jit` give what the eager step gives."""
    eager, compiled = small_classifier(), small_classifier()
    compiled.set_weights(eager.get_weights())
    data = list(batches(*digit_images(96), size=32))
    losses = []
    for name, model in {"eager": eager, "compiled": compiled}.items():
        optimizer = keras.optimizers.Adam(0.01)
        optimizer.build(model.trainable_variables)
        losses.append(ops.convert_to_numpy(ops.stack(losses_of(model, optimizer, data, model is compiled))))
        record(name, {"losses": losses[-1], "weights": model.get_weights()})
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for left, right in zip(eager.get_weights(), compiled.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def tensorflow_function(function, seeds):
    import tensorflow as tf

    return tf.function(lambda: function(seeds))


def torch_function(function, seeds):
    import torch

    return torch.compile(lambda: function(seeds), backend="aot_eager")


def jax_function(function, seeds):
    import jax

    @jax.jit
    def stateless(state):
        with keras.StatelessScope(state_mapping=[(seeds.state, state)]) as scope:
            value = function(seeds)
        return value, scope.get_current_value(seeds.state)

    def stateful():
        value, state = stateless(seeds.state.value)
        seeds.state.assign(state)
        return value

    return stateful


def any_function(function, seeds):
    """On a backend that compiles nothing by itself."""
    return lambda: function(seeds)


compile_function = {"tensorflow": tensorflow_function, "torch": torch_function, "jax": jax_function}.get(
    keras.backend.backend(), any_function
)


@case(tags=["slow"])
@pytest.mark.parametrize("draw", ["normal", "dropout"])
def random_numbers_of_a_compiled_function(draw, record):
    """They are those of an eager one, and new ones with each call."""

    def function(seeds):
        if draw == "dropout":
            return keras.random.dropout(ops.ones((20, 8)), 0.25, seed=seeds)
        return keras.random.normal((20, 8), seed=seeds)

    eager, compiled = keras.random.SeedGenerator(7), keras.random.SeedGenerator(7)
    call = compile_function(function, compiled)
    expected = [ops.convert_to_numpy(function(eager)) for _ in range(3)]
    drawn = [ops.convert_to_numpy(call()) for _ in range(3)]
    record("drawn", drawn)
    if draw == "dropout":
        assert np.array_equal(drawn, expected)
    np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-6)  # normals to the last units of float32
    assert not np.array_equal(drawn[0], drawn[1])
    assert ops.convert_to_numpy(compiled.state).tolist() == [7, 3]
