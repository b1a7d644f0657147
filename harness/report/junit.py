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
from harness.result.outcome import FAILING, Outcome
from harness.result.run_folder import RunFolder
from harness.result.schema import CaseJson


def document(run: RunFolder) -> bytes:
    """The whole file, as UTF-8."""
    root = ET.Element("testsuites", name="harness")
    for target in run.others or [run.result["reference"]]:
        root.append(_suite(run, target))
    for sentence in words.unfinished(run.result):
        suite = ET.SubElement(root, "testsuite", name="the run", tests="1", failures="0", errors="1", skipped="0")
        case = ET.SubElement(suite, "testcase", classname="harness", name="the run came to its end")
        ET.SubElement(case, "error", type="unfinished", message=printable(sentence))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(run: RunFolder, target: str) -> ET.Element:
    result = run.result
    outcomes = [words.outcome_on(result, case, target) for case in result["cases"]]
    cases = [_case(run, case, target, outcome) for case, outcome in zip(result["cases"], outcomes, strict=True)]
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


def _case(run: RunFolder, case: CaseJson, target: str, outcome: Outcome) -> ET.Element:
    file, _, name = printable(case["id"]).partition("::")
    element = ET.Element("testcase", classname=file, name=name or file, time=f"{_seconds(case, target):.3f}")
    if outcome == "known":
        comparison = words.comparison_on(case, target)
        reasons = [] if comparison is None else comparison["known"]
        message = "; ".join(f"{expected['verdict']}: {expected['reason']}" for expected in reasons)
        ET.SubElement(element, "skipped", message=printable(message))
    elif outcome in FAILING:
        blocks = _blocks(run, case, target, outcome)
        kind, title = (blocks[0].kind, blocks[0].title) if blocks else (outcome, f"{case['id']} on {target}: {outcome}")
        tag = "failure" if outcome == "differ" else "error"
        child = ET.SubElement(element, tag, type=kind, message=printable(title))
        child.text = printable("\n\n".join(map(words.plain, blocks)))
    elif (reason := words.stopped(run.result, case, target)) is not None:
        said, _ = words.cell(run.result, case, target)
        ET.SubElement(element, "skipped", message=printable(f"{said}: {reason}"))
    return element


def _blocks(run: RunFolder, case: CaseJson, target: str, outcome: Outcome) -> Sequence[words.Block]:
    """What makes a case fail on a target: its own blocks and, for a case that failed to run, those of the reference."""
    about = words.sides_of(run.result, target) if outcome == "error" else (target,)
    return [block for block in words.failures(run, case) if block.target in about]


def _seconds(case: CaseJson, target: str) -> float:
    item = words.run_on(case, target)
    return 0.0 if item is None else item["seconds"]
