"""Where the code under test is written: the class and line of each layer, loss, metric, callback and step.

A place is `Gate, cases/net.py:15`, or the name alone of what Keras or another framework brings.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.case import Fit
from harness.trace.key import CALLBACK
from harness.worker import keras_internals, origin

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

    They are found by `layer/NAME`, `loss` or `loss/NAME` of several, `metric/NAME`, `callback/CLASS`, `optimizer`, and
    by the name of a method, such as `train_step`, if the model has one of its own.
    """
    import keras

    model = fit.model
    found = of_layer(model, root) | {"optimizer": _place(type(model.optimizer), root)}
    losses = model.loss if isinstance(model.loss, dict) else dict(enumerate(keras.tree.flatten(model.loss)))
    for name, loss in losses.items():
        if loss is not None and not isinstance(loss, str):
            found["loss" if len(losses) == 1 else f"loss/{name}"] = _place(code_of(loss), root)
    found |= {f"metric/{metric.name}": _place(code_of(metric), root) for metric in keras_internals.metrics_of(model)}
    found |= {f"{CALLBACK}/{type(callback).__name__}": _place(type(callback), root) for callback in callbacks}
    for name in METHODS:
        method = getattr(type(model), name, None)
        if inspect.isfunction(method) and method is not getattr(keras.Model, name):
            place = _place(method, root)
            found |= {name: place} if ", " in place else {}  # Keras' own models have methods of their own too
    return found


def code_of(part: Any) -> Any:
    """What a reader would open of a loss or a metric: its class or, where Keras wraps the user's function, that."""
    function = getattr(part, "fn", None) or getattr(part, "_fn", None) or part
    wraps = inspect.isfunction(function) and not function.__module__.startswith("keras.")
    return function if wraps else type(part)


def _place(code: Any, root: Path) -> str:
    """The name of a class, function or method and, if it is the user's, its file and line."""
    code = inspect.unwrap(code)
    name = str(getattr(code, "__qualname__", code)).rpartition("<locals>.")[2]
    try:
        path, (_, line) = Path(inspect.getfile(code)), inspect.getsourcelines(code)
    except (OSError, TypeError):
        return name
    return f"{name}, {origin.shown(path, root)}:{line}" if origin.is_users(path) else name
