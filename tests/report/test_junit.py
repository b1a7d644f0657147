"""JUnit XML: what the schema of Jenkins' xUnit takes, and what a reader makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hostile
import pytest
from lxml import etree

from harness.errors import printable
from harness.report import junit
from harness.result.run_folder import RunFolder

#: From https://github.com/jenkinsci/xunit-plugin (MIT), as pytest ships it for its own tests.
SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parents[1] / "data" / "junit-10.xsd"))


def suites(run: RunFolder) -> dict[str, Any]:
    """The suites of a document that the schema takes, by name."""
    root = etree.fromstring(junit.document(run))
    SCHEMA.assertValid(root)
    return {suite.get("name"): suite for suite in root}


def outcomes(suite: Any) -> dict[str, str | None]:
    """The element that tells each case's outcome, by the case's name."""
    return {f"{case.get('classname')}::{case.get('name')}": next((child.tag for child in case), None) for case in suite}


def test_there_is_a_suite_for_each_target_that_is_compared_with_a_testcase_for_each_case(run: RunFolder) -> None:
    found = suites(run)
    assert list(found) == ["tensorflow against torch", "jax against torch"]
    for suite in found.values():
        assert list(outcomes(suite)) == [case["id"] for case in run.result["cases"]]


def test_failures_errors_and_known_differences_are_told_apart_on_each_target(run: RunFolder) -> None:
    found = suites(run)
    assert outcomes(found["jax against torch"]) == {
        "cases/a.py::agrees": None,
        "cases/a.py::differs[1]": "failure",
        "cases/b.py::events": None,
        "cases/b.py::fails": "error",
        "cases/b.py::declared": "skipped",
        "cases/c.py::reference_fails": "error",
    }
    assert [name for name, tag in outcomes(found["tensorflow against torch"]).items() if tag] == [
        "cases/b.py::events",
        "cases/c.py::reference_fails",
    ]


@pytest.mark.parametrize("name", ["jax against torch", "tensorflow against torch"])
def test_the_sums_are_those_of_the_testcases(run: RunFolder, name: str) -> None:
    suite = suites(run)[name]
    tags = list(outcomes(suite).values())
    counted = {"tests": len(tags)}
    counted |= {"failures": tags.count("failure"), "errors": tags.count("error"), "skipped": tags.count("skipped")}
    assert {what: int(suite.get(what)) for what in counted} == counted
    assert float(suite.get("time")) == pytest.approx(sum(float(case.get("time")) for case in suite))


def test_a_failure_says_what_where_whose_and_how_big(run: RunFolder) -> None:
    (failure,) = [child for case in suites(run)["jax against torch"] for child in case if child.tag == "failure"]
    assert failure.get("type") == "divergent"
    assert failure.get("message").startswith("jax: 'model/smooth/output' in the forward pass differs: 1.6e-02 off")
    for words in ("layer smooth", "forward/0/model/smooth/output", "explains", "only jax differs", "harness show"):
        assert words in failure.text


def test_a_known_difference_has_its_reason_and_an_error_its_message(run: RunFolder) -> None:
    suite = suites(run)["jax against torch"]
    (skipped,) = suite.findall("testcase/skipped")
    assert "it is so" in skipped.get("message")
    crashed, of_the_reference = suite.findall("testcase/error")
    assert "it ended with signal 11" in crashed.text
    assert crashed.get("type") == "crashed"
    assert "on torch: error" in of_the_reference.get("message")
    assert "told in full with cases/c.py::reference_fails on tensorflow" in of_the_reference.text
    (told,) = suites(run)["tensorflow against torch"].findall("testcase/error")
    assert "ValueError: no\n" in told.text


@hostile.anything
def test_hostile_text_stays_text(run: RunFolder, text: str) -> None:
    poisoned = hostile.poisoned(run, text)
    found = suites(poisoned)
    assert list(found) == [f"{printable(text)}{name} against {printable(text)}torch" for name in ("tensorflow", "jax")]
    for name, suite in suites(run).items():
        (other,) = [item for shown, item in found.items() if shown.startswith(printable(text) + name.split()[0])]
        assert [child.tag for child in other.iter()] == [child.tag for child in suite.iter()]
