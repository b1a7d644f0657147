"""Losses."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("gauges")
class Pinball(keras.losses.Loss):
    """The loss of a quantile: `max(q·e, (q - 1)·e)` of the error e = y_true - y_pred, averaged over the last axis."""

    def __init__(self, quantile: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.quantile = quantile

    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = keras.ops.cast(y_true, y_pred.dtype) - y_pred
        return keras.ops.mean(keras.ops.maximum(self.quantile * error, (self.quantile - 1) * error), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantile": self.quantile}
