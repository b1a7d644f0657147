"""TensorFlow."""

from harness.backends.tensorflow.runtime import BACKEND

__all__ = ["BACKEND"]
