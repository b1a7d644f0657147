"""What a case and a run come to: outcomes, the rules that lead to them, and the exit status of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from harness.verdict import Verdict

Outcome = Literal["differ", "error", "nondeterministic", "known", "agree"]
#: Outcomes, the worst first.
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

#: Outcomes that fail a test.
FAILING: tuple[Outcome, ...] = ("differ", "error", "nondeterministic")

#: Exit status of the command line. `BROKEN` is for a failure of the harness itself, or of the machine.
AGREE, DIFFER, WRONG_CALL, FAILED, BROKEN = 0, 1, 2, 3, 4


def outcome(
    unexpected: Iterable[Verdict | None],
    fail_on: Verdict,
    *,
    is_fixed: bool,
    has_failed: bool,
    is_unrepeated: bool,
    is_known: bool,
) -> Outcome:
    """What comparisons come to, of a case or of one of its targets.

    Args:
        unexpected: the worst verdict of each comparison that no declaration covers; None where nothing was compared.
        fail_on: the mildest verdict that counts as a real difference.
        is_fixed: whether a declared difference is gone.
        has_failed: whether a run failed, or was changed by the instruments.
        is_unrepeated: whether a target does not repeat what was to be compared.
        is_known: whether a declared difference was found.
    """
    if is_fixed or any(verdict is not None and verdict >= fail_on for verdict in unexpected):
        return "differ"
    if has_failed:
        return "error"
    if is_unrepeated:
        return "nondeterministic"
    return "known" if is_known else "agree"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of the outcomes; `agree` if there are none."""
    return min(outcomes, key=OUTCOMES.index, default="agree")


def exit_status(outcomes: Iterable[Outcome], *, is_unfinished: bool) -> int:
    """The exit status of a run whose cases have these outcomes. One that did not end is no agreement."""
    status = {"differ": DIFFER, "error": FAILED, "nondeterministic": FAILED}.get(worst(outcomes), AGREE)
    return BROKEN if is_unfinished and status != DIFFER else status
