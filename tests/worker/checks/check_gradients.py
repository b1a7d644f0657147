"""`value_and_grad`: the same values, structures, Nones and errors on every backend."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from harness import value_and_grad
from harness.backends import runtime
from harness.worker.capture.gradients import projected_gradients, value_and_grad_once

pytestmark = pytest.mark.skipif(not runtime.current().backend.trains, reason="Keras has no gradients on this backend")
BOTH = pytest.mark.parametrize("differentiate", [value_and_grad, value_and_grad_once])
NUMBERS = st.floats(-8, 8, width=32)


def as_array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def as_float(tensor):
    assert as_array(tensor).shape == ()
    return float(as_array(tensor))


def values_of(variables):
    return [as_array(variable.value) for variable in variables]


# Values.


def test_the_gradient_of_a_square():
    value, gradient = value_and_grad(lambda x: x**2, 3.0)
    assert (as_float(value), as_float(gradient)) == (9.0, 6.0)


@pytest.mark.parametrize("x", [-2.0, 0.0, 3.0])
def test_calls_nest_for_second_derivatives(x):
    speed, acceleration = value_and_grad(lambda t: value_and_grad(lambda s: 4.9 * s**2, t)[1], x)
    assert as_float(speed) == pytest.approx(9.8 * x)
    assert as_float(acceleration) == pytest.approx(9.8)


@pytest.mark.parametrize("where", ["layer", "loss"])
def test_training_differentiates_what_a_layer_or_a_loss_differentiates_inside(where):
    """d(sin(w x))/dx = w cos(w x), whose mean has by w the gradient mean(cos(w x) - w x sin(w x))."""

    class Slope(keras.layers.Layer):
        def build(self, _):
            self.w = self.add_weight(shape=(), initializer=keras.initializers.Constant(0.7), name="w")

        def call(self, x):
            return self.slope(x) if where == "layer" else x * 1.0

        def slope(self, x):
            return value_and_grad(lambda x: ops.sum(ops.sin(self.w * x)), x)[1]

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = Slope()

        def call(self, x):
            return self.inner(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # noqa: ARG002
            return ops.mean(y_pred if where == "layer" else self.inner.slope(x))

    x, model = np.linspace(-1.0, 2.0, 12, dtype=np.float32).reshape(6, 2), Model()
    model(x)
    model.compile(keras.optimizers.SGD(0.5))
    model.fit(x, x, batch_size=6, verbose=0)
    expected = np.mean(np.cos(0.7 * x) - 0.7 * x * np.sin(0.7 * x))
    assert as_float(model.inner.w.value) == pytest.approx(0.7 - 0.5 * expected, rel=1e-5)


def test_calls_nest_three_deep():
    def first(t):
        return value_and_grad(lambda s: s**4, t)[1]

    def second(t):
        return value_and_grad(first, t)[1]

    assert [as_float(result) for result in value_and_grad(second, 2.0)] == [48.0, 48.0]


def test_the_chain_rule():
    loss, gradients = value_and_grad(
        lambda parameters: ops.abs(4.0 - (parameters["w"] * 2.0 + parameters["b"])), {"w": 3.0, "b": 1.0}
    )
    assert as_float(loss) == 3.0
    assert {name: as_float(gradient) for name, gradient in gradients.items()} == {"w": 2.0, "b": 1.0}


@BOTH
@settings(max_examples=10, deadline=None, database=None)
@given(w=st.lists(NUMBERS, min_size=3, max_size=3), b=NUMBERS)
def test_the_gradient_of_mean_squared_error_is_its_closed_form(differentiate, w, b):
    x, y = np.array([[1.0, 2.0, -1.0], [0.5, -3.0, 4.0]]), np.array([2.0, -1.0])
    w = np.array(w)

    def loss(given):
        weights, bias = given
        prediction = ops.add(ops.matmul(x.astype(np.float32), weights), bias)
        return ops.mean(ops.square(ops.subtract(prediction, y.astype(np.float32))))

    value, (of_w, of_b) = differentiate(loss, (w, b))
    error = x @ w + b - y
    np.testing.assert_allclose(as_float(value), np.mean(error**2), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(as_array(of_w), x.T @ error, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(as_float(of_b), error.sum(), rtol=1e-4, atol=1e-3)


def test_gradients_are_those_of_finite_differences(in_float64):
    assert len(in_float64["slopes"]) == 6
    for name, error in in_float64["slopes"].items():
        assert error < 1e-6, name


# What it may be given.


def test_variables_reach_the_function_as_they_are():
    variable, fixed = keras.Variable([1.0, 2.0]), keras.Variable(3.0, trainable=False)
    seen = []

    def function(variables):
        seen.extend(variables)
        return ops.sum(variables[0] ** 2) * variables[1]

    value, (of_variable, of_fixed) = value_and_grad(function, [variable, fixed])
    assert seen[0] is variable
    assert seen[1] is fixed
    assert (as_float(value), as_array(of_variable).tolist(), as_float(of_fixed)) == (15.0, [6.0, 12.0], 5.0)


def test_a_model_that_uses_its_variables_is_differentiated_with_respect_to_them():
    dense = keras.layers.Dense(1, kernel_initializer="ones")
    dense.build((None, 2))
    value, (of_kernel, of_bias) = value_and_grad(
        lambda _: ops.sum(dense(np.array([[2.0, 3.0]]))), dense.trainable_variables
    )
    assert (as_float(value), as_array(of_kernel).tolist(), as_array(of_bias).tolist()) == (5.0, [[2.0], [3.0]], [1.0])


@pytest.mark.parametrize(
    "leaf", [3, 3.0, np.float64(3), np.array(3.0), np.float16(3)], ids=["int", "float", "scalar", "array", "half"]
)
def test_numbers_and_arrays_become_tensors_of_floatx(leaf):
    dtypes = []

    def function(x):
        assert ops.is_tensor(x)
        dtypes.append(keras.backend.standardize_dtype(x.dtype))
        return x * x

    _, gradient = value_and_grad(function, leaf)
    assert as_float(gradient) == 6.0
    assert dtypes == ["float32"]


def test_a_tensor_keeps_its_dtype():
    _, gradient = value_and_grad(lambda x: ops.sum(x * x), ops.ones((2,), dtype="float16"))
    assert keras.backend.standardize_dtype(gradient.dtype) == "float16"
    assert as_array(gradient).tolist() == [2.0, 2.0]


def test_several_inputs_have_a_tuple_of_gradients():
    value, gradients = value_and_grad(lambda x, y: x * y**2, 3.0, 2.0)
    assert isinstance(gradients, tuple)
    assert (as_float(value), *map(as_float, gradients)) == (12.0, 4.0, 12.0)


def test_the_gradient_has_the_structure_of_the_input():
    given = {"a": (2.0, [3.0]), "b": {"c": np.ones(2)}}
    _, gradient = value_and_grad(lambda d: d["a"][0] * d["a"][1][0] + ops.sum(d["b"]["c"]), given)
    assert isinstance(gradient["a"], tuple)
    assert isinstance(gradient["a"][1], list)
    assert (as_float(gradient["a"][0]), as_float(gradient["a"][1][0])) == (3.0, 2.0)
    assert as_array(gradient["b"]["c"]).tolist() == [1.0, 1.0]


def test_a_structure_without_leaves_has_a_gradient_without_leaves():
    value, gradient = value_and_grad(lambda _: ops.sum(ops.ones(3)), [])
    assert as_float(value) == 3.0
    assert gradient == []


def test_an_auxiliary_result_comes_back_with_the_value():
    (value, auxiliary), gradient = value_and_grad(
        lambda x: (x**2, {"double": x * 2, "rest": [None, "text", 3]}), 3.0, has_aux=True
    )
    assert (as_float(value), as_float(auxiliary["double"]), as_float(gradient)) == (9.0, 6.0, 6.0)
    assert auxiliary["rest"] == [None, "text", 3]


def test_a_variable_given_twice_has_its_whole_gradient_twice():
    variable = keras.Variable([1.0, 2.0])
    _, gradients = value_and_grad(lambda x, y: ops.sum(x * y), variable, variable)
    assert [as_array(gradient).tolist() for gradient in gradients] == [[2.0, 4.0], [2.0, 4.0]]


def test_a_tensor_given_twice_has_a_gradient_for_each_place():
    tensor = ops.convert_to_tensor([1.0, 2.0])
    _, gradients = value_and_grad(lambda x, y: ops.sum(x**2 * y), tensor, tensor)
    assert [as_array(gradient).tolist() for gradient in gradients] == [[2.0, 8.0], [1.0, 4.0]]


def test_an_inner_call_differentiates_with_respect_to_its_own_input_alone():
    value, gradient = value_and_grad(lambda t: value_and_grad(lambda s: s**2 * t, t)[1], 3.0)
    assert (as_float(value), as_float(gradient)) == (18.0, 12.0)


def test_an_inner_call_may_be_given_what_the_outer_one_computed():
    value, gradient = value_and_grad(lambda t: value_and_grad(lambda s: s**3, t * 2)[1], 1.0)
    assert (as_float(value), as_float(gradient)) == (12.0, 24.0)


def test_an_outer_call_differentiates_a_gradient_with_respect_to_a_variable():
    variable = keras.Variable(2.0)
    value, gradient = value_and_grad(lambda t: value_and_grad(lambda v: v * v * t, variable)[1], 3.0)
    assert (as_float(value), as_float(gradient)) == (12.0, 4.0)


def test_both_calls_may_be_given_the_same_variable():
    variable = keras.Variable(2.0)
    value, gradient = value_and_grad(lambda v: value_and_grad(lambda w: w**3, v)[1], variable)
    assert (as_float(value), as_float(gradient)) == (12.0, 12.0)


def test_a_gradient_penalty_is_differentiated_with_respect_to_weights():
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant([[0.5], [-0.25]]))
    dense.build((None, 2))
    x = np.array([[1.0, 2.0]], np.float32)

    def penalty(_):
        _, gradient = value_and_grad(lambda y: ops.sum(dense(y) ** 2), x)
        return ops.sum(gradient**2)

    value, (of_kernel,) = value_and_grad(penalty, dense.trainable_variables)
    kernel, row = np.array([0.5, -0.25]), x[0]
    # The penalty is 4 (x w)^2 |w|^2, and x w is 0 here but for the slope.
    assert as_float(value) == pytest.approx(4 * (row @ kernel) ** 2 * kernel @ kernel)
    expected = 8 * (row @ kernel) * row * (kernel @ kernel) + 8 * (row @ kernel) ** 2 * kernel
    np.testing.assert_allclose(as_array(of_kernel)[:, 0], expected, rtol=1e-6, atol=1e-7)


# No gradient.


@BOTH
@pytest.mark.parametrize(
    "function",
    [
        lambda x, _y: ops.sum(x),
        lambda x, y: ops.sum(x) + ops.sum(ops.stop_gradient(y)),
        lambda x, y: ops.sum(x) + ops.sum(ops.cast(y > 0, "float32")),
        lambda x, y: ops.sum(x) + ops.sum(ops.cast(ops.cast(y, "int32"), "float32")),
        lambda x, y: ops.sum(x) + ops.cast(ops.argmax(y), "float32"),
        lambda x, y: ops.sum(x) + ops.sum(ops.zeros_like(y)),
    ],
    ids=["not used", "stopped", "compared", "cast to integers", "position", "shape alone"],
)
def test_a_leaf_that_the_value_does_not_depend_on_has_no_gradient(differentiate, function):
    _, (of_x, of_y) = differentiate(function, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert as_array(of_x).tolist() == [1.0, 1.0]
    assert of_y is None


@BOTH
def test_a_variable_that_the_value_does_not_depend_on_has_no_gradient(differentiate):
    used, stopped, unused = (keras.Variable([1.0, 2.0]) for _ in range(3))
    _, gradients = differentiate(
        lambda variables: ops.sum(variables[0] * ops.stop_gradient(variables[1].value)), [used, stopped, unused]
    )
    assert as_array(gradients[0]).tolist() == [1.0, 2.0]
    assert gradients[1:] == [None, None]


def test_a_constant_has_no_gradient():
    value, gradient = value_and_grad(lambda _x: 5.0, 3.0)
    assert as_float(value) == 5.0
    assert gradient is None


@BOTH
@pytest.mark.parametrize(
    "function",
    [lambda x: x * 0.0, lambda x: x - x, ops.relu, ops.sign],
    ids=["times zero", "minus itself", "not active", "piecewise constant"],
)
def test_a_gradient_of_zero_is_a_gradient(differentiate, function):
    _, gradient = differentiate(lambda x: ops.sum(function(x)), np.array([-1.0, -2.0]))
    assert gradient is not None
    assert np.all(as_array(gradient) == 0)


# What the call leaves behind.


@BOTH
def test_updates_of_moving_statistics_take_effect(differentiate):
    layer = keras.layers.BatchNormalization(momentum=0.9)
    layer.build((None, 2))
    x = np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)
    differentiate(lambda _: ops.sum(layer(x, training=True) ** 2), layer.trainable_variables)
    np.testing.assert_allclose(as_array(layer.moving_mean.value), 0.1 * x.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(as_array(layer.moving_variance.value), 0.9 + 0.1 * x.var(axis=0), rtol=1e-6)


@BOTH
def test_a_seed_moves_on_and_what_is_dropped_has_no_slope(differentiate):
    layer = keras.layers.Dropout(0.5, seed=3)
    masks = [as_array(differentiate(lambda x: ops.sum(layer(x, training=True)), np.ones(50))[1]) for _ in range(2)]
    assert as_array(layer.seed_generator.state.value).tolist() == [3, 2]
    alone = keras.layers.Dropout(0.5, seed=3)
    for mask in masks:
        np.testing.assert_array_equal(mask, as_array(alone(ops.ones(50), training=True)))


def test_a_metric_is_updated():
    metric = keras.metrics.Mean()

    def function(x):
        metric.update_state(x)
        return x**2

    value_and_grad(function, 3.0)
    assert as_float(metric.result()) == 3.0


def test_updates_of_an_inner_call_take_effect_once():
    counter = keras.Variable(0.0, trainable=False)

    def inner(s):
        counter.assign_add(1.0)
        return s**3

    value_and_grad(lambda t: value_and_grad(inner, t)[1], 2.0)
    assert as_float(counter.value) == 1.0


def test_an_update_is_seen_by_what_follows_in_the_call():
    variable = keras.Variable(2.0)

    def function(v):
        before = v * 1.0
        v.assign(5.0)
        return before * v

    value, _ = value_and_grad(function, variable)
    assert as_float(value) == 10.0
    assert as_float(variable.value) == 5.0


def test_a_variable_that_is_not_trained_stays_so():
    variable = keras.Variable(2.0, trainable=False)
    before = getattr(variable.value, "requires_grad", None)
    assert as_float(value_and_grad(lambda v: v**2, variable)[1]) == 4.0
    assert getattr(variable.value, "requires_grad", None) is before
    assert variable.trainable is False


def test_the_function_is_called_once():
    calls = []

    def function(x, y):
        calls.append(x)
        return x**2 * y

    value_and_grad(function, 3.0, 2.0)
    assert len(calls) == 1


@BOTH
@pytest.mark.parametrize(("x", "slope"), [(1.0, 2.0), (-1.0, 1.0)])
def test_a_function_may_branch_on_values(differentiate, x, slope):
    _, (of_x, of_y) = differentiate(lambda x, _y: x * 2 if x > 0 else x * 1, x, 5.0)
    assert as_float(of_x) == slope
    assert of_y is None


def test_a_layer_may_branch_on_values_and_change_its_variables():
    class Counts(keras.layers.Layer):
        def build(self, _):
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign_add(1.0)
            return x * 3 if ops.sum(x) > 0 else x

    layer, x = Counts(), ops.ones((2,))
    layer(x)
    gradients, _ = projected_gradients(layer, ((x,), {}), [], [ops.ones((2,))])
    np.testing.assert_array_equal(as_array(gradients[0]), [3.0, 3.0])
    assert as_float(layer.calls) == 2.0


def test_a_call_that_fails_leaves_the_next_one_as_it_is():
    def failing(_x):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        value_and_grad(failing, 3.0)
    variable = keras.Variable(2.0, trainable=False)
    assert as_float(value_and_grad(lambda v: v**2, variable)[1]) == 4.0


def test_differentiating_changes_no_later_training():
    def trained(*, looked_at):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
        x = np.arange(8, dtype=np.float32).reshape(4, 2) / 8
        if looked_at:
            value_and_grad(lambda _: ops.mean(model(x) ** 2), model.trainable_variables)
        model.fit(x, x[:, :1], shuffle=False, verbose=0)
        return values_of(model.variables)

    for plain, looked_at in zip(trained(looked_at=False), trained(looked_at=True), strict=True):
        np.testing.assert_array_equal(plain, looked_at)


def test_the_gradient_of_an_embedding_is_dense():
    layer = keras.layers.Embedding(5, 2)
    layer.build()
    _, (gradient,) = value_and_grad(lambda _: ops.sum(layer(np.array([[1, 1, 3]]))), layer.trainable_variables)
    assert type(gradient) is type(ops.zeros(1))
    assert as_array(gradient).tolist() == [[0, 0], [2, 2], [0, 0], [1, 1], [0, 0]]


# Errors.


@pytest.mark.parametrize("leaf", [True, np.bool_(False), "text", None], ids=repr)
def test_what_is_no_number_is_refused_by_its_value(leaf):
    with pytest.raises(TypeError, match=r"cannot differentiate with respect to .*give it a float"):
        value_and_grad(lambda x: x, leaf)


@pytest.mark.parametrize("leaf", [np.array(3), np.array([True]), np.array([1j])], ids=["integers", "bools", "complex"])
def test_arrays_that_are_not_floating_are_refused_by_their_dtype(leaf):
    with pytest.raises(TypeError, match=f"values of dtype {leaf.dtype.name}: cast them to a float dtype"):
        value_and_grad(lambda x: x, leaf)


@pytest.mark.parametrize("leaf", [np.array(["text"]), object()], ids=["strings", "object"])
def test_what_is_no_array_of_numbers_is_refused(leaf):
    with pytest.raises(TypeError, match="cannot differentiate with respect to"):
        value_and_grad(lambda x: x, leaf)


def test_integer_tensors_and_variables_are_refused():
    for leaf in (ops.convert_to_tensor(np.array([1, 2], "int32")), keras.Variable(1, dtype="int32", trainable=False)):
        with pytest.raises(TypeError, match="values of dtype int32"):
            value_and_grad(lambda x: x, leaf)


def test_a_leaf_deep_in_a_structure_is_refused():
    with pytest.raises(TypeError, match="None"):
        value_and_grad(lambda x: x["a"][0], {"a": [1.0, None]})


def test_a_call_without_inputs_is_refused():
    with pytest.raises(TypeError, match="at least one input"):
        value_and_grad(lambda: 1.0)


@BOTH
@pytest.mark.parametrize("shape", [(2,), (1,), (1, 1)])
def test_a_value_that_is_no_scalar_is_refused_by_its_shape(differentiate, shape):
    with pytest.raises(ValueError, match=r"differentiates a scalar.*keras\.ops\.sum") as raised:
        differentiate(lambda x: ops.ones(shape) * x, 3.0)
    assert str(shape) in str(raised.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # jax wants integers there
def test_what_only_a_comparison_inside_of_a_compiled_part_sees_has_no_gradient():
    """`one_hot` of jax is a compiled function of its own, in which its input is compared with integers."""
    _, (of_labels, of_scores) = value_and_grad(
        lambda parts: ops.sum(ops.one_hot(parts[0], 3) * parts[1]),
        [np.array([0.0, 2.0], np.float32), np.ones((2, 3), np.float32)],
    )
    assert of_labels is None
    np.testing.assert_array_equal(ops.convert_to_numpy(of_scores), [[1, 0, 0], [0, 0, 1]])
