"""A case judged from its traces: its outcome, its runs, and what its instruments changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
from judged import CASE, DIVERGENT, LEAK, LEAKED, VERDICTS, WRONG, X, judged, recorded

from harness.judge.case import disturbed_by_instruments
from harness.trace import Header, Note, Raised, Trace, write

# Outcomes


@pytest.mark.parametrize(
    ("mine", "jax", "torch", "outcome"),
    [
        (X, {}, {}, "agree"),
        (X * (1 + 1e-15), {}, {}, "agree"),
        (LEAKED, {}, {}, "agree"),
        (WRONG, {}, {}, "differ"),
        (X[:5], {}, {}, "differ"),
        (None, {}, {}, "differ"),
        (None, {"status": "error"}, {}, "error"),
        (None, {"status": "crashed"}, {}, "error"),
        (None, {"status": "timeout"}, {}, "error"),
        (None, {"status": "unavailable"}, {}, "error"),
        (X, {"status": "error"}, {}, "error"),
        (X, {}, {"status": "error"}, "error"),
        (WRONG, {"status": "error"}, {}, "differ"),
        (WRONG, {}, {"status": "timeout"}, "differ"),
        (LEAKED, {"expect": {"jax": LEAK}}, {}, "known"),
        (WRONG, {"expect": {"jax": DIVERGENT}}, {}, "known"),
        (WRONG, {"expect": {"jax": LEAK}}, {}, "differ"),
        (X, {"expect": {"jax": LEAK}}, {}, "differ"),
        (WRONG, {"expect": {"jax": DIVERGENT}, "status": "error"}, {}, "error"),
        (X, {"expect": {"jax": DIVERGENT}, "status": "error"}, {}, "error"),
        (X, {"expect": {"tensorflow": DIVERGENT}}, {}, "agree"),
    ],
)
def test_the_outcome_of_a_case(
    tmp_path: Path, mine: Any, jax: dict[str, Any], torch: dict[str, Any], outcome: str
) -> None:
    traces = {"torch": recorded(tmp_path, "torch", X, **torch), "jax": recorded(tmp_path, "jax", mine, **jax)}
    assert judged(tmp_path, **traces).outcome == outcome


@pytest.mark.parametrize(
    ("mine", "verdict"),
    [
        (X, "identical"),
        (X * (1 + 1e-15) * (1 + 1e-7), "leak"),
        (LEAKED, "leak"),
        (WRONG, "divergent"),
        (None, "mismatch"),
    ],
)
def test_a_verdict_as_bad_as_fail_on_is_a_difference_and_a_milder_one_is_not(
    tmp_path: Path, mine: Any, verdict: str
) -> None:
    traces = {"torch": recorded(tmp_path, "torch", X), "jax": recorded(tmp_path, "jax", mine)}
    for limit in VERDICTS:
        case = judged(tmp_path, limit, **traces)
        assert str(case.comparisons[0].verdict) == verdict
        assert case.outcome == ("differ" if VERDICTS.index(verdict) >= VERDICTS.index(limit) else "agree")


def test_a_known_difference_is_known_however_strict_fail_on_is(tmp_path: Path) -> None:
    jax = recorded(tmp_path, "jax", LEAKED, expect={"jax": LEAK})
    assert judged(tmp_path, "leak", torch=recorded(tmp_path, "torch", X), jax=jax).outcome == "known"


def test_every_other_target_is_held_against_the_reference_and_one_that_differs_is_enough(tmp_path: Path) -> None:
    exact = {"tensorflow": X, "torch": X, "jax": WRONG}
    case = judged(tmp_path, **{target: recorded(tmp_path, target, value) for target, value in exact.items()})
    assert [(item.target, item.reference, str(item.verdict)) for item in case.comparisons] == [
        ("tensorflow", "torch", "identical"),
        ("jax", "torch", "divergent"),
    ]
    assert [run.target for run in case.runs] == ["tensorflow", "torch", "jax"]
    assert case.outcome == "differ"


def test_a_target_without_a_trace_is_unavailable_and_an_error(tmp_path: Path) -> None:
    torch = recorded(tmp_path, "torch", X)
    case = judged(tmp_path, torch=torch, jax=None)
    assert (case.outcome, case.comparisons) == ("error", [])
    run = case.runs[1]
    assert (run.target, run.status, run.trace, run.seconds) == ("jax", "unavailable", None, 0.0)
    assert run.error


# Where the reference has failed


@pytest.mark.parametrize("torch", [None, {"status": "error"}, {"status": "timeout"}, {"status": "unavailable"}])
@pytest.mark.parametrize(("jax", "outcome"), [(X, "error"), (WRONG, "differ")])
def test_the_others_are_compared_with_one_another(tmp_path: Path, torch: Any, jax: Any, outcome: str) -> None:
    traces = {
        "torch": None if torch is None else recorded(tmp_path, "torch", None, **torch),
        "tensorflow": recorded(tmp_path, "tensorflow", X),
        "jax": recorded(tmp_path, "jax", jax),
    }
    case = judged(tmp_path, **traces)
    (comparison,) = [item for item in case.comparisons if item.target == "jax"]
    assert (comparison.reference, comparison.observations) == ("tensorflow", 1)
    assert (case.outcome, case.reference) == (outcome, "tensorflow")
    assert "tensorflow" not in {item.target for item in case.comparisons}


def test_what_the_reference_recorded_before_is_compared_too(tmp_path: Path) -> None:
    traces = {name: recorded(tmp_path, name, X) for name in ("tensorflow", "jax")}
    case = judged(tmp_path, torch=recorded(tmp_path, "torch", WRONG, status="error"), **traces)
    verdicts = {item.target: str(item.verdict) for item in case.comparisons}
    assert verdicts == {"torch": "divergent", "jax": "identical"}


@pytest.mark.parametrize("jax", [None, {"status": "error"}, {"status": "unavailable", "inference_only": True}])
def test_where_fewer_than_two_ran_none_stands_in(tmp_path: Path, jax: Any) -> None:
    failed = recorded(tmp_path, "torch", X, status="error")
    others = {"tensorflow": recorded(tmp_path, "tensorflow", X)}
    others["jax"] = None if jax is None else recorded(tmp_path, "jax", X, **jax)
    case = judged(tmp_path, torch=failed, **others)
    assert {item.reference for item in case.comparisons} == {"torch"}


def test_a_reference_that_only_infers_has_not_failed(tmp_path: Path) -> None:
    traces = {name: recorded(tmp_path, name, X) for name in ("tensorflow", "jax")}
    case = judged(tmp_path, torch=recorded(tmp_path, "torch", X, status="unavailable", inference_only=True), **traces)
    assert {item.reference for item in case.comparisons} == {"torch"}


# Runs


def test_a_run_tells_how_it_ended_and_where_its_trace_is(tmp_path: Path) -> None:
    header = {"status": "error", "error": "ValueError: x", "seconds": 2.5, "environment": {"keras": "3"}}
    torch = recorded(tmp_path / "traces", "torch", X, pictures=["a.png"], twin={"seconds": 0.25}, **header)
    (run,) = judged(tmp_path, torch=torch).runs
    assert (run.target, run.status, run.error, run.seconds) == ("torch", "error", "ValueError: x", 2.75)
    assert (run.trace, run.environment) == ("traces/torch", {"keras": "3"})
    assert run.pictures == ["traces/torch/pictures/a.png"]


def test_a_trace_outside_the_root_has_a_path_that_leads_there(tmp_path: Path) -> None:
    torch = recorded(tmp_path / "elsewhere", "torch", X)
    (run,) = judged(tmp_path / "out", torch=torch).runs
    assert run.trace == "../elsewhere/torch"


def test_what_was_not_recorded_is_told_of_both_precisions_and_once(tmp_path: Path) -> None:
    both, mine, theirs = Note("save", "r"), Note("only 32", "r"), Note("only 64", "r")
    twin = {"notes": [both, theirs], "status": "crashed", "error": "signal 11"}
    torch = recorded(tmp_path, "torch", X, notes=[both, mine], twin=twin)
    (run,) = judged(tmp_path, torch=torch).runs
    assert run.notes[:3] == [both, mine, Note("float64: only 64", "r")]
    assert [note.reason for note in run.notes[3:]] == ["signal 11"]
    assert run.notes[3].part.startswith("float64")


def test_a_twin_that_recorded_nothing_since_it_raised_is_told_once(tmp_path: Path) -> None:
    told = Note("forward", "ValueError: boom")
    header = {"notes": [told], "raised": [Raised("forward", "ValueError: boom", None)]}
    torch = recorded(tmp_path, "torch", X)
    write(
        tmp_path / "torch/twin",
        Header(CASE, "torch", "float64", status="error", error="recorded nothing", **header),
        [],
    )
    (run,) = judged(tmp_path, torch=Trace(torch.folder)).runs
    assert run.notes == [Note("float64: forward", "ValueError: boom")]


# Instruments


def test_what_is_other_without_instruments_is_told(tmp_path: Path) -> None:
    trace = recordings.recorded(tmp_path, "jax", {"log/3/epoch 0/loss": 1.0, "prediction/3/predict": X})
    header = Header("cases/x.py::y", "jax", "float32")
    same = recordings.observation("prediction/predict", X.astype(np.float32))
    write(trace.folder / "unobserved", header, [recordings.observation("log/epoch 0/loss", 1.0), same])
    assert disturbed_by_instruments(Trace(trace.folder)) == []
    write(trace.folder / "unobserved", header, [recordings.observation("log/epoch 0/loss", 1.0 + 1e-12), same])
    assert disturbed_by_instruments(Trace(trace.folder)) == ["log/3/epoch 0/loss"]
