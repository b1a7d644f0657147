"""The state of a model's metrics, by names that are the same on every backend."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from harness.trace import Phase
from harness.worker import keras_internals
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import is_float, numpy_of

#: A name that Keras gives to what has none, with the number that tells it from others of its kind.
_COUNTED = re.compile(r"(.+?)_\d+")


def record_state(recorder: Recorder, phase: Phase, place: str, model: Any, step: int) -> None:
    """Record the variables of each metric of a model, as `PLACE/METRIC/VARIABLE`, Keras' own trackers among them.

    Integer state is plain: its dtype is each backend's own.
    """
    for name, variable in _named(model):
        if recorder.native and variable.path.endswith("seed_generator_state"):
            continue  # each backend advances seeds in its own way
        value = variable if is_float(variable) else numpy_of(variable).tolist()
        recorder.add(phase, f"{place}/{name}", value, step=step)


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    """Each variable of each metric, as `near/seen`, and `near/seen#2` where one name stands for two."""
    seen: Counter[str] = Counter()
    metrics = {id(metric): metric for metric in keras_internals.metrics_of(model)}
    for metric in metrics.values():
        for variable in metric.variables:
            name = f"{_uncounted(metric.name, type(metric).__name__)}/{_uncounted(variable.name, 'variable')}"
            seen[name] += 1
            yield (name if seen[name] == 1 else f"{name}#{seen[name]}"), variable


def _uncounted(name: str, kind: str) -> str:
    """A name without its number, where Keras made it of the kind: a backend may count others of that kind."""
    found = _COUNTED.fullmatch(name)
    is_made = found is not None and found[1].replace("_", "") == kind.replace("_", "").casefold()
    return found[1] if found is not None and is_made else name
