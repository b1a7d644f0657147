"""A1 to A6: tensors made of constants and of random numbers, to NumPy and back, variables, and arithmetic."""

import keras
import numpy as np
import pytest
from keras import ops

from harness import Expected, case


def shape_ndim_dtype(tensor):
    return [list(ops.shape(tensor)), ops.ndim(tensor), keras.backend.standardize_dtype(tensor.dtype)]


def same(tensor, expected):
    return np.array_equal(ops.convert_to_numpy(tensor), ops.convert_to_numpy(expected))


# A1: constants


@case
def constants(record):
    floatx = keras.config.floatx()
    ones, zeros = ops.ones((2, 3)), ops.zeros((2, 1))
    full = ops.full((2, 2), 7.0)
    nested = ops.convert_to_tensor(((1.0, 4.0), (9.0, 16.0)), dtype=floatx)
    whole_numbers = ops.convert_to_tensor(((1, 4), (9, 16)), dtype="int32")
    made = {"ones": ones, "zeros": zeros, "full": full, "nested tuples": nested, "whole numbers": whole_numbers}
    record("constants", made)
    record("shape, ndim, dtype", {name: shape_ndim_dtype(tensor) for name, tensor in made.items()})
    assert same(ones, [[1, 1, 1], [1, 1, 1]])
    assert same(zeros, [[0], [0]])
    assert same(full, [[7, 7], [7, 7]])
    assert same(nested, [[1, 4], [9, 16]])
    assert same(whole_numbers, [[1, 4], [9, 16]])
    assert shape_ndim_dtype(ones) == [[2, 3], 2, floatx]
    assert shape_ndim_dtype(zeros) == [[2, 1], 2, floatx]


@case
def ranks(record):
    """A scalar, a vector, a matrix, and so on: each axis is one longer than the one before it."""
    for rank in range(5):
        shape = tuple(range(2, 2 + rank))
        tensor = ops.reshape(ops.arange(np.prod(shape, dtype=int), dtype="float32"), shape)
        record(f"rank {rank}", tensor)
        record(f"shape, ndim, dtype of rank {rank}", shape_ndim_dtype(tensor))
        assert shape_ndim_dtype(tensor) == [list(shape), rank, "float32"]
        assert ops.size(tensor) == np.prod(shape)


# A2: random numbers


@case
def seeded_random_numbers(record):
    """The same seed gives the same numbers, and a generator gives others each time."""
    normal = keras.random.normal((3, 1), mean=0.0, stddev=1.0, seed=1337)
    uniform = keras.random.uniform((3, 1), minval=0.0, maxval=1.0, seed=1337)
    generator = keras.random.SeedGenerator(1337)
    drawn = [keras.random.normal((3, 1), mean=2.0, stddev=0.5, seed=generator) for _ in range(3)]
    record("normal", normal)
    record("uniform", uniform)
    record("drawn one after the other", drawn)
    record("state of the generator", [int(word) for word in ops.convert_to_numpy(generator.state)])
    assert shape_ndim_dtype(normal) == shape_ndim_dtype(uniform) == [[3, 1], 2, keras.config.floatx()]
    assert same(keras.random.normal((3, 1), seed=1337), normal)
    assert not same(drawn[0], drawn[1])


@case
def unseeded_random_numbers(record):
    """What nobody seeds follows `harness run --seed`."""
    record("normal", keras.random.normal((3, 1)))
    record("uniform", keras.random.uniform((3, 1), minval=-1.0, maxval=1.0))


def about_normal(values, mean, stddev):
    """Whether 10,000 values have about this mean and standard deviation: within five standard errors and more."""
    values = ops.convert_to_numpy(values).astype("float64")
    return bool(abs(values.mean() - mean) < 0.06 * stddev and abs(values.std() / stddev - 1) < 0.05)


def about_uniform(values, low, high):
    """Whether 10,000 values lie in the range, fill it, and have about the mean and deviation they should."""
    values = (ops.convert_to_numpy(values).astype("float64") - low) / (high - low)
    inside = values.min() >= 0 and values.max() <= 1 and values.min() < 0.01 and values.max() > 0.99
    return bool(inside and abs(values.mean() - 1 / 2) < 0.02 and abs(values.std() - 12**-0.5) < 0.01)


