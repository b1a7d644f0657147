"""What backends of Keras that only infer do in a worker: they have no gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.backends.runtime import Call, Compiled, Permutation, Runtime
from harness.errors import InferenceOnly, TargetError
from harness.target import Target
from harness.worker.patching import patched, where_defined


class InferenceRuntime(Runtime):
    """The runtime of a backend without gradients: it refuses what needs them, and has nothing to do for training."""

    def seed(self, seed: int) -> None:
        """Does nothing: Keras draws random numbers from seeds that it is given, and the backend has no generator."""

    @contextlib.contextmanager
    def placed(self, target: Target, rank: int, meeting: Path) -> Iterator[None]:
        """Let methods that train raise InferenceOnly. The code under test might catch the error that Keras raises."""
        import keras

        with contextlib.ExitStack() as stack:
            for name in ("fit", "train_on_batch"):

                def refusing(_: Any, name: str = name) -> Callable[..., None]:
                    def refuse(*_: Any, **__: Any) -> None:
                        raise self._refusal(f"model.{name}")

                    return refuse

                stack.enter_context(patched(where_defined(keras.Model, name), name, refusing))
            yield

    def shuffle_with(self, permutation: Permutation) -> contextlib.AbstractContextManager[None]:
        """Does nothing: only `fit` shuffles."""
        return contextlib.nullcontext()

    def differentiate(
        self, call: Call, tensors: Sequence[Any], variables: Sequence[Any], *, whole: bool = False
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        """Raises InferenceOnly."""
        raise self._refusal("value_and_grad")

    def compiled(self, function: Compiled, variables: Sequence[Any] | None, *, jit: bool) -> Compiled:
        """Raises TargetError."""
        raise TargetError(f"Keras compiles nothing on {self.backend.name}. Leave out what asks for it: +graph, +jit.")

    def _refusal(self, what: str) -> InferenceOnly:
        """What ends a case that cannot go on without gradients. `what` asks for them, such as `model.fit`."""
        return InferenceOnly(
            f"Keras has no gradients on {self.backend.name}, so it cannot train: {what} is left out, "
            "and what follows it."
        )
