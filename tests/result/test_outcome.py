"""What a run comes to: the exit status of its outcomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.result.model import CaseResult, Result, Unfinished
from harness.result.outcome import OUTCOMES, exit_status, worst
from harness.verdict import Verdict


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], 0),
        (["agree"], 0),
        (["agree", "known"], 0),
        (["differ"], 1),
        (["error"], 3),
        (["agree", "error", "known"], 3),
        (["error", "differ"], 1),
        (["differ", "error", "agree"], 1),
        (["agree"] * 50 + ["differ"], 1),
    ],
)
def test_a_difference_goes_before_an_error_and_an_error_before_agreement(outcomes: list[str], status: int) -> None:
    cases = [CaseResult("x.py::y", outcome, [], []) for outcome in outcomes]
    result = Result("torch", ["torch", "jax"], "both", Verdict.DIVERGENT, cases=cases)
    assert result.exit_status == exit_status(outcomes, is_unfinished=False) == status
    unfinished = replace(result, unfinished=Unfinished("SIGTERM interrupted it", 2))
    assert unfinished.exit_status == (1 if status == 1 else 4)
    assert result.to_json()["exit_status"] == status


def test_outcomes_have_an_order_in_which_differ_is_the_worst() -> None:
    assert worst([]) == "agree"
    for position, outcome in enumerate(OUTCOMES):
        assert worst(reversed(OUTCOMES[position:])) == outcome
