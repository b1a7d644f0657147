"""The table of all distances, read back with pandas' usual readers: the csv module and pyarrow."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import hostile
import pytest
from pyarrow import parquet
from synthetic import Case, write_run

from harness.errors import HarnessError, printable
from harness.judge.compare import compare
from harness.report import table
from harness.result.run_folder import RunFolder


def read_csv(run: RunFolder, folder: Path) -> list[dict[str, str]]:
    table.write_csv(run, folder / "table.csv")
    with (folder / "table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def read_parquet(run: RunFolder, folder: Path) -> list[dict[str, Any]]:
    table.write_parquet(run, folder / "table.parquet")
    rows: list[dict[str, Any]] = parquet.read_table(folder / "table.parquet").to_pylist()
    return rows


def test_there_is_a_row_for_every_observation_that_was_compared(run: RunFolder, tmp_path: Path) -> None:
    rows = read_parquet(run, tmp_path)
    assert list(rows[0]) == list(table.COLUMNS)
    for case in run.result["cases"]:
        for comparison in case["comparisons"]:
            own = [row for row in rows if (row["case"], row["target"]) == (case["id"], comparison["target"])]
            assert Counter(row["verdict"] for row in own) == comparison["counts"]
            assert [row["order"] for row in own] == sorted(row["order"] for row in own)


def test_distances_are_those_of_the_finding(run: RunFolder, tmp_path: Path) -> None:
    case = run.result["cases"][1]
    traces, _ = run.traces(case)
    first = compare(traces["jax"], traces["torch"]).first
    assert first is not None
    (row,) = [
        row
        for row in read_parquet(run, tmp_path)
        if (row["case"], row["target"], row["key"]) == (case["id"], "jax", first.key)
    ]
    judgement = first.judgement
    assert (row["d32"], row["d64"], row["amplification"]) == (judgement.d32, judgement.d64, judgement.amplification)
    assert row["d64"] > row["explained"] == judgement.bound
    assert (row["layer"], row["phase"], row["step"], row["basis"]) == ("smooth", "forward", 0, "twins")


def test_csv_has_the_same_as_parquet(run: RunFolder, tmp_path: Path) -> None:
    rows, exact = read_csv(run, tmp_path), read_parquet(run, tmp_path)
    shown = [{name: "" if value is None else str(value) for name, value in row.items()} for row in exact]
    assert rows == shown
    assert float(rows[0]["d64"]) == exact[0]["d64"]


@pytest.mark.parametrize("text", [*hostile.SAMPLES, '=HYPERLINK("http://example.org")', "+1", "-1", "@x", "\t=1"])
def test_hostile_text_stays_text_and_is_no_formula(tmp_path: Path, text: str) -> None:
    run = RunFolder.open(write_run(tmp_path / "run", [Case(text)]))
    (shown,) = {row["case"] for row in read_csv(run, tmp_path)}
    assert shown.removeprefix("'") == printable(text)
    assert shown[0] not in "=+-@\t\r"
    assert {row["case"] for row in read_parquet(run, tmp_path)} == {printable(text)}


def test_a_trace_that_is_gone_is_no_row_less_but_an_error(tmp_path: Path) -> None:
    run = RunFolder.open(write_run(tmp_path / "run", [Case("a")]))
    (run.path / run.result["cases"][0]["runs"][2]["trace"] / "trace.json").unlink()
    with pytest.raises(HarnessError, match="The trace of a on jax"):
        read_csv(run, tmp_path)


def test_without_pyarrow_the_extra_is_named(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(HarnessError, match=r"keras-harness\[parquet\]"):
        table.write_parquet(run, tmp_path / "x")
