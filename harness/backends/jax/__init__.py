"""JAX, as the controller knows it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.backends.base import Backend, on_accelerator
from harness.target import PRECISIONS, Target


class Jax(Backend):
    name = "jax"
    compiles = "jit"
    companions = ("jaxlib",)
    kinds = ("cpu", "cuda", "tpu")
    has_several_cpus = True
    options = (*PRECISIONS, "eager", "jit", "steps_per_execution", "data_parallel")

    def environment_for(self, target: Target, cache: Path | None = None) -> dict[str, str]:
        variables = {}
        if target.kind is not None:
            # The first platform is where jax computes. Keras puts some things on the processor wherever that is.
            variables["JAX_PLATFORMS"] = target.kind if target.kind == "cpu" else f"{target.kind},cpu"
        if target.cpus > 1:
            several = f"--xla_force_host_platform_device_count={target.cpus}"
            variables["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {several}".strip()
        if target.kind != "cpu":
            variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # several processes share a device
        if cache is not None:
            # Every child compiles anew, and many compile the same.
            variables |= {
                "JAX_COMPILATION_CACHE_DIR": str(cache),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            }
        return variables

    def coarser(self, environment: Mapping[str, Any]) -> list[str]:
        exact = ("highest", "float32", "F32_F32_F32")
        if on_accelerator(environment) and environment.get("default_matmul_precision") not in exact:
            return ['jax.config.update("jax_default_matmul_precision", "highest")']
        return []


BACKEND = Jax()
