"""Callbacks."""

from __future__ import annotations

import keras


class StopWhenSettled(keras.callbacks.Callback):
    """Ends training once the loss of an epoch has changed by less than a tolerance.

    Attributes:
        changes: by how much the loss changed after each epoch but the first.
    """

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.changes: list[float] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        self.changes = []
        self._last: float | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        loss = (logs or {})["loss"]
        if self._last is not None:
            self.changes.append(abs(loss - self._last))
            self.model.stop_training = self.changes[-1] < self.tolerance
        self._last = loss
