"""Whether the instruments say of the first training step what the step itself says.

The instruments run the model by themselves, before `fit` does. What they find there is told of the backend, so a fault
of theirs on one backend would be told as a fault of that backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.trace import Observation
from harness.trace.key import BATCH, CALLBACK
from harness.worker.capture import state
from harness.worker.capture.callbacks import NOTHING
from harness.worker.capture.record import Recorder

#: How far two computations of one thing may be apart, relative to it, in float32 or better and in what is coarser.
_ROUNDING, _COARSE_ROUNDING = 1e-3, 1e-1
_NOT_YOURS = (
    "That pass is not what was trained, so it is not compared. This is a fault of the harness and not of the case, "
    "unless the case does something else where its code is compiled"
)


def check(model: Any, recorder: Recorder) -> None:
    """Hold loss and gradients of the instrumented pass against the first step, where both saw the same batch.

    What does not agree is declared as what this target cannot have, and is not compared.
    """
    found = {item.key: item for item in recorder.observations}
    if not _is_comparable(model, recorder):
        return
    tolerance = _tolerance(model)
    own, real = (_number(found.get(key)) for key in ("loss/0/loss", f"log/0/{BATCH}/loss"))
    if own is not None and real is not None and not np.isclose(own, real, rtol=tolerance, atol=1e-6, equal_nan=True):
        losses = f"a loss of {own:.6g}, and the training step one of {real:.6g}"
        reason = f"the harness's own pass over the first batch has {losses}"
        for phase in ("forward", "loss", "gradient"):
            recorder.lack(f"{phase}/0/*", f"{reason}. {_NOT_YOURS}")
        return
    wrong = _unlike_the_update(model, found, tolerance)
    if wrong is not None:
        reason = f"the harness's own pass has a gradient of {wrong} that the first training step did not apply"
        recorder.lack("gradient/0/*", f"{reason}. {_NOT_YOURS}")


def _is_comparable(model: Any, recorder: Recorder) -> bool:
    """Whether the first step's loss is Keras' own, of one batch, and of the initial weights."""
    import keras

    own = ("train_step", "compute_metrics", "get_metrics_result")
    is_kerass = all(getattr(type(model), name) is getattr(keras.Model, name) for name in own)
    changed = any(
        item.phase == "event" and item.step == 0 and item.name.startswith(f"{CALLBACK}/") and item.value != NOTHING
        for item in recorder.observations
    )
    return is_kerass and not changed and model.steps_per_execution == 1


def _tolerance(model: Any) -> float:
    dtypes = {layer.compute_dtype for layer in (model, *model.layers)}
    return _ROUNDING if dtypes <= {"float32", "float64"} else _COARSE_ROUNDING


def _number(item: Observation | None) -> float | None:
    return float(item.array) if item is not None and item.is_array and item.array.shape == () else None


def _unlike_the_update(model: Any, found: Mapping[str, Observation], tolerance: float) -> str | None:
    """The first weight that plain gradient descent did not move by its gradient; None also where this is not known."""
    rates = [item for key, item in found.items() if key.startswith("optimizer/0/") and key.endswith("/learning_rate")]
    if not rates or not _is_plain_descent(model.optimizer):
        return None
    rate = float(rates[0].array)
    for name, _, variable in state.named(model.trainable_variables):
        before, gradient, after = (found.get(f"{phase}/0/{name}") for phase in ("initial", "gradient", "update"))
        if before is None or gradient is None or after is None or variable.constraint is not None:
            continue
        start = before.array.astype("float64")
        step = rate * gradient.array.astype("float64") if gradient.is_array else np.zeros_like(start)
        moved = start - after.array
        rounding = np.finfo("float32").eps * np.abs(start).max(initial=0.0)
        bound = tolerance * np.abs(step).max(initial=0.0) + 4 * rounding
        if np.isfinite(step).all() and not np.abs(moved - step).max(initial=0.0) <= bound:
            return name
    return None


def _is_plain_descent(optimizer: Any) -> bool:
    """Whether a step of an optimizer is the gradient times the learning rate."""
    import keras

    further = (
        "momentum",
        "weight_decay",
        "clipnorm",
        "clipvalue",
        "global_clipnorm",
        "use_ema",
        "gradient_accumulation_steps",
        "loss_scale_factor",
    )
    # On torch Keras makes an optimizer of a class of its own, which is derived from the public one.
    is_kerass = isinstance(optimizer, keras.optimizers.SGD) and type(optimizer).__module__.startswith("keras.")
    return is_kerass and not any(getattr(optimizer, name, None) for name in further)
