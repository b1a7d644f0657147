"""The shape of result.json: what is written has it, and whatever lacks it is refused by the place that does."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.case import Expected
from harness.plain import from_plain
from harness.result.file import as_json
from harness.result.judgement import Evidence, Judgement
from harness.result.model import Blame, CaseResult, Comparison, Continuation, Finding, Result, TargetRun, Unrepeated
from harness.result.schema import ResultJson
from harness.trace import Note, parse_json
from harness.verdict import Verdict

KNOWN = Expected("leak", "a reason")


def whole() -> Any:
    """A result in which nothing is left out, as it is read."""
    judgement = Judgement(Verdict.DIVERGENT, "twins", 1e-3, 1e-3, 1.0, 1e-6, (1, 2))
    evidence = Evidence(1.0, 2.0, "float32", 1.0, 0.5, "one element")
    finding = Finding("loss/0/x", "x", "loss", 0, "dense", judgement, evidence=evidence)
    blame = Blame("jax", "dense", "model/dense", None, "forward", 0, True, "text", "repro.py")
    compared = Comparison("jax", "torch", Verdict.DIVERGENT, Verdict.DIVERGENT, 3, 1, {Verdict.DIVERGENT: 3})
    compared = replace(compared, first=finding, known=[KNOWN], fixed=[KNOWN], blame=blame)
    unrepeated = Unrepeated("loss/0/x", "loss", 0, None, ["jax"], "text")
    comparison = replace(compared, continuation=Continuation(3, 5, compared), unrepeated=unrepeated)
    notes = [Note("part", "reason")]
    runs = [TargetRun("torch", "ok", 1.0, "traces/x", None, {"a": {"b": 1}}, notes, raised=notes, pictures=["x.png"])]
    case = CaseResult("x.py::y", "differ", runs, [comparison], ["plots/x.svg"], "jax", ["slow"])
    return parse_json(as_json(Result("torch", ["torch", "jax"], "both", Verdict.LEAK, cases=[case]).to_json()).decode())


def test_what_is_written_has_the_shape() -> None:
    from_plain(whole(), ResultJson)


def test_results_from_before_a_key_was_added_are_read_and_more_keys_are_welcome() -> None:
    result = whole()
    del result["cases"][0]["tags"], result["cases"][0]["comparisons"][0]["unexpected"]
    del result["cases"][0]["comparisons"][0]["unrepeated"]
    result["cases"][0]["runs"][0]["another"] = 1
    from_plain(result, ResultJson)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something in a result, its environment aside, which may hold anything."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [place for key, item in items if key != "environment" for place in places(item, (*path, key))]
    return ([path] if path else []) + inner


@given(st.sampled_from(places(whole())), st.sampled_from([object(), b"x", {"x"}]))
def test_what_is_of_another_kind_is_refused_by_its_place(place: tuple[Any, ...], value: Any) -> None:
    result = copy.deepcopy(whole())
    holder = result
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    shown = "it" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)
    with pytest.raises(ValueError, match="is not") as caught:
        from_plain(result, ResultJson)
    assert str(caught.value).startswith(f"{shown} is ")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("exit_status",), True),
        (("exit_status",), 1.0),
        (("targets",), "torch"),
        (("targets", 0), None),
        (("fail_on",), "bad"),
        (("cases", 0, "outcome"), "fine"),
        (("cases", 0, "runs", 0, "seconds"), "1"),
        (("cases", 0, "comparisons", 0, "verdict"), ["leak"]),
    ],
)
def test_what_only_looks_alike_is_refused(place: tuple[Any, ...], value: Any) -> None:
    result = whole()
    holder = result
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    with pytest.raises(ValueError, match=f"{place[-1]}".replace("0", r"\[0\]")):
        from_plain(result, ResultJson)


def test_a_key_that_is_missing_is_named() -> None:
    result = whole()
    del result["cases"][0]["runs"][0]["status"]
    with pytest.raises(ValueError, match=r"it\.cases\[0\]\.runs\[0\] has no 'status'"):
        from_plain(result, ResultJson)
