"""B1 to B6: first and second derivatives, the chain rule, what has no gradient, kinks, and finite differences."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from harness import Expected, case, value_and_grad


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values), dtype=keras.config.floatx())


def variable(values):
    return keras.Variable(np.asarray(values), dtype=keras.config.floatx())


# B1: one derivative


@case
def derivative_of_a_square(record):
    """With respect to a variable, a constant tensor, and a plain number."""
    inputs = {"variable": variable(3.0), "constant": tensor(3.0), "number": 3.0}
    for name, x in inputs.items():
        value, gradient = value_and_grad(ops.square, x)
        record(name, [value, gradient])
        assert float(value) == 9.0
        assert float(gradient) == 6.0
        _, gradient = value_and_grad(lambda x: x**2, x)
        record(f"{name}, as a power", gradient)
        assert float(gradient) == 6.0


# B2: two derivatives


@case
@pytest.mark.parametrize(
    "square",
    [lambda t: t * t, lambda t: t**2, ops.square, lambda t: ops.power(t, 2)],
    ids=["product", "operator", "square", "power"],
)
def acceleration_of_a_falling_apple(square, record):
    """Position 4.9 t²: the acceleration is 9.8 at any time, at rest too."""

    def position(t):
        return 4.9 * square(t)

    def velocity(t):
        return value_and_grad(position, t)[1]

    for time in [0.0, 0.5, 3.0]:
        now = variable(time)
        speed, acceleration = value_and_grad(velocity, now)
        record(f"position, velocity, acceleration at {time}", [position(now), speed, acceleration])
        assert float(acceleration) == float(tensor(9.8))
        np.testing.assert_allclose(float(speed), 9.8 * time, rtol=1e-6)


# B3: the chain rule


@case
def chain_rule(record):
    """loss = |y - (w x + b)|, link by link: x1 = w x, x2 = x1 + b."""
    w, b = variable(3.0), variable(1.0)
    x, y = tensor(2.0), tensor(4.0)

    def loss_of_x2(x2):
        return ops.abs(y - x2)

    def loss_of_x1(x1):
        return loss_of_x2(x1 + b)

    loss, (of_w, of_b) = value_and_grad(lambda w, _: loss_of_x1(w * x), w, b)
    x1 = ops.multiply(x, w)
    _, of_x1 = value_and_grad(loss_of_x1, x1)
    _, of_x2 = value_and_grad(loss_of_x2, x1 + b)
    record("loss", loss)
    record("gradients", {"w": of_w, "b": of_b, "x1": of_x1, "x2": of_x2})
    assert float(loss) == 3.0
    assert [float(gradient) for gradient in (of_w, of_b, of_x1, of_x2)] == [2.0, 1.0, 1.0, 1.0]


# B4: with respect to what


def two_layers(rng):
    return variable(rng.normal(size=(4, 3))), variable(rng.normal(size=(3, 2))), tensor(rng.normal(size=(5, 4)))


@case
def gradients_of_weights_and_inputs(rng, record):
    """Of several weights, of the input, and of both at once, in the structure that was asked for."""
    first, second, x = two_layers(rng)

    def loss(x):
        return ops.mean(ops.square(ops.matmul(ops.tanh(ops.matmul(x, first)), second)))

    value, of_weights = value_and_grad(lambda _: loss(x), [first, second])
    _, of_input = value_and_grad(loss, x)
    _, of_both = value_and_grad(lambda given: loss(given["x"]), {"weights": [first, second], "x": x})
    record("loss", value)
    record("weights", of_weights)
    record("input", of_input)
    record("both", of_both)
    for weight, gradient in zip([first, second], of_weights, strict=True):
        assert tuple(gradient.shape) == tuple(weight.shape)
    assert tuple(of_input.shape) == (5, 4)
    for alone, together in zip([of_input, *of_weights], [of_both["x"], *of_both["weights"]], strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(alone), ops.convert_to_numpy(together), rtol=1e-5)


@case
def weight_that_the_loss_does_not_reach(rng, record):
    """It has no gradient, which is something else than a gradient of zero."""
    first, second, x = two_layers(rng)
    _, gradients = value_and_grad(lambda _: ops.sum(ops.matmul(x, first)), [first, second])
    record("gradients", gradients)
    assert gradients[0] is not None
    assert gradients[1] is None

    _, gradients = value_and_grad(lambda _: ops.sum(ops.matmul(x, first)) + 0.0 * ops.sum(second), [first, second])
    record("gradients where it is multiplied by zero", gradients)
    assert np.array_equal(ops.convert_to_numpy(gradients[1]), np.zeros((3, 2)))


@case
def branch_that_the_loss_does_not_reach(rng, record):
    """A model of two heads, of which the loss uses one, and some of its features as constants."""
    inputs = keras.Input((4,))
    features = layers.Dense(3, activation="tanh", name="features")(inputs)
    left, right = layers.Dense(1, name="left")(features), layers.Dense(1, name="right")(features)
    model = keras.Model(inputs, [left, right])
    x = tensor(rng.normal(size=(5, 4)))

    _, gradients = value_and_grad(lambda _: ops.mean(model(x)[0]), model.trainable_variables)
    named = {weight.path: gradient for weight, gradient in zip(model.trainable_variables, gradients, strict=True)}
    record("gradients of the left head", named)
    without = [path for path, gradient in named.items() if gradient is None]
    assert without == ["right/kernel", "right/bias"]

    tail = keras.Model(features, left)
    _, gradients = value_and_grad(
        lambda _: ops.mean(tail(ops.stop_gradient(model.get_layer("features")(x)))), model.trainable_variables
    )
    record("no gradient once features are constants", [gradient is None for gradient in gradients])
    assert [gradient is not None for gradient in gradients] == [False, False, True, True, False, False]


@case
def no_gradient_through(record):
    """What has no derivative anywhere gives none, on every backend."""
    floatx = keras.config.floatx()
    functions = {
        "comparison": lambda x: ops.cast(x > 0, floatx),
        "argmax": lambda x: ops.cast(ops.argmax(x), floatx),
        "whole numbers": lambda x: ops.cast(ops.cast(x, "int32"), floatx),
        "stop_gradient": ops.stop_gradient,
    }
    for name, function in functions.items():
        value, gradient = value_and_grad(lambda x, function=function: ops.sum(function(x)), tensor([1.7, -0.3]))
        record(name, value)
        record(f"gradient of {name}", gradient)
        assert gradient is None


# B5: kinks


def slope(function, *at):
    """Value and gradient of the sum of a function of tensors, at a point where it has a kink."""
    return value_and_grad(lambda *inputs: ops.sum(function(*inputs)), *(tensor(x) for x in at))


@case
def kinks_that_agree(record):
    kinks = {
        "relu": (ops.relu, [0.0], [0.0]),
        "relu6": (ops.relu6, [0.0, 6.0], [0.0, 0.0]),
        "elu": (ops.elu, [0.0], [1.0]),
        "hard sigmoid": (ops.hard_sigmoid, [-3.0, 3.0], [0.0, 0.0]),
        "square root": (ops.sqrt, [0.0], [np.inf]),
        "sign": (ops.sign, [0.3, 0.0], [0.0, 0.0]),
        "clip, outside": (lambda x: ops.clip(x, -1.0, 1.0), [-2.0, 2.0], [0.0, 0.0]),
        "largest of a vector": (ops.max, [1.0, 1.0, 0.0], [0.5, 0.5, 0.0]),
        "smallest of a vector": (ops.min, [1.0, 1.0, 2.0], [0.5, 0.5, 0.0]),
        "top k": (lambda x: ops.top_k(x, 1)[0], [1.0, 1.0], [1.0, 0.0]),
        "Huber loss": (lambda x: keras.losses.huber(tensor([0.0]), x), [1.0], [1.0]),
    }
    for name, (function, at, expected) in kinks.items():
        value, gradient = slope(function, at)
        record(name, [value, gradient])
        np.testing.assert_array_equal(ops.convert_to_numpy(gradient), expected, err_msg=name)


@case
@pytest.mark.parametrize(("strides", "windows"), [(2, 4), (1, 9)])
def ties_in_max_pooling(strides, windows, record):
    """The first of several largest pixels has the whole gradient of its window, overlapping or not."""
    value, gradient = slope(lambda x: ops.max_pool(x, 2, strides), np.ones((1, 4, 4, 1)))
    record("value", value)
    record("gradient", gradient)
    expected = np.zeros((4, 4))
    expected[:-1:strides, :-1:strides] = 1.0
    assert expected.sum() == windows
    np.testing.assert_array_equal(ops.convert_to_numpy(gradient)[0, :, :, 0], expected)


@case(
    expect={
        "jax": Expected("divergent", reason="jax takes x >= 0 for the slope 1 of abs, so 0 has slope 1; elsewhere 0")
    }
)
@pytest.mark.parametrize("function", ["abs", "mean_absolute_error"])
def absolute_value_at_zero(function, record):
    functions = {"abs": ops.abs, "mean_absolute_error": lambda x: keras.losses.mean_absolute_error(tensor([0.0]), x)}
    value, gradient = slope(functions[function], [0.0])
    record("value", value)
    record("gradient", gradient)
    assert float(value) == 0.0
    assert float(gradient[0]) in (-1.0, 0.0, 1.0)


@case(
    expect={
        "jax": Expected("divergent", reason="jax counts 0 among the positive, with slope 1; elsewhere it is negative"),
        "tensorflow": Expected("leak", reason="tensorflow holds the slope 0.2 in float32, as an attribute of its op"),
    }
)
def leaky_relu_at_zero(record):
    value, gradient = slope(ops.leaky_relu, [0.0])
    record("value", value)
    record("gradient", gradient)


@case(
    expect={
        "jax": Expected(
            "divergent",
            reason="jnp.clip is a minimum of a maximum, and at a bound, which is a tie, jax takes the slope 1/2; "
            "elsewhere a bound is inside, with slope 1",
        )
    }
)
@pytest.mark.parametrize("bound", [-1.0, 1.0])
def clip_at_its_bounds(bound, record):
    value, gradient = slope(lambda x: ops.clip(x, -1.0, 1.0), [bound])
    record("value", value)
    record("gradient", gradient)
    assert float(value) == bound
    assert float(gradient[0]) in (0.5, 1.0)


@case(
    expect={
        "torch": Expected(
            "divergent", reason="torch's hardtanh has slope 0 at its bounds; tensorflow and jax count them inside"
        )
    }
)
@pytest.mark.parametrize("bound", [-1.0, 1.0])
def hard_tanh_at_its_bounds(bound, record):
    value, gradient = slope(ops.hard_tanh, [bound])
    record("value", value)
    record("gradient", gradient)


@case(
    expect={
        "tensorflow": Expected(
            "divergent",
            reason="at a tie of two tensors, tensorflow gives the whole gradient to the first; torch and jax halve it",
        )
    }
)
@pytest.mark.parametrize("function", ["maximum", "minimum", "logaddexp"])
def tie_of_two_tensors(function, record):
    value, gradients = slope(getattr(ops, function), [1.0], [1.0])
    record("value", value)
    record("gradients", gradients)
    np.testing.assert_allclose(sum(float(gradient[0]) for gradient in gradients), 1.0, rtol=1e-6)


@case(
    expect={
        "tensorflow": Expected(
            "divergent",
            reason="Keras has a maximum with 0 in the hinge loss: tensorflow gives the tie's whole gradient to its "
            "first argument, the error; torch and jax halve it",
        )
    }
)
def hinge_loss_at_its_margin(record):
    value, gradient = slope(lambda x: keras.losses.hinge(tensor([1.0]), x), [1.0])
    record("value", value)
    record("gradient", gradient)


@case(
    expect={
        "tensorflow": Expected(
            "divergent",
            reason="on tensorflow Keras writes celu as a maximum with 0 and a minimum with 0, and both give the tie's "
            "whole gradient to x: the slope is 2 at 0, and 1 on both sides of it, as it is there on torch and jax",
        )
    }
)
def celu_at_zero(record):
    value, gradient = slope(ops.celu, [0.0])
    record("value", value)
    record("gradient", gradient)


@case(
    expect={
        "tensorflow": Expected(
            "divergent", reason="tensorflow takes the slope from the right, 1.0507; torch and jax from the left, 1.7581"
        )
    }
)
def selu_at_zero(record):
    value, gradient = slope(ops.selu, [0.0])
    record("value", value)
    record("gradient", gradient)


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="torch has a norm and a deviation of its own, with gradient 0 where they are 0; on tensorflow and "
            "jax they are the root of a sum, with gradient 0 times infinity, NaN",
        )
    }
)
@pytest.mark.parametrize("function", ["norm", "std"])
def root_of_squares_at_zero(function, record):
    value, gradient = slope(getattr(ops, function), [0.0, 0.0])
    record("value", value)
    record("gradient", gradient)
    assert float(value) == 0.0


@case(
    expect={
        "tensorflow": Expected(
            "mismatch",
            reason="tensorflow's gradient of a root is 0 wherever the gradient that comes in is; torch and jax divide "
            "that 0 by the root, 0, and have NaN",
        )
    }
)
def root_in_the_branch_not_taken(record):
    """`where` does not keep a gradient out of the branch that it does not take."""
    value, gradient = slope(lambda x: ops.where(x > 0, ops.sqrt(x), 0.0), [0.0, 4.0])
    record("value", value)
    record("gradient", gradient)
    assert float(gradient[1]) == 0.25


@case(
    expect={
        "tensorflow": Expected(
            "mismatch",
            reason="tensorflow registers no gradient for these steps, and stops there; torch and jax have zeros",
        )
    }
)
@pytest.mark.parametrize("function", ["round", "floor", "ceil", "trunc"])
def step_functions(function, record):
    value, gradient = slope(getattr(ops, function), [0.3, 1.0])
    record("value", value)
    record("gradient", gradient)
    assert gradient is None or not ops.convert_to_numpy(gradient).any()


# B6: finite differences


def in_float64():
    return keras.config.floatx() == "float64"


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def network(xp, x, w1, b1, w2, b2):
    """The logistic loss of two layers. `xp` is `keras.ops`, or `numpy` as the oracle."""
    hidden = xp.tanh(xp.matmul(x, w1) + b1)
    return xp.mean(xp.log(1 + xp.exp(xp.matmul(hidden, w2) + b2)))


@case
def gradient_against_finite_differences(rng, record):
    """Of every single element, against central differences of the same function by NumPy in float64."""
    shapes = {"x": (6, 5), "w1": (5, 4), "b1": (4,), "w2": (4, 3), "b2": (3,)}
    values = [rng.normal(size=shape).astype("float32").astype("float64") for shape in shapes.values()]
    loss, gradients = value_and_grad(lambda *inputs: network(ops, *inputs), *values)
    record("loss", loss)
    record("gradients", dict(zip(shapes, gradients, strict=True)))
    np.testing.assert_allclose(float(loss), network(np, *values), rtol=1e-12 if in_float64() else 1e-6)
    for value, gradient in zip(values, gradients, strict=True):
        differences, step = np.empty(value.shape), 1e-5
        for index in np.ndindex(value.shape):
            middle = value[index]
            value[index] = middle + step
            above = network(np, *values)
            value[index] = middle - step
            differences[index] = (above - network(np, *values)) / (2 * step)
            value[index] = middle
        # In float32 the gradient itself is not known better than that.
        assert relative_error(ops.convert_to_numpy(gradient), differences) < (1e-8 if in_float64() else 1e-5)


def rotation(xp, x, a):
    """Three numbers from four: not a scalar, so that it has a Jacobian."""
    return xp.sin(xp.matmul(a, x)) * xp.exp(-xp.sum(xp.square(x)) / 8)


@case
def jacobian_vector_product(rng, record):
    """J v by a difference in the direction v, against the gradient of u · f, which is u J, times v."""
    a, x = rng.normal(size=(3, 4)).astype("float32"), rng.normal(size=4).astype("float32")
    jacobian = []
    for u in np.eye(3):
        _, row = value_and_grad(lambda x, u=u: ops.sum(tensor(u) * rotation(ops, x, tensor(a))), x)
        jacobian.append(ops.convert_to_numpy(row))
    record("Jacobian", jacobian)
    a, x, step = a.astype("float64"), x.astype("float64"), 1e-5
    for v in [*np.eye(4), *rng.normal(size=(5, 4))]:
        difference = (rotation(np, x + step * v, a) - rotation(np, x - step * v, a)) / (2 * step)
        assert relative_error(np.stack(jacobian) @ v, difference) < (1e-6 if in_float64() else 1e-4)


@case
@pytest.mark.parametrize("kind", ["dense", "conv", "normalisation", "recurrent"])
def layer_against_finite_differences(kind, rng, record):
    """The gradient of a layer's weights, against differences of the layer itself in one direction of all of them."""
    layer, shape = {
        "dense": (layers.Dense(3, activation="silu"), (4, 5)),
        "conv": (layers.Conv2D(3, 3, activation="tanh"), (2, 6, 6, 2)),
        "normalisation": (layers.LayerNormalization(), (4, 5)),
        "recurrent": (layers.GRU(2), (2, 3, 4)),
    }[kind]
    x = tensor(rng.normal(size=shape).astype("float32"))
    c = tensor(rng.normal(size=layer(x).shape).astype("float32"))
    weights = layer.trainable_variables

    def loss(_):
        return ops.sum(layer(x) * c)

    value, gradients = value_and_grad(loss, weights)
    record("loss", value)
    record("gradients", gradients)

    # Uphill, so that the slope is not near 0, and to some random side, so that every element has its say.
    start = [ops.convert_to_numpy(weight).astype("float64") for weight in weights]
    gradients = [ops.convert_to_numpy(gradient).astype("float64") for gradient in gradients]
    length = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    side = [rng.normal(size=gradient.shape) for gradient in gradients]
    side_length = np.sqrt(sum((part**2).sum() for part in side))
    direction = [g / length + part / side_length for g, part in zip(gradients, side, strict=True)]

    def loss_at(distance):
        for weight, value, part in zip(weights, start, direction, strict=True):
            weight.assign(value + distance * part)
        return float(loss(None))

    # At these steps truncation and rounding are about even.
    step, tolerance = (1e-5, 1e-6) if in_float64() else (1e-2, 2e-3)
    difference = (loss_at(step) - loss_at(-step)) / (2 * step)
    slope = sum((g * part).sum() for g, part in zip(gradients, direction, strict=True))
    assert abs(slope - difference) < tolerance * abs(difference)
