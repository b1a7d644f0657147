"""Gradients, the same call on every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def value_and_grad(function: Callable[..., Any], *inputs: Any, has_aux: bool = False) -> tuple[Any, Any]:
    """Value of a scalar function, and its gradient with respect to its inputs.

    ```python
    value, gradient = value_and_grad(lambda x: x**2, 3.0)                       # 9.0, 6.0
    loss, gradients = value_and_grad(lambda w: loss_of(model), model.trainable_variables)
    (loss, y_pred), gradients = value_and_grad(step, weights, has_aux=True)     # step returns (loss, y_pred)
    ```

    Calls nest, for second derivatives. Updates that `function` makes to variables (moving statistics, seeds,
    metrics) take effect, on every backend.

    Args:
        function: called with as many arguments as there are inputs, of the same structures. Numbers and arrays reach
            it as tensors; variables reach it as they are, so that a model that uses them sees the same. It returns a
            floating tensor of shape (), or with `has_aux` a pair of that and any structure of tensors.
        *inputs: numbers, arrays, tensors, `keras.Variable`s, or nested lists, tuples and dicts of them. Numbers and
            NumPy arrays become tensors of `keras.config.floatx()`.
        has_aux: whether `function` returns a pair.

    Returns:
        `(value, gradient)`, or `((value, aux), gradient)` with `has_aux`. The gradient has the structure of the
        input, or is a tuple with one gradient for each of several inputs. It is None wherever the value does not
        depend on that leaf, which is not the same as zero.

    Raises:
        TypeError: an input is not floating, or there is none.
        ValueError: the value is not a scalar.
    """
    return _value_and_grad(function, inputs, has_aux=has_aux, whole=False)


def value_and_grad_once(function: Callable[..., Any], *inputs: Any) -> tuple[Any, Any]:
    """`value_and_grad` of tensors alone, for a function that is differentiated once.

    On jax the whole of it is compiled where it can be.
    """
    return _value_and_grad(function, inputs, has_aux=False, whole=True)


def projected_gradients(
    function: Callable[..., Any],
    arguments: tuple[Sequence[Any], dict[str, Any]],
    weights: Sequence[Any],
    upstream: Sequence[Any] | None = None,
) -> tuple[dict[int, Any], list[Any]]:
    """Gradients of `projected` outputs.

    Args:
        function: what is called, returning any structure of tensors.
        arguments: positional and keyword arguments of the call.
        weights: trainable variables that the function uses.
        upstream: see `projected`.

    Returns:
        The gradients with respect to the floating tensors among the arguments, by their position among all leaves, and
        those with respect to the weights. None for each that the output does not depend on.

    Raises:
        ValueError: there is nothing to differentiate, or with respect to nothing.
    """
    import keras

    from harness.worker.capture.tensors import floating_leaves, in_order

    arguments = in_order(arguments)
    leaves = keras.tree.flatten(arguments)
    floating = floating_leaves(arguments)
    if not floating and not weights:
        raise ValueError("there is neither a floating input nor a trainable weight")

    def total(values: list[Any], _: Any) -> Any:
        given = list(leaves)
        for position, value in zip(floating, values, strict=True):
            given[position] = value
        args, kwargs = keras.tree.pack_sequence_as(arguments, given)
        return projected(function(*args, **kwargs), upstream)

    _, (of_inputs, of_weights) = value_and_grad(total, [leaves[i] for i in floating], list(weights))
    return dict(zip(floating, of_inputs, strict=True)), list(of_weights)


def projected(outputs: Any, upstream: Sequence[Any] | None = None) -> Any:
    """`sum(output * c)` over the floating tensors of a structure: a plain sum would not see errors that cancel.

    Args:
        upstream: c for each of the tensors; standard normal numbers where there is none.

    Raises:
        ValueError: there is no floating tensor.
    """
    import keras
    import numpy as np

    from harness.worker.capture.tensors import in_order, is_float_tensor

    rng = np.random.default_rng(0)
    floating = [leaf for leaf in keras.tree.flatten(in_order(outputs)) if is_float_tensor(leaf)]
    if not floating:
        raise ValueError("there is no floating output")
    total: Any = None
    for position, output in enumerate(floating):
        c = rng.standard_normal(tuple(output.shape)).astype(np.float32) if upstream is None else upstream[position]
        term = keras.ops.sum(output * keras.ops.convert_to_tensor(c, dtype=output.dtype))
        total = term if total is None else total + term
    return total


def or_none(gradient: Any) -> Any:
    """A gradient as it is recorded. One that does not exist is recorded as text, since that is not the same as zero."""
    from harness.trace.parts import NO_GRADIENT  # not at the top: `import harness` is fast

    return NO_GRADIENT if gradient is None else gradient


def _value_and_grad(
    function: Callable[..., Any], inputs: tuple[Any, ...], *, has_aux: bool, whole: bool
) -> tuple[Any, Any]:
    import keras

    from harness.backends import runtime

    if not inputs:
        raise TypeError("value_and_grad needs at least one input to differentiate with respect to.")
    leaves = [_leaf(leaf) for leaf in keras.tree.flatten(inputs)]
    variables = list({id(leaf): leaf for leaf in leaves if isinstance(leaf, keras.Variable)}.values())
    tensors = [leaf for leaf in leaves if not isinstance(leaf, keras.Variable)]

    def call(values: Sequence[Any]) -> tuple[Any, Any]:
        remaining = iter(values)
        arguments = [leaf if isinstance(leaf, keras.Variable) else next(remaining) for leaf in leaves]
        result = function(*keras.tree.pack_sequence_as(inputs, arguments))
        value, rest = result if has_aux else (result, None)
        return _scalar(value), rest

    value, rest, of_tensors, of_variables = runtime.current().differentiate(call, tensors, variables, whole=whole)
    by_variable = {id(variable): gradient for variable, gradient in zip(variables, of_variables, strict=True)}
    remaining = iter(of_tensors)
    gradients = keras.tree.pack_sequence_as(
        inputs,
        [by_variable[id(leaf)] if isinstance(leaf, keras.Variable) else next(remaining) for leaf in leaves],
    )
    return (value, rest) if has_aux else value, gradients[0] if len(inputs) == 1 else gradients


def _leaf(leaf: Any) -> Any:
    import keras
    import numpy as np

    if isinstance(leaf, keras.Variable):
        dtype = leaf.dtype
    elif keras.ops.is_tensor(leaf):
        dtype = keras.backend.standardize_dtype(leaf.dtype)
    elif isinstance(leaf, (bool, np.bool_, str)) or leaf is None:
        raise TypeError(f"value_and_grad cannot differentiate with respect to {leaf!r}: give it a float.")
    elif isinstance(leaf, (int, float)):
        return keras.ops.convert_to_tensor(float(leaf), dtype=keras.config.floatx())
    else:
        array = np.asarray(leaf)
        dtype = array.dtype.name
        if array.dtype.kind not in "biufcV":
            raise TypeError(f"value_and_grad cannot differentiate with respect to {leaf!r}: give it a float.")
        if array.dtype.kind == "f":
            return keras.ops.convert_to_tensor(array, dtype=keras.config.floatx())
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(
            f"value_and_grad cannot differentiate with respect to values of dtype {dtype}: cast them to a float dtype."
        )
    return leaf


def _scalar(value: Any) -> Any:
    import keras

    value = keras.ops.convert_to_tensor(value)
    if len(value.shape) != 0:
        raise ValueError(
            f"value_and_grad differentiates a scalar, and the function returned shape {tuple(value.shape)}. "
            "Reduce it, with keras.ops.sum or keras.ops.mean."
        )
    return value
