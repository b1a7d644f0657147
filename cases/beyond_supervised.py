"""H8: no labels. An autoencoder, two networks that play against each other, and learning from rewards."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from simple_dense import digits

from harness import Fit, case, value_and_grad


def images(count=512):
    """The first handwritten digits: 64 pixels from 0 to 1."""
    return digits()[0][:count]


def autoencoder(noise):
    """64 pixels to 8 numbers and back. With noise, the pixels that go in are not quite those that should come out."""
    encoder = keras.Sequential(
        [
            keras.Input((64,)),
            layers.GaussianNoise(noise, seed=1),
            layers.Dense(32, activation="relu"),
            layers.Dense(8, name="code"),
        ],
        name="encoder",
    )
    decoder = keras.Sequential(
        [keras.Input((8,)), layers.Dense(32, activation="relu"), layers.Dense(64, activation="sigmoid")],
        name="decoder",
    )
    model = keras.Sequential([encoder, decoder], name="autoencoder")
    model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy", metrics=["mse"])
    return model, encoder


@case
@pytest.mark.parametrize("noise", [0.0, 0.2], ids=["plain", "denoising"])
def autoencoder_of_digits(noise):
    x = images()
    return Fit(autoencoder(noise)[0], x, x, epochs=2, batch_size=64, validation_split=0.25)


@case
def codes_of_an_autoencoder(record):
    """The encoder alone gives codes, from which more is told than from the mean image."""
    x, (model, encoder) = images(), autoencoder(0.0)
    history = model.fit(x, x, epochs=10, batch_size=64, verbose=0).history
    record("loss", np.array(history["loss"]))
    record("codes", encoder.predict(x[:20], verbose=0))
    record("weights", model.get_weights())
    error_of_the_mean = x.var(axis=0).mean()
    assert history["mse"][-1] < 0.9 * error_of_the_mean  # about


class Gan(keras.Model):
    """A generator of images from noise, and a discriminator that tells them from real ones by a logit.

    Each has an optimizer of its own. One step trains the discriminator, and then the generator against it.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.Sequential(
            [keras.Input((8,)), layers.Dense(32, activation="relu"), layers.Dense(64, activation="sigmoid")],
            name="generator",
        )
        self.discriminator = keras.Sequential(
            [keras.Input((64,)), layers.Dense(32, activation="tanh"), layers.Dense(1)], name="discriminator"
        )
        self.seeds = keras.random.SeedGenerator(1)
        self.discriminator_tracker = keras.metrics.Mean(name="discriminator_loss")
        self.generator_tracker = keras.metrics.Mean(name="generator_loss")

    def call(self, images):
        return self.discriminator(images)

    @property
    def metrics(self):
        return [self.discriminator_tracker, self.generator_tracker]

    def noise(self, images):
        return keras.random.normal((ops.shape(images)[0], 8), seed=self.seeds)

    def discriminator_loss(self, images, noise):
        of_real, of_fake = self.discriminator(images), self.discriminator(self.generator(noise))
        return ops.mean(ops.softplus(-of_real)) + ops.mean(ops.softplus(of_fake))

    def generator_loss(self, noise):
        return ops.mean(ops.softplus(-self.discriminator(self.generator(noise))))

    def tracked(self, discriminator_loss, generator_loss):
        self.discriminator_tracker.update_state(discriminator_loss)
        self.generator_tracker.update_state(generator_loss)
        return self.get_metrics_result()


