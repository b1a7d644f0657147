"""The recorder: collects the observations of one run of one case, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from harness.backends import runtime
from harness.case import Plot
from harness.errors import CaseError, InferenceOnly
from harness.trace import (
    EXTENDED,
    NUMBER,
    Changed,
    Key,
    Lack,
    Note,
    Observation,
    Phase,
    Plain,
    PlotEntry,
    Raised,
    numpy_dtype,
)
from harness.worker import origin

#: Levels of nesting in a plain value, fewer than in a whole trace. And bits of a number: Python reads no more digits.
_DEEPEST = 80
_MOST_BITS = 14_000


class Recorder:
    """Collects observations.

    Args:
        root: what paths of what raises are relative to.
        twin: whether this is the float64 run. In it a part that fails is noted and the rest goes on, because some
            things do not run in float64.
        native: whether the backend keeps its own randomness. Then states of seeds are not recorded, because each
            backend advances them in its own way.
    """

    def __init__(self, root: Path = Path(), *, twin: bool = False, native: bool = False) -> None:
        self.root = root
        self.native = native
        self.observations: list[Observation] = []
        self.notes: list[Note] = []
        self.lacks: list[Lack] = []
        self.raised: list[Raised] = []
        self.plots: list[PlotEntry] = []
        self.environment: dict[str, Any] = {}
        self.unowned: dict[str, str | None] = {}
        self.python_state: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.changes: dict[str, Changed] = {}
        self._keys: set[str] = set()
        self._twin = twin

    def record(self, name: str, value: Any) -> None:
        """Add an observation. This is what a case calls as `record`.

        Args:
            name: unique in the case.
            value: a tensor, variable, array, number, string, bool, None, or nested lists, tuples and dicts of them.
                Each array and float in a nested value becomes an observation of its own, named by its path.
                Or a `harness.Plot`, whose coordinates are observations.

        Raises:
            CaseError: the name is taken, or the value cannot be recorded.
        """
        if not isinstance(name, str) or not name:
            raise CaseError(f"record takes a name first, and {name!r} is not one. Give it a string.")
        if isinstance(value, Plot):
            kinds = {"points": value.points, "lines": value.lines}
            self.add("recorded", name, kinds)
            keys = {
                kind: {label: str(Key("recorded", None, f"{name}/{kind}/{label}")) for label in group}
                for kind, group in kinds.items()
            }
            self.plots.append(PlotEntry(name, value.x, value.y, **keys))
        else:
            self.add("recorded", name, value)

    def add(
        self,
        phase: Phase,
        name: str,
        value: Any,
        *,
        step: int | None = None,
        layer: str | None = None,
    ) -> None:
        """Add an observation of a phase, `step` being the index of the training step it belongs to."""
        for path, leaf, device in _leaves(name, value):
            key = str(Key(phase, step, path))
            if key in self._keys:
                raise CaseError(
                    f"Two observations have one name: {path!r} ({phase}). Give each a name of its own, "
                    "such as one with the step in it."
                )
            self._keys.add(key)
            dtype = None if isinstance(leaf, _Plain) else NUMBER if isinstance(leaf, float) else leaf.dtype.name
            stored = leaf.value if isinstance(leaf, _Plain) else np.array(leaf)  # a copy: its source may change
            self.observations.append(Observation(key, phase, step or 0, path, layer, dtype, stored, device))

    def take(self, other: Recorder) -> None:
        """Replace observations by those of another recorder that have the same keys."""
        theirs = {item.key: item for item in other.observations}
        self.observations = [theirs.get(item.key, item) for item in self.observations]

    def note(self, part: str, reason: str) -> None:
        """Say that a part was not recorded."""
        self.notes.append(Note(part, reason))

    def lack(self, where: str, reason: str) -> None:
        """Say, by a pattern of keys, what this target cannot have as others have it. It is not compared."""
        self.lacks.append(Lack(where, reason))

    def part(self, name: str, *, optional: bool = False) -> Attempt:
        """A part of a case. If it fails and is optional, or this is the twin, that is noted and the case goes on."""
        return Attempt(self, name, forgiving=optional or self._twin)


class Attempt:
    """A part of a case that is tried: see `Recorder.part`."""

    def __init__(self, recorder: Recorder, name: str, *, forgiving: bool) -> None:
        self._recorder = recorder
        self._name = name
        self._forgiving = forgiving

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception) or isinstance(error, (CaseError, InferenceOnly)):
            return False
        recorder, told = self._recorder, origin.described(error, self._recorder.root)
        recorder.raised.append(
            Raised(self._name, told, recorder.observations[-1].key if recorder.observations else None)
        )
        if self._forgiving:
            recorder.note(self._name, told)
        return self._forgiving


class _Plain:
    """A plain value, set apart from arrays."""

    def __init__(self, value: Plain) -> None:
        self.value = value


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any, str | None]]:
    """Path, value and device of each leaf of what is recorded."""
    plain = _as_plain(value)
    if plain is not None:
        _check_readable(path, plain.value)
        yield path, plain, None
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{path}/{key}", item)
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            yield from _leaves(f"{path}/{position}", item)
    elif isinstance(value, float) and not isinstance(value, np.generic):
        yield path, value, None
    else:
        yield path, *_array(path, value)


def _check_readable(path: str, value: Plain, left: int = _DEEPEST) -> None:
    """Raise CaseError for a plain value that is written, and that no reader of the trace would take."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise CaseError(
            f"record({path!r}, ...) was given a number of {value.bit_length()} bits. Give it a shorter one."
        )
    if isinstance(value, (list, dict)):
        if not left:
            raise CaseError(
                f"record({path!r}, ...) was given a value of more than {_DEEPEST} levels. Give it a flatter one."
            )
        for item in value.values() if isinstance(value, dict) else value:
            _check_readable(path, item, left - 1)


