"""`harness init`: what it writes, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.project.scaffold import init

NAMES = ["pyproject.toml", "tox.ini", "cases/first_case.py", ".github/workflows/parity.yml", ".gitignore"]
PROJECT = '[project]\nname = "x"\nversion = "1"  # the first\n'


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A project that has nothing but its metadata."""
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    return tmp_path


def test_a_bare_project_gets_everything(library: Path) -> None:
    report = init(library)
    assert (report.written, report.left, report.by_hand) == (NAMES, [], {})
    assert sorted(contents(library)) == sorted(NAMES)
    text = (library / "pyproject.toml").read_text(encoding="utf-8")
    assert text.startswith(PROJECT)
    assert tomllib.loads(text)["tool"]["pytest"]["ini_options"] == {"parity_targets": "torch,tensorflow,jax"}
    assert (library / ".gitignore").read_text(encoding="utf-8") == "/runs/\n"


def test_once_more_changes_nothing(library: Path) -> None:
    init(library)
    before = contents(library)
    report = init(library)
    assert contents(library) == before
    assert report.written == []
    assert sorted(report.left) == sorted(["cases/first_case.py", ".github/workflows/parity.yml", ".gitignore"])
    assert sorted(report.by_hand) == ["the configuration of pytest", "the configuration of tox"]


@pytest.mark.parametrize(
    ("name", "left", "by_hand"),
    [
        ("tox.ini", [], ["the configuration of tox"]),
        ("cases/first_case.py", ["cases/first_case.py"], []),
        (".github/workflows/parity.yml", [".github/workflows/parity.yml"], []),
    ],
)
def test_a_file_that_is_there_is_never_overwritten(
    library: Path, name: str, left: list[str], by_hand: list[str]
) -> None:
    (library / name).parent.mkdir(parents=True, exist_ok=True)
    (library / name).write_text("[mine]\n", encoding="utf-8")
    report = init(library)
    assert (library / name).read_text(encoding="utf-8") == "[mine]\n"
    assert (report.left, list(report.by_hand)) == (left, by_hand)
    assert report.written == [other for other in NAMES if other != name]


PYTEST_ELSEWHERE = [
    ("pytest.ini", ""),
    ("tox.ini", "[pytest]\n"),
    ("setup.cfg", "[metadata]\nname = x\n[tool:pytest]\n"),
    ("setup.cfg", "not a section\n"),
    ("pyproject.toml", PROJECT + "[tool.pytest.ini_options]\n"),
    ("pyproject.toml", PROJECT + "[tool.pytest]\n"),
]
TOX_ELSEWHERE = [
    ("tox.toml", ""),
    ("setup.cfg", "[tox:tox]\n"),
    ("pyproject.toml", PROJECT + "[tool.tox]\n"),
]


@pytest.mark.parametrize(("name", "text"), PYTEST_ELSEWHERE)
def test_where_pytest_is_configured_its_table_is_left_to_be_added_by_hand(library: Path, name: str, text: str) -> None:
    (library / name).write_text(text, encoding="utf-8")
    before = contents(library)
    report = init(library)
    assert 'parity_targets = "torch,tensorflow,jax"' in report.by_hand["the configuration of pytest"]
    assert before.items() <= contents(library).items()


@pytest.mark.parametrize(("name", "text"), TOX_ELSEWHERE)
def test_where_tox_is_configured_no_file_takes_precedence_over_that(library: Path, name: str, text: str) -> None:
    (library / name).write_text(text, encoding="utf-8")
    report = init(library)
    assert not (library / "tox.ini").exists()
    assert "[testenv:parity]" in report.by_hand["the configuration of tox"]
    assert "[tox]" not in report.by_hand["the configuration of tox"]


def test_without_metadata_no_metadata_is_made(tmp_path: Path) -> None:
    report = init(tmp_path)
    assert not (tmp_path / "pyproject.toml").exists()
    assert "parity_targets" in report.by_hand["the configuration of pytest"]


@pytest.mark.parametrize(
    ("text", "left"), [("runs/\n", True), ("*.pyc", False), ("/runs\n", True), ("runs.txt\n", False)]
)
def test_runs_are_ignored_once(library: Path, text: str, left: bool) -> None:
    (library / ".gitignore").write_text(text, encoding="utf-8")
    report = init(library)
    assert (".gitignore" in report.left) == left
    lines = (library / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert lines == text.splitlines() + ([] if left else ["/runs/"])


def test_what_is_no_folder_is_refused(library: Path) -> None:
    for place in (library / "gone", library / "pyproject.toml"):
        with pytest.raises(HarnessError, match=r"is not a folder\. Name the folder of your project"):
            init(place)


def test_metadata_that_cannot_be_read_are_refused_before_anything_is_written(library: Path) -> None:
    (library / "pyproject.toml").write_text("[project", encoding="utf-8")
    before = contents(library)
    with pytest.raises(HarnessError, match=r"pyproject.toml' cannot be read: .*Mend it first"):
        init(library)
    assert contents(library) == before


def test_the_command_says_what_it_wrote_what_it_left_and_what_to_add(project: Any) -> None:
    project.write("lib/tox.ini", "[tox]\n")
    project.write("lib/.gitignore", "runs/\n")
    done = project.harness("init", "lib")
    assert done.returncode == 0, done.stderr
    assert "written: lib/cases/first_case.py\n" in done.stdout
    assert "there already, left: lib/.gitignore\n" in done.stdout
    assert "add to the configuration of tox by hand:" in done.stdout
    assert "[testenv:parity]" in done.stdout
    assert project.harness("init", "gone").returncode == 2


# What tox makes of it


def tox_config(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "tox", "config", "--root", str(folder), "-c", str(folder / "tox.ini"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("theirs", [None, "[tox]\nenv_list = py\n\n[testenv]\ncommands = python -m pytest\n"])
def test_tox_reads_environments_of_one_backend_each_and_one_of_none(library: Path, theirs: str | None) -> None:
    if theirs is not None:
        (library / "tox.ini").write_text(theirs, encoding="utf-8")
    report = init(library)
    if theirs is not None:
        added = theirs + "\n" + report.by_hand["the configuration of tox"]
        (library / "tox.ini").write_text(added, encoding="utf-8")
    for backend in ("torch", "tensorflow", "jax"):
        shown = tox_config(library, "-e", f"parity-{backend}", "-k", "deps", "commands")
        assert f"deps = keras-harness[{backend}]\n" in shown
        assert f"harness record cases --target {backend} --out {library}/runs/parity/{backend}\n" in shown
    shown = tox_config(library, "-e", "parity", "-k", "deps", "commands", "depends", "skip_install")
    assert "deps = keras-harness\n" in shown
    assert f"commands = harness compare {library}/runs/parity --out {library}/runs/compared\n" in shown
    assert [f"parity-{backend}" in shown for backend in ("torch", "tensorflow", "jax")] == [True] * 3