@keras.saving.register_keras_serializable("cases")
class TensorFlowGan(Gan):
    def train_step(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        of_generator, of_discriminator = self.optimizer.optimizers
        first, second = self.noise(images), self.noise(images)
        discriminator_loss = self.minimize(
            lambda: self.discriminator_loss(images, first), self.discriminator.trainable_weights, of_discriminator
        )
        generator_loss = self.minimize(
            lambda: self.generator_loss(second), self.generator.trainable_weights, of_generator
        )
        return self.tracked(discriminator_loss, generator_loss)

    def minimize(self, compute_loss, weights, optimizer):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = compute_loss()
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss


@keras.saving.register_keras_serializable("cases")
class TorchGan(TensorFlowGan):
    """The step is that of tensorflow but for the gradient."""

    def minimize(self, compute_loss, weights, optimizer):
        import torch

        loss = compute_loss()
        gradients = torch.autograd.grad(loss, [weight.value for weight in weights])
        with torch.no_grad():
            optimizer.apply(gradients, weights)
        return loss.detach()


@keras.saving.register_keras_serializable("cases")
class JaxGan(Gan):
    def train_step(self, state, data):
        import jax

        trainable, non_trainable, optimizer_variables, metrics_variables = state
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        of_generator, of_discriminator = self.optimizer.optimizers
        # What belongs to whom, in the order of the state.
        count = len(self.generator.trainable_variables)
        generator, discriminator = trainable[:count], trainable[count:]
        own = len(optimizer_variables) - len(of_generator.variables) - len(of_discriminator.variables)
        own, generator_slots, discriminator_slots = (
            optimizer_variables[:own],
            optimizer_variables[own : own + len(of_generator.variables)],
            optimizer_variables[own + len(of_generator.variables) :],
        )

        with keras.StatelessScope(list(zip(self.non_trainable_variables, non_trainable, strict=True))) as scope:
            first, second = self.noise(images), self.noise(images)
        non_trainable = [scope.get_current_value(variable) for variable in self.non_trainable_variables]

        def loss_of_discriminator(discriminator, generator):
            with keras.StatelessScope(list(zip(self.trainable_variables, generator + discriminator, strict=True))):
                return self.discriminator_loss(images, first)

        def loss_of_generator(generator, discriminator):
            with keras.StatelessScope(list(zip(self.trainable_variables, generator + discriminator, strict=True))):
                return self.generator_loss(second)

        discriminator_loss, gradients = jax.value_and_grad(loss_of_discriminator)(discriminator, generator)
        discriminator, discriminator_slots = of_discriminator.stateless_apply(
            discriminator_slots, gradients, discriminator
        )
        generator_loss, gradients = jax.value_and_grad(loss_of_generator)(generator, discriminator)
        generator, generator_slots = of_generator.stateless_apply(generator_slots, gradients, generator)

        with keras.StatelessScope(list(zip(self.metrics_variables, metrics_variables, strict=True))) as scope:
            logs = self.tracked(discriminator_loss, generator_loss)
        metrics_variables = [scope.get_current_value(variable) for variable in self.metrics_variables]
        slots = own + generator_slots + discriminator_slots
        return logs, (generator + discriminator, non_trainable, slots, metrics_variables)


# Where there are no gradients nothing trains, and the model has no step of its own.
NativeGan = {"tensorflow": TensorFlowGan, "torch": TorchGan, "jax": JaxGan}.get(keras.backend.backend(), Gan)


def compiled_gan():
    model = NativeGan(name="gan")
    owners = {"generator/.*": keras.optimizers.Adam(0.002, beta_1=0.5)}
    of_discriminator = keras.optimizers.RMSprop(0.001)
    model.compile(keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(of_discriminator, owners)))
    model.optimizer.build(model.trainable_variables)
    return model


@case
def generative_adversarial_network():
    return Fit(compiled_gan(), images(256), epochs=2, batch_size=32)


@case
def both_networks_learn(record):
    """Both optimizers took every step, each with its own weights, and new images come out of noise."""
    model, x = compiled_gan(), images(256)
    initial = [weights.copy() for weights in model.get_weights()]
    model.fit(x, epochs=2, batch_size=32, verbose=0)
    iterations = [int(ops.convert_to_numpy(optimizer.iterations)) for optimizer in model.optimizer.optimizers]
    assert iterations == [16, 16]
    assert not any(np.array_equal(a, b) for a, b in zip(initial, model.get_weights(), strict=True))
    noise = keras.random.normal((5, 8), seed=2)
    record("iterations", iterations)
    record("images", model.generator(noise))
    record("weights", model.get_weights())


LENGTH, STEPS, EPISODES = 5, 8, 16


def corridor(policy, seeds):
    """Episodes in a corridor of five cells that start in the middle. Each step into the last cell is worth 1.

    Returns the cells, the actions (0 is left, 1 is right) and the rewards, each of shape (steps, episodes).
    """
    cell = np.full(EPISODES, LENGTH // 2)
    cells, actions, rewards = [], [], []
    for _ in range(STEPS):
        logits = policy(ops.one_hot(cell, LENGTH))
        action = ops.convert_to_numpy(keras.random.categorical(logits, 1, seed=seeds))[:, 0]
        cells.append(cell)
        actions.append(action)
        cell = np.clip(cell + 2 * action - 1, 0, LENGTH - 1)
        rewards.append((cell == LENGTH - 1).astype("float32"))
    return np.stack(cells), np.stack(actions), np.stack(rewards)


def policy_gradient_step(policy, optimizer, cells, actions, rewards):
    """REINFORCE: actions become more likely in proportion to what was still to come, above the mean."""
    to_come = np.cumsum(rewards[::-1], axis=0)[::-1]
    advantage = (to_come - to_come.mean(axis=1, keepdims=True)).ravel()
    states, taken = ops.one_hot(cells.ravel(), LENGTH), ops.one_hot(actions.ravel(), 2)

    def compute_loss(_):
        log_probability = ops.sum(ops.log_softmax(policy(states)) * taken, axis=1)
        return -ops.mean(log_probability * ops.cast(advantage, log_probability.dtype))

    loss, gradients = value_and_grad(compute_loss, policy.trainable_variables)
    optimizer.apply(gradients, policy.trainable_variables)
    return loss, gradients


@case(tags=["slow"])
def policy_gradient(record):
    policy = keras.Sequential([keras.Input((LENGTH,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
    optimizer, seeds = keras.optimizers.Adam(0.05), keras.random.SeedGenerator(1)
    returns = []
    for update in range(10):
        cells, actions, rewards = corridor(policy, seeds)
        loss, gradients = policy_gradient_step(policy, optimizer, cells, actions, rewards)
        returns.append(rewards.sum(axis=0).mean())
        record(f"update {update}", {"actions": actions, "rewards": rewards, "loss": loss, "gradients": gradients})
    record("weights", policy.get_weights())
    assert np.mean(returns[-3:]) > 1.5 * np.mean(returns[:3])  # about
