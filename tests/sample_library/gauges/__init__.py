"""Layers, losses and callbacks for the readings of gauges."""

from gauges.callbacks import StopWhenSettled
from gauges.layers import Calibration
from gauges.losses import Pinball

__all__ = ["Calibration", "Pinball", "StopWhenSettled"]
