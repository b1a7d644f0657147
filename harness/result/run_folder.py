"""A run's folder as reports read it: the result, the traces it names, and the scripts that belong to it.

The folder may be a stranger's. Of the files that the result names, only traces are read and, if they lie inside the
folder, reproducers.
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
            try:
                trace = Trace(self.path / run["trace"])
            except (TraceError, ValueError) as error:  # a path may hold what no path can
                reasons[run["target"]] = str(error)
                continue
            if trace.header.case == case["id"] and run["target"] in (trace.header.target, former(trace.header.target)):
                traces[run["target"]] = trace
            else:
                reasons[run["target"]] = f"it is the trace of {trace.header.case} on {trace.header.target}"
        return traces, reasons

    def script(self, blame: BlameJson | None) -> Path | None:
        """The reproducer that was written for a difference; None if there is none in this folder."""
        if blame is None or blame["repro"] is None or "\0" in blame["repro"]:
            return None
        path = (self.path / blame["repro"]).resolve()
        inside = path.is_relative_to(self.path.resolve()) and path.suffix == ".py"
        return path if inside and path.is_file() and path.stat().st_size <= LONGEST_SCRIPT else None
