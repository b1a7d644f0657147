"""Data as tensors, of one dtype on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.backends import runtime

_INT32 = np.iinfo(np.int32)


def as_tensor(leaf: Any) -> Any:
    """An array as a tensor: floats in `floatx`, as `fit` gives them to a model, and int64 as int32 where it fits.

    jax has no int64 unless it is switched on, and the others keep it: that is no difference of the code under test.
    """
    import keras

    array = np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)
    if array.dtype.kind == "f":
        return keras.ops.convert_to_tensor(array, dtype=keras.config.floatx())
    if array.dtype == np.int64 and (not array.size or _INT32.min <= array.min() <= array.max() <= _INT32.max):
        return keras.ops.convert_to_tensor(array, dtype="int32")
    return keras.ops.convert_to_tensor(array)


def in_order(structure: Any) -> Any:
    """A structure with its dicts in the order of their keys.

    `keras.tree` goes through nested dicts in this order on some backends, and in that of insertion on others.
    """
    if type(structure) is dict:
        return {key: in_order(structure[key]) for key in sorted(structure, key=str)}
    if type(structure) in (list, tuple):
        return type(structure)(in_order(item) for item in structure)
    return structure


def as_input(leaf: Any) -> Any:
    """An input of a call: arrays and floats as tensors, other values as they are."""
    import keras

    is_array = isinstance(leaf, (np.ndarray, np.generic))  # which are tensors on the numpy backend
    keep = leaf is None or isinstance(leaf, (str, bool, int)) or (keras.ops.is_tensor(leaf) and not is_array)
    return leaf if keep else as_tensor(leaf)


def numpy_of(variable: Any) -> np.ndarray[Any, Any]:
    """The value of a Keras variable, as an array of its own."""
    import keras

    return np.array(keras.ops.convert_to_numpy(runtime.current().value_of(variable)))


def is_float(value: Any) -> bool:
    """Whether a tensor or variable is a floating one, and not a mask, an index, a counter or a seed."""
    import keras

    return bool(keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype)))


def is_float_tensor(leaf: Any) -> bool:
    """Whether a leaf is a tensor, and a floating one. A variable is none."""
    import keras

    return keras.ops.is_tensor(leaf) and is_float(leaf)


def floating_leaves(structure: Any) -> list[int]:
    """The positions of the floating tensors among all leaves of a structure."""
    import keras

    return [position for position, leaf in enumerate(keras.tree.flatten(structure)) if is_float_tensor(leaf)]


def has_value(leaf: Any) -> bool:
    """Whether a leaf is an array, a variable, or a tensor that has a value now."""
    import keras

    return runtime.current().is_concrete(leaf) if keras.ops.is_tensor(leaf) else hasattr(leaf, "__array__")


def all_have_values(structure: Any) -> bool:
    """Whether all tensors among a structure's leaves have values, as arrays and numbers always do."""
    import keras

    kinds = (keras.KerasTensor, keras.Variable)
    tensors = [leaf for leaf in keras.tree.flatten(structure) if keras.ops.is_tensor(leaf) or isinstance(leaf, kinds)]
    return all(has_value(leaf) for leaf in tensors)
