"""A run's folder as reports read it: the result, the traces it names, and the scripts that belong to it.

The folder may be a stranger's. Of the files that the result names, only traces and reproducers are read, and only those
that lie inside the folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import TraceError
from harness.result.file import FILE, read
from harness.result.golden import former
from harness.result.outcome import OUTCOMES
from harness.result.schema import BlameJson, CaseJson, ResultJson
from harness.trace import Trace

#: Bytes of a reproducer that is shown. Those that the harness writes embed at most a few hundred kilobytes.
LONGEST_SCRIPT = 1_000_000
#: Stands for the newest run, and the folder in which that is looked for.
LAST, RUNS = "last", Path("runs")


@dataclass(frozen=True)
class RunFolder:
    """A result, and where it lies.

    Attributes:
        path: what the result's paths are relative to.
        shown: the same as the caller would type it.
        result: what `result.json` holds.
    """

    path: Path
    shown: str
    result: ResultJson

    @classmethod
    def open(cls, place: Path) -> RunFolder:
        """Open a folder that holds a `result.json`, or such a file by any name.

        Raises:
            TraceError: there is no result, or it cannot be read.
        """
        file = place / FILE if place.is_dir() else place
        if not file.exists():
            raise TraceError(f"{str(place)!r} is not a run: there is no {file.name} in {str(file.parent)!r}.")
        return cls(file.parent, str(file.parent), read(file))

    def is_last(self) -> bool:
        """Whether `last` is this run, as seen from the current folder."""
        newest = newest_run()
        return newest is not None and not Path(LAST).exists() and newest.resolve() == self.path.resolve()

    @property
    def others(self) -> list[str]:
        """The targets that are compared with the reference."""
        return [target for target in self.result["targets"] if target != self.result["reference"]]

    @property
    def worst_first(self) -> list[CaseJson]:
        """The cases, those with the worst outcome first."""
        return sorted(self.result["cases"], key=lambda case: OUTCOMES.index(case["outcome"]))

    def named(self, path: str) -> str:
        """A path of the result as the caller would type it."""
        return os.path.normpath(os.path.join(self.shown, path))

    def traces(self, case: CaseJson) -> tuple[dict[str, Trace], dict[str, str]]:
        """The traces of a case by target; and by target, too, why a trace cannot be read."""
        traces, reasons = {}, {}
        for run in case["runs"]:
            if run["trace"] is None:
                continue
            place = self._inside(run["trace"])
            if place is None:
                reasons[run["target"]] = f"there is no {run['trace']!r} inside of the run's folder"
                continue
            try:
                trace = Trace(place)
            except TraceError as error:
                reasons[run["target"]] = str(error)
                continue
            if trace.header.case == case["id"] and run["target"] in (trace.header.target, former(trace.header.target)):
                traces[run["target"]] = trace
            else:
                reasons[run["target"]] = f"it is the trace of {trace.header.case} on {trace.header.target}"
        return traces, reasons

    def script(self, blame: BlameJson | None) -> Path | None:
        """The reproducer that was written for a difference; None if there is none in this folder."""
        path = None if blame is None or blame["repro"] is None else self._inside(blame["repro"])
        if path is None or path.suffix != ".py" or not path.is_file():
            return None
        return path if path.stat().st_size <= LONGEST_SCRIPT else None

    def _inside(self, path: str) -> Path | None:
        """The place that a path of the result leads to, links followed; None where that is outside of the folder."""
        try:
            place = Path(os.path.realpath(self.path / path))
        except ValueError:  # it holds what no path can
            return None
        return place if place.is_relative_to(os.path.realpath(self.path)) else None


def newest_run(runs: Path = RUNS) -> Path | None:
    """The folder of the newest of the runs in a folder; None if there is none."""
    results = sorted(runs.glob(f"*/{FILE}"), key=lambda file: file.stat().st_mtime_ns)
    return results[-1].parent if results else None
