"""TensorFlow, as the controller knows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.backends.base import Backend, on_accelerator
from harness.target import PRECISIONS, Target


class TensorFlow(Backend):
    name = "tensorflow"
    compiles = "graph"
    kinds = ("cpu", "cuda", "tpu")
    has_several_cpus = True
    options = (*PRECISIONS, "eager", "graph", "jit", "steps_per_execution", "data_parallel")

    def environment_for(self, target: Target, cache: Path | None = None) -> dict[str, str]:
        # Only errors: notices of every import would otherwise stand between a case and its own last words.
        variables = {"TF_CPP_MIN_LOG_LEVEL": "2"}
        if target.kind == "cpu":
            return variables | {"CUDA_VISIBLE_DEVICES": "-1"}
        return variables | {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # several processes share a device

    def coarser(self, environment: Mapping[str, Any]) -> list[str]:
        if on_accelerator(environment) and environment.get("tensor_float_32") is True:
            return ["tf.config.experimental.enable_tensor_float_32_execution(False)"]
        return []

    def lacks(self, target: Target) -> list[tuple[str, str]]:
        lacks = super().lacks(target)
        if target.count("data_parallel") > 1:
            eager = "MirroredStrategy differentiates inside of its replicas only"
            lacks += [(pattern, eager) for pattern in ("gradient/*", "loss/*")]
            lacks.append(("log/*/batch/*", "MirroredStrategy logs the rows of its first replica"))
            lacks.append(("event/*/data/*", "MirroredStrategy gives each replica its own rows"))
        return lacks


BACKEND = TensorFlow()
