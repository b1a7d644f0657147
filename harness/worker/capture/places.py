"""Where the code under test is written: the class and line of each layer, loss, metric, callback and step.

A place is `Gate, cases/net.py:15`, or the name alone of what Keras or another framework brings.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.case import Fit
from harness.trace.key import CALLBACK
from harness.worker import keras_internals, origin
from harness.worker.capture.callbacks import HOOKS, own_hook

#: What a model may have of its own in the place of what Keras brings.
METHODS = (
    "train_step",
    "test_step",
    "predict_step",
    "compute_loss",
    "compute_metrics",
    "get_metrics_result",
    "reset_metrics",
    "fit",
)


def of_layer(layer: Any, root: Path) -> dict[str, str]:
    """The places of a layer or model and of the layers in it, by `layer/NAME`."""
    return {f"layer/{inner.name}": _place(type(inner), root) for inner in keras_internals.layers_in(layer)}


def of_fit(fit: Fit, callbacks: Iterable[Any], root: Path) -> dict[str, str]:
    """The places of all that a training runs.

    They are found by `layer/NAME`, `loss` or `loss/NAME` of several (NAME being the output or, if it has no name, its
    position), `metric/NAME`, `callback/CLASS` and `callback/CLASS/HOOK`, `optimizer`, and by the name of a method, such
    as `train_step`, if the model has one of its own.
    """
    import keras

    model = fit.model
    found = of_layer(model, root) | {"optimizer": _place(type(model.optimizer), root)}
    losses = keras_internals.losses_of(model) or _losses_given(model)
    for name, loss in losses.items():
        if loss is not None and not isinstance(loss, str):
            found["loss" if len(losses) == 1 else f"loss/{name}"] = _place(code_of(loss), root)
    found |= {f"metric/{metric.name}": _place(code_of(metric), root) for metric in keras_internals.metrics_of(model)}
    for callback in keras.tree.flatten(list(callbacks)):
        label = f"{CALLBACK}/{type(callback).__name__}"
        found[label] = _place(type(callback), root)
        own = sorted({hook for hook in (own_hook(callback, hook) for hook in HOOKS) if hook is not None})
        found |= {f"{label}/{hook}": _place(getattr(callback, hook), root) for hook in own}
    for name in METHODS:
        method = getattr(type(model), name, None)
        if inspect.isfunction(method) and method is not getattr(keras.Model, name):
            place = _place(method, root)
            found |= {name: place} if ", " in place else {}  # Keras' own models have methods of their own too
    return found


def _losses_given(model: Any) -> dict[str, Any]:
    """The losses as `compile` was given them, by output or position."""
    import keras

    losses = model.loss if isinstance(model.loss, dict) else dict(enumerate(keras.tree.flatten(model.loss)))
    return {str(name): loss for name, loss in losses.items()}


def code_of(part: Any) -> Any:
    """What a reader would open of a loss or a metric: its class or, where Keras only wraps a function, that."""
    function = getattr(part, "fn", None) or getattr(part, "_fn", None) or part
    if not inspect.isfunction(function):
        return type(part)
    is_kerass = function.__module__.startswith("keras.") and not type(part).__name__.endswith("Wrapper")
    return type(part) if is_kerass else function


def _place(code: Any, root: Path) -> str:
    """The name of a class, function or method and, if it is the user's, its file and line."""
    code = inspect.unwrap(code)
    code = code.func if isinstance(code, functools.partial) else code
    name = str(getattr(code, "__qualname__", code)).rpartition("<locals>.")[2]
    try:
        path, (_, line) = Path(inspect.getfile(code)), inspect.getsourcelines(code)
    except (OSError, TypeError):
        return name
    return f"{name}, {origin.shown(path, root)}:{line}" if origin.is_users(path) else name
