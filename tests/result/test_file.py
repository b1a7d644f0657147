"""`result.json`: what is written, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import CASE, LEAK, LEAKED, WRONG, X, judged, recorded

from harness.errors import TraceError
from harness.result import file
from harness.result.file import read
from harness.result.judgement import Judgement
from harness.result.model import CaseResult, Comparison, Finding, Result, TargetRun
from harness.verdict import Verdict
from harness.version import __version__


def result_of(*cases: CaseResult) -> Result:
    return Result("torch", ["torch", "jax"], "both", Verdict.DIVERGENT, cases=list(cases))


def case_of(outcome: str) -> CaseResult:
    return CaseResult(CASE, outcome, [], [])


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


def test_result_json_has_the_documented_keys(tmp_path: Path) -> None:
    traces = {"torch": recorded(tmp_path, "torch", X, seconds=1.23456), "jax": recorded(tmp_path, "jax", WRONG)}
    result = result_of(judged(tmp_path, **traces))
    file.write(tmp_path / "deep" / "result.json", result.to_json())
    data = strict((tmp_path / "deep" / "result.json").read_text(encoding="utf-8"))
    assert data == read(tmp_path / "deep" / "result.json")
    assert (data["schema"], data["reference"], data["targets"], data["exit_status"]) == (
        1,
        "torch",
        ["torch", "jax"],
        1,
    )
    assert (data["harness"], data["precision"], data["fail_on"]) == (__version__, "both", "divergent")
    (case,) = data["cases"]
    assert (case["id"], case["outcome"]) == (CASE, "differ")
    assert (
        case["runs"][0].items()
        >= {
            "target": "torch",
            "status": "ok",
            "seconds": 1.235,
            "trace": "torch",
            "error": None,
        }.items()
    )
    (comparison,) = case["comparisons"]
    assert (
        comparison.items()
        >= {
            "target": "jax",
            "reference": "torch",
            "verdict": "divergent",
            "observations": 1,
            "blame": None,
        }.items()
    )
    first = comparison["first"]
    assert (
        first.items()
        >= {
            "key": "loss/2/x",
            "phase": "loss",
            "step": 2,
            "layer": "dense",
            "verdict": "divergent",
        }.items()
    )
    distance = 0.02 / math.sqrt(np.mean(WRONG**2))
    assert first["d64"] == pytest.approx(distance)
    assert first["d32"] == pytest.approx(distance, rel=1e-4)
    assert 1 <= first["amplification"] < 2
    assert (first["index"], first["basis"]) == ([31], "twins")
    assert f"{first['d64']:.1e}" in first["reason"]


def test_where_nothing_differs_first_is_null(tmp_path: Path) -> None:
    traces = {target: recorded(tmp_path, target, X) for target in ("torch", "jax")}
    (comparison,) = result_of(judged(tmp_path, **traces)).to_json()["cases"][0]["comparisons"]
    assert (comparison["verdict"], comparison["first"]) == ("identical", None)
    assert (comparison["counts"], comparison["bases"]) == ({"identical": 1}, {"twins": 1})


def test_where_nothing_could_be_compared_the_verdict_is_null(tmp_path: Path) -> None:
    traces = {"torch": recorded(tmp_path, "torch", X), "jax": recorded(tmp_path, "jax", None, status="crashed")}
    (comparison,) = result_of(judged(tmp_path, **traces)).to_json()["cases"][0]["comparisons"]
    assert (comparison["verdict"], comparison["observations"], comparison["not_compared"]) == (None, 0, 1)


def test_known_and_fixed_declarations_are_told_with_their_reasons(tmp_path: Path) -> None:
    torch, entry = (
        recorded(tmp_path, "torch", X),
        {"verdict": "leak", "reason": "a reason", "where": "*", "link": None, "keras": ""},
    )
    for exact, known, fixed in ((LEAKED, [entry], []), (X, [], [entry])):
        jax = recorded(tmp_path, "jax", exact, expect={"jax": LEAK})
        (comparison,) = result_of(judged(tmp_path, torch=torch, jax=jax)).to_json()["cases"][0]["comparisons"]
        assert (comparison["known"], comparison["fixed"]) == (known, fixed)


@given(st.lists(st.none() | st.floats(), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_number_that_json_cannot_hold_is_null(numbers: list[float | None]) -> None:
    names = ("d32", "d64", "amplification", "bound")
    judgement = Judgement(Verdict.DIVERGENT, "twins", **dict(zip(names, numbers, strict=True)))
    comparison = Comparison("jax", "torch", Verdict.DIVERGENT, first=Finding("loss/x", "x", "loss", 0, None, judgement))
    case = CaseResult(CASE, "differ", [], [comparison])
    data = strict(json.dumps(result_of(case).to_json()))["cases"][0]["comparisons"][0]["first"]
    assert [data[name] for name in names] == [n if n is not None and math.isfinite(n) else None for n in numbers]


@pytest.mark.parametrize("special", [math.nan, math.inf])
def test_special_values_in_traces_do_not_spoil_result_json(tmp_path: Path, special: float) -> None:
    bad = X.copy()
    bad[3] = special
    traces = {"torch": recorded(tmp_path, "torch", X), "jax": recorded(tmp_path, "jax", bad)}
    result = result_of(judged(tmp_path, **traces))
    file.write(tmp_path / "result.json", result.to_json())
    first = strict((tmp_path / "result.json").read_text(encoding="utf-8"))["cases"][0]["comparisons"][0]["first"]
    assert (first["verdict"], first["index"]) == ("mismatch", [3])


def test_text_of_any_kind_comes_back(tmp_path: Path) -> None:
    case = CaseResult('ä/☃::x[\n"]', "error", [TargetRun("torch", "error", 0.0, None, "☃\x00\ud800", {}, [])], [])
    file.write(tmp_path / "result.json", result_of(case).to_json())
    data = read(tmp_path / "result.json")["cases"][0]
    assert (data["id"], data["runs"][0]["error"]) == ('ä/☃::x[\n"]', "☃\x00\ud800")


def test_a_result_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    file.write(path, result_of().to_json())
    before = path.read_text(encoding="utf-8")
    bad = TargetRun("torch", "ok", 0.0, None, None, {"x": math.nan}, [])
    with pytest.raises(ValueError, match="JSON"):
        file.write(path, result_of(CaseResult(CASE, "agree", [bad], [])).to_json())
    assert path.read_text(encoding="utf-8") == before
    assert [item.name for item in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b'{"schema": 2}', b'{"schema": "1"}', b"\xff", b"[" * 100_000],
    ids=lambda data: repr(data[:15]),
)
def test_what_is_no_result_is_refused_by_its_path(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(data)
    with pytest.raises(TraceError) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_result_that_is_not_there_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"gone\.json"):
        read(tmp_path / "gone.json")
