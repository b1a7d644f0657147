"""PyTorch in a worker."""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.backends.runtime import Call, Compiled, Permutation, Runtime
from harness.backends.torch import BACKEND, FEWER_BITS, FLOAT32_PARTS
from harness.target import Target
from harness.worker import keras_internals
from harness.worker.patching import FOR_GOOD, patched


class TorchRuntime(Runtime):
    backend = BACKEND

    def __init__(self) -> None:
        self._depth = 0

    def devices(self) -> list[str]:
        import torch

        mps = ["mps:0"] if torch.backends.mps.is_available() else []
        return ["cpu:0", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *mps]

    def seed(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed)

    def set_threads(self, count: int) -> None:
        import torch

        torch.set_num_threads(count)

    def placed(self, target: Target, rank: int, meeting: Path) -> contextlib.AbstractContextManager[None]:
        from harness.backends.torch.replicas import shared_training

        processes = self.backend.processes(target)
        return contextlib.nullcontext() if processes == 1 else shared_training(rank, processes, meeting)

    def widen(self) -> None:
        import torch

        super().widen()
        torch.set_default_dtype(torch.float64)
        # Keras reduces segments in float32, into an array of the default dtype.
        segments = keras_internals.replaced_function(
            "keras.src.backend.torch.math", "_segment_reduction_fn", _in_double
        )
        FOR_GOOD.enter_context(segments)

    def assertions(self) -> list[tuple[Any, str]]:
        import torch.testing

        return [(torch.testing, "assert_close")]

    def differentiators(self) -> list[tuple[Any, str]]:
        import torch

        return [(torch.autograd, name) for name in ("grad", "backward")]

    def compute_in_full(self) -> None:
        import torch

        with contextlib.suppress(RuntimeError):  # raised where a newer switch was set
            torch.set_float32_matmul_precision("highest")
            torch.backends.cudnn.allow_tf32 = False
        for part, precision in (_float32_precision() or {}).items():
            if precision in FEWER_BITS:  # set by a newer switch, which the older ones do not reach
                operator.attrgetter(part)(torch.backends).fp32_precision = "ieee"

    @contextlib.contextmanager
    def shuffle_with(self, permutation: Permutation) -> Iterator[None]:
        class Sampler:
            """Stands in for torch's RandomSampler: a new order for each pass over the data."""

            def __init__(self, adapter: Any, size: int) -> None:
                self.adapter = adapter
                self.size = size

            def __iter__(self) -> Iterator[int]:
                return iter(permutation(self.adapter, self.size).tolist())

            def __len__(self) -> int:
                return self.size

        def ordered(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def get_torch_dataloader(adapter: Any) -> Any:
                loader = original(adapter)
                if keras_internals.shuffles_all(adapter):
                    loader.batch_sampler.sampler = Sampler(adapter, len(loader.batch_sampler.sampler))
                return loader

            return get_torch_dataloader

        with keras_internals.array_adapter_method("get_torch_dataloader", ordered):
            yield

    def settings(self) -> dict[str, Any]:
        import torch

        return {
            "device": str(torch.get_default_device()),
            "threads": {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()},
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "float32_matmul_precision": _unless_mixed(torch.get_float32_matmul_precision),
            "cudnn_allow_tf32": _unless_mixed(lambda: torch.backends.cudnn.allow_tf32),
            "float32_precision": _float32_precision(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "processes": torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
        }

    def device_of(self, tensor: Any) -> str:
        return f"{tensor.device.type}:{tensor.device.index or 0}"

    def is_concrete(self, tensor: Any) -> bool:
        return not tensor.is_meta

    def iota(self, size: Any) -> Any:
        import torch
        from keras.src.backend.torch.core import get_device

        return torch.arange(size, dtype=torch.int32, device=get_device())

    def differentiate(
        self, call: Call, tensors: Sequence[Any], variables: Sequence[Any], *, whole: bool = False
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        import torch

        # An inner call's tensors carry the outer call's graph: they stay in it, each as a tensor of its own.
        leaves = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in tensors]
        values = [variable.value for variable in variables]
        frozen = [value for value in values if value.is_leaf and not value.requires_grad]
        # What a layer or a loss makes of a gradient, in the `fit` of a model too, is differentiated by its weights.
        is_inside = torch.is_grad_enabled() and (keras_internals.in_layer_call() or keras_internals.in_compute_loss())
        nested = self._depth > 0 or is_inside or any(t.requires_grad for t in tensors)
        self._depth += 1
        try:
            for value in frozen:
                value.requires_grad_(True)
            with torch.enable_grad():
                value, rest = call(leaves)
                gradients: list[Any] = [None] * (len(leaves) + len(values))
                if value.requires_grad:
                    gradients = list(
                        torch.autograd.grad(value, leaves + values, create_graph=nested, allow_unused=True)
                    )
        finally:
            self._depth -= 1
            for frozen_value in frozen:
                frozen_value.requires_grad_(False)
        if not nested:
            value, rest = _detach(value), _detach(rest)
        return value, rest, gradients[: len(leaves)], gradients[len(leaves) :]

    def compiled(self, function: Compiled, variables: Sequence[Any] | None, *, jit: bool) -> Compiled:
        import torch

        compiled = torch.compile(function)

        def call(tensors: Sequence[Any]) -> Any:
            with torch.no_grad():
                return compiled(list(tensors))

        return call


def _in_double(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function in which `tensor.float()` gives float64."""
    import torch

    @functools.wraps(function)
    def in_double(*args: Any, **kwargs: Any) -> Any:
        with patched(torch.Tensor, "float", lambda _: torch.Tensor.double):
            return function(*args, **kwargs)

    return in_double


def _unless_mixed(read: Callable[[], Any]) -> Any:
    """What an older switch says; None where the newer ones were set so that it cannot say, and raises."""
    try:
        return read()
    except RuntimeError:
        return None


def _float32_precision() -> dict[str, str] | None:
    """What each part of `torch.backends` computes float32 in; None on a torch that is older than 2.9."""
    import torch

    if not hasattr(torch.backends, "fp32_precision"):
        return None
    return {part: operator.attrgetter(f"{part}.fp32_precision")(torch.backends) for part in FLOAT32_PARTS}


def _detach(structure: Any) -> Any:
    import keras
    import torch

    return keras.tree.map_structure(lambda x: x.detach() if isinstance(x, torch.Tensor) else x, structure)


RUNTIME = TorchRuntime()
