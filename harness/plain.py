"""Conversion of values to plain data, which JSON can hold, and back: for messages to workers, and for files.

Classes are dataclasses and `TypedDict`s, read by their annotations. The reader is strict, because a file may come from
anywhere: it converts only a list to a tuple, text to a path or an enumeration, and an integer to a float. Keys that a
class does not have are ignored for a dataclass, and kept for a `TypedDict`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, is_typeddict

from cattrs import ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn
from cattrs.gen.typeddicts import make_dict_structure_fn as make_typed_dict_structure_fn

T = TypeVar("T")

#: The most characters of a wrong value that a message shows.
_SHOWN = 60
_SEQUENCES: tuple[Any, ...] = (list, tuple, Sequence)
_MAPPINGS: tuple[Any, ...] = (dict, Mapping)


def to_plain(value: Any) -> Any:
    """A value as dicts, lists, text, numbers, bools and None. A float that is not finite becomes None."""
    return _converter().unstructure(value)


def from_plain(data: Any, kind: type[T], where: str = "it") -> T:
    """Plain data as a value of a type.

    Args:
        kind: a dataclass, a `TypedDict`, or a list, dict, tuple, literal, enumeration or optional type of such.
        where: what the message calls the data.

    Raises:
        ValueError: the data is not of that type. The message names the place, as `it.cases[0].id`.
    """
    try:
        return _converter().structure(data, kind)
    except Exception as error:
        place, reason = _located(error)
        raise ValueError(f"{where}{place} {reason}") from None


class _FaultError(ValueError):
    """A value that is not of the wanted type, and its place in the data."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason


def _located(error: BaseException) -> tuple[str, str]:
    """The place of the first fault, and what is wrong there."""
    if isinstance(error, _FaultError):
        return error.place, error.reason
    if isinstance(error, ClassValidationError):
        noted, others = error.group_exceptions()
        if not noted:  # each field is right, but the class refuses them together
            return "", f"cannot be: {others[0]}"
        inner, note = noted[0]
        if isinstance(inner, KeyError):
            return "", f"has no {note.name!r}"
        place, reason = _located(inner)
        return f".{note.name}{place}", reason
    return "", f"cannot be read: {error}"


def _refuse(value: Any, wanted: str) -> _FaultError:
    shown = repr(value)
    return _FaultError(
        "", f"is {shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + '...'}, which is not {wanted}"
    )


@cache
def _converter() -> Converter:
    converter = Converter()
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _exactly)
    for enumeration in (enum.Enum, enum.IntEnum):  # the latter would otherwise be read as an int
        converter.register_structure_hook(enumeration, _member)
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(Path, lambda value, _: Path(_exactly(value, str)))
    converter.register_structure_hook_factory(_is_literal, _literal_hook)
    converter.register_structure_hook_factory(_is_optional, lambda kind: _optional_hook(converter, kind))
    converter.register_structure_hook_factory(_is_sequence, lambda kind: _sequence_hook(converter, kind))
    converter.register_structure_hook_factory(_is_mapping, lambda kind: _mapping_hook(converter, kind))
    converter.register_structure_hook_factory(
        is_dataclass, lambda kind: _of_dict(make_dict_structure_fn(kind, converter))
    )
    converter.register_structure_hook_factory(
        is_typeddict, lambda kind: _of_dict(make_typed_dict_structure_fn(kind, converter))
    )
    converter.register_unstructure_hook(float, lambda value: value if math.isfinite(value) else None)
    converter.register_unstructure_hook(Path, str)
    converter.register_unstructure_hook_func(_is_enumeration, str)
    return converter


def _exactly(value: Any, kind: Any) -> Any:
    """The value, if it is of exactly this type: a bool is not an int."""
    if type(value) is not kind:
        raise _refuse(value, kind.__name__)
    return value


def _float(value: Any, _: Any) -> float:
    return float(value) if type(value) is int else cast(float, _exactly(value, float))


def _literal_hook(kind: Any) -> Callable[[Any, Any], Any]:
    allowed = dict.fromkeys(get_args(kind))

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not str or value not in allowed:
            raise _refuse(value, f"one of {', '.join(allowed)}")
        return value

    return structure


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _is_optional(kind: Any) -> bool:
    arguments = get_args(kind)
    return get_origin(kind) in (Union, UnionType) and len(arguments) == 2 and NoneType in arguments


def _optional_hook(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    """Read a value of one type, or None. cattrs' own hook is slow here: it looks up the type's hook for every value."""
    (inner,) = (argument for argument in get_args(kind) if argument is not NoneType)
    hook = cache(lambda: converter.get_structure_hook(inner))
    return lambda value, _: None if value is None else hook()(value, inner)


def _is_enumeration(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _member(value: Any, kind: Any) -> Any:
    """The member of an enumeration whose `str` is this value."""
    members = {str(member): member for member in kind}
    if type(value) is not str or value not in members:
        raise _refuse(value, f"one of {', '.join(members)}")
    return members[value]


def _is_sequence(kind: Any) -> bool:
    return kind in _SEQUENCES or get_origin(kind) in _SEQUENCES


def _is_mapping(kind: Any) -> bool:
    return kind in _MAPPINGS or get_origin(kind) in _MAPPINGS


def _sequence_hook(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    """Read a list of elements of one type, as a list, or as a tuple if `kind` is one."""
    element = next(iter(get_args(kind)), Any)
    make = tuple if tuple in (kind, get_origin(kind)) else list

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise _refuse(value, "a list")
        return make(item for _, item in _read(converter, element, enumerate(value), "[{}]"))

    return structure


def _mapping_hook(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    """Read an object with values of one type."""
    element = (*get_args(kind), Any, Any)[1]

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _refuse(value, "an object")
        return dict(_read(converter, element, value.items(), ".{}"))

    return structure


def _read(converter: Converter, kind: Any, items: Iterable[tuple[Any, Any]], place: str) -> Iterator[tuple[Any, Any]]:
    """Read values of one type. Yields each with its key or index, which the template `place` writes in a message."""
    hook = converter.get_structure_hook(kind)
    for key, item in items:
        try:
            value = hook(item, kind)
        except Exception as error:
            inner, reason = _located(error)
            raise _FaultError(place.format(key) + inner, reason) from None
        yield key, value


def _of_dict(structure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A reader of a class that refuses everything but an object."""

    def checked(value: Any, kind: Any) -> Any:
        if type(value) is not dict:
            raise _refuse(value, "an object")
        return structure(value, kind)

    return checked
