"""The table of known differences in a pyproject.toml: what it excuses, what it refuses, and what matches nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.case import Expected, Known, matches
from harness.errors import HarnessError
from harness.judge.declared import unmatched
from harness.project.known import read


def entries(folder: Path, text: str) -> list[Known]:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return read(folder)


ENTRY = """
[[tool.harness.known]]
case = "cases/x.py::y[*]"
target = "tensorflow"
where = "log/*"
verdict = "divergent"
reason = "because"
link = "https://example.org/1"
keras = "<3.14"
"""


def test_an_entry_is_read(tmp_path: Path) -> None:
    expected = Expected("divergent", "because", "log/*", "https://example.org/1", "<3.14")
    assert entries(tmp_path, ENTRY) == [Known("cases/x.py::y[*]", "tensorflow", expected)]


def test_without_a_file_or_a_table_nothing_is_known(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    assert entries(tmp_path, "[tool.other]\nx = 1\n") == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("not toml", "cannot be read"),
        ("[tool.harness]\ncolour = 1", "'colour'"),
        ("[tool.harness]\nknown = 3", "not a list"),
        ("[tool.harness]\nknown = [3]", "is not a table"),
        (ENTRY.replace("verdict", "verdikt"), "'verdikt'"),
        (ENTRY.replace('"because"', "3"), "'reason': 3"),
        (ENTRY.replace('reason = "because"', ""), "has no 'reason'"),
        (ENTRY.replace('"divergent"', '"rounding"'), "names no difference"),
        (ENTRY.replace('"<3.14"', '"3.14 and older"'), r"keras='3\.14 and older'.* names no versions"),
    ],
)
def test_what_is_no_entry_is_refused_with_the_value_that_was_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(HarnessError, match=complaint):
        entries(tmp_path, text)


def test_an_entry_speaks_of_its_cases_on_its_backend_or_target() -> None:
    entry = Known("cases/x.py::y[*]", "torch", Expected("leak", "r"))
    assert entry.covers("cases/x.py::y[1]", "torch")
    assert entry.covers("cases/x.py::y[1]", "torch:cpu")
    assert not entry.covers("cases/x.py::y", "torch")
    assert not entry.covers("cases/x.py::y[1]", "jax")


def test_brackets_in_a_pattern_are_brackets() -> None:
    assert matches("a.py::c[1-x]", "a.py::c[1-x]")
    assert not matches("a.py::c[1-x]", "a.py::c1")
    assert matches("*::c[*]", "a/b.py::c[1]")


def test_what_matches_nothing_is_told(tmp_path: Path) -> None:
    found = entries(tmp_path, ENTRY + ENTRY.replace("y[*]", "z"))
    assert unmatched(found, ["cases/x.py::y[1]"], ["torch", "tensorflow"]) == [found[1]]
    assert unmatched(found, ["cases/x.py::y[1]"], ["torch", "jax"]) == found


@pytest.mark.parametrize(
    ("versions", "keras", "holds"),
    [
        ("", "3.12.4", True),
        ("<3.14", "3.12.4", True),
        ("<3.14", "3.15.1", False),
        (">=3.12,<3.15", "3.14.1", True),
        ("==3.12.*", "3.13.0", False),
        (">=3.15", "3.16.0.dev2026", True),
        ("<3.14", "", True),
        ("<3.14", "nightly", True),
    ],
)
def test_a_difference_may_be_of_some_versions_of_keras(versions: str, keras: str, holds: bool) -> None:
    assert Expected("leak", "r", keras=versions).holds_with(keras) is holds
