"""The private places of pytest: where one has moved, this says so."""

from __future__ import annotations

import pytest

from harness import pytest_internals


@pytest.mark.parametrize(
    ("text", "words", "holds"),
    [
        ("a and not b", {"a"}, True),
        ("a and not b", {"a", "b"}, False),
        ("(a or b) and c", {"b", "c"}, True),
        ("(a or b) and c", {"c"}, False),
    ],
)
def test_an_expression_is_what_it_is_for_pytest(text: str, words: set[str], holds: bool) -> None:
    assert pytest_internals.expression(text)(lambda word: word in words) is holds


def test_what_is_no_expression_is_a_syntax_error() -> None:
    with pytest.raises(SyntaxError):
        pytest_internals.expression("a and")