@case
def distributions(record):
    """Mean, deviation and range of 10,000 numbers. About: they are random."""
    normal = keras.random.normal((10_000, 1), mean=3.0, stddev=2.0, seed=1)
    uniform = keras.random.uniform((10_000, 1), minval=-2.0, maxval=6.0, seed=2)
    record("normal", normal)
    record("uniform", uniform)
    assert about_normal(normal, 3.0, 2.0)
    assert about_uniform(uniform, -2.0, 6.0)


@case
def the_backends_own_generator(record):
    """Its numbers are other ones on every backend, and are not compared; their distribution is right on each."""
    shape = (10_000, 1)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        normal = tf.random.normal(shape, mean=3.0, stddev=2.0)
        uniform = tf.random.uniform(shape, minval=-2.0, maxval=6.0)
    elif keras.backend.backend() == "torch":
        import torch

        normal = torch.normal(mean=3.0, std=2.0, size=shape)
        uniform = torch.empty(shape).uniform_(-2.0, 6.0)
    elif keras.backend.backend() == "jax":
        import jax

        normal = 3.0 + 2.0 * jax.random.normal(jax.random.key(1), shape)
        uniform = jax.random.uniform(jax.random.key(2), shape, minval=-2.0, maxval=6.0)
    else:
        normal = np.random.normal(3.0, 2.0, shape)
        uniform = np.random.uniform(-2.0, 6.0, shape)
    assert about_normal(normal, 3.0, 2.0)
    assert about_uniform(uniform, -2.0, 6.0)
    record("is normal", about_normal(normal, 3.0, 2.0))
    record("is uniform", about_uniform(uniform, -2.0, 6.0))


# A3: NumPy, tensor, NumPy


def array_of(dtype):
    """Six numbers that every dtype of Keras holds exactly. NumPy knows bfloat16 and float8 through `ml_dtypes`."""
    import ml_dtypes

    values = np.array([[0, 1, 2], [3, 4, 96]])
    if dtype == "bool":
        return values % 2 == 1
    return values.astype(getattr(ml_dtypes, dtype, dtype))


def round_trip(dtype, record):
    """To a tensor and back, without a word about the dtype. What comes back is recorded, or that nothing does."""
    array = array_of(dtype)
    try:
        tensor = ops.convert_to_tensor(array)
        returned = ops.convert_to_numpy(tensor)
    except (KeyError, TypeError, ValueError):  # a KeyError from Keras' table of openvino's dtypes
        record(dtype, "refused")
        return
    record(f"dtype of {dtype}", keras.backend.standardize_dtype(tensor.dtype))
    record(dtype, returned)
    record(f"{dtype} has its values", np.array_equal(returned.astype("complex128"), array.astype("complex128")))


NARROWED = Expected(
    "mismatch",
    reason="on the numpy backend Keras narrows an array of 64 bits that it is told no dtype of, by the rules of its "
    "result_type; tensorflow and torch keep it",
)
NOT_COMPLEX = Expected("mismatch", reason="OpenVINO has no complex dtypes, and Keras raises a KeyError")


@case
def round_trip_of_arrays(record):
    for dtype in ["bool", "int8", "int16", "int32", "uint8", "float16", "bfloat16", "float32"]:
        round_trip(dtype, record)
        returned = ops.convert_to_numpy(ops.convert_to_tensor(array_of(dtype)))
        assert returned.dtype == array_of(dtype).dtype
        assert np.array_equal(returned.astype("float32"), array_of(dtype).astype("float32"))


@case(
    expect={
        "jax": Expected(
            "mismatch",
            reason="jax has no 64-bit dtypes unless x64 is enabled: jnp.asarray makes 32 bits of an array of 64, with "
            "a warning. tensorflow and torch keep them, whatever floatx is",
        ),
        "numpy": NARROWED,
    }
)
@pytest.mark.parametrize("dtype", ["int64", "float64"])
def round_trip_of_64_bits(dtype, record):
    round_trip(dtype, record)


@case(expect={"openvino": NOT_COMPLEX})
def round_trip_of_complex64(record):
    round_trip("complex64", record)


