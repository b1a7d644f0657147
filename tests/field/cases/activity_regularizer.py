import keras

from harness import Fit, case, value_and_grad


@case
def activity_l2(rng):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4, activation="tanh", activity_regularizer=keras.regularizers.L2(0.5)),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer="sgd", loss="mse")
    return Fit(
        model,
        rng.normal(size=(16, 5)).astype("float32"),
        rng.normal(size=(16, 1)).astype("float32"),
        epochs=1,
        batch_size=8,
    )


@keras.saving.register_keras_serializable()
class KL(keras.layers.Layer):
    def __init__(self, **kw):
        super().__init__(**kw)

    def call(self, x):
        self.add_loss(keras.ops.mean(keras.ops.square(x)))
        return x


@case
def add_loss_in_layer(rng):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), KL(), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    return Fit(
        model,
        rng.normal(size=(16, 5)).astype("float32"),
        rng.normal(size=(16, 1)).astype("float32"),
        epochs=1,
        batch_size=8,
    )


@case
def by_hand(rng, record):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), KL(), keras.layers.Dense(1)])
    x = rng.normal(size=(16, 5)).astype("float32")

    def loss(weights):
        return keras.ops.mean(keras.ops.square(model(x))) + sum(model.losses)

    value, grads = value_and_grad(loss, model.trainable_variables)
    record("value", value)
    record("grads", grads)


@case
def read_afterwards(rng, record):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), KL(), keras.layers.Dense(1)])
    x = rng.normal(size=(16, 5)).astype("float32")

    def loss(weights):
        model(x)  # a second call drops the losses of the first
        return keras.ops.mean(keras.ops.square(model(x)))

    value_and_grad(loss, model.trainable_variables)
    record("losses", model.losses)


@case
def of_a_regularised_gradient(rng, record):
    layer = KL()

    def inner(x):
        return keras.ops.sum(layer(x) ** 3) + sum(layer.losses)

    def outer(x):
        value, gradient = value_and_grad(inner, x)
        return value + keras.ops.sum(gradient**2)

    record("value and gradient", value_and_grad(outer, rng.normal(size=(4,)).astype("float32")))
