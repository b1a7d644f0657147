"""The outcome of one item, by its comparison: it passes, fails with the finding, is skipped, or is expected to fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from harness.target import Target

if TYPE_CHECKING:
    from harness.pytest_plugin.session import ParitySession
    from harness.result.outcome import Outcome
    from harness.result.schema import CaseJson, ComparisonJson
    from harness.verdict import VerdictName

#: The verdict of a comparison that had nothing to compare.
NOTHING = "not compared"


class FoundError(Exception):
    """An item failed. Only this message is printed, because a traceback would show nothing but the harness."""


@dataclass(frozen=True)
class Found:
    """The outcome of a case or test on a target.

    Attributes:
        text: what makes it fail, or the reasons of the declared differences.
        stopped: why only what comes before training was compared; None if everything was.
        properties: for JUnit and the summary.
    """

    outcome: Outcome
    text: str
    properties: Mapping[str, str]
    stopped: str | None = None


def settle(item: pytest.Item, case: CaseJson, target: Target, session: ParitySession) -> None:
    """Let an item pass, fail, be skipped or xfail, by the outcome of its case on a target."""
    found = found_on(case, target, session)
    item.user_properties.extend(found.properties.items())
    if found.outcome == "known" and not item.config.option.runxfail:
        pytest.xfail(found.text)
    if found.outcome != "agree":
        raise FoundError(found.text)
    if found.stopped is not None:
        pytest.skip(found.stopped)


def found_on(case: CaseJson, target: Target, session: ParitySession) -> Found:
    """The outcome on one target of a case of `result.json`."""
    from harness.report import words
    from harness.report.blocks import failures, plain
    from harness.result.run_folder import RunFolder

    run = RunFolder(session.folder, shown_path(session), session.workflow.result().to_json())
    outcome = words.outcome_on(run.result, case, str(target))
    comparison = words.comparison_on(case, str(target))
    reference = words.reference_of(run.result, case, str(target))
    properties = {"parity_target": str(target), "parity_reference": reference}
    if comparison is not None:
        properties |= _properties(comparison, words.verdict_of(run.result, comparison))
    if outcome == "known" and comparison is not None:
        reasons = [f"{expected['verdict']}: {expected['reason']}" for expected in comparison["known"]]
        return Found(outcome, "; ".join(reasons), properties)
    sides = words.sides_of(run.result, str(target))
    blocks = [block for block in failures(run, [case]) if any((case["id"], side) in block.on for side in sides)]
    text = "\n".join(map(plain, blocks))
    return Found(outcome, text, properties, words.stopped(run.result, case, str(target)))


def _properties(comparison: ComparisonJson, verdict: VerdictName | None) -> dict[str, str]:
    first, blame = comparison["first"], comparison["blame"]
    found = {
        "parity_verdict": verdict or (NOTHING if comparison["unrepeated"] is None else "nondeterministic"),
        "parity_observations": str(comparison["observations"]),
        "parity_not_compared": str(comparison["not_compared"]),
    }
    if first is not None:
        found |= {"parity_first": first["key"], "parity_phase": first["phase"], "parity_layer": first["layer"] or ""}
    if blame is not None:
        found |= {"parity_blame": blame["text"], "parity_repro": blame["repro"] or ""}
    return {name: value for name, value in found.items() if value}


def shown_path(session: ParitySession) -> str:
    """The session's folder, as the caller would type it."""
    path = session.place
    here = session.config.invocation_params.dir
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
