"""NumPy, as the controller knows it. Keras computes convolutions and pooling with jax there."""

from __future__ import annotations

from pathlib import Path

from harness.backends.base import Backend
from harness.target import Target


class NumPy(Backend):
    name = "numpy"
    trains = False
    needs = ("jax", "scipy")
    companions = ("jax", "jaxlib", "scipy")
    options = ("float64",)

    def environment_for(self, target: Target, cache: Path | None = None) -> dict[str, str]:
        return {"JAX_PLATFORMS": "cpu"}


BACKEND = NumPy()
