"""What Python holds of a model and no variable does: numbers, flags and lists among the attributes of its layers.

A compiled step reads them once, while it is traced.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import Any

from harness.worker import keras_internals
from harness.worker.capture.tensors import has_value

#: The most characters of a value that are shown. What is longer is told apart by a digest.
_LONGEST = 60
#: The most values in a list or an array that is looked into.
_MOST = 1000


def of(layer: Any) -> dict[str, str]:
    """The plain attributes of a layer or model and of those inside of it, as `Scaled.factor`, and their values.

    Of a compiled model also the weights of its losses. What Keras itself keeps in every layer or model is left out.
    """
    found: dict[str, str] = {}
    for inner in keras_internals.layers_in(layer):
        kind = type(inner)
        for name, value in vars(inner).items():
            is_kerass = kind.__module__.partition(".")[0] == "keras" or name.startswith("_self_")
            if name in _of_every_layer() or (name.startswith("_") and is_kerass) or not _is_plain(value):
                continue
            label = f"{kind.__name__}.{name}"
            found[label if label not in found else f"{label} of {inner.name!r}"] = _shown(value)
    weights = keras_internals.loss_weights_of(layer)
    return found | ({"loss weights": _shown(weights)} if weights and _is_plain(weights) else {})


@cache
def _of_every_layer() -> frozenset[str]:
    import keras

    made = [kind(name="any") for kind in (keras.Layer, keras.Model, keras.Sequential)]
    return frozenset(name for layer in made for name in vars(layer)) | {"stop_training", "built"}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value[:_MOST]))
    if isinstance(value, dict):
        items = list(value.items())[:_MOST]
        return all(isinstance(key, (str, int)) and _is_plain(item) for key, item in items)
    return value is None or isinstance(value, (bool, int, float, str)) or _is_number(value)


def _is_number(value: Any) -> bool:
    """Whether a value is an array or a tensor that has a value now. A variable is none: its value is recorded."""
    import keras

    return not isinstance(value, (keras.Variable, keras.KerasTensor)) and hasattr(value, "shape") and has_value(value)


def _shown(value: Any) -> str:
    text = _text(value)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({digest})"


def _text(value: Any) -> str:
    import keras

    size = math.prod(value.shape) if _is_number(value) else len(value) if isinstance(value, (list, tuple, dict)) else 1
    if size > _MOST:
        return f"{type(value).__name__} of {size} values"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_text(item)}' for key, item in value.items())}}}"
    return str(keras.ops.convert_to_numpy(value).tolist()) if _is_number(value) else repr(value)
