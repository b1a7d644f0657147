"""The state of a model and of the generators round it: named, recorded, and put back."""

from __future__ import annotations

import contextlib
import functools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from harness.trace import Key, Phase, Trace
from harness.worker import keras_internals
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import is_float, numpy_of
from harness.worker.patching import patched, where_defined

#: What tensorflow alone puts before the paths of an optimizer's slots, where its gradients are scaled.
_SCALED = re.compile(r"loss_scale_optimizer(_\d+)?/(?=[^/]+/)")


def named(variables: Iterable[Any]) -> Iterator[tuple[str, str | None, Any]]:
    """Name, layer and value of each variable, in order. Two of one path are told apart by their position."""
    seen: Counter[str] = Counter()
    for variable in variables:
        path = _SCALED.sub("", variable.path)
        seen[path] += 1
        name = path if seen[path] == 1 else f"{path}#{seen[path]}"
        parts = path.split("/")
        yield name, parts[-2] if len(parts) > 1 else None, variable


def record_variables(
    recorder: Recorder,
    phase: Phase,
    variables: Iterable[Any],
    step: int,
    *,
    prefix: str = "",
    owner: Any = None,
) -> None:
    """Record variables, by path. Integer state, such as seeds, is plain: its dtype is each backend's own.

    Args:
        owner: the layer or model that has the variables, in which the innermost layer of each is looked up.
    """

    owners = {} if owner is None else keras_internals.owners(owner)
    for name, layer, variable in named(variables):
        layer = owners.get(id(variable), layer)
        if recorder.native and name.split("#")[0].endswith("seed_generator_state"):
            continue  # torch does not advance the seed of a dropout layer that was given none
        value = variable if is_float(variable) else numpy_of(variable).tolist()
        recorder.add(phase, prefix + name, value, step=step, layer=layer)


def assign(variables: Iterable[Any], trace: Trace, phase: Phase, step: int, prefix: str = "") -> None:
    """Give variables the values that `record_variables` recorded of them. Those that the trace lacks stay the same."""
    for name, _, variable in named(variables):
        key = str(Key(phase, step, prefix + name))
        if key in trace:
            variable.assign(np.asarray(trace[key].value, variable.dtype))


def variables_of(layer: Any) -> list[Any]:
    """Every variable of a layer or model: its `variables`, and the states that a recurrent layer keeps beside them."""
    return [*layer.variables, *keras_internals.untracked_variables(layer)]


def model_state(model: Any) -> list[Any]:
    """Every variable a training step may change: weights, seeds, states, metrics and, once built, the optimizer's."""
    state = variables_of(model)
    state += getattr(model, "metrics_variables", [])
    optimizer = getattr(model, "optimizer", None)
    state += getattr(optimizer, "variables", [])
    return list({id(variable): variable for variable in state}.values())


def build(layer: Any, inputs: Any, **options: Any) -> None:
    """Build a layer or model by a call on placeholders, which runs `call` without values and changes no state.

    If that fails, as where `call` looks at values, the layer is called on the inputs and its state put back.

    Args:
        inputs, options: arguments of the call, whose tensors are replaced by placeholders.
    """
    import keras

    def placeholder(leaf: Any) -> Any:
        return keras.KerasTensor(leaf.shape, dtype=leaf.dtype) if keras.ops.is_tensor(leaf) else leaf

    try:
        args, kwargs = keras.tree.map_structure(placeholder, (tuple(inputs), options))
        layer(*args, **kwargs)
        # A layer that tells the shape of its output is not called then, and what is inside of it is not built.
        if not keras_internals.is_built(layer):
            keras_internals.compute_output_spec(layer, *args, **kwargs)
    except Exception:
        with preserved(model_state(layer)), _new_as_made():
            layer(*inputs, **options)


@contextlib.contextmanager
def _new_as_made() -> Iterator[None]:
    """Put variables that are made while the context is open back to the values that they are made with."""
    import keras

    made: list[tuple[Any, Any]] = []

    def noted(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def __init__(variable: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - stands for the method
            original(variable, *args, **options)
            made.append((variable, numpy_of(variable)))

        return __init__

    with patched(where_defined(keras.Variable, "__init__"), "__init__", noted):
        yield
    for variable, value in made:
        variable.assign(value)


@contextlib.contextmanager
def preserved(variables: Iterable[Any]) -> Iterator[None]:
    """Put variables, and the generators of Python, NumPy and Keras, back to what they are now."""

    generator = keras_internals.global_seed_generator()
    kept = [*variables, *([generator.state] if generator is not None else [])]
    values = [(variable, numpy_of(variable)) for variable in kept]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        if generator is None:
            keras_internals.forget_global_seed()
