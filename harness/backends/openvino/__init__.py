"""OpenVINO."""

from harness.backends.openvino.runtime import BACKEND

__all__ = ["BACKEND"]
