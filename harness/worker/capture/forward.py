"""What a `Forward` records."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.backends import runtime
from harness.case import Forward
from harness.trace.parts import name_in
from harness.worker.capture import state, trained
from harness.worker.capture.gradients import or_none, projected_gradients
from harness.worker.capture.layers import observed_layers, record_tensors, taken
from harness.worker.capture.noise import QUIET, Noise
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import as_input, as_tensor, in_order


def record_forward(
    forward: Forward, recorder: Recorder, noise: Noise = QUIET, *, observed: bool = True, mode: str | None = None
) -> None:
    """Call a layer or function once, and record outputs, gradients, and what the call left behind.

    Args:
        noise: what disturbs inputs and weights.
        observed: whether the instruments are on. If not, only the outputs are recorded.
        mode: of the target. Layers are observed eagerly; with `graph` and `jit` the outputs are those of a compiled
            call.
    """
    with recorder.part("forward and all that follows"):
        _record(forward, recorder, noise, observed=observed, mode=mode)


def _record(forward: Forward, recorder: Recorder, noise: Noise, *, observed: bool, mode: str | None) -> None:
    import keras

    function = forward.function
    layer = function if isinstance(function, keras.Layer) else None
    inputs, options = prepared(forward, noise)
    if layer is not None:
        noise.disturb(layer.variables)
        state.record_variables(recorder, "initial", state.variables_of(layer), 0, owner=layer)
    name, owner = ("output", None) if layer is None else (name_in(layer.name, "output"), layer.name)
    if not observed:
        record_tensors(recorder, name, function(*inputs, **options), 0, owner)
        return
    variables = state.model_state(layer) if layer is not None else []
    trains = runtime.current().backend.trains
    with state.preserved(variables) if trains else contextlib.nullcontext(), observed_layers(recorder):
        outputs = function(*inputs, **options)
    if layer is None:
        recorder.add("forward", name, outputs, step=0)
    if mode in ("graph", "jit"):
        compiled = Recorder()
        with state.preserved(variables):
            outputs = _compiled(function, inputs, options, variables, jit=mode == "jit")
        if layer is None:
            compiled.add("forward", name, outputs, step=0)
        else:
            record_tensors(compiled, name, outputs, 0, owner)
        recorder.take(compiled)
    if trains:
        _record_gradients(forward, layer, inputs, options, recorder)
    else:
        recorder.lack("gradient/*", f"Keras has no gradients on {runtime.current().backend.name}")
    if layer is not None:
        # The gradients, where there are any, were taken of the one call whose effects are kept.
        trained = {id(variable) for variable in layer.trainable_variables}
        left = [variable for variable in state.variables_of(layer) if id(variable) not in trained]
        state.record_variables(recorder, "update", left, 0, owner=layer)


def prepared(forward: Forward, noise: Noise = QUIET) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of the call, for which a layer is built, and its weights are moved if asked.

    Arrays become tensors. Numbers do where they are positional: a keyword may be a rate or an axis.

    Args:
        noise: what disturbs the inputs.
    """
    import keras

    inputs = noise.disturbed(keras.tree.map_structure(as_input, in_order(forward.inputs)))
    options = noise.disturbed(keras.tree.map_structure(_as_option, in_order(dict(forward.options))))
    layer = forward.function
    if isinstance(layer, keras.Layer):
        options |= taken(layer.call, {"training": forward.training})
        if not layer.built:
            state.build(layer, inputs, **options)
        if forward.as_trained:
            trained.move_weights(layer)
    return inputs, options


def _as_option(leaf: Any) -> Any:
    return as_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf


def _compiled(
    function: Any, inputs: tuple[Any, ...], options: dict[str, Any], variables: list[Any], *, jit: bool
) -> Any:
    import keras

    leaves = keras.tree.flatten(inputs)
    positions = [position for position, leaf in enumerate(leaves) if keras.ops.is_tensor(leaf)]

    def call(tensors: Sequence[Any]) -> Any:
        given = list(leaves)
        for position, tensor in zip(positions, tensors, strict=True):
            given[position] = tensor
        return function(*keras.tree.pack_sequence_as(inputs, given), **options)

    tensors = [leaves[position] for position in positions]
    return runtime.current().compiled(call, tensors, variables, jit=jit)


def _record_gradients(
    forward: Forward, layer: Any, inputs: tuple[Any, ...], options: dict[str, Any], recorder: Recorder
) -> None:
    import keras

    weights = layer.trainable_variables if layer is not None else []
    with recorder.part("gradients", optional=True):
        of_inputs, of_weights = projected_gradients(forward.function, (inputs, options), weights)
        named = list(state.named(weights))
        for (name, owner, _), gradient in reversed(list(zip(named, of_weights, strict=True))):
            recorder.add("gradient", name, or_none(gradient), step=0, layer=owner)
        owner = layer.name if layer is not None else None
        several = len(keras.tree.flatten(inputs)) > 1 or len(of_inputs) > 1
        for position, gradient in of_inputs.items():
            name = f"input/{position}" if several else "input"
            recorder.add("gradient", name, or_none(gradient), step=0, layer=owner)
