"""Reports of old against new: every face says what was compared, what changed, and what failed on either side."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Case, write_trace

from harness.judge.folders import compare_folders
from harness.report import github, html, junit, markdown, table, words
from harness.report.charts import CENTRE, LEVELS
from harness.result import file
from harness.result.run_folder import RunFolder
from harness.session.gather import gather
from harness.verdict import Verdict

MOVED = Case("cases/x.py::moved")
LOST = Case("cases/x.py::lost")
KEY = "forward/0/model/smooth/output"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Torch moved in one case, and another case was recorded in the old folder alone."""
    for folder in ("old", "new"):
        for number, target in enumerate(("torch", "jax")):
            wrong = {"torch": KEY} if folder == "new" else {}
            write_trace(tmp_path / folder / "traces" / str(number) / "0", replace(MOVED, wrong=wrong), target)
    write_trace(tmp_path / "old" / "traces" / "0" / "1", LOST, "torch")
    folders = [tmp_path / "old", tmp_path / "new"]
    place = tmp_path / "compared"
    place.mkdir()
    result = compare_folders(folders, None, Verdict.DIVERGENT, (), place).to_json()
    gather(result, place)
    file.write(place / file.FILE, result)
    return RunFolder.open(place)


def test_the_traces_of_both_sides_are_found(run: RunFolder) -> None:
    traces, unread = run.traces(run.result["cases"][0])
    assert sorted(traces) == ["jax", "jax (old)", "torch", "torch (old)"]
    assert unread == {}


def test_what_the_faces_say_of_each_case(run: RunFolder) -> None:
    cells = {
        (case["id"], target): words.cell(run.result, case, target)[0]
        for case in run.result["cases"]
        for target in run.others
    }
    assert cells == {
        ("cases/x.py::moved", "torch"): "divergent",
        ("cases/x.py::moved", "jax"): "identical",
        ("cases/x.py::lost", "torch"): "unavailable",
        ("cases/x.py::lost", "jax"): "unavailable",
    }
    assert words.total(run.result) == "2 cases on torch, jax: 1 differ, 1 failed to run."
    assert "nothing that the traces name changed" in words.golden(run.result)[1]


def test_markdown_and_html_say_what_lies_between(run: RunFolder) -> None:
    for text in (markdown.summary(run), html.page(run).decode()):
        assert f"old is {run.path.parent}/old, new is {run.path.parent}/new" in text
        assert "torch against torch (old): " in text


def test_the_page_draws_each_target_against_what_it_was(run: RunFolder) -> None:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*)</script>', html.page(run).decode())
    data = json.loads(text)
    assert data["cases"][0]["references"] == {"torch": "torch (old)", "jax": "jax (old)"}
    (curve, _) = data["cases"][0]["curves"]
    assert [target for target, values in curve["values"].items() if values is None] == ["jax"]
    drawn = {item["target"]: "".join(levels for _, levels in item["rows"]) for item in data["cases"][0]["maps"]}
    assert [target for target, levels in drawn.items() if set(levels) & set(LEVELS[CENTRE + 1 :])] == ["torch"]
    assert set(drawn["jax"]) == {"=", " "}


def test_junit_fails_and_errs_on_the_right_targets(run: RunFolder) -> None:
    text = junit.document(run).decode()
    assert text.count("<failure") == 1
    assert text.count("<error") == 2
    assert 'name="torch against old"' in text


def test_github_annotates_a_case_that_only_one_side_has(run: RunFolder) -> None:
    moved, lost = sorted(github.failures(run), key=lambda line: "lost" in line)
    assert "torch against torch (old)" in moved
    assert "cases/x.py%3A%3Alost on torch%3A unavailable" in lost
    assert "--targets 'jax (old)'" not in lost


def test_the_table_has_every_observation_of_what_was_compared(run: RunFolder) -> None:
    rows = list(table.rows(run, run.result["cases"][0]))
    assert {(row["target"], row["reference"]) for row in rows} == {("torch", "torch (old)"), ("jax", "jax (old)")}
    (first,) = [row for row in rows if (row["target"], row["key"]) == ("torch", KEY)]
    assert first["verdict"] == "divergent"


def test_a_result_from_before_golden_comparisons_is_read(run: RunFolder) -> None:
    data = json.loads((run.path / file.FILE).read_text(encoding="utf-8"))
    del data["golden"]
    (run.path / file.FILE).write_text(json.dumps(data), encoding="utf-8")
    assert words.golden(RunFolder.open(run.path).result) == []
