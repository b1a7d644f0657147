"""What a target asks for, put in force in a child: threads, precision, device, execution mode."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import backends
from harness.target import Target


@contextlib.contextmanager
def in_force(target: Target, precision: str, threads: int, rank: int, meeting: Path) -> Iterator[None]:
    """Run as a target says while the context is open. Threads and precision stay so: a child runs one request.

    Args:
        precision: that of the target, or of its twin.
        threads: of one operation.
        rank, meeting: see `harness.backends.base.Backend.placed`.
    """
    import keras

    backend = backends.current()
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
    owner: Any = next(kind for kind in keras.Model.__mro__ if "compile" in vars(kind))
    original = owner.compile
    signature = inspect.signature(original)

    @functools.wraps(original)
    def compile(model: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(model, *args, **kwargs)
        return original(**{**bound.arguments, **forced})

    owner.compile = compile
    try:
        yield
    finally:
        owner.compile = original