@case(
    expect={
        "jax": Expected("mismatch", reason="without x64, jnp.asarray makes complex64 of complex128, with a warning"),
        "numpy": NARROWED,
        "openvino": NOT_COMPLEX,
    }
)
def round_trip_of_complex128(record):
    round_trip("complex128", record)


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="Keras' table of torch dtypes has int32 for uint16 and int64 for uint32, so that every value fits",
        )
    }
)
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def round_trip_of_unsigned_integers(dtype, record):
    round_trip(dtype, record)


@case(
    expect={
        "jax": Expected("mismatch", reason="without x64, jnp.asarray makes uint32 of uint64, with a warning"),
        "torch": Expected("mismatch", reason="Keras' table of torch dtypes has no uint64, and Keras raises"),
    }
)
def round_trip_of_uint64(record):
    round_trip("uint64", record)


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="torch makes no tensor of a NumPy array of float8, nor an array of a tensor of float8. Keras helps "
            "it over that with bfloat16 only",
        ),
        "openvino": Expected(
            "mismatch", reason="ops.convert_to_numpy gives the bytes of a float8 on openvino, as uint8 (core.py)"
        ),
    }
)
@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def round_trip_of_float8(dtype, record):
    round_trip(dtype, record)
    tensor = ops.cast(ops.ones((3,)), dtype)
    try:
        record("after a cast", ops.convert_to_numpy(tensor))
    except TypeError:
        record("after a cast", "refused")


@case(
    expect={
        "tensorflow": Expected(
            "mismatch", reason="Keras has a dtype for strings, and only tensorflow has tensors of them"
        )
    }
)
def round_trip_of_strings(record):
    try:
        tensor = ops.convert_to_tensor(["red", "blue"])
    except (TypeError, ValueError):
        record("string", "refused")
    else:
        record("string", [text.decode() for text in ops.convert_to_numpy(tensor)])


@case
def array_plus_one_is_43(record):
    """An array of float64, told which dtype to become."""
    tensor = ops.convert_to_tensor(np.ones((3, 3)) * 42, dtype=keras.config.floatx())
    record("tensor", tensor)
    for name, result in {"+": tensor + 1, "ops.add": ops.add(tensor, 1), "float": tensor + 1.0}.items():
        record(name, result)
        assert same(result, np.full((3, 3), 43.0))
        assert keras.backend.standardize_dtype(result.dtype) == keras.config.floatx()


@case(
    expect={
        "jax": Expected(
            "mismatch",
            reason="floatx has no say in what becomes of a float64 array: without x64, jax makes float32 of it; "
            "tensorflow and torch go on in float64",
        ),
        "numpy": NARROWED,
        "openvino": Expected(
            "mismatch",
            reason="openvino keeps float64 in an array alone: a sum with a number is float32, by Keras' result_type, "
            "and so is a variable",
        ),
    }
)
def array_of_float64_under_floatx(record):
    """43 everywhere, but not in one dtype."""
    array = np.ones((3, 3)) * 42
    results = {
        "tensor": ops.convert_to_tensor(array) + 1,
        "variable": keras.Variable(array) + 1,
        "add": ops.add(array, 1),
    }
    for name, result in results.items():
        record(name, result)
        assert same(result, np.full((3, 3), 43.0))
    # What float32 cannot hold is lost where the tensor has become float32.
    fine = ops.convert_to_numpy(ops.convert_to_tensor(np.array([1 + 2.0**-40])))
    record("1 + 2**-40", fine)
    assert (fine[0] > 1) == (fine.dtype == "float64")


@case(
    expect={
        "tensorflow": Expected(
            "mismatch",
            reason="on tensorflow a NumPy float64 stays float64, alone or in a list. On torch Keras makes floatx of it "
            "alone, for it is a Python float too, and narrows the dtype of a list; jax has no float64 without x64",
        ),
        "openvino": Expected(
            "mismatch",
            reason="on openvino a NumPy float64 stays float64 alone, and is narrowed in a list",
            where="recorded/scalar",
        ),
    }
)
def numpy_scalar_under_floatx(record):
    record("scalar", ops.convert_to_tensor(np.float64(1.5)))
    record("in a list", ops.convert_to_tensor([np.float64(1.5), np.float64(2.5)]))


# A4: arrays are assignable, tensors are not


@case
def array_is_assignable(record):
    """A NumPy array is, also one that was made from a tensor; the tensor does not notice."""
    tensor = ops.zeros((2, 2))
    array = ops.convert_to_numpy(tensor)
    array[0, 0] = 1.0
    record("array", array)
    record("tensor", tensor)
    assert same(tensor, np.zeros((2, 2)))


