"""How a child executes what it is asked to: threads, precision, device and mode, as the target says."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.backends import runtime
from harness.target import Target
from harness.worker.patching import patched, where_defined


@contextlib.contextmanager
def as_target_says(target: Target, precision: str, threads: int, rank: int, meeting: Path) -> Iterator[None]:
    """Execute as a target says while the context is open. Threads and precision stay so afterwards.

    Args:
        precision: that of the target, or of its twin.
        threads: of one operation.
        rank, meeting: see `harness.backends.runtime.Runtime.placed`.
    """
    import keras

    backend = runtime.current()
    backend.set_threads(threads)
    if precision == "float64":
        backend.widen()
        if target.precision != precision:
            backend.prepare_twin()
    elif precision != "float32":
        keras.config.set_dtype_policy(precision)
    with backend.placed(target, rank, meeting), _compiled_as(target):
        yield


@contextlib.contextmanager
def _compiled_as(target: Target) -> Iterator[None]:
    """Let `compile` take the target's mode and steps, whatever a case says, while the context is open."""
    import keras

    forced: dict[str, Any] = {}
    if target.mode is not None:
        forced |= {"run_eagerly": target.mode == "eager", "jit_compile": target.mode == "jit"}
    steps = target.count("steps_per_execution")
    if steps > 1:
        forced["steps_per_execution"] = steps
    if not forced:
        yield
        return

    def forcing(original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def compile(model: Any, *args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(model, *args, **kwargs)
            return original(**{**bound.arguments, **forced})

        return compile

    with patched(where_defined(keras.Model, "compile"), "compile", forcing):
        yield
