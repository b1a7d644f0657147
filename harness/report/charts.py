"""What the charts of a case show, as plain data, no larger than it has to be.

A page of many cases has to stay small. So curves have five digits, a curve that equals the reference's is not repeated,
and a cell of a heat map is one character. If something is left out, the data says how much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from harness.judge.arrays import rms
from harness.judge.compare import all_findings
from harness.result.model import Finding
from harness.trace import ArrayEntry, Key, Observation, Phase, Trace
from harness.trace.key import BATCH, below, unnumbered
from harness.verdict import Verdict

#: Cells of a heat map that show no measured distance.
EMPTY, IDENTICAL, MISMATCH, UNCOMPARED = " ", "=", "!", "?"
#: Cells that show a measured distance, in half decades: `LEVELS[CENTRE]` is the largest that rounding explains.
LEVELS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CENTRE = 26
#: Significant digits of a curve.
DIGITS = 5


@dataclass(frozen=True)
class Resolution:
    """The most of a case that is shown: points of a curve, and columns and rows of a heat map."""

    points: int
    columns: int
    rows: int


#: From the finest to the coarsest: each case of a page is drawn in the finest that there is room for.
RESOLUTIONS = (Resolution(500, 200, 400), Resolution(200, 100, 150), Resolution(100, 50, 60), Resolution(30, 20, 30))

#: Curves that are drawn of one case. The others are counted.
MOST_CURVES = 8
#: Layers of a graph, and weights whose gradients are shown, at most.
MOST_LAYERS = 300


class Curve(TypedDict):
    """One log of all targets: a value for each of `steps`; None for a target whose values equal its reference's."""

    name: str
    steps: list[int]
    values: dict[str, list[float | None] | None]


class HeatMap(TypedDict):
    """Distances of a target from its reference.

    Attributes:
        columns: the first and the last step of each column.
        rows: names of observations in order of execution, each with a text that has a character for each column; empty
            cells at its end are left out.
        left_out: the number of names that are not shown.
    """

    target: str
    columns: list[list[int]]
    rows: list[tuple[str, str]]
    left_out: int


class Graph(TypedDict):
    """Layers as (path, depth, level of the worst output by target), and edges.

    An edge is known (its last item is true) if the one layer returned what the other was given. Any other edge only
    follows the order of execution. `left_out` is the number of layers that are not shown.
    """

    layers: list[tuple[str, int, dict[str, str]]]
    edges: list[tuple[int, int, bool]]
    left_out: int


class Gradients(TypedDict):
    """Root mean squares of the gradients of the first step, by weight, from the last layer back."""

    names: list[str]
    values: dict[str, list[float | None]]
    left_out: int


class CaseData(TypedDict):
    """All that is drawn of a case.

    `steps` is the number of training steps, `references` has what each target is held against, and `more_curves` is the
    number of the curves left out. The worst heat map is first.
    """

    steps: int
    references: dict[str, str]
    curves: list[Curve]
    more_curves: int
    maps: list[HeatMap]
    gradients: Gradients
    graph: Graph


#: A character for each observation, by its key without the step and by step, in order of execution.
Levels = dict[Key, dict[int, str]]


