"""The private places of pytest that the harness touches outside of tests' own sessions, each guarded by a test."""

from __future__ import annotations

from collections.abc import Callable


def expression(text: str) -> Callable[[Callable[[str], bool]], bool]:
    """An expression as `pytest -k` takes it: words, `and`, `or`, `not` and parentheses.

    Returns:
        Evaluates the expression, given what a word means.

    Raises:
        SyntaxError: the text is no such expression.
    """
    from _pytest.mark.expression import Expression

    compiled = Expression.compile(text)
    return lambda matches: compiled.evaluate(lambda word, /, **_: matches(word))
