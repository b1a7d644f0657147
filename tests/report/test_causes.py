"""One finding for one cause: what is grouped, what the first line says, and that all reports say it alike."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from lxml import html as parser
from rich.console import Console
from synthetic import Case, blame, write_run

from harness.judge.compare import MOST_RECORDED, compare
from harness.report import github, html, junit, markdown, words
from harness.report.blocks import Block, blocks, failures, plain
from harness.report.causes import causes
from harness.report.console import Detail, print_result
from harness.result.run_folder import RunFolder
from harness.trace import Header, Observation, Trace, write
from harness.verdict import Verdict

OUTPUT = "forward/0/model/smooth/output"
NORM = "layer 'norm1' (RMSNorm, layers.py:15)"


def run_of(folder: Path, *cases: Case, **blames: dict[str, Any]) -> RunFolder:
    """An invented run, whose differences have these blames: by the name of the case and the target, joined by `_`."""
    run = RunFolder.open(write_run(folder / "run", cases))
    result = json.loads(json.dumps(run.result))
    for case in result["cases"]:
        for comparison in case["comparisons"]:
            told = blames.get(f"{case['id'].partition('::')[2]}_{comparison['target']}")
            if told is not None:
                comparison["blame"] = blame(comparison, **{"culprit": NORM, **told})
    return replace(run, result=result)


def found(run: RunFolder) -> list[Block]:
    return list(blocks(run, run.result["cases"], Verdict.DIVERGENT))


def fact(block: Block, label: str) -> str | None:
    return dict(block.facts).get(label)


def differs(name: str, target: str = "jax", key: str = OUTPUT) -> Case:
    return Case(f"cases/x.py::{name}", wrong={target: key})


def printed(run: RunFolder, detail: Detail = Detail.NORMAL) -> str:
    console = Console(file=io.StringIO(), width=10_000, color_system=None)
    print_result(console, run, "run/result.json", detail)
    return console.file.getvalue()  # type: ignore[attr-defined]


# What is one cause


def test_a_reference_that_stands_alone_is_told_once(tmp_path: Path) -> None:
    run = run_of(tmp_path, differs("a", "torch"))
    (block,) = found(run)
    assert block.on == (("cases/x.py::a", "tensorflow"), ("cases/x.py::a", "jax"))
    assert block.title == (
        "torch differs from tensorflow and jax, which agree: 'model/smooth/output' in the forward pass: 1.6e-02 off, "
        "where rounding explains 1.7e-06"
    )
    assert printed(run).count("which agree") == 1


def test_a_reference_that_stands_alone_is_told_once_whatever_the_search_found_for_each_target(tmp_path: Path) -> None:
    nothing = {"target": "torch", "part": None, "culprit": None, "kind": None, "text": "nothing was found"}
    run = run_of(tmp_path, differs("a", "torch"), a_tensorflow=nothing, a_jax={"target": "torch"})
    (block,) = found(run)
    assert block.title == f"torch: {NORM} computes something else: 1.6e-02 off, where rounding explains 1.7e-06"
    assert fact(block, "who") == "torch differs from tensorflow and jax, which agree"
    assert block.commands[-1].endswith(" a jax")


def test_cases_with_one_culprit_are_one_finding(tmp_path: Path) -> None:
    cases = [differs(name) for name in "abcdef"]
    run = run_of(tmp_path, *cases, **{f"{name}_jax": {} for name in "abcdef"})
    (block,) = found(run)
    assert fact(block, "case") == (
        "cases/x.py::a, and in 5 more cases: cases/x.py::b, cases/x.py::c, cases/x.py::d and 2 more"
    )
    assert block.cases == [f"cases/x.py::{name}" for name in "abcdef"]


def test_instances_of_one_class_are_one_culprit(tmp_path: Path) -> None:
    other = {"culprit": "layer 'norm7' (RMSNorm, layers.py:15)"}
    run = run_of(tmp_path, differs("a"), differs("b"), a_jax={}, b_jax=other)
    assert len(found(run)) == 1


def test_those_of_a_class_of_keras_are_not(tmp_path: Path) -> None:
    one, other = ({"culprit": f"layer '{name}' (Dense)"} for name in ("dense", "head"))
    assert len(found(run_of(tmp_path, differs("a"), differs("b"), a_jax=one, b_jax=other))) == 2


@pytest.mark.parametrize("culprit", [None, "the case's data: y"])
def test_what_each_case_has_of_its_own_is_no_culprit_of_another(tmp_path: Path, culprit: str | None) -> None:
    own = {"culprit": culprit, "layer": None, "part": "(loss)"}
    assert len(found(run_of(tmp_path, differs("a"), differs("b"), a_jax=own, b_jax=own))) == 2


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"culprit": "layer 'norm1' (RMSNorm, layers.py:99)"}, id="another line"),
        pytest.param({"target": "torch"}, id="another side"),
        pytest.param({"kind": "gradient"}, id="its gradient"),
        pytest.param({"kind": "raises"}, id="an exception"),
        pytest.param({"kind": "constraint"}, id="a constraint of its weights"),
        pytest.param({"op": "keras.ops.tanh"}, id="an operation in it"),
        pytest.param({"part": None, "culprit": None, "kind": None}, id="no culprit"),
    ],
)
def test_what_has_another_cause_stays_apart(tmp_path: Path, other: dict[str, Any]) -> None:
    run = run_of(tmp_path, differs("a"), differs("b"), a_jax={}, b_jax=other)
    assert [block.cases for block in found(run)] == [["cases/x.py::a"], ["cases/x.py::b"]]


def test_differences_without_a_culprit_stay_apart(tmp_path: Path) -> None:
    both = Case("cases/x.py::b", wrong={"jax": OUTPUT, "tensorflow": "loss/0/loss"})
    run = run_of(tmp_path, differs("a"), both)
    assert [block.on for block in found(run)] == [
        (("cases/x.py::a", "jax"),),
        (("cases/x.py::b", "tensorflow"),),
        (("cases/x.py::b", "jax"),),
    ]


def test_things_that_one_step_does_otherwise_are_as_many_causes(tmp_path: Path) -> None:
    step = {"part": "(train_step)", "culprit": "Loop.train_step (net.py:9)", "layer": None, "kind": None}
    twice, clips = ({**step, "text": f"Loop.train_step (net.py:9): on jax it {does}"} for does in ("updates", "clips"))
    run = run_of(tmp_path, *(differs(name) for name in "abc"), a_jax=twice, b_jax=clips, c_jax=twice)
    assert [block.title for block in found(run)] == [
        "jax: Loop.train_step (net.py:9): on jax it updates",
        "jax: Loop.train_step (net.py:9): on jax it clips",
    ]
    assert [len(block.on) for block in found(run)] == [2, 1]


def test_why_there_is_no_script_is_told_of_what_is_known(tmp_path: Path) -> None:
    run = run_of(tmp_path, differs("a"), a_jax={"why_no_script": "it draws"})
    assert fact(found(run)[0], "script") == "none: it draws"
    run = run_of(tmp_path / "other", differs("a"), a_jax={"why_no_script": "nothing was found", "confirmed": False})
    assert fact(found(run)[0], "script") is None


def test_what_compiling_does_is_told_once_for_all_targets(tmp_path: Path) -> None:
    told = {"target": None, "part": "compiled", "culprit": None, "kind": None, "confirmed": False}
    told |= {"text": "tensorflow and jax, compiled: keep `rate` of the first trace"}
    both = Case("cases/x.py::a", wrong={"jax": OUTPUT, "tensorflow": OUTPUT})
    (block,) = found(run_of(tmp_path, both, a_jax=told, a_tensorflow=told))
    assert block.title == told["text"]
    assert fact(block, "cause") is None


# The first line


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, f"jax: {NORM} computes something else: "),
        ({"op": "keras.ops.tanh"}, f"jax: {NORM} computes something else by keras.ops.tanh: "),
        ({"kind": "gradient"}, f"jax: {NORM} has another gradient: "),
        ({"kind": "config"}, f"jax: {NORM} is configured otherwise: "),
        ({"kind": "regularizer"}, f"jax: {NORM} has another regularizer: "),
        ({"kind": "constraint"}, f"jax: {NORM} has another constraint: "),
        ({"kind": "state"}, f"jax: {NORM} leaves another state: "),
        ({"kind": "raises"}, f"jax: {NORM} raises, and does not on the other side: "),
        ({"culprit": None}, "jax: layer 'smooth' computes something else: "),
        ({"culprit": None, "layer": None, "part": "(loss)"}, "jax: the loss computes something else: "),
        ({"culprit": None, "part": None, "kind": None}, "jax: 'model/smooth/output' in the forward pass differs: "),
        ({"target": None}, f"jax against torch: {NORM} computes something else: "),
        (
            {"culprit": "Net.train_step (x.py:3)", "kind": None, "text": "it applies old gradients. Ruled out: b"},
            "jax: Net.train_step (x.py:3): it applies old gradients",
        ),
        (
            {"culprit": "metric 'near' (Near, x.py:3)", "kind": None, "text": "only `Near` (x.py:3) differs: 1 and 2"},
            "jax: only `Near` (x.py:3) differs: 1 and 2",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_first_line_says_who_and_what_and_how_big(tmp_path: Path, told: dict[str, Any], said: str) -> None:
    (block,) = found(run_of(tmp_path, differs("a"), a_jax=told))
    if said.endswith(": "):
        said += "1.6e-02 off, where rounding explains 1.4e-06"
        said += "" if told.get("layer", "smooth") else ", first seen in 'model/smooth/output' in the forward pass"
    assert block.title == said


def test_what_raises_is_told_in_its_own_words(tmp_path: Path) -> None:
    run = run_of(tmp_path, differs("a"), a_jax={"kind": "raises"})
    comparison = run.result["cases"][0]["comparisons"][1]
    assert comparison["first"] is not None
    comparison["first"] |= {"raised": "jax", "reason": "jax raises in 'save': \nValueError: \x1b[31mno\x1b[0m\n  at x"}
    run.result["cases"][0]["runs"][2]["raised"] = [
        {"part": "save", "reason": "\nValueError: \x1b[31mno\x1b[0m\n  at x"}
    ]
    (block,) = found(run)
    assert block.title == f"jax raises in {NORM}: ValueError: no"
    comparison["blame"] = None
    (block,) = found(run)
    assert block.title.startswith("jax raises in 'save':")
    assert "\x1b" not in plain(block)


def test_a_reference_that_raises_is_told_in_its_own_words_too(tmp_path: Path) -> None:
    run = run_of(tmp_path, differs("a", "torch"))
    for comparison in run.result["cases"][0]["comparisons"]:
        assert comparison["first"] is not None
        comparison["first"] |= {"raised": "torch", "reason": "torch raises in 'save': ValueError: no"}
    (block,) = found(run)
    assert block.title == "torch raises in 'save': ValueError: no"
    assert fact(block, "who") == "torch differs from tensorflow and jax, which agree"


def test_plain_values_are_told_as_they_are(tmp_path: Path) -> None:
    (block,) = found(run_of(tmp_path, Case("cases/x.py::a", events={"jax": [["on_train_begin", None, []]]})))
    assert block.title == "jax: the event 'fit' of step 3 differs: it has 1 items, and 10 on the reference"


# One verdict


def test_the_table_the_heading_and_the_reports_say_one_verdict(tmp_path: Path) -> None:
    """A divergence comes first, and a mismatch later: the comparison is a mismatch."""
    events = {"jax": [["on_train_begin", None, []]]}
    run = run_of(tmp_path, Case("cases/x.py::a", wrong={"jax": OUTPUT}, events=events))
    assert words.cell(run.result, run.result["cases"][0], "jax") == ("mismatch", "mismatch")
    (block,) = found(run)
    assert block.kind == "mismatch"
    assert str(fact(block, "verdict")).startswith("mismatch, of 30 observations: ")
    (failure,) = ET.fromstring(junit.document(run)).iter("failure")
    assert failure.get("type") == "mismatch"


def test_the_verdict_is_that_of_what_is_not_declared_where_that_fails(tmp_path: Path) -> None:
    run = run_of(tmp_path, differs("a"))
    comparison = run.result["cases"][0]["comparisons"][1]
    comparison |= {"verdict": "mismatch", "unexpected": "divergent"}
    assert words.cell(run.result, run.result["cases"][0], "jax") == ("divergent", "divergent")
    assert words.seen(run.result) == ["rounding", "divergent"]


def test_the_reference_has_a_column_that_tells_where_it_is_alone(tmp_path: Path) -> None:
    run = run_of(tmp_path, differs("a", "torch"), differs("b"))
    assert list(words.columns(run.result).values()) == ["torch (reference)", "tensorflow", "jax"]
    cells = [words.cell(run.result, case, "torch") for case in run.result["cases"]]
    assert cells == [("divergent, alone", "divergent"), ("reference", "ok")]
    assert [words.outcome_in(run.result, case, "torch") for case in run.result["cases"]] == ["differ", "agree"]


# All reports


def test_all_reports_have_the_same_headings(tmp_path: Path) -> None:
    cases = [differs("a"), differs("b"), differs("c", "torch"), differs("d", "tensorflow", "gradient/0/head/kernel")]
    run = run_of(tmp_path, *cases, a_jax={}, b_jax={}, d_tensorflow={"kind": "gradient", "layer": "head"})
    headings = [block.title for block in found(run)]
    assert len(headings) == 3
    lines = printed(run).splitlines()
    assert [line for line in lines if line in headings] == headings
    page = parser.document_fromstring(html.page(run).decode())
    assert page.xpath("//section[@class='findings']//li/span/text()") == headings
    for item in run.result["cases"]:
        (link,) = page.xpath("//table[@id='cases']//a[text()=$id]", id=item["id"])
        (article,) = page.xpath("//article[@id=$id]", id=link.get("href")[1:])
        own = [block.title for block in found(run) if item["id"] in block.cases]
        assert article.xpath(".//section[@class='block']/h2/text()") == own
    failed = list(ET.fromstring(junit.document(run)).iter("failure"))
    assert {item.get("message") for item in failed} == set(headings)
    told = [str(item.text).partition("\n")[0] for item in failed if "told in full" not in str(item.text)]
    assert sorted(told) == sorted(headings)
    assert len(failed) == 5  # each testcase that fails has one
    summary = parser.fromstring(markdown.summary(run))
    assert summary.xpath("//summary/code/text()") == headings
    annotated = [line.partition("title=")[2].partition("::")[0] for line in github.failures(run)]
    assert annotated == [heading.replace(":", "%3A").replace(",", "%2C") for heading in headings]


# What to type next


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunFolder]:
    """Makes a run in the current folder, where its case file lies."""
    monkeypatch.chdir(tmp_path)
    Path("cases").mkdir()
    Path("cases/x.py").write_text("", encoding="utf-8")
    Path("runs").mkdir()

    def make(*cases: Case) -> RunFolder:
        return RunFolder.open(write_run(Path("runs/one"), cases))

    return make


def test_a_case_is_blamed_with_the_targets_of_the_run(here: Callable[..., RunFolder]) -> None:
    run = here(differs("a[1]"))
    (block,) = found(run)
    assert block.commands == (
        "harness blame 'cases/x.py::a[1]' --targets torch,tensorflow,jax",
        "harness show runs/one 'a[1]' jax",
    )
    assert "  next    harness show last 'a[1]' jax\n" in printed(run)
    os.utime(write_run(Path("runs/two"), [differs("a")]) / "result.json", (2**32, 2**32))
    assert "  next    harness show runs/one 'a[1]' jax\n" in printed(run)
    result = {**run.result, "reference": "jax"}
    (block,) = found(replace(run, result=result))  # type: ignore[arg-type]
    assert block.commands[0].endswith(" --targets torch,tensorflow,jax --reference jax")


def test_what_cannot_be_run_again_is_not_suggested(here: Callable[..., RunFolder]) -> None:
    run = here(differs("a"), Case("cases/x.py::b", status={"jax": ("error", "no")}))
    for case in run.result["cases"]:
        case["is_test"] = True
    assert [command for block in found(run) for command in block.commands] == ["harness show runs/one a jax"]
    for case in run.result["cases"]:
        case["is_test"] = False
    assert [block.commands[0].split()[1] for block in found(run)] == ["blame", "run"]
    Path("cases/x.py").unlink()
    assert [command for block in found(run) for command in block.commands] == ["harness show runs/one a jax"]


def test_a_case_that_had_too_little_time_gets_more(here: Callable[..., RunFolder]) -> None:
    error = "the case ran past its limit of 40 s and was killed"
    (block,) = failures(run := here(Case("cases/x.py::a", status={"jax": ("timeout", error)})), run.result["cases"])
    assert block.commands == ("harness run cases/x.py::a --targets torch,tensorflow,jax --timeout 80",)


# Noise


def test_notes_of_one_reason_have_one_line_and_each_its_own_when_asked(tmp_path: Path) -> None:
    why = "\n  \n\x1b[31mCould not locate\x1b[0m <Net object at 0x7f00a1b2>" + "x" * 400 + "\nmore"
    run = run_of(tmp_path, *(Case(f"cases/x.py::{name}") for name in "abcde"))
    for number, case in enumerate(run.result["cases"]):
        for side in case["runs"]:
            side["notes"] = [{"part": f"part {number} {place}", "reason": why} for place in "ab"]
    (line,) = words.notes(run.result)
    cases = "cases/x.py::a, cases/x.py::b, cases/x.py::c and 2 more"
    parts = "part 0 a, part 0 b, part 1 a and 7 more"
    assert line.startswith(f"5 cases ({cases}) on torch, tensorflow, jax: {parts}: Could not locate <Net object>xxx")
    assert len(line) < 400
    in_full = words.notes(run.result, in_full=True)
    assert len(in_full) == 10
    assert all(line.endswith("\nmore") and "0x7f" not in line and "\x1b" not in line for line in in_full)


def test_an_error_has_no_escapes_and_no_addresses(tmp_path: Path) -> None:
    error = "TypeError: \x1b]0;title\x07<Net object at 0x7f00a1b2> \x1b[1;31mno\x1b[0m"
    (block,) = found(run_of(tmp_path, Case("cases/x.py::a", status={"jax": ("error", error)})))
    assert fact(block, "what") == "TypeError: <Net object> no"


# Several records


def recorded(folder: Path, target: str, values: dict[str, float]) -> Trace:
    for place, precision, dtype in ((folder, "float32", "float32"), (folder / "twin", "float64", "float64")):
        import numpy as np

        items = [
            Observation(f"recorded/0/{name}", "recorded", 0, name, None, dtype, np.array(value, dtype))
            for name, value in values.items()
        ]
        write(place, Header("cases/x.py::a", target, precision), items)
    return Trace(folder)


def test_all_recorded_values_that_differ_are_named(tmp_path: Path) -> None:
    names = [f"value{number}" for number in range(25)]
    ours = recorded(tmp_path / "jax", "jax", dict.fromkeys(names, 1.5) | {"same": 1.0})
    theirs = recorded(tmp_path / "torch", "torch", dict.fromkeys([*names, "same"], 1.0))
    found = compare(ours, theirs).recorded
    assert found is not None
    assert (found.count, [item.name for item in found.shown]) == (25, names[:MOST_RECORDED])
    told = compare(ours, theirs).to_json()
    assert str(words.recorded(told)).startswith("25 recorded values differ: value0, value1, ")
    assert str(words.recorded(told)).endswith(", value19 and 5 more")
    assert compare(theirs, theirs).recorded is None


def test_the_causes_of_a_run_are_in_the_order_of_its_cases(tmp_path: Path) -> None:
    run = run_of(tmp_path, differs("a"), differs("b", "torch"), differs("c"), a_jax={}, c_jax={})
    told = causes(run.result, run.result["cases"], Verdict.DIVERGENT)
    assert [(cause.side, cause.cases, cause.targets) for cause in told] == [
        ("jax", ["cases/x.py::a", "cases/x.py::c"], ["jax"]),
        ("torch", ["cases/x.py::b"], ["tensorflow", "jax"]),
    ]
