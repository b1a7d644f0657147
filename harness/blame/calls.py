"""How targets call one operation: what a replay recorded of its arguments, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.trace import Trace


def apart(traces: Mapping[str, Trace], key: str, target: str, reference: str) -> list[tuple[str, Sequence[str]]]:
    """The first argument that two targets call an operation with another one of: each spelling, and who has it.

    Args:
        traces: by target.
        key: of the operation's arguments.
    """
    spelled = {name: _arguments(str(trace[key].value)) for name, trace in traces.items() if key in trace}
    ours, theirs = spelled[target], spelled[reference]
    where = next((name for name in (*theirs, *ours) if ours.get(name) != theirs.get(name)), None)
    return [] if where is None else grouped({name: found.get(where, "nothing") for name, found in spelled.items()})


def grouped(values: Mapping[str, str]) -> list[tuple[str, Sequence[str]]]:
    """Each value with the names that have it, the rarest first."""
    found: dict[str, list[str]] = {}
    for name, value in values.items():
        found.setdefault(value, []).append(name)
    return sorted(found.items(), key=lambda item: len(item[1]))


def _arguments(template: str) -> dict[str, str]:
    """The arguments of a call by their place or name, each as one would write it."""
    told = json.loads(template)
    positional = {f"{place}": _spelled(value) for place, value in enumerate(told["args"])}
    return positional | {name: f"{name}={_spelled(value)}" for name, value in told["kwargs"].items()}


def _spelled(value: Any) -> str:
    if not isinstance(value, dict):
        return repr(value)
    ((kind, content),) = value.items()
    if kind == "tensor":
        return "a tensor"
    if kind == "dict":
        return "{" + ", ".join(f"{key!r}: {_spelled(item)}" for key, item in content.items()) + "}"
    if kind in ("tuple", "list"):
        items = ", ".join(map(_spelled, content))
        return f"[{items}]" if kind == "list" else f"({items}{',' if len(content) == 1 else ''})"
    return f"a {content}" if kind == "object" else str(content)
