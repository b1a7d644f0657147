"""What GitHub's runner makes of our lines, by its own rules."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import hostile
import pytest
from synthetic import blame

from harness.errors import HarnessError, printable
from harness.report import github
from harness.report.markdown import summary
from harness.result.run_folder import RunFolder


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner reads it (`ActionCommand.TryParseV2` of actions/runner)."""
    assert line.startswith("::")
    assert line.splitlines() == [line]
    head, _, data = line[2:].partition("::")
    command, _, listed = head.partition(" ")
    properties = dict(part.split("=", 1) for part in listed.split(","))
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ",")):
        properties = {name: value.replace(code, character) for name, value in properties.items()}
    data = data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
    return command, {name: value.replace("%25", "%") for name, value in properties.items()}, data


def test_each_cause_is_annotated_in_its_file(run: RunFolder) -> None:
    found = [parsed(line) for line in github.failures(run)]
    assert [(command, properties["file"]) for command, properties, _ in found] == [
        ("error", "cases/a.py"),
        ("error", "cases/b.py"),
        ("error", "cases/b.py"),
        ("error", "cases/c.py"),
    ]
    assert found[0][1]["title"].startswith("jax: 'model/smooth/output' in the forward pass differs: ")
    assert "cases/a.py::differs[1]" in found[0][2]
    assert "layer smooth" in found[0][2]
    assert "it ended with signal 11" in found[2][2]


@pytest.mark.parametrize(
    ("culprit", "file", "line"),
    [
        ("layer 'norm' (RMSNorm, net.py:12)", "net.py", "12"),
        ("Net.train_step (src/net.py:7)", "src/net.py", "7"),
        ("layer 'norm' (RMSNorm, other.py:12)", "cases/a.py", None),  # there is no such file
        ("layer 'norm' (RMSNorm, ../net.py:12)", "cases/a.py", None),
        ("layer 'norm' (RMSNorm, /etc/net.py:12)", "cases/a.py", None),
        ("the case's data: y", "cases/a.py", None),
        (None, "cases/a.py", None),
    ],
    ids=["layer", "step", "missing", "above", "elsewhere", "data", "nothing"],
)
def test_an_annotation_points_at_the_line_of_what_is_to_be_opened(
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    culprit: str | None,
    file: str,
    line: str | None,
) -> None:
    (tmp_path / "here/src").mkdir(parents=True)
    for name in ("net.py", "here/net.py", "here/src/net.py"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "here")
    case = copy.deepcopy(run.result["cases"][1])
    (comparison,) = [item for item in case["comparisons"] if item["target"] == "jax"]
    comparison["blame"] = blame(comparison, culprit=culprit)
    (command,) = github.failures(replace(run, result={**run.result, "cases": [case]}))
    properties = parsed(command)[1]
    assert (properties["file"], properties.get("line")) == (file, line)


@pytest.mark.parametrize(("count", "shown"), [(10, 10), (11, 10), (30, 10)])
def test_there_are_no_more_than_github_shows_and_the_rest_is_counted(run: RunFolder, count: int, shown: int) -> None:
    cases = [{**run.result["cases"][1], "id": f"cases/a.py::differs[{number}]"} for number in range(count)]
    lines = github.failures(replace(run, result={**run.result, "cases": cases}))
    assert len(lines) == shown
    assert [f"{count - 9} more failures" in line for line in lines] == [False] * 9 + [count > 10]


def test_the_summary_is_appended_to_the_file_that_github_shows(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "summary"
    file.write_text("before\n", encoding="utf-8")
    github.append_summary(run, {"GITHUB_STEP_SUMMARY": str(file)})
    assert file.read_text(encoding="utf-8") == "before\n" + summary(run)


@pytest.mark.parametrize("environment", [{}, {"GITHUB_STEP_SUMMARY": ""}])
def test_without_such_a_file_the_variable_is_named(run: RunFolder, environment: dict[str, str]) -> None:
    with pytest.raises(HarnessError, match="GITHUB_STEP_SUMMARY"):
        github.append_summary(run, environment)


@hostile.anything
def test_hostile_text_stays_text(run: RunFolder, text: str) -> None:
    lines = github.failures(hostile.poisoned(run, text))
    assert len(lines) == 4
    for line, case in zip(
        lines, [case for case in run.result["cases"] if case["outcome"] in ("differ", "error")], strict=True
    ):
        command, properties, data = parsed(line)
        assert (command, list(properties)) == ("error", ["file", "title"])
        assert "".join((printable(text) + case["id"]).split()) in "".join(data.split())
        assert properties["title"] == data[: len(properties["title"])]
