"""Layers."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("gauges")
class Calibration(keras.layers.Layer):
    """Takes the drift off readings, a moving mean, and then scales each channel by a gain that is learned.

    Args:
        momentum: of the moving mean, between 0 and 1.
    """

    def __init__(self, momentum: float = 0.9, **options: Any) -> None:
        super().__init__(**options)
        self.momentum = momentum

    def build(self, shape: tuple[int | None, ...]) -> None:
        channels = (shape[-1],)
        self.gain = self.add_weight(name="gain", shape=channels, initializer="ones")
        self.drift = self.add_weight(name="drift", shape=channels, initializer="zeros", trainable=False)

    def call(self, readings: Any, training: bool = False) -> Any:
        if training:
            mean = keras.ops.mean(readings, axis=tuple(range(len(readings.shape) - 1)))
            self.drift.assign(self.momentum * self.drift + (1 - self.momentum) * mean)
        return self.gain * (readings - self.drift)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}
