"""Whether the backend's own generator gives what `keras.random` promises, where a case's own code calls that.

Shared randomness stands in for the backend's generator, so a fault of that would never be seen. What it gives cannot be
compared number by number; its structure can be looked at: shapes, dtypes, ranges, what is permuted, and moments.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import message_of
from harness.trace import Key
from harness.trace.key import AS_PROMISED, GENERATOR
from harness.worker.capture.record import Recorder

#: The module that a case calls, and whose caller tells whose code it is.
_PUBLIC = "keras.src.random.random"
#: The seed of what is looked at. It is drawn from no generator, so that the case's own draws stay as they are.
_SEED = 20_263
#: The largest draw that is looked at, and the smallest of which the moments are.
_MOST, _ENOUGH = 1_000_000, 500
#: Standard errors by which a moment may be off. It is looked at with one seed, so this is no matter of luck.
_ERRORS = 8.0

#: What was found of each function that the case called; None of one that it only called where nothing has a value.
_found: dict[str, str | None] = {}


def begin() -> None:
    """Forget what was found in an earlier case of this process."""
    _found.clear()


def record(recorder: Recorder) -> None:
    """Record what was found of each function that the case called."""
    for name, found in sorted(_found.items()):
        if found is None:
            reason = "the case calls it in compiled code only, where the backend's own generator was not looked at"
            recorder.lack(str(Key("event", 0, f"{GENERATOR}/{name}")), reason)
        else:
            recorder.add("event", f"{GENERATOR}/{name}", found, step=0)


def looked_at(name: str, native: Callable[..., Any], shared: Callable[..., Any]) -> Callable[..., Any]:
    """The shared form of a random function, which also looks at the native one where a case's own code calls it."""
    signature = inspect.signature(native)

    @functools.wraps(shared)
    def draw(*args: Any, **options: Any) -> Any:
        value = shared(*args, **options)
        if _is_called_by_a_case():
            given = signature.bind(*args, **options)
            given.apply_defaults()
            _look(name, native, given.arguments, value)
        return value

    return draw


def _is_called_by_a_case() -> bool:
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") != _PUBLIC:
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in ("harness", "keras"):
            return False
        frame = frame.f_back  # type: ignore[assignment]
    caller = frame.f_back if frame is not None else None
    return caller is not None and str(caller.f_globals.get("__name__")).partition(".")[0] not in ("harness", "keras")


def _look(name: str, native: Callable[..., Any], given: dict[str, Any], shared: Any) -> None:
    key = f"keras.random.{name}"
    if _found.get(key) not in (None, AS_PROMISED):
        return
    try:
        wanted = _values(shared)
        arguments = {argument: _plain(value) for argument, value in given.items() if argument != "seed"}
    except Exception:  # a tracer or a symbolic tensor has no values: each backend says so in its own way
        _found.setdefault(key, None)
        return
    if wanted.size > _MOST:
        return
    try:
        own = _values(native(**{**given, "seed": _SEED}))
    except Exception as error:
        _found[key] = f"it raises {type(error).__name__}: {message_of(error)}"
        return
    _found[key] = _fault(name, own, wanted, arguments) or AS_PROMISED


def _values(tensor: Any) -> NDArray[Any]:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def _plain(value: Any) -> Any:
    import keras

    return _values(value) if keras.ops.is_tensor(value) else value


def _fault(name: str, own: NDArray[Any], wanted: NDArray[Any], given: dict[str, Any]) -> str | None:
    """What is wrong with what the backend's own generator gave, in words; None if nothing is."""
    if (own.shape, own.dtype) != (wanted.shape, wanted.dtype):
        return f"it gives {own.dtype} of shape {own.shape} where {wanted.dtype} of shape {wanted.shape} is promised"
    if name == "shuffle":
        return None if _is_permuted(own, np.asarray(given["x"]), given["axis"]) else _NOT_PERMUTED.format(given["axis"])
    bounds = _BOUNDS.get(name)
    if bounds is not None and own.size:
        low, high = bounds(given)
        if (own < low).any() or (own > high).any():
            return f"it gives values from {own.min()} to {own.max()}, outside of {np.min(low)} to {np.max(high)}"
    return _off_in_moments(own, wanted)


_NOT_PERMUTED = "what stands at one place along axis {} does not stay together"


def _is_permuted(own: NDArray[Any], x: NDArray[Any], axis: int) -> bool:
    def slices(array: NDArray[Any]) -> list[bytes]:
        return sorted(part.tobytes() for part in np.moveaxis(array, axis, 0))

    return slices(own) == slices(x.astype(own.dtype))


#: The range of each function's values, by its arguments.
_BOUNDS: dict[str, Callable[[dict[str, Any]], tuple[Any, Any]]] = {
    "uniform": lambda given: (given["minval"], given["maxval"]),
    "randint": lambda given: (given["minval"], np.asarray(given["maxval"]) - 1),
    "truncated_normal": lambda given: (
        given["mean"] - 2.001 * abs(given["stddev"]),
        given["mean"] + 2.001 * abs(given["stddev"]),
    ),
    "categorical": lambda given: (0, np.shape(given["logits"])[-1] - 1),
    "gamma": lambda _: (0, np.inf),
    "beta": lambda _: (0, 1),
    "binomial": lambda given: (0, np.max(given["counts"])),
}


def _off_in_moments(own: NDArray[Any], wanted: NDArray[Any]) -> str | None:
    if own.size < _ENOUGH:
        return None
    ours, theirs = own.astype(np.float64).ravel(), wanted.astype(np.float64).ravel()
    spread = max(ours.std(), theirs.std())
    room = _ERRORS * spread / np.sqrt(own.size)
    for what, mine, promised in (("mean", ours.mean(), theirs.mean()), ("deviation", ours.std(), theirs.std())):
        if abs(mine - promised) > room:
            return f"its {what} is {mine:.4g} over {own.size} values where {promised:.4g} is promised"
    return None
