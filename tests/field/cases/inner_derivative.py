"""A layer that differentiates another layer inside of its call, in each backend's own way.

`right` is healthy. `not_differentiable_on_torch` forgets `create_graph` there: the gradients of training are wrong on
torch alone, and the forward pass agrees.
"""

import keras
from keras import ops

from harness import Fit, Forward, case


class Slope(keras.layers.Layer):
    """(batch, n) -> (batch, n): the derivative of the sum of an inner network with respect to its input."""

    def __init__(self, graph=True, **kwargs):
        super().__init__(**kwargs)
        self.graph = graph
        hidden, out = keras.layers.Dense(8, activation="tanh", name="hidden"), keras.layers.Dense(1, name="out")
        self.inner = keras.Sequential([hidden, out])

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return getattr(self, keras.backend.backend())(x)

    def torch(self, x):
        import torch

        with torch.enable_grad():
            x = x.clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.inner(x).sum(), x, create_graph=self.graph)
        return slope

    def tensorflow(self, x):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = ops.sum(self.inner(x))
        return tape.gradient(total, x)

    def jax(self, x):
        import jax

        return jax.grad(lambda x: ops.sum(self.inner(x)))(x)


def trained(rng, graph):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(3, activation="tanh", name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(Slope(graph, name="slope")(hidden)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = rng.normal(size=(16, 3)).astype("float32"), rng.normal(size=(16, 1)).astype("float32")
    return Fit(model, x, y, epochs=1, batch_size=8)


@case
def right(rng):
    return trained(rng, True)


@case
def not_differentiable_on_torch(rng):
    return trained(rng, keras.backend.backend() != "torch")


@case
def of_a_whole_network(rng):
    network = keras.Sequential([keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    slope = Slope(name="slope")
    slope.inner = network
    return Forward(lambda x: slope(x) + network(x), rng.normal(size=(5, 3)).astype("float32"))
