"""Reports of targets that are made of other versions: every face says of which, and where it matters."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import Case, write_run

from harness.report import html, junit, markdown, words
from harness.report.blocks import blocks
from harness.report.console import print_result
from harness.result.file import FILE
from harness.result.run_folder import RunFolder
from harness.verdict import Verdict

OLD = "torch@old/bin/python"
SAID = "keras 3.10.0 against 3.15.1, Python 3.11.7 against 3.12.1"


def run_of(folder: Path, **old: object) -> RunFolder:
    """A case that differs and one that agrees, on torch and in another environment, of which `old` is told."""
    cases = [Case("x.py::differs", wrong={OLD: "forward/0/model/smooth/output"}), Case("x.py::agrees")]
    write_run(folder, cases, ("torch", OLD))
    result = json.loads((folder / FILE).read_text(encoding="utf-8"))
    for case in result["cases"]:
        for run in case["runs"]:
            versions = run["environment"]["versions"]
            run["environment"] |= {"versions": versions, "python": "3.12.1"} if run["target"] == "torch" else old
    (folder / FILE).write_text(json.dumps(result), encoding="utf-8")
    return RunFolder.open(folder)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return run_of(tmp_path / "run", versions={"keras": "3.10.0", "numpy": "2.4.6", "extra": "1"}, python="3.11.7")


def printed(run: RunFolder) -> str:
    output = io.StringIO()
    print_result(Console(file=output, width=200), run, "result.json")
    return output.getvalue()


def test_the_finding_says_between_which_versions_it_lies(run: RunFolder) -> None:
    (block,) = blocks(run, run.result["cases"], Verdict.DIVERGENT)
    assert dict(block.facts)["between"] == SAID


def test_what_lies_between_targets_is_told_once_where_they_agree_too(run: RunFolder) -> None:
    assert words.versions(run.result) == [f"{OLD} against torch: {SAID}"]


def test_every_face_tells_it(run: RunFolder) -> None:
    for face in (printed(run), markdown.summary(run), junit.document(run).decode(), html.page(run).decode()):
        assert "3.10.0" in face
        assert "3.15.1" in face
    assert f"between targets\n  {OLD} against torch: {SAID}\n" in printed(run)


def test_targets_of_one_environment_say_nothing_of_it(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", python="3.12.1")
    (block,) = blocks(run, run.result["cases"], Verdict.DIVERGENT)
    assert "between" not in dict(block.facts)
    assert words.versions(run.result) == []
    assert "between targets" not in printed(run)


@pytest.mark.parametrize("versions", [None, "3.10.0", ["keras"], {"keras": None}])
def test_a_strangers_trace_that_tells_no_versions_is_taken_as_such(tmp_path: Path, versions: object) -> None:
    assert words.versions(run_of(tmp_path / "run", versions=versions).result) == []