@case(
    expect={
        "torch": Expected(
            "mismatch", reason="torch tensors can be changed in place; those of tensorflow and jax raise a TypeError"
        ),
        "numpy": Expected("mismatch", reason="tensors of the numpy backend are arrays, and can be changed in place"),
    }
)
def tensor_is_not_assignable(record):
    tensor = ops.zeros((2, 2))
    try:
        tensor[0, 0] = 1.0
        record("item assignment", "done")
    except TypeError:
        record("item assignment", "refused")
    record("tensor", tensor)


@case(
    expect={
        "numpy": Expected(
            "mismatch",
            reason="on the numpy backend ops.slice_update writes into the array that it is given, and returns it",
            where="recorded/left as it was",
        )
    }
)
def tensor_is_updated_by_making_another(record):
    """What to write instead, on every backend."""
    tensor = ops.zeros((2, 2))
    updated = ops.slice_update(tensor, (0, 0), ops.ones((1, 1)))
    record("updated", updated)
    record("left as it was", same(tensor, np.zeros((2, 2))))
    assert same(updated, [[1, 0], [0, 0]])


# A5: variables


@case
def variable_made_from(record):
    """From an array, a tensor, a name of an initializer, an initializer, and a number."""
    floatx = keras.config.floatx()
    variables = {
        "array": keras.Variable(np.ones((3, 1)), dtype=floatx),
        "tensor": keras.Variable(ops.ones((3, 1))),
        "name": keras.Variable("ones", shape=(3, 1)),
        "initializer": keras.Variable(keras.initializers.RandomNormal(seed=1), shape=(3, 1)),
        "number": keras.Variable(2.0),
        "counter": keras.Variable(0, dtype="int32", trainable=False),
    }
    record("variables", variables)
    record("shapes and dtypes", {name: [list(v.shape), v.dtype] for name, v in variables.items()})
    assert same(variables["array"], np.ones((3, 1)))
    assert variables["name"].dtype == floatx


@case
def variable_assigned(record):
    variable = keras.Variable(np.ones((3, 1)), dtype=keras.config.floatx())
    variable.assign(ops.zeros((3, 1)))
    record("assign", variable)
    assert same(variable, np.zeros((3, 1)))
    variable.assign(ops.ones((3, 1)))
    variable.assign_add(ops.ones((3, 1)))
    record("assign_add", variable)
    assert same(variable, np.full((3, 1), 2.0))
    variable.assign_sub(ops.full((3, 1), 0.5))
    record("assign_sub", variable)
    assert same(variable, np.full((3, 1), 1.5))


@case
def variable_slice_assigned(record):
    """`v[0:2, 0] = 3` of a variable of ones."""
    variable = keras.Variable(np.ones((3, 1)), dtype=keras.config.floatx())
    variable.assign(ops.slice_update(variable.value, (0, 0), ops.full((2, 1), 3.0)))
    record("variable", variable)
    assert same(variable, [[3], [3], [1]])


@case(
    expect={
        "numpy": Expected(
            "mismatch",
            reason="on the numpy backend ops.scatter_update assigns to the variable's items, which it has not",
        )
    }
)
def variable_items_assigned(record):
    """The same, of a variable itself."""
    variable = keras.Variable(np.ones((3, 1)), dtype=keras.config.floatx())
    try:
        variable.assign(ops.scatter_update(variable, [[0, 0], [1, 0]], ops.full((2,), 3.0)))
        assert same(variable, [[3], [3], [1]])
    except TypeError:
        record("assignment", "refused")
    record("variable", variable)


@case(
    expect={
        "jax": Expected(
            "mismatch",
            reason="ops.slice_update hands a variable to jax.lax.dynamic_update_slice as it is, which jax refuses "
            "since it no longer calls __jax_array__ there; tensorflow and torch take its value",
        ),
        "numpy": Expected(
            "mismatch", reason="on the numpy backend ops.slice_update assigns to the variable's items, which it has not"
        ),
    }
)
def slice_update_of_a_variable_itself(record):
    variable = keras.Variable(np.ones((3, 1)), dtype=keras.config.floatx())
    try:
        record("updated", ops.slice_update(variable, (0, 0), ops.full((2, 1), 3.0)))
    except (TypeError, ValueError):
        record("updated", "refused")


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="a keras.Variable is trainable unless told otherwise, and torch lets no tensor of integers require "
            "a gradient",
        )
    }
)
def variable_of_whole_numbers(record):
    try:
        record("variable", keras.Variable(np.array([1, 2], "int32")))
    except RuntimeError:
        record("variable", "refused")


