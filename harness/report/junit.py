"""JUnit XML: one suite for each target that is compared, one testcase for each case.

A difference is a `failure`. A case that failed to run on the target or on the reference is an `error`. A case that
differs as declared, or that agrees as far as a backend without gradients could run it, is `skipped`, with the reason.
A run that did not come to its end is an `error` of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from harness.errors import printable
from harness.report import words
from harness.report.blocks import Block, failures, plain
from harness.result.outcome import FAILING, Outcome
from harness.result.run_folder import RunFolder
from harness.result.schema import CaseJson
from harness.verdict import Verdict


def document(run: RunFolder) -> bytes:
    """The whole file, as UTF-8."""
    root = ET.Element("testsuites", name="harness")
    blocks = failures(run, run.result["cases"])
    told: dict[int, str] = {}
    for target in run.others or [run.result["reference"]]:
        root.append(_suite(run, target, blocks, told))
    for sentence in words.unfinished(run.result):
        suite = ET.SubElement(root, "testsuite", name="the run", tests="1", failures="0", errors="1", skipped="0")
        case = ET.SubElement(suite, "testcase", classname="harness", name="the run came to its end")
        ET.SubElement(case, "error", type="unfinished", message=printable(sentence))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(run: RunFolder, target: str, blocks: Sequence[Block], told: dict[int, str]) -> ET.Element:
    """The suite of a target.

    Args:
        told: where each block was told in full, by its number. What is told here is added.
    """
    result = run.result
    outcomes = [words.outcome_on(result, case, target) for case in result["cases"]]
    cases = [
        _case(run, case, target, outcome, blocks, told) for case, outcome in zip(result["cases"], outcomes, strict=True)
    ]
    suite = ET.Element(
        "testsuite",
        name=printable(f"{target} against {result['reference']}" if run.others else target),
        tests=str(len(cases)),
        failures=str(outcomes.count("differ")),
        errors=str(sum(found in FAILING for found in outcomes) - outcomes.count("differ")),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        time=f"{sum(_seconds(case, target) for case in result['cases']):.3f}",
    )
    suite.extend(cases)
    return suite


def _case(
    run: RunFolder, case: CaseJson, target: str, outcome: Outcome, blocks: Sequence[Block], told: dict[int, str]
) -> ET.Element:
    file, _, name = printable(case["id"]).partition("::")
    element = ET.Element("testcase", classname=file, name=name or file, time=f"{_seconds(case, target):.3f}")
    if outcome == "known":
        comparison = words.comparison_on(case, target)
        reasons = [] if comparison is None else comparison["known"]
        message = "; ".join(f"{expected['verdict']}: {expected['reason']}" for expected in reasons)
        ET.SubElement(element, "skipped", message=printable(message))
    elif outcome in FAILING:
        own = _own(run, case, target, outcome, blocks)
        title = blocks[own[0]].title if own else f"{case['id']} on {target}: {outcome}"
        tag = "failure" if outcome == "differ" else "error"
        child = ET.SubElement(element, tag, type=_kind(run, case, target, own, blocks), message=printable(title))
        here = f"{case['id']} on {target}"
        texts = [f"{blocks[n].title}\n  told in full with {told[n]}" if n in told else plain(blocks[n]) for n in own]
        told.update({n: here for n in own if n not in told})
        child.text = printable("\n\n".join(texts))
    elif (reason := words.stopped(run.result, case, target)) is not None:
        said, _ = words.cell(run.result, case, target)
        ET.SubElement(element, "skipped", message=printable(f"{said}: {reason}"))
    return element


def _own(run: RunFolder, case: CaseJson, target: str, outcome: Outcome, blocks: Sequence[Block]) -> list[int]:
    """The numbers of the blocks that make a case fail on a target, with those of a reference that failed to run."""
    about = words.sides_of(run.result, target) if outcome == "error" else (target,)
    return [n for n, block in enumerate(blocks) if any((case["id"], side) in block.on for side in about)]


def _kind(run: RunFolder, case: CaseJson, target: str, own: Sequence[int], blocks: Sequence[Block]) -> str:
    """The verdict of a comparison, if it is that which fails; else how the run ended, or why it fails."""
    comparison = words.comparison_on(case, target)
    verdict = None if comparison is None else words.verdict_of(run.result, comparison)
    kinds = [blocks[n].kind for n in own]
    if verdict is not None and kinds and kinds[0] in words.MEANINGS:
        fails = words.is_bad(verdict, Verdict.parse(run.result["fail_on"]))
        return verdict if fails else kinds[0]
    return kinds[0] if kinds else words.outcome_on(run.result, case, target)


def _seconds(case: CaseJson, target: str) -> float:
    item = words.run_on(case, target)
    return 0.0 if item is None else item["seconds"]
