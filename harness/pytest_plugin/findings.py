"""What a comparison comes to for one item: it passes, fails with the finding, or is expected to fail."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from harness.target import Target

if TYPE_CHECKING:
    from harness.pytest_plugin.session import ParitySession

#: The verdict of a comparison that had nothing to compare.
NOTHING = "not compared"
#: Width of the text of a finding: as wide as most logs show.
_WIDTH = 120


class FoundError(Exception):
    """An item failed, and this is all there is to say: a traceback would be one of the harness."""


@dataclass(frozen=True)
class Outcome:
    """What a target's run of a case or test comes to.

    Attributes:
        kind: `known` where only declared differences were found.
        text: what was found, or the reason of the declared difference.
        properties: for JUnit and the summary.
    """

    kind: Literal["agree", "differ", "error", "known"]
    text: str
    properties: Mapping[str, str]


def settle(item: pytest.Item, case: Mapping[str, Any], target: Target, session: ParitySession) -> None:
    """Let an item end as its case did on a target."""
    outcome = outcome_of(case, target, session)
    item.user_properties.extend(outcome.properties.items())
    if outcome.kind == "known" and not item.config.option.runxfail:
        pytest.xfail(outcome.text)
    if outcome.kind != "agree":
        raise FoundError(outcome.text)


def outcome_of(case: Mapping[str, Any], target: Target, session: ParitySession) -> Outcome:
    """Read a case of `result.json` from the side of one target."""
    from harness.verdict import Verdict

    settings = session.settings
    runs = {run["target"]: run for run in case["runs"] if run["target"] in (str(target), str(settings.reference))}
    comparison = next((item for item in case["comparisons"] if item["target"] == str(target)), None)
    properties = {"parity_target": str(target), "parity_reference": str(settings.reference)}
    if comparison is not None:
        properties |= _properties(comparison)
        seen = [comparison, *([comparison["continuation"]] if comparison["continuation"] else [])]
        unexpected = [Verdict.parse(item["unexpected"]) for item in seen if item["unexpected"]]
        if comparison["fixed"] or any(verdict >= settings.fail_on for verdict in unexpected):
            return Outcome("differ", _text(case, runs, comparison, session), properties)
    if any(run["status"] != "ok" for run in runs.values()):
        return Outcome("error", _text(case, runs, comparison, session), properties)
    if comparison is not None and comparison["known"]:
        reasons = [f"{expected['verdict']}: {expected['reason']}" for expected in comparison["known"]]
        return Outcome("known", "; ".join(reasons), properties)
    return Outcome("agree", "", properties)


def _properties(comparison: Mapping[str, Any]) -> dict[str, str]:
    first, blame = comparison["first"], comparison["blame"]
    found = {
        "parity_verdict": comparison["verdict"] or NOTHING,
        "parity_observations": str(comparison["observations"]),
        "parity_not_compared": str(comparison["not_compared"]),
    }
    if first is not None:
        found |= {"parity_first": first["key"], "parity_phase": first["phase"], "parity_layer": first["layer"] or ""}
    if blame is not None:
        found |= {"parity_blame": blame["text"], "parity_repro": blame["repro"] or ""}
    return {name: value for name, value in found.items() if value}


def _text(
    case: Mapping[str, Any],
    runs: Mapping[str, Mapping[str, Any]],
    comparison: Mapping[str, Any] | None,
    session: ParitySession,
) -> str:
    """The blocks that the command line prints of a failure."""
    from rich.console import Console

    from harness.report.console import print_failures

    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, highlight=False, soft_wrap=True)
    shown = {**case, "runs": list(runs.values()), "comparisons": [] if comparison is None else [comparison]}
    print_failures(console, shown, str(session.settings.reference), session.settings.fail_on, shown_path(session))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().strip("\n")


def shown_path(session: ParitySession) -> str:
    """The session's folder, as the caller would type it."""
    path = session.place
    here = session.config.invocation_params.dir
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