@case
def wrong_shape_is_refused(record):
    """Even one that would broadcast. The error names both shapes, and the variable keeps its value."""
    variable = keras.Variable(np.ones((3, 1)), dtype=keras.config.floatx())
    for shape in [(2, 2), (1, 3), (1, 1), ()]:
        with pytest.raises(ValueError, match=r"must match.* variable.shape=\(3, 1\)") as error:
            variable.assign(np.zeros(shape))
        record(f"message for {shape}, up to the shapes", str(error.value).split(" variable.shape=")[0])
        assert str(list(shape))[1:-1] in str(error.value).split("value.shape=")[1]
        assert same(variable, np.ones((3, 1)))


@case
def wrong_shape_added_is_refused(record):
    """By each backend's own error where the shapes do not broadcast. A number or one row does broadcast."""
    variable = keras.Variable(np.ones((3, 1)), dtype=keras.config.floatx())
    for shape in [(2, 2), (3, 2), (4, 1)]:
        with pytest.raises(Exception, match=r"(?i)shape|size"):
            variable.assign_add(np.zeros(shape))
        assert same(variable, np.ones((3, 1)))
    variable.assign_add(1.0)
    variable.assign_add(np.ones((1, 1)))
    record("variable", variable)
    assert same(variable, np.full((3, 1), 3.0))


@case(
    expect={
        "jax": Expected(
            "mismatch",
            reason="jax drops an update that lies outside, by its rule for .at[].set(); tensorflow and torch raise",
        )
    }
)
def scatter_update_outside(record):
    try:
        record("updated", ops.scatter_update(ops.ones((3, 1)), [[7, 0]], [3.0]))
    except Exception:
        record("updated", "refused")


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="torch slices and raises where the slice is too short; dynamic_update_slice, of tensorflow and jax, "
            "moves the update back until it fits",
        ),
        **dict.fromkeys(
            ["numpy", "openvino"],
            Expected("mismatch", reason="NumPy and OpenVINO raise for an index that lies outside"),
        ),
    }
)
def slice_update_outside(record):
    try:
        record("updated", ops.slice_update(ops.ones((3, 1)), (2, 0), ops.full((2, 1), 3.0)))
    except (IndexError, RuntimeError):
        record("updated", "refused")


# A6: arithmetic


@case
def arithmetic_of_ones(record):
    a = ops.ones((2, 2))
    b = ops.square(a)
    c = ops.sqrt(a)
    d = b + c
    e = ops.matmul(a, b)
    product = e * d
    record("square", b)
    record("square root", c)
    record("sum", d)
    record("matmul", e)
    record("product", product)
    assert same(b, np.ones((2, 2)))
    assert same(a + ops.sqrt(b), np.full((2, 2), 2.0))
    assert same(d, np.full((2, 2), 2.0))
    assert same(e, np.full((2, 2), 2.0))
    assert same(product, np.full((2, 2), 4.0))


@case
@pytest.mark.parametrize("dtype", ["floatx", "int32"])
def arithmetic_of_squares(dtype, record):
    dtype = keras.config.floatx() if dtype == "floatx" else dtype
    a = ops.convert_to_tensor(((1, 4), (9, 16)), dtype=dtype)
    signs = ops.convert_to_tensor(((1, -1), (-1, 1)), dtype=dtype)
    results = {
        "squared": (ops.square(a), [[1, 16], [81, 256]]),
        "square root": (ops.sqrt(a), [[1, 2], [3, 4]]),
        "matmul": (ops.matmul(a, signs), [[-3, 3], [-7, 7]]),
        "elementwise": (a * signs, [[1, -4], [-9, 16]]),
        "sum": (ops.add(a, signs), [[2, 3], [8, 17]]),
    }
    for name, (result, expected) in results.items():
        record(name, result)
        assert same(result, expected)
