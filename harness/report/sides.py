"""What targets have side by side: their environments, and the events of their callbacks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from harness.result.schema import CaseJson, ResultJson
from harness.trace import Trace

#: Events before and after the first that differs.
AROUND = 8
#: What a target has where another one has something.
ABSENT = "-"


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is about, a text for each target, and whether these differ."""

    name: str
    texts: Sequence[str]
    differs: bool


@dataclass(frozen=True)
class Events:
    """What one call (`fit`, `evaluate`, ...) did to callbacks.

    Attributes:
        counts: how often each hook was called, by target.
        around: the sequence, from shortly before the first event that differs to shortly after; empty if none does.
    """

    name: str
    counts: Sequence[Row]
    around: Sequence[Row]


def common_environment(result: ResultJson) -> list[Row]:
    """In what the targets' environments differ that each of them has alike in every case."""
    targets = result["targets"]
    seen: dict[str, dict[str, set[str]]] = {}
    cases = [case for case in result["cases"] if any(run["environment"] for run in case["runs"])]
    for case in cases:
        for name, texts in _environments(case, targets).items():
            for target, text in zip(targets, texts, strict=True):
                seen.setdefault(name, {}).setdefault(target, set()).add(text)
    return [
        _row(name, [next(iter(by_target[target])) for target in targets])
        for name, by_target in seen.items()
        if all(len(texts - {ABSENT}) <= 1 for texts in by_target.values())
        and len({frozenset(texts) for texts in by_target.values()}) > 1
    ]


def environment(case: CaseJson, targets: Sequence[str], common: Sequence[Row]) -> list[Row]:
    """In what the targets' environments differ in a case, beside what is common to all cases."""
    told = {row.name for row in common}
    rows = [_row(name, texts) for name, texts in _environments(case, targets).items() if name not in told]
    return [row for row in rows if row.differs]


def events(traces: Mapping[str, Trace], targets: Sequence[str]) -> list[Events]:
    """The events of each call, of all targets."""
    found: dict[str, dict[str, list[str]]] = {}
    for target, trace in traces.items():
        for entry in trace.select("event"):
            value = trace[entry.key].value
            if isinstance(value, list):
                found.setdefault(entry.name, {})[target] = [_event(event) for event in value]
    return [_side_by_side(name, [by_target.get(target, []) for target in targets]) for name, by_target in found.items()]


def _side_by_side(name: str, sequences: Sequence[Sequence[str]]) -> Events:
    counted = [Counter(event.partition(" ")[0] for event in sequence) for sequence in sequences]
    hooks = list(dict.fromkeys(hook for counts in counted for hook in counts))
    rows = [_row(str(n), list(texts)) for n, texts in enumerate(zip_longest(*sequences, fillvalue=ABSENT))]
    first = next((n for n, row in enumerate(rows) if row.differs), None)
    return Events(
        name=name,
        counts=[_row(hook, [str(counts[hook]) for counts in counted]) for hook in hooks],
        around=[] if first is None else rows[max(first - AROUND, 0) : first + AROUND + 1],
    )


def _event(event: Any) -> str:
    """A recorded event, `[hook, index, names of the logs]`, as text; anything else as it is."""
    if isinstance(event, list) and len(event) == 3 and isinstance(event[2], list):
        index = "" if event[1] is None else f" {event[1]}"
        return f"{event[0]}{index}" + (f" ({', '.join(map(str, event[2]))})" if event[2] else "")
    return json.dumps(event)


def _environments(case: CaseJson, targets: Sequence[str]) -> dict[str, list[str]]:
    """Every setting of any target, as text, by its dotted name: one for each target."""
    flat = {run["target"]: dict(_flat(run["environment"])) for run in case["runs"]}
    names = dict.fromkeys(name for settings in flat.values() for name in settings)
    return {name: [flat.get(target, {}).get(name, ABSENT) for target in targets] for name in names}


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [item for key, inner in value.items() for item in _flat(inner, f"{name}.{key}" if name else key)]
    return [(name, value if isinstance(value, str) else json.dumps(value))]


def _row(name: str, texts: Sequence[str]) -> Row:
    return Row(name, texts, len(set(texts)) > 1)
