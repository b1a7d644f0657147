"""Backends of Keras that only infer: they have no gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.backends.base import Backend, Call, Permutation, replaced
from harness.target import Target


class InferenceBackend(Backend):
    """What a backend without gradients is spared: they are refused, and what only training asks for is not there."""

    trains = False

    def seed(self, seed: int) -> None:
        """Nothing: Keras draws from generators that it is given the seeds of."""

    @contextlib.contextmanager
    def placed(self, target: Target, rank: int, meeting: Path) -> Iterator[None]:
        """Let methods that train refuse in our words: Keras' own error may be caught as one of the code under test."""
        import keras

        with contextlib.ExitStack() as stack:
            for name in ("fit", "train_on_batch"):

                def refuse(*_: Any, name: str = name, **__: Any) -> None:
                    self.need_gradients(f"model.{name}")

                owner = next(kind for kind in keras.Model.__mro__ if name in vars(kind))
                stack.enter_context(replaced(owner, name, refuse))
            yield

    def shuffle_with(self, permutation: Permutation) -> contextlib.AbstractContextManager[None]:
        """Nothing: only `fit` shuffles."""
        return contextlib.nullcontext()

    def differentiate(
        self, call: Call, tensors: Sequence[Any], variables: Sequence[Any], *, whole: bool = False
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        """Raises InferenceOnly."""
        self.need_gradients("value_and_grad")
        raise AssertionError(f"{self.name} has no gradients")
