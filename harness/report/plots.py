"""Pictures, drawn from traces: curves of the logs, and every recorded `Plot`. Each picture shows all targets."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness import files
from harness.report.charts import logs
from harness.trace import Array, PlotEntry, Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = NDArray[np.float64]

#: Coordinates from here on are not drawn.
LARGEST = 1e100
#: Logs of one case that are drawn, at most.
MOST_CURVES = 6
MISSING = "pictures are not drawn: matplotlib is not installed: pip install 'keras-harness[plots]'"


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(traces: Mapping[str, Trace], reference: str, folder: Path, stem: str) -> list[Path]:
    """Draw the pictures of one case, as SVG.

    Args:
        traces: by target, the reference among them.
        folder: where the pictures go.
        stem: what their names begin with.

    Returns:
        The paths of the pictures.
    """
    pictures = []
    curves = _curves(traces)
    if curves:
        pictures.append(_draw_curves(curves, folder / f"{stem}-logs.svg"))
    for number, entry in enumerate(traces[reference].header.plots):
        pictures.append(_draw_plot(entry, traces, reference, folder / f"{stem}-{number}.svg"))
    return pictures


def _curves(traces: Mapping[str, Trace]) -> dict[str, dict[str, Points]]:
    """The steps and values of each log of training steps, by name and target: the loss first."""
    found: dict[str, dict[str, Points]] = {}
    for target, trace in traces.items():
        for name, points in logs(trace).items():
            found.setdefault(name, {})[target] = _points(np.array(list(points.items()), np.float64))
    names = sorted(found, key=lambda name: (name != "loss", name))[:MOST_CURVES]
    return {name: found[name] for name in names}


def _points(array: Array) -> Points:
    """Points of shape (n, 2), as they are drawn: matplotlib fails at what is near the largest number."""
    points = array.real.astype(np.float64)
    return np.where(np.abs(points) < LARGEST, points, np.nan)


def _draw_curves(curves: Mapping[str, Mapping[str, Points]], path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(curves), 3.5), layout="constrained")
    for position, (name, by_target) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), position)
        for (target, points), style in zip(by_target.items(), _styles(), strict=False):
            axes.plot(points[:, 0], points[:, 1], style, label=_literal(target))
        axes.set_xlabel("step")
        axes.set_ylabel(_literal(name))
        axes.legend()
    return _save(figure, path)


def _draw_plot(entry: PlotEntry, traces: Mapping[str, Trace], reference: str, path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    for label, key in entry.points.items():
        xy = _points(traces[reference][key].array)
        axes.plot(xy[:, 0], xy[:, 1], ".", markersize=2, label=_literal(label))
    limits = axes.axis() if entry.points else None
    for label, key in entry.lines.items():
        for (target, trace), style in zip(traces.items(), _styles(), strict=False):
            if key in trace:
                xy = _points(trace[key].array)
                axes.plot(xy[:, 0], xy[:, 1], style, label=_literal(f"{label}, {target}"))
    if limits is not None:
        axes.axis(limits)
    axes.set_title(_literal(entry.name))
    axes.set_xlabel(_literal(entry.x))
    axes.set_ylabel(_literal(entry.y))
    axes.legend()
    return _save(figure, path)


def _styles() -> list[str]:
    """Line styles. The curves of targets that agree lie on one another, so the later ones have gaps."""
    return ["-", "--", ":", "-."]


def _literal(text: str) -> str:
    """Text that matplotlib shows as it is: it would read `$` as a formula, and hide a label that starts with `_`."""
    shown = "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _save(figure: Figure, path: Path) -> Path:
    with files.made(path) as place:
        figure.savefig(place, format="svg", metadata={"Date": None})
    return path
