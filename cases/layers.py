"""D3, D4: layers with explicit sizes, and layers by the rank of their input."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from simple_dense import digits, stack

from harness import Fit, Forward, case, value_and_grad


class NaiveDense:
    """A dense layer that is told the size of its input, and is nothing but two variables and a call."""

    def __init__(self, input_size, output_size, activation):
        self.activation = activation
        initial = keras.random.normal((input_size, output_size), stddev=input_size**-0.5, seed=input_size)
        self.W = keras.Variable(initial, name="W")
        self.b = keras.Variable(ops.zeros((output_size,)), name="b")

    def __call__(self, inputs):
        return self.activation(ops.matmul(inputs, self.W) + self.b)

    @property
    def weights(self):
        return [self.W, self.b]


class NaiveSequential:
    """One layer after the other."""

    def __init__(self, layers):
        self.layers = layers

    def __call__(self, inputs):
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    @property
    def weights(self):
        return [weight for layer in self.layers for weight in layer.weights]


def naive_stack():
    """The stack of `simple_dense.py`, for images of 64 pixels."""
    relu, softmax = keras.activations.relu, keras.activations.softmax
    return NaiveSequential(
        [NaiveDense(64, 32, relu), NaiveDense(32, 64, relu), NaiveDense(64, 32, relu), NaiveDense(32, 10, softmax)]
    )


def same_stacks():
    """The naive stack, and the one of layers with its weights."""
    naive, built = naive_stack(), stack()
    built.build((None, 64))
    built.set_weights([ops.convert_to_numpy(weight) for weight in naive.weights])
    return naive, built


def equal(left, right):
    return np.array_equal(ops.convert_to_numpy(left), ops.convert_to_numpy(right))


@case
def naive_stack_equals_layers(record):
    naive, built = same_stacks()
    x, labels = (ops.convert_to_tensor(part[:32]) for part in digits())
    x = ops.cast(x, keras.config.floatx())
    assert [weight.shape for weight in naive.weights] == [weight.shape for weight in built.weights]
    record("output", naive(x))
    assert equal(naive(x), built(x))

    def loss_of(model):
        return lambda _: ops.mean(keras.losses.sparse_categorical_crossentropy(labels, model(x)))

    loss, gradients = value_and_grad(loss_of(naive), naive.weights)
    same_loss, same_gradients = value_and_grad(loss_of(built), built.trainable_variables)
    record("loss", loss)
    record("gradients", gradients)
    assert equal(loss, same_loss)
    for left, right in zip(gradients, same_gradients, strict=True):
        assert equal(left, right)


@case
def naive_stack_trains(record):
    """Five steps of gradient descent with `assign_sub` make what five steps of SGD in `fit` make."""
    naive, built = same_stacks()
    images, labels = (part[:320] for part in digits())
    losses = []
    for start in range(0, 320, 64):
        x = ops.convert_to_tensor(images[start : start + 64], keras.config.floatx())
        y = ops.convert_to_tensor(labels[start : start + 64])
        loss, gradients = value_and_grad(
            lambda _, x=x, y=y: ops.mean(keras.losses.sparse_categorical_crossentropy(y, naive(x))),
            naive.weights,
        )
        for weight, gradient in zip(naive.weights, gradients, strict=True):
            weight.assign_sub(0.1 * gradient)
        losses.append(loss)
    record("losses", losses)
    record("weights", naive.weights)

    built.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    history = built.fit(images, labels, batch_size=64, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], [np.mean([float(loss) for loss in losses])], rtol=1e-5)
    for weight, same in zip(naive.weights, built.weights, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(weight), ops.convert_to_numpy(same), atol=1e-5)


# By rank of the input: (samples, features), (samples, timestamps, features), and images.

FAMILIES = {
    "dense": (lambda: layers.Dense(4, activation="relu"), (5, 8), (5, 4)),
    "dense_on_sequences": (lambda: layers.Dense(4), (5, 6, 8), (5, 6, 4)),
    "simple_rnn": (lambda: layers.SimpleRNN(4), (5, 6, 8), (5, 4)),
    "lstm": (lambda: layers.LSTM(4), (5, 6, 8), (5, 4)),
    "gru": (lambda: layers.GRU(4), (5, 6, 8), (5, 4)),
    "conv1d": (lambda: layers.Conv1D(4, 3), (5, 6, 8), (5, 4, 4)),
    "conv2d": (lambda: layers.Conv2D(4, 3, activation="relu"), (2, 8, 8, 3), (2, 6, 6, 4)),
    "conv3d": (lambda: layers.Conv3D(4, 2), (2, 4, 4, 4, 3), (2, 3, 3, 3, 4)),
}


@case
@pytest.mark.parametrize("family", FAMILIES)
def by_rank(family, rng):
    make, input_shape, output_shape = FAMILIES[family]
    layer = make()
    assert tuple(layer.compute_output_shape(input_shape)) == output_shape
    return Forward(layer, rng.normal(size=input_shape).astype("float32"))


@case(tags=["slow"])
def recurrent_layers_together(rng):
    inputs = keras.Input((6, 8))
    features = layers.LSTM(4, return_sequences=True)(inputs)
    features = layers.Bidirectional(layers.GRU(4, return_sequences=True))(features)
    features, state = layers.SimpleRNN(4, return_state=True, go_backwards=True)(features)
    return Forward(keras.Model(inputs, [features, state]), rng.normal(size=(5, 6, 8)).astype("float32"))


@case(tags=["slow"])
def convolutions_together(rng):
    """Strides, padding, dilation, depthwise, separable and transposed; and what lies between them."""
    model = keras.Sequential(
        [
            layers.Conv2D(4, 3, strides=2, padding="same"),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.AveragePooling2D(2, strides=1),
            layers.SeparableConv2D(4, 2, padding="same"),
            layers.Conv2DTranspose(3, 3, strides=2),
            layers.Conv2D(4, 2, dilation_rate=2),
            layers.MaxPooling2D(2),
            layers.Flatten(),
        ]
    )
    return Forward(model, rng.normal(size=(2, 12, 12, 3)).astype("float32"))


@case
def wrong_rank_is_an_error(record):
    for layer, shape in [
        (layers.LSTM(4), (5, 8)),
        (layers.GRU(4), (5, 8)),
        (layers.SimpleRNN(4), (5, 8)),
        (layers.Conv2D(4, 3), (5, 8, 8)),
    ]:
        with pytest.raises(ValueError, match=r"expected (min_)?ndim=") as raised:
            layer(np.ones(shape, "float32"))
        record(layer.name, str(raised.value))


@case
def dense_wants_the_features_it_was_built_for(record):
    layer = layers.Dense(4)
    layer(np.ones((5, 8), "float32"))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 8") as raised:
        layer(np.ones((5, 9), "float32"))
    record("message", str(raised.value))


@case(tags=["slow"])
def images_as_sequences_of_rows():
    """The digits read by a GRU, one row of pixels after the other."""
    model = keras.Sequential([layers.GRU(16), layers.Dense(10, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = (part[:320] for part in digits())
    return Fit(model, x.reshape(-1, 8, 8), y, epochs=2, batch_size=64)
