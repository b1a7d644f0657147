"""PyTorch, as the controller knows it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.backends.base import Backend, on_accelerator
from harness.errors import TargetError
from harness.target import PRECISIONS, Target

#: Parts of `torch.backends` that have an `fp32_precision` of their own, from torch 2.9 on.
FLOAT32_PARTS = ("cuda.matmul", "cudnn", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
#: Values of it that mean fewer bits than float32 has.
FEWER_BITS = ("tf32", "bf16")


class Torch(Backend):
    name = "torch"
    kinds = ("cpu", "cuda", "mps")
    options = (*PRECISIONS, "eager", "jit", "data_parallel")

    def check(self, target: Target) -> None:
        super().check(target)
        if self.processes(target) > 1 and (target.mode == "jit" or target.kind not in (None, "cpu")):
            raise TargetError(
                f"Target {str(target)!r} asks for what data_parallel on torch does not have: it runs on cpu, "
                "and without jit. Keep one."
            )
        compilers = os.environ.get("CXX", "g++"), "clang++"
        if target.mode == "jit" and not any(shutil.which(compiler) for compiler in compilers):
            raise TargetError(
                f"Target {str(target)!r} needs a C++ compiler, for torch.compile writes C++. There is none of "
                f"{', '.join(compilers)} here: install g++, or name another in CXX."
            )

    def environment_for(self, target: Target, cache: Path | None = None) -> dict[str, str]:
        # Without this, to ask whether there is a GPU would start CUDA before the fork.
        variables = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        if self.processes(target) > 1:
            variables["KERAS_TORCH_DEVICE"] = "cpu"
        elif target.kind is not None:
            variables["KERAS_TORCH_DEVICE"] = f"{target.kind}:{target.index}" if target.index else target.kind
        if target.mode == "jit":
            # Inductor would otherwise start processes to compile in, for each child that is forked.
            variables["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
            if cache is not None:
                variables["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "inductor")
        return variables

    def coarser(self, environment: Mapping[str, Any]) -> list[str]:
        of_parts = environment.get("float32_precision")
        if not isinstance(of_parts, dict):  # of a torch that is older than 2.9
            return _coarser_before_2_9(environment)
        coarse = [part for part in FLOAT32_PARTS if of_parts.get(part) in FEWER_BITS]
        ours = ("cuda.", "cudnn.") if on_accelerator(environment) else ("mkldnn.",)
        found: dict[str, None] = {}
        for part in (part for part in coarse if part.startswith(ours)):
            if part.endswith(".matmul"):
                call = 'torch.set_float32_matmul_precision("highest")'
            elif part.startswith("cudnn.") and "cudnn" not in coarse:
                call = "torch.backends.cudnn.allow_tf32 = False"
            else:  # inherited from what is set for all, which the older switches do not reach
                call = f'torch.backends.{part}.fp32_precision = "ieee"'
            found[call] = None
        return list(found)

    def processes(self, target: Target) -> int:
        return target.count("data_parallel")

    def lacks(self, target: Target) -> list[tuple[str, str]]:
        lacks = super().lacks(target)
        if self.processes(target) > 1:
            lacks.append(("log/*", "each process logs its own rows"))
            lacks.append(("event/*/data/*", "each process is given its own rows"))
        return lacks


def _coarser_before_2_9(environment: Mapping[str, Any]) -> list[str]:
    found = []
    if environment.get("float32_matmul_precision") in ("high", "medium"):
        found.append('torch.set_float32_matmul_precision("highest")')
    if on_accelerator(environment) and environment.get("cudnn_allow_tf32") is True:
        found.append("torch.backends.cudnn.allow_tf32 = False")
    return found


BACKEND = Torch()