def _as_plain(value: Any) -> _Plain | None:
    """A value that is plain all through, as one; None if there is an array or a float in it."""
    if value is None or isinstance(value, (str, bool, int)):
        return _Plain(value)
    if isinstance(value, dict):
        items = {str(key): _as_plain(item) for key, item in value.items()}
        return None if None in items.values() else _Plain({key: i.value for key, i in items.items() if i})
    if isinstance(value, (list, tuple)):
        parts = [_as_plain(item) for item in value]
        return None if None in parts else _Plain([part.value for part in parts if part])
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "UO":
        return _as_plain(value.tolist())
    return None


def _array(path: str, value: Any) -> tuple[np.ndarray[Any, Any], str | None]:
    """An array, and where it lived if it was a tensor."""
    import keras

    array = device = None
    is_variable = isinstance(value, keras.Variable)
    try:
        if is_variable or (keras.ops.is_tensor(value) and not isinstance(value, keras.KerasTensor)):
            backend = runtime.current()
            device = backend.device_of(value.value if is_variable else value)
            value = backend.value_of(value) if is_variable else value
            dtype = numpy_dtype(keras.backend.standardize_dtype(value.dtype))
            # By way of float32, which holds them exactly: tensorflow has no NumPy form of a bfloat16 of shape ().
            single = keras.ops.cast(value, "float32") if dtype.name in EXTENDED else value
            array = np.asarray(keras.ops.convert_to_numpy(single)).astype(dtype, copy=False)
        elif not isinstance(value, keras.KerasTensor) and (isinstance(value, complex) or hasattr(value, "__array__")):
            array = np.asarray(value)
        if array is not None and numpy_dtype(array.dtype.name) == array.dtype.newbyteorder("="):
            return array, device
    except ValueError:
        pass
    raise CaseError(
        f"record({path!r}, ...) was given {type(value).__name__}, which cannot be recorded. Give it a tensor, an "
        "array, a number, a string, a bool, None, or nested lists, tuples and dicts of them."
    )
