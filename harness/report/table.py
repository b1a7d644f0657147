"""Every distance of a run as a table, in CSV or Parquet, for an analysis of one's own."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import HarnessError, printable
from harness.judge.compare import all_findings
from harness.report import words
from harness.result import words as sentences
from harness.result.model import Finding
from harness.result.run_folder import RunFolder
from harness.result.schema import CaseJson

#: Columns and their kinds. A row is an observation of a case on a target, held against the reference.
COLUMNS: Mapping[str, type] = {
    "case": str,
    "target": str,
    "reference": str,
    "order": int,  # of execution, from 0
    "key": str,
    "phase": str,
    "step": int,
    "layer": str,
    "verdict": str,
    "basis": str,
    "d32": float,
    "d64": float,
    "amplification": float,
    "bound": float,
    "explained": float,
    "reason": str,
}


def write_csv(run: RunFolder, file: Path) -> None:
    """Write the table as CSV. A missing value is empty.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    with files.made(file) as place, place.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(COLUMNS))
        writer.writeheader()
        for case in run.result["cases"]:
            writer.writerows({name: _no_formula(value) for name, value in row.items()} for row in rows(run, case))


def write_parquet(run: RunFolder, file: Path) -> None:
    """Write the table as Parquet, a row group for each case. A missing value is null.

    Raises:
        HarnessError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise HarnessError("--parquet needs pyarrow: pip install 'keras-harness[parquet]'.")
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    with files.made(file) as place, parquet.ParquetWriter(place, schema) as writer:
        for case in run.result["cases"]:
            writer.write_table(pa.Table.from_pylist(list(rows(run, case)), schema))


def rows(run: RunFolder, case: CaseJson) -> Iterator[dict[str, Any]]:
    """The rows of a case: every observation that could be compared, target by target, in order of execution.

    Raises:
        HarnessError: a trace that the result names cannot be read.
    """
    traces, unread = run.traces(case)
    for target, reason in unread.items():
        raise HarnessError(f"The trace of {case['id']} on {target} is not what the result says: {reason}")
    for target in run.others:
        reference = words.reference_of(run.result, case, target)
        if target in traces and reference in traces:
            findings, _ = all_findings(traces[target], traces[reference])
            for order, finding in enumerate(findings.values()):
                if finding is not None:
                    ids = {"case": case["id"], "target": target, "reference": reference, "order": order}
                    yield {name: _plain(value) for name, value in {**ids, **_row(finding)}.items()}


def _row(finding: Finding) -> dict[str, Any]:
    judgement = finding.judgement
    measured = {name: getattr(judgement, name) for name in ("d32", "d64", "amplification", "bound", "explained")}
    return {
        "key": finding.key,
        "phase": finding.phase,
        "step": finding.step,
        "layer": finding.layer,
        "verdict": str(judgement.verdict),
        "basis": judgement.basis,
        **measured,
        "reason": sentences.reason(judgement),
    }


def _plain(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _no_formula(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@"))
    return f"'{value}" if is_formula else value
