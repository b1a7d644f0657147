"""What traces tell side by side where nothing is replayed: values by target, rows of data, changes of callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge.pair import judge_key
from harness.trace import Changed, Trace
from harness.trace.key import CALLBACK, below
from harness.verdict import Verdict

#: How far two learning rates may be apart and be the same, relative to one of them.
_SAME_RATE = 1e-5

#: The most characters of a plain value that are told.
_LONGEST = 60

#: Texts with the targets that have each, the rarest first.
Sides = Sequence[tuple[str, Sequence[str]]]


def values(traces: Mapping[str, Trace], key: str, index: Sequence[int] | None) -> Sides:
    """What each target has in an observation, at an element of it if it is an array.

    Targets that agree but for rounding have one text. It is empty where a target has no observation.
    """
    groups: dict[str, list[str]] = {}
    for name, trace in traces.items():
        alike = (first for first in groups if _agree(trace, traces[first], key))
        groups.setdefault(next(alike, name), []).append(name)
    found = {first: _at(traces[first], key, index) if key in traces[first] else "" for first in groups}
    texts = spelled({first: value for first, value in found.items() if not isinstance(value, str)})
    told = [(texts.get(first, str(found[first])), names) for first, names in groups.items()]
    return sorted(told, key=lambda item: len(item[1]))


def _agree(trace: Trace, other: Trace, key: str) -> bool:
    if key not in trace or key not in other:
        return key not in trace and key not in other
    return judge_key(trace, other, key).verdict < Verdict.DIVERGENT


def _at(trace: Trace, key: str, index: Sequence[int] | None) -> Any:
    observation = trace[key]
    if not observation.is_array:
        return str(observation.value)[:_LONGEST]
    array = observation.array
    place = tuple(index or ())
    return array[place] if len(place) == array.ndim else array.ravel()[0] if array.size else "empty"


def spelled(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Each value in as few digits as tell different ones apart."""
    distinct = len({repr(value) for value in numbers.values()})
    for digits in (4, 6, 9, 17):
        texts = {name: _spelled(value, digits) for name, value in numbers.items()}
        if len(set(texts.values())) == distinct:
            break
    return texts


def _spelled(value: Any, digits: int) -> str:
    value = np.asarray(value)
    return f"{value.item():.{digits}g}" if value.dtype.kind in "fc" else str(value)


@dataclass(frozen=True)
class Rows:
    """The rows in which an array of the data differs between two targets.

    Attributes:
        rows: their positions, in order.
        count: of all rows.
        index: the first element that differs in the first of them; empty where a row is one number.
        sides: what each target has there.
        is_reordered: whether both have the same rows, in another order.
    """

    rows: Sequence[int]
    count: int
    index: Sequence[int]
    sides: Sides
    is_reordered: bool


def rows(traces: Mapping[str, Trace], key: str, target: str, reference: str) -> Rows | None:
    """The rows in which an array of the data differs; None where the two have none, or not the same shape."""
    arrays = {name: trace[key].array for name, trace in traces.items() if key in trace and trace[key].is_array}
    if target not in arrays or reference not in arrays:
        return None
    ours, theirs = arrays[target], arrays[reference]
    if ours.shape != theirs.shape or not ours.ndim or not ours.size:
        return None
    apart = _unequal(ours, theirs)
    found = np.flatnonzero(apart.reshape(len(apart), -1).any(axis=1))
    if not len(found):
        return None
    index = [int(place) for place in np.argwhere(apart[found[0]].reshape(ours.shape[1:]))[0]]
    place = (int(found[0]), *index)
    numbers = {name: array[place] for name, array in arrays.items() if array.shape == ours.shape}
    groups: dict[str, list[str]] = {}
    for name, text in spelled(numbers).items():
        groups.setdefault(text, []).append(name)
    sides = sorted(groups.items(), key=lambda item: len(item[1]))
    shown = index if ours[0].size > 1 else []
    return Rows([int(row) for row in found], len(ours), shown, sides, len(found) > 1 and _are_reordered(ours, theirs))


def _unequal(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    both_nan = np.asarray(ours != ours) & np.asarray(theirs != theirs)  # only NaN differs from itself
    unequal: NDArray[Any] = np.asarray(ours != theirs) & ~both_nan
    return unequal


def _are_reordered(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    def as_sorted(array: NDArray[Any]) -> list[bytes]:
        return sorted(row.tobytes() for row in np.ascontiguousarray(array))

    return ours.dtype == theirs.dtype and as_sorted(ours) == as_sorted(theirs)


@dataclass(frozen=True)
class Change:
    """What a callback changed in one hook, and the targets on which it did.

    Attributes:
        what: as its event says it; None where the callback was not called.
        more: what the event does not say; None where that is nothing.
    """

    what: str | None
    more: Changed | None
    targets: list[str]

    @property
    def rate(self) -> tuple[str, str] | None:
        return None if self.more is None else self.more.rate


def changes(traces: Mapping[str, Trace], key: str) -> list[Change]:
    """What a callback changed, by the key of its event: each change with all targets that have it."""
    found: list[Change] = []
    for name, trace in traces.items():
        change = Change(str(trace[key].value) if key in trace else None, trace.header.changes.get(key), [name])
        alike = next((other for other in found if other.what == change.what and _is_same(other, change)), None)
        if alike is None:
            found.append(change)
        else:
            alike.targets.append(name)
    return found


def _is_same(one: Change, other: Change) -> bool:
    if one.rate is None or other.rate is None:
        return one.rate == other.rate
    return all(map(_is_same_rate, one.rate, other.rate))


def changed_otherwise(target: Trace, reference: Trace, step: int) -> str | None:
    """The key of the first event, up to a step, in which a callback makes another learning rate out of equal ones."""
    for entry in reference.select("event"):
        if entry.step > step or below(entry.name, CALLBACK) is None:
            continue
        found = [side.header.changes.get(entry.key) for side in (target, reference)]
        rates = [change.rate for change in found if change is not None and change.rate is not None]
        if len(rates) == 2:
            (before, after), (other_before, other_after) = rates
            if _is_same_rate(before, other_before) and not _is_same_rate(after, other_after):
                return entry.key
    return None


def _is_same_rate(one: str, other: str) -> bool:
    try:
        return bool(np.isclose(float(one), float(other), rtol=_SAME_RATE, atol=0.0, equal_nan=True))
    except ValueError:  # several rates, or text of a stranger
        return one == other
