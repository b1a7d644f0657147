"""The catalogue: docs/cases.md maps every row to cases that are there, and every case belongs to a row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = [
    f"{family}{i + 1}"
    for family, count in zip("ABCDEFGH", (6, 6, 6, 10, 8, 2, 5, 9), strict=True)
    for i in range(count)
]


def documented() -> list[tuple[str, str, str]]:
    """Row, file and function of each entry of the table in docs/cases.md."""
    text = (ROOT / "docs" / "cases.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| ([A-H]\d+) \| `(\w+\.py)` \| (.+) \|$", text, re.MULTILINE)
    return [(row, file, name) for row, file, cases in lines for name in re.findall(r"`(\w+)`", cases)]


def is_case(decorator: ast.expr) -> bool:
    """Whether a decorator is `@case` or `@case(...)`."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "case"


def shipped() -> list[tuple[str, str]]:
    """File and function of each case under cases/."""
    return [
        (file.name, statement.name)
        for file in sorted((ROOT / "cases").glob("*.py"))
        for statement in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.FunctionDef) and any(map(is_case, statement.decorator_list))
    ]


def test_every_row_has_a_case_and_rows_are_in_order() -> None:
    assert list(dict.fromkeys(row for row, _, _ in documented())) == ROWS


def test_the_table_names_every_case_and_no_other() -> None:
    assert sorted({(file, name) for _, file, name in documented()}) == sorted(shipped())


def test_no_two_cases_of_a_file_share_a_name() -> None:
    assert len(set(shipped())) == len(shipped()) > 100


def test_the_page_describes_every_file() -> None:
    text = (ROOT / "docs" / "cases.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `cases/(\w+\.py)` \|", text, re.MULTILINE)
    assert sorted(described) == sorted({file for file, _ in shipped()})
