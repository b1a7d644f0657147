"""What a `Forward` records."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.backends import runtime
from harness.case import Forward
from harness.trace.parts import name_in
from harness.worker import keras_internals
from harness.worker.capture import places, python_state, state, trained, unowned
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
    with recorder.part("forward and all that follows"), unowned.watched(lambda: _owned(forward)) as updated:
        _record(forward, recorder, noise, updated, observed=observed, mode=mode)


def call_again(make: Callable[[], Any], recorder: Recorder, mode: str | None) -> None:
    """Make what a case returns once more, call it, and record outputs and state, but no layers inside and no gradients.

    A layer is called twice: what Python holds or counts while a call is traced shows in the next one.

    Args:
        make: returns a `Forward`.
        mode: `graph` or `jit`; None to call it eagerly.
    """
    keras_internals.forget_names()
    forward = make()
    with unowned.watched(lambda: _owned(forward)) as updated:
        inputs, options = prepared(forward)
        layer = _layer_of(forward)
        call: Callable[[], Any] = functools.partial(forward.function, *inputs, **options)
        call = call if mode is None else _compiled(forward, inputs, options, jit=mode == "jit")
        name, owner = ("output", None) if layer is None else (name_in(layer.name, "output"), layer.name)
        for step in range(1 if layer is None else 2):
            record_tensors(recorder, name, call(), step, owner)
            if layer is not None:
                state.record_variables(recorder, "update", _untrained(layer), step, owner=layer)
                updated.record(recorder, step)
                recorder.python_state = python_state.of(layer)


def _record(
    forward: Forward, recorder: Recorder, noise: Noise, updated: unowned.Updated, *, observed: bool, mode: str | None
) -> None:
    function, layer = forward.function, _layer_of(forward)
    inputs, options = prepared(forward, noise)
    if layer is not None:
        noise.disturb(layer.variables)
        state.record_variables(recorder, "initial", state.variables_of(layer), 0, owner=layer)
        recorder.places = places.of_layer(layer, recorder.root)
    name, owner = ("output", None) if layer is None else (name_in(layer.name, "output"), layer.name)
    if not observed:
        record_tensors(recorder, name, function(*inputs, **options), 0, owner)
        return
    variables = state.model_state(layer) if layer is not None else []
    trains = runtime.current().backend.trains
    with updated.preserved(variables) if trains else contextlib.nullcontext(), observed_layers(recorder):
        outputs = function(*inputs, **options)
    if layer is None:
        recorder.add("forward", name, outputs, step=0)
    if mode in ("graph", "jit"):
        compiled = Recorder()
        with updated.preserved(variables):
            outputs = _compiled(forward, inputs, options, jit=mode == "jit")()
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
        state.record_variables(recorder, "update", _untrained(layer), 0, owner=layer)
        updated.record(recorder, 0)


def _layer_of(forward: Forward) -> Any:
    """What a `Forward` calls, if it is a layer; None if it is a function, of which it is not known what it owns."""
    import keras

    return forward.function if isinstance(forward.function, keras.Layer) else None


def _owned(forward: Forward) -> list[Any]:
    """The variables that a layer owns; of a function that is not known."""
    layer = _layer_of(forward)
    return [] if layer is None else state.model_state(layer)


def _untrained(layer: Any) -> list[Any]:
    """The variables that a call of a layer may change."""
    trained = {id(variable) for variable in layer.trainable_variables}
    return [variable for variable in state.variables_of(layer) if id(variable) not in trained]


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


#: Outputs of a call that are no tensors, and stand for themselves.
_PLAIN = (bool, int, float, str, type(None))
#: Stands for an output that is computed.
_COMPUTED = object()


def _compiled(forward: Forward, inputs: tuple[Any, ...], options: dict[str, Any], *, jit: bool) -> Callable[[], Any]:
    """The call of a `Forward`, compiled. Plain values among its outputs stay what they are, and become no tensors."""
    import keras

    layer = _layer_of(forward)
    leaves = keras.tree.flatten((inputs, options))
    positions = [position for position, leaf in enumerate(leaves) if keras.ops.is_tensor(leaf)]
    told: list[Any] = []  # the outputs of the last time that the call was traced, without what is computed

    def call(tensors: Sequence[Any]) -> list[Any]:
        given = list(leaves)
        for position, tensor in zip(positions, tensors, strict=True):
            given[position] = tensor
        args, kwargs = keras.tree.pack_sequence_as((inputs, options), given)
        outputs = forward.function(*args, **kwargs)
        told[:] = [keras.tree.map_structure(lambda leaf: leaf if isinstance(leaf, _PLAIN) else _COMPUTED, outputs)]
        return [leaf for leaf in keras.tree.flatten(outputs) if not isinstance(leaf, _PLAIN)]

    compiled = runtime.current().compiled(call, None if layer is None else state.model_state(layer), jit=jit)

    def called() -> Any:
        computed = iter(compiled([leaves[position] for position in positions]))
        return keras.tree.map_structure(lambda leaf: next(computed) if leaf is _COMPUTED else leaf, told[0])

    return called


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
