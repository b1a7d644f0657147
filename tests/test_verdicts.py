"""Verdicts as words: their order, and their names."""

from __future__ import annotations

from typing import get_args

import pytest

from harness.verdict import Verdict, VerdictName


def test_verdicts_are_ordered_from_best_to_worst() -> None:
    names = ["identical", "rounding", "leak", "imprecise", "divergent", "mismatch"]
    assert [str(verdict) for verdict in sorted(Verdict)] == names
    assert [Verdict.parse(name) for name in names] == sorted(Verdict)
    assert list(get_args(VerdictName)) == names


def test_a_name_that_is_no_verdict_is_named_beside_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"'wrong' is not a verdict.* identical, rounding, leak"):
        Verdict.parse("wrong")