class Charts:
    """What can be drawn of a case: read and judged once, and then told in any resolution.

    Args:
        traces: the traces of a case that can be read, by target.
        references: for each compared target, the one that it is compared with.
    """

    def __init__(self, traces: Mapping[str, Trace], references: Mapping[str, str]) -> None:
        self._references = references
        self._logs = {target: logs(trace) for target, trace in traces.items()}
        self._gradients = {target: _gradients(trace) for target, trace in traces.items()}
        pairs = [(target, other) for target, other in references.items() if target in traces and other in traces]
        self._levels = {target: _levels(traces[target], traces[other]) for target, other in pairs}
        shown = next((traces[other] for _, other in pairs), next(iter(traces.values()), None))
        self._graph = Graph(layers=[], edges=[], left_out=0) if shown is None else _graph(shown, self._levels)

    def data(self, resolution: Resolution) -> CaseData:
        """What is drawn, in a resolution."""
        names = list(dict.fromkeys(name for logs in self._logs.values() for name in logs))
        names.sort(key=lambda name: name != "loss")
        shown = names[:MOST_CURVES]
        steps = [step for logs in self._logs.values() for points in logs.values() for step in points]
        maps = [_heat_map(target, levels, resolution) for target, levels in self._levels.items()]
        maps.sort(key=lambda item: -_ORDER.index(_worst(character for _, text in item["rows"] for character in text)))
        return CaseData(
            steps=max(steps, default=-1) + 1,
            references=dict(self._references),
            curves=[self._curve(name, resolution.points) for name in shown],
            more_curves=len(names) - len(shown),
            maps=maps,
            gradients=self._gradients_of_all(),
            graph=self._graph,
        )

    def _curve(self, name: str, most: int) -> Curve:
        """A log of all targets at the same steps: if there are too many, at those where the targets differ most."""
        by_target = {target: logs[name] for target, logs in self._logs.items() if name in logs}
        steps = sorted({step for points in by_target.values() for step in points})
        table = np.array([[points.get(step, math.nan) for step in steps] for points in by_target.values()])
        with np.errstate(invalid="ignore"):
            spread = np.nan_to_num(table.max(axis=0) - table.min(axis=0), nan=0.0, posinf=0.0)
        kept = [int(part[np.argmax(spread[part])]) for part in _parts(len(steps), most)]
        shown = [[_short(value) for value in row[kept]] for row in table]
        rows = dict(zip(by_target, shown, strict=True))
        standards = {target: rows.get(self._references.get(target, "")) for target in rows}
        values = {target: None if row == standards[target] else row for target, row in rows.items()}
        return Curve(name=name, steps=[steps[position] for position in kept], values=values)

    def _gradients_of_all(self) -> Gradients:
        names = list(dict.fromkeys(name for sizes in self._gradients.values() for name in sizes))
        shown = names[:MOST_LAYERS]
        values = {target: [_short(sizes.get(name)) for name in shown] for target, sizes in self._gradients.items()}
        return Gradients(names=shown, values=values, left_out=len(names) - len(shown))


def level(finding: Finding | None) -> str:
    """The character of a cell: how far a finding is from what rounding explains, in half decades."""
    if finding is None:
        return UNCOMPARED
    judgement = finding.judgement
    distance, explained = judgement.distance, judgement.explained
    if judgement.verdict is Verdict.MISMATCH:
        return MISMATCH
    if not distance or not explained:
        # Distributions have no distance: they are equal or they are not.
        return LEVELS[-1] if judgement.verdict >= Verdict.DIVERGENT else IDENTICAL
    # Rounding to half decades must not move a difference across the bound.
    side = max if judgement.verdict >= Verdict.DIVERGENT else min
    beyond = int(judgement.verdict >= Verdict.DIVERGENT)
    position = side(CENTRE + round(2 * math.log10(distance / explained)), CENTRE + beyond)
    return LEVELS[min(max(position, 0), len(LEVELS) - 1)]


#: Characters of cells, from the mildest to the worst.
_ORDER = EMPTY + IDENTICAL + UNCOMPARED + LEVELS + MISMATCH


def _worst(levels: Iterable[str]) -> str:
    return max(levels, key=_ORDER.index, default=EMPTY)


def _levels(target: Trace, reference: Trace) -> Levels:
    """How far each observation of either side is from what rounding explains."""
    found: Levels = {}
    for key, finding in all_findings(target, reference)[0].items():
        entry = (reference if key in reference else target).entry(key)
        row = found.setdefault(Key(entry.phase, None, entry.name), {})
        row[entry.step] = _worst((row.get(entry.step, EMPTY), level(finding)))
    return found


