"""Layer calls: what goes into every layer and comes out of it, in the order they run."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from harness.case import matches
from harness.trace import Key
from harness.trace.key import numbered
from harness.trace.parts import name_in
from harness.worker import keras_internals
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import all_have_values, has_value, in_order
from harness.worker.patching import patched

#: Called in place of a layer, with its path (`model/block/dense`), the layer, its own call and the call's arguments.
Visit = Callable[[str, Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


@contextlib.contextmanager
def visited_layers(visit: Visit) -> Iterator[None]:
    """Call `visit` in place of every layer that is called eagerly, while the context is open.

    A layer is named by the layers it is called in, as `model/block/dense`; its second call is `dense#2`. What runs
    inside a recurrent or time-distributed layer is not visited: its cell is called once for each timestep on one
    backend and traced once on another. The layer itself is.
    """
    import keras

    opaque = (keras.layers.RNN, keras.layers.TimeDistributed)
    path: list[str] = []
    calls: Counter[str] = Counter()
    depth_of_opaque = 0

    def visited(original: Callable[..., Any]) -> Callable[..., Any]:
        def __call__(layer: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - stands for the method
            nonlocal depth_of_opaque
            placeholders = any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten([args, kwargs]))
            if depth_of_opaque or placeholders or keras_internals.in_symbolic_scope():
                return original(layer, *args, **kwargs)
            name = "/".join([*path, layer.name])
            calls[name] += 1
            path.append(layer.name if calls[name] == 1 else f"{layer.name}#{calls[name]}")
            depth_of_opaque += isinstance(layer, opaque)
            try:
                return visit("/".join(path), layer, functools.partial(original, layer), args, kwargs)
            finally:
                path.pop()
                depth_of_opaque -= isinstance(layer, opaque)

        return __call__

    with patched(keras.Layer, "__call__", visited):
        yield


def observed_layers(recorder: Recorder, *, step: int = 0) -> contextlib.AbstractContextManager[None]:
    """Record inputs and outputs of every layer that is called eagerly while the context is open."""

    def visit(where: str, layer: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not all_have_values([args, kwargs]):
            leave_out(where, recorder, step)
        record_tensors(recorder, name_in(where, "input"), [args, kwargs], step, layer.name)
        outputs = call(*args, **kwargs)
        record_tensors(recorder, name_in(where, "output"), outputs, step, layer.name)
        return outputs

    return visited_layers(visit)


def leave_out(where: str, recorder: Recorder, step: int) -> None:
    """Say that a layer's call, and those in it, cannot be recorded here, and later calls of it have other numbers."""
    outer, separator, name = where.rpartition("/")
    call = str(Key("forward", step, f"{outer}{separator}{name.partition('#')[0]}"))
    if not any(matches(lack.where, f"{call}/input") for lack in recorder.lacks):
        for pattern in (f"{call}/*", f"{call}#*"):
            recorder.lack(pattern, "no values are known where it is called: in a derivative, or in compiled code")


def taken(function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that a function takes: a layer's `call`, or a method that a model has of its own."""
    parameters = inspect.signature(function).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {name: value for name, value in options.items() if takes_all or name in parameters}


def record_tensors(recorder: Recorder, name: str, structure: Any, step: int, layer: str | None) -> None:
    """Record the tensors of a structure that have a value now, as `name`, or `name/0`, `name/1`, ... of several."""
    import keras

    tensors = [leaf for leaf in keras.tree.flatten(in_order(structure)) if has_value(leaf)]
    for key, tensor in zip(numbered(name, len(tensors)), tensors, strict=True):
        recorder.add("forward", key, tensor, step=step, layer=layer)
