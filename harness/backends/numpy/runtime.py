"""NumPy in a worker."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.backends.inference import InferenceRuntime
from harness.backends.numpy import BACKEND
from harness.worker import keras_internals


class NumPyRuntime(InferenceRuntime):
    backend = BACKEND

    def devices(self) -> list[str]:
        return ["cpu:0"]

    def set_threads(self, count: int) -> None:
        """Does nothing: NumPy's libraries read the number of threads when they are imported. In a worker it is one."""

    def widen(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        super().widen()

    def settings(self) -> dict[str, Any]:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"device": "cpu:0", "blas": f"{blas['name']} {blas['version']}"}

    def device_of(self, tensor: Any) -> str:
        return "cpu:0"

    def is_concrete(self, tensor: Any) -> bool:
        """False while Keras infers shapes, for which it takes arrays without values."""
        return not keras_internals.in_symbolic_scope()

    def iota(self, size: Any) -> Any:
        return np.arange(size, dtype=np.int32)


RUNTIME = NumPyRuntime()
