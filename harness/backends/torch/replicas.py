"""PyTorch: one training shared by several processes, by `torch.nn.parallel.DistributedDataParallel`.

Keras' `fit` knows nothing of it, so this stands for what its guide tells users to write: every process has the model,
takes its rows of each batch, and has its gradients averaged with those of the others, by the model that `fit` was
called on being wrapped. Only training is shared: every process evaluates and predicts all rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import TargetError
from harness.worker import keras_internals
from harness.worker.patching import patched, where_defined


@contextlib.contextmanager
def shared_training(rank: int, processes: int, meeting: Path) -> Iterator[None]:
    """Share every `fit` with the other processes while the context is open.

    Args:
        rank: which of the processes this is.
        meeting: a path at which they find each other.

    Raises:
        TargetError: `fit` is given data whose rows cannot be shared, or a batch has too few of them.
    """
    import keras
    import torch

    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    trainer = where_defined(keras.Model, "fit")
    fit, call = trainer.fit, keras.Layer.__call__
    #: The model in training and how it is called, unless it is evaluated or predicts meanwhile.
    training: list[tuple[Any, Any]] = []

    def shared_fit(model: Any, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not all(hasattr(leaf, "shape") and len(leaf.shape) for leaf in keras.tree.flatten(x)):
            raise TargetError(
                f"data_parallel on torch shares the rows of arrays, and fit was given {type(x).__name__}."
            )
        training.append((model, None))
        try:
            return fit(model, x, *args, **kwargs)
        finally:
            training.clear()

    def unshared(method: Callable[..., Any]) -> Callable[..., Any]:
        def of_all_rows(model: Any, *args: Any, **kwargs: Any) -> Any:
            paused = training[:]
            training.clear()
            try:
                return method(model, *args, **kwargs)
            finally:
                training.extend(paused)

        return of_all_rows

    def shared_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if not training or layer is not training[0][0] or not torch.is_grad_enabled():
            return call(layer, *args, **kwargs)
        if any(tensor.is_meta for tensor in keras.tree.flatten([args, kwargs]) if isinstance(tensor, torch.Tensor)):
            return call(layer, *args, **kwargs)  # shapes are being inferred
        model, parallel = training.pop()
        if parallel is None:
            parallel = torch.nn.parallel.DistributedDataParallel(_module(model, call), find_unused_parameters=True)
        try:
            return parallel(*args, **kwargs)
        finally:
            training.append((model, parallel))

    def shared_rows(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def get_torch_dataloader(adapter: Any) -> Any:
            loader = original(adapter)
            if not training:
                return loader
            shares = _shares(loader.batch_sampler, rank, processes)
            return torch.utils.data.DataLoader(loader.dataset, batch_sampler=shares, collate_fn=loader.collate_fn)

        return get_torch_dataloader

    try:
        with (
            patched(trainer, "fit", lambda _: shared_fit),
            patched(trainer, "evaluate", unshared),
            patched(trainer, "predict", unshared),
            patched(keras.Layer, "__call__", lambda _: shared_call),
            keras_internals.array_adapter_method("get_torch_dataloader", shared_rows),
        ):
            yield
    finally:
        torch.distributed.destroy_process_group()


def _module(model: Any, call: Callable[..., Any]) -> Any:
    """A module of which a forward pass is a call of the model."""
    import torch

    class Call(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return call(self.model, *args, **kwargs)

    return Call()


def _shares(batches: Any, rank: int, processes: int) -> Any:
    """A batch sampler of the rows that one process takes of each batch: as many as any other, or the rest."""
    import torch

    class Shares(torch.utils.data.Sampler):  # type: ignore[misc]
        @property
        def sampler(self) -> Any:
            return batches.sampler

        @sampler.setter
        def sampler(self, sampler: Any) -> None:
            batches.sampler = sampler

        def __iter__(self) -> Iterator[list[int]]:
            for batch in batches:
                size = -(-len(batch) // processes)
                if len(batch) <= size * (processes - 1):
                    raise TargetError(
                        f"A batch of {len(batch)} rows cannot be shared by {processes} processes. Choose a batch size "
                        f"that leaves a row for each in the last batch too."
                    )
                yield batch[rank * size : (rank + 1) * size]

        def __len__(self) -> int:
            return len(batches)

    return Shares()
