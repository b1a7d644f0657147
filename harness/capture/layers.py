"""Layer calls: what goes into every layer and comes out of it, in the order they run."""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from harness import backends, keras_internals
from harness.capture.record import Recorder


@contextlib.contextmanager
def observed_layers(recorder: Recorder, *, step: int = 0) -> Iterator[None]:
    """Record inputs and outputs of every layer that is called eagerly while the context is open.

    A layer is named by the layers it is called in, as `model/block/dense`; its second call is `dense#2`. What runs
    inside a recurrent or time-distributed layer is not observed: its cell is called once for each timestep on one
    backend and traced once on another. The layer itself is.
    """
    import keras

    opaque = (keras.layers.RNN, keras.layers.TimeDistributed)
    original = keras.Layer.__call__
    path: list[str] = []
    calls: Counter[str] = Counter()
    depth_of_opaque = 0

    def __call__(layer: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - stands for the method
        nonlocal depth_of_opaque
        placeholders = any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten([args, kwargs]))
        if depth_of_opaque or placeholders or keras_internals.in_symbolic_scope():
            return original(layer, *args, **kwargs)
        name = "/".join([*path, layer.name])
        calls[name] += 1
        leaf = layer.name if calls[name] == 1 else f"{layer.name}#{calls[name]}"
        path.append(leaf)
        depth_of_opaque += isinstance(layer, opaque)
        where = "/".join(path)
        try:
            _record_tensors(recorder, f"{where}/input", [args, kwargs], step, layer.name)
            outputs = original(layer, *args, **kwargs)
            _record_tensors(recorder, f"{where}/output", outputs, step, layer.name)
        finally:
            path.pop()
            depth_of_opaque -= isinstance(layer, opaque)
        return outputs

    keras.Layer.__call__ = __call__
    try:
        yield
    finally:
        keras.Layer.__call__ = original


def takes_training(call: Callable[..., Any]) -> bool:
    """Whether a layer's or model's `call` has an argument `training`."""
    parameters = inspect.signature(call).parameters
    return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _record_tensors(recorder: Recorder, name: str, structure: Any, step: int, layer: str) -> None:
    import keras

    backend = backends.current()
    tensors = [
        leaf
        for leaf in keras.tree.flatten(structure)
        if (backend.is_concrete(leaf) if keras.ops.is_tensor(leaf) else hasattr(leaf, "__array__"))
    ]
    for position, tensor in enumerate(tensors):
        suffix = f"/{position}" if len(tensors) > 1 else ""
        recorder.add("forward", name + suffix, tensor, step=step, layer=layer)