def _heat_map(target: str, levels: Levels, resolution: Resolution) -> HeatMap:
    """Distances by name and step. Steps that share a column are as bad as their worst."""
    steps = sorted({step for row in levels.values() for step in row})
    parts = _parts(len(steps), resolution.columns)
    column_of = {steps[position]: column for column, part in enumerate(parts) for position in part}
    columns = [[steps[part[0]], steps[part[-1]]] for part in parts]
    cells: dict[str, list[str]] = {}
    for key, row in levels.items():
        name = str(key)
        cells[name] = [EMPTY] * len(columns)
        for step, character in row.items():
            column = column_of[step]
            cells[name][column] = _worst((cells[name][column], character))
    names = list(cells)
    if len(names) > resolution.rows:
        # The worst rows are kept, in the order of execution.
        ranked = sorted(names, key=lambda name: -_ORDER.index(_worst(cells[name])))
        kept = set(ranked[: resolution.rows])
        names = [name for name in names if name in kept]
    return HeatMap(
        target=target,
        columns=columns,
        rows=[(name, "".join(cells[name]).rstrip(EMPTY)) for name in names],
        left_out=len(cells) - len(names),
    )


def _parts(length: int, most: int) -> list[NDArray[np.int_]]:
    """The positions below `length` in at most `most` parts of about one size, none of them empty."""
    return np.array_split(np.arange(length), min(length, most)) if length else []


def logs(trace: Trace) -> dict[str, dict[int, float]]:
    """Logs of the training steps, by name and step."""
    found: dict[str, dict[int, float]] = {}
    for item in _of_phase(trace, "log"):
        name = below(item.name, BATCH)
        if name is not None and item.is_array and item.array.size == 1 and item.array.dtype.kind in "fiub":
            found.setdefault(name, {})[item.step] = float(item.array.reshape(())[()])
    return found


def _gradients(trace: Trace) -> dict[str, float]:
    """Root mean squares of the first gradients, by weight."""
    found: dict[str, float] = {}
    for item in _of_phase(trace, "gradient"):
        if item.is_array and item.array.dtype.kind in "fV":
            found.setdefault(item.name, rms(item.array))
    return found


def _of_phase(trace: Trace, phase: Phase) -> Iterable[Observation]:
    return (trace[entry.key] for entry in trace.select(phase))


def _graph(trace: Trace, levels: Mapping[str, Levels]) -> Graph:
    """The innermost layers in order of execution, and which gave what to which, as their values tell."""
    given, returned = _inputs_and_outputs(trace)
    paths = [path for path in returned if not any(other.startswith(f"{path}/") for other in returned)]
    shown = paths[:MOST_LAYERS]
    by_target = {target: _worst_outputs(rows, shown) for target, rows in levels.items()}
    layers: list[tuple[str, int, dict[str, str]]] = []
    edges: list[tuple[int, int, bool]] = []
    source_of: dict[str, int] = {}
    for position, path in enumerate(shown):
        sources = list(dict.fromkeys(source_of[value] for value in given.get(path, []) if value in source_of))
        is_known = bool(sources)
        if not sources and position:
            sources = [position - 1]
        edges += [(source, position, is_known) for source in sources]
        depth = 1 + max((layers[source][1] for source in sources), default=-1)
        layers.append((path, depth, {target: worst.get(path, EMPTY) for target, worst in by_target.items()}))
        source_of |= dict.fromkeys(returned[path], position)
    return Graph(layers=layers, edges=edges, left_out=len(paths) - len(shown))


def _inputs_and_outputs(trace: Trace) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What stands for the contents of each layer's inputs and outputs, by its path, in the order of the outputs."""
    given: dict[str, list[str]] = {}
    returned: dict[str, list[str]] = {}
    for entry in trace.select("forward"):
        path, what = _split(entry.name)
        if isinstance(entry, ArrayEntry) and what in ("input", "output"):
            (given if what == "input" else returned).setdefault(path, []).append(entry.tensor)
    return given, returned


def _split(name: str) -> tuple[str, str]:
    """A layer's path and `input` or `output`, of a name such as `model/dense/output` or `model/add/input/1`."""
    path, _, what = unnumbered(name).rpartition("/")
    return path, what


def _worst_outputs(levels: Levels, paths: Sequence[str]) -> dict[str, str]:
    wanted = set(paths)
    found: dict[str, str] = {}
    for key, row in levels.items():
        path, what = _split(key.name)
        if key.phase == "forward" and what == "output" and path in wanted:
            found[path] = _worst((found.get(path, EMPTY), *row.values()))
    return found


def _short(value: Any) -> float | None:
    """A number with a few digits; None for what JSON has no number for."""
    return float(f"{value:.{DIGITS - 1}e}") if value is not None and math.isfinite(value) else None
