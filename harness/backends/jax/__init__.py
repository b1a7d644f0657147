"""JAX."""

from harness.backends.jax.runtime import BACKEND

__all__ = ["BACKEND"]
