"""NumPy."""

from harness.backends.numpy.runtime import BACKEND

__all__ = ["BACKEND"]
