"""The data that a training is given: digests of it, and of each batch that a step takes."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from harness.backends import runtime
from harness.case import Fit
from harness.trace.key import DATA
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import in_order
from harness.worker.randomness import Order

#: The parts of a batch, as Keras takes it apart.
_PARTS = ("x", "y", "sample_weight")

#: dtypes in which batches are digested, by NumPy's kind. Backends and precisions keep other widths of one kind.
_WIDTHS = {"b": "bool", "i": "int64", "u": "int64", "f": "float32", "c": "complex64"}


def digest(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Digest an array's values, with its dtype and shape: integers of two widths that are equal have one sum."""
    wide = array.astype(np.int64) if array.dtype.kind in "iu" else array
    hashed = hashlib.sha256(np.ascontiguousarray(wide).data if array.size else b"")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": hashed.hexdigest()}


class Batches:
    """The batches that `fit`, `evaluate` and `predict` take, each as digests.

    They are seen when a step takes them and recorded when it has ended: a step may be compiled, or several of them one
    call. Where each backend keeps its own randomness they are not, because each shuffles in its own way.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._looked_at: Callable[[Any], dict[str, Any]] = digests
        self._seen: list[dict[str, Any]] = []
        self._steps = 0
        #: Digests of the first batch of training, by name, once it was recorded.
        self.first: dict[str, Any] | None = None

    def watched(self) -> AbstractContextManager[None]:
        """See the batches of the next `fit`, `evaluate` or `predict`, while the context is open."""
        if self._recorder.native:
            return contextlib.nullcontext()
        return runtime.current().observed_batches(lambda batch: self._seen.append(self._looked_at(batch)))

    def forget(self) -> None:
        """Forget what was seen and is not recorded: Keras may look at a batch beforehand, to build the model."""
        self._seen.clear()

    def record_steps(self) -> None:
        """Record what those steps of training took that have ended since this was last called."""
        for batch in self._seen:
            self.first = self.first or batch
            self._record(DATA, batch, self._steps)
            self._steps += 1
        self._seen.clear()

    def record_pass(self, name: str, step: int) -> None:
        """Record what one `evaluate` or `predict` took."""
        for position, batch in enumerate(self._seen):
            self._record(f"{DATA}/{name}/{position}", batch, step)
        self._seen.clear()

    def _record(self, place: str, batch: dict[str, Any], step: int) -> None:
        for name, value in batch.items():
            self._recorder.add("event", f"{place}/{name}", value, step=step)


class OneBatch(Batches):
    """As `Batches`, but of one training step alone, and one of its arrays, which is recorded itself.

    Args:
        name: of the array in the batch, such as `y`.
        step: that takes the batch.
    """

    def __init__(self, recorder: Recorder, name: str, step: int) -> None:
        super().__init__(recorder)
        self._looked_at = _arrays
        self._name, self._step = name, step

    @property
    def is_recorded(self) -> bool:
        return self._steps > self._step

    def _record(self, place: str, batch: dict[str, Any], step: int) -> None:
        if step == self._step and self._name in batch:
            self._recorder.add("event", f"{place}/{self._name}", batch[self._name], step=step)


def digests(batch: Any) -> dict[str, Any]:
    """Digests of the arrays of a batch, by name: equal wherever the values are, in whatever widths they came."""
    return {name: digest(array) for name, array in _arrays(batch).items()}


def _arrays(batch: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a batch, by name, in one width for each kind."""
    import keras

    try:
        parts = keras.utils.unpack_x_y_sample_weight(batch)
    except ValueError:  # a training step of one's own may take data of any structure
        parts = (batch,)
    named = [item for name, part in zip(_PARTS, parts, strict=False) for item in _leaves(name, part)]
    return {name: _canonical(leaf) for name, leaf in named}


def _leaves(name: str, structure: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(structure, dict):
        for key in sorted(structure, key=str):
            yield from _leaves(f"{name}/{key}", structure[key])
    elif isinstance(structure, (list, tuple)):
        for position, item in enumerate(structure):
            yield from _leaves(f"{name}/{position}", item)
    elif structure is not None:
        yield name, structure


def _canonical(leaf: Any) -> np.ndarray[Any, Any]:
    import keras

    array = np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)
    width = _WIDTHS.get(array.dtype.kind)
    if width is not None:
        with np.errstate(over="ignore"):
            return array.astype(width, copy=False)
    is_extended = array.dtype.kind == "V" and array.dtype.names is None  # bfloat16 and the like
    return array.astype("float32" if is_extended else str)


def arrays_given(fit: Fit) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The arrays that a training is given, by name: x, y and those among the options."""
    import keras

    for name, data in {"x": fit.x, "y": fit.y, **fit.options}.items():
        for position, leaf in enumerate(keras.tree.flatten(in_order(data))):
            if isinstance(leaf, np.ndarray):
                yield f"{name}/{position}", leaf


def rows_of(fit: Fit, batch: int, epoch: int, number: int, order: Order | None) -> list[int] | None:
    """The rows of the data that make a batch of an epoch; None where they cannot be told.

    Args:
        epoch: as Keras counts them, which starts at `initial_epoch`.
        number: which of the fits that shuffle this is.
        order: the order of the rows, unless the backend keeps its own.
    """
    import keras

    leaves = keras.tree.flatten(fit.x)
    arrays = all(hasattr(leaf, "shape") and len(leaf.shape) for leaf in leaves)
    if not arrays or fit.options.get("class_weight") or fit.options.get("steps_per_epoch"):
        return None
    size = batch_size(fit)
    count = math.floor(len(leaves[0]) * (1 - (fit.options.get("validation_split") or 0)))
    shuffled = fit.options.get("shuffle", True)
    if shuffled and (order is None or shuffled == "batch"):
        return None
    epoch -= fit.options.get("initial_epoch") or 0
    rows = order.of(number, epoch, count) if shuffled and order is not None else range(count)
    return [int(row) for row in rows[batch * size : (batch + 1) * size]]


def batch_size(fit: Fit) -> int:
    """Rows of a batch, as `fit` takes them."""
    return int(fit.options.get("batch_size") or 32)
