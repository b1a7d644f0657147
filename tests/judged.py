"""Traces of a case with one observation, and the results that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.case import Expected
from harness.judge.case import judge_case
from harness.result.model import CaseResult
from harness.trace import Header, Observation, Trace, write
from harness.verdict import Verdict

CASE = "cases/x.py::y"
X = np.linspace(1.0, 2.0, 32)
LEAKED, WRONG = X * (1 + 3e-8), X * 1.01
LEAK, DIVERGENT = Expected("leak", "a reason"), Expected("divergent", "a reason")
VERDICTS = ["identical", "rounding", "leak", "imprecise", "divergent", "mismatch"]


def recorded(folder: Path, target: str, exact: Any, *, twin: dict[str, Any] | None = None, **header: Any) -> Trace:
    """A trace of one observation and its twin, or of none; `twin` is what the twin's header has."""
    for place, precision, dtype, changes in (
        (folder / target, "float32", np.float32, header),
        (folder / target / "twin", "float64", np.float64, twin or {}),
    ):
        value = None if exact is None else exact.astype(dtype)
        items = [] if exact is None else [Observation("loss/2/x", "loss", 2, "x", "dense", dtype.__name__, value)]
        write(place, Header(CASE, target, precision, **changes), items)
    return Trace(folder / target)


def judged(folder: Path, fail_on: str = "divergent", **traces: Trace | None) -> CaseResult:
    return judge_case(CASE, traces, "torch", Verdict.parse(fail_on), folder)
