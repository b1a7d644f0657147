"""Tables with a column for each target: their environments, and the events of their callbacks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from harness.result.environment import flattened
from harness.result.schema import CaseJson, ResultJson
from harness.trace import Trace

#: Events that are shown before and after the first that differs.
AROUND = 8
#: What stands for an entry that one target lacks and another has.
ABSENT = "-"


@dataclass(frozen=True)
class Row:
    """A line of a table: its name, a text for each target, and whether these texts differ."""

    name: str
    texts: Sequence[str]
    differs: bool


@dataclass(frozen=True)
class Events:
    """The events of callbacks in one call (`fit`, `evaluate`, ...).

    Attributes:
        counts: how often each hook was called, by target.
        around: the events from shortly before the first that differs to shortly after it; empty if none differs.
    """

    name: str
    counts: Sequence[Row]
    around: Sequence[Row]


def common_environment(result: ResultJson) -> list[Row]:
    """The settings in which targets differ, and which each of them has alike in every case."""
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
    """The settings in which targets differ in a case, without those that are `common` to all cases."""
    told = {row.name for row in common}
    rows = [_row(name, texts) for name, texts in _environments(case, targets).items() if name not in told]
    return [row for row in rows if row.differs]


def events(traces: Mapping[str, Trace], targets: Sequence[str]) -> list[Events]:
    """The events of all targets, call by call."""
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
    """The texts of every setting, one for each target, by the setting's dotted name."""
    flat = {run["target"]: _settings(run["environment"]) for run in case["runs"]}
    names = dict.fromkeys(name for settings in flat.values() for name in settings)
    return {name: [flat.get(target, {}).get(name, ABSENT) for target in targets] for name in names}


def _settings(environment: Mapping[str, Any]) -> dict[str, str]:
    return {name: text if isinstance(text, str) else json.dumps(text) for name, text in flattened(environment)}


def _row(name: str, texts: Sequence[str]) -> Row:
    return Row(name, texts, len(set(texts)) > 1)
