"""What a `Forward` records."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.capture import state
from harness.capture.gradients import value_and_grad
from harness.capture.layers import observed_layers, takes_training
from harness.capture.record import Recorder
from harness.capture.tensors import as_input, is_float
from harness.case import Forward
from harness.errors import CaseError


def record_forward(forward: Forward, recorder: Recorder) -> None:
    """Call a layer or function once, and record outputs, gradients, and what the call left behind."""
    import keras

    function = forward.function
    if not callable(function):
        raise CaseError(f"Forward takes a layer or a function, and was given {type(function).__name__}.")
    layer = function if isinstance(function, keras.Layer) else None
    options = dict(forward.options)
    if layer is not None and takes_training(layer.call):
        options["training"] = forward.training
    inputs = keras.tree.map_structure(as_input, forward.inputs)

    if layer is not None:
        if not layer.built:
            state.build(layer, inputs, **options)
        state.record_variables(recorder, "initial", layer.variables, 0)
    variables = state.model_state(layer) if layer is not None else []
    with state.preserved(variables), observed_layers(recorder):
        outputs = function(*inputs, **options)
    if layer is None:
        recorder.add("forward", "output", outputs, step=0)
    _record_gradients(forward, layer, inputs, options, recorder)
    if layer is not None:
        # The gradients were taken of the one call whose effects are kept.
        state.record_variables(recorder, "update", layer.non_trainable_variables, 0)


def _record_gradients(
    forward: Forward, layer: Any, inputs: tuple[Any, ...], options: dict[str, Any], recorder: Recorder
) -> None:
    """Gradients of `sum(output * c)` with c standard normal: a plain sum would not see errors that cancel."""
    import keras

    leaves = keras.tree.flatten(inputs)
    floating = [position for position, leaf in enumerate(leaves) if is_float(leaf)]
    weights = layer.trainable_variables if layer is not None else []
    with recorder.part("gradients", optional=True):
        if not floating and not weights:
            raise ValueError("there is neither a floating input nor a trainable weight")

        def projected(values: list[Any], _: Any) -> Any:
            given = list(leaves)
            for position, value in zip(floating, values, strict=True):
                given[position] = value
            outputs = forward.function(*keras.tree.pack_sequence_as(inputs, given), **options)
            rng = np.random.default_rng(0)
            total: Any = None
            for output in keras.tree.flatten(outputs):
                if is_float(output):
                    c = rng.standard_normal(tuple(output.shape)).astype(np.float32)
                    term = keras.ops.sum(output * keras.ops.convert_to_tensor(c, dtype=output.dtype))
                    total = term if total is None else total + term
            if total is None:
                raise ValueError("there is no floating output")
            return total

        _, (of_inputs, of_weights) = value_and_grad(projected, [leaves[i] for i in floating], weights)
        named = list(state.named(weights))
        for (name, owner, _), gradient in reversed(list(zip(named, of_weights, strict=True))):
            recorder.add("gradient", name, _or_none(gradient), step=0, layer=owner)
        for position, gradient in zip(floating, of_inputs, strict=True):
            suffix = f"/{position}" if len(leaves) > 1 else ""
            recorder.add(
                "gradient",
                "input" + suffix,
                _or_none(gradient),
                step=0,
                layer=layer.name if layer is not None else None,
            )


def _or_none(gradient: Any) -> Any:
    return "no gradient" if gradient is None else gradient
