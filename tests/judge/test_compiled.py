"""Whether compiling explains a difference, decided from traces alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.judge.case import judge_case
from harness.judge.compiled import calls_compared
from harness.judge.doubt import further_runs
from harness.result.model import CaseResult
from harness.trace import COMPILED, EAGER, Changed, Raised, Trace
from harness.verdict import Verdict
from tests.judge.recordings import X, changed, healthy, recorded, without

TRAINED = {"environment": {"model": {"compiled": True}}}
EAGERLY = {"environment": {"model": {"compiled": False}}}
LOG, STATE = "log/3/batch/loss", "update/3/unowned/SEEDS"
KEYS = ["initial/dense/kernel", "forward/0/dense/output", LOG]
HEALTHY = healthy(*KEYS)
WRONG = changed(HEALTHY, log__3__batch__loss=X)
CHANGED = {"event/2/callback/Grow/after epoch 0": "learning rate, `Scaled.factor`"}


def beside(trace: Trace, way: str, exact: dict[str, Any], **header: Any) -> Trace:
    """The same trace with what is called or trained eagerly, or compiled, beside it."""
    target = trace.header.target
    shutil.copytree(recorded(trace.folder / "x", f"{target}, {way}", exact, **header).folder, trace.folder / way)
    shutil.rmtree(trace.folder / "x")
    return Trace(trace.folder)


def trained(
    folder: Path, target: str, exact: dict[str, Any], eager: dict[str, Any] | None = None, **header: Any
) -> Trace:
    """A training, and what it does where nothing is compiled."""
    python = header.pop("eagerly", {})
    trace = recorded(folder, target, exact, **(EAGERLY if target == "torch" else TRAINED), **header)
    return trace if eager is None else beside(trace, EAGER, eager, python_state=python)


def judged(folder: Path, *traces: Trace) -> CaseResult:
    by_target: dict[str, Trace | None] = {trace.header.target: trace for trace in traces}
    return judge_case("cases/x.py::y", by_target, "torch", Verdict.DIVERGENT, folder)


def told(case: CaseResult) -> dict[str, tuple[str | None, str]]:
    """The culprit and the words of each blame, by target."""
    return {item.target: (item.blame.target, item.blame.text) for item in case.comparisons if item.blame is not None}


def test_a_training_that_differs_after_its_eager_passes_is_run_eagerly(tmp_path: Path) -> None:
    case = judged(tmp_path, trained(tmp_path, "torch", HEALTHY), trained(tmp_path, "jax", WRONG))
    assert EAGER in case.comparisons[0].further_runs
    assert told(case) == {}


@pytest.mark.parametrize(
    ("jax", "header"),
    [
        (HEALTHY, TRAINED),
        (changed(WRONG, forward__0__dense__output=X * 7), TRAINED),  # what runs eagerly differs already
        (WRONG, {}),
        (WRONG, EAGERLY),
        (WRONG, {"environment": {"model": "a stranger's"}}),
    ],
)
def test_no_other_is(tmp_path: Path, jax: dict[str, Any], header: dict[str, Any]) -> None:
    target, reference = recorded(tmp_path, "jax", jax, **header), recorded(tmp_path, "torch", HEALTHY, **EAGERLY)
    case = judged(tmp_path, target, reference)
    assert EAGER not in case.comparisons[0].further_runs


def test_it_is_not_run_eagerly_twice(tmp_path: Path) -> None:
    jax, torch = trained(tmp_path, "jax", WRONG, HEALTHY), trained(tmp_path, "torch", HEALTHY)
    assert EAGER not in judged(tmp_path, jax, torch).comparisons[0].further_runs
    assert EAGER not in further_runs(jax, torch, [])


def test_the_culprit_is_what_parts_from_its_own_eager_run(tmp_path: Path) -> None:
    case = judged(tmp_path, trained(tmp_path, "torch", HEALTHY), trained(tmp_path, "jax", WRONG, HEALTHY))
    text = "jax, compiled: does something else than where the same code runs eagerly"
    assert told(case) == {"jax": ("jax", f"{text}; run eagerly (`+eager`) the targets agree")}
    assert case.outcome == "differ"


def test_two_that_do_the_same_are_told_together_and_the_one_that_is_eager_is_no_culprit(tmp_path: Path) -> None:
    traces = [trained(tmp_path, target, WRONG, HEALTHY) for target in ("tensorflow", "jax")]
    case = judged(tmp_path, trained(tmp_path, "torch", HEALTHY), *traces)
    text = "tensorflow and jax, compiled: do something else than where the same code runs eagerly"
    text += "; run eagerly (`+eager`) the targets agree"
    assert told(case) == {"tensorflow": (None, text), "jax": (None, text)}
    assert case.alone == "torch"


def test_what_differs_eagerly_in_the_same_way_is_not_explained(tmp_path: Path) -> None:
    for number, eager in enumerate([WRONG, changed(HEALTHY, log__3__batch__loss=X * 5)]):
        folder = tmp_path / str(number)
        assert told(judged(folder, trained(folder, "torch", HEALTHY), trained(folder, "jax", WRONG, eager))) == {}


def test_what_a_callback_changed_before_is_named(tmp_path: Path) -> None:
    state = {"python_state": {"Scaled.factor": "1.5"}}
    jax = trained(tmp_path, "jax", WRONG | CHANGED, HEALTHY | CHANGED, **state)
    case = judged(tmp_path, trained(tmp_path, "torch", HEALTHY | CHANGED, **state), jax)
    text = "jax, compiled: keeps `Scaled.factor` of the first trace, which `Grow` changed"
    assert told(case) == {"jax": ("jax", f"{text}; run eagerly (`+eager`) the targets agree")}


def culprits(case: CaseResult) -> list[str | None]:
    return [item.blame.culprit for item in case.comparisons if item.blame is not None]


def test_what_to_open_is_named(tmp_path: Path) -> None:
    hook = {"callback/Grow/on_epoch_end": "Grow.on_epoch_end, net.py:9", "layer/odd": "C, net.py:3"}
    (key,) = CHANGED
    header = {"places": hook, "python_state": {"Scaled.factor": "1.5"}}
    changes = {"changes": {key: Changed("on_epoch_end")}}
    torch = trained(tmp_path / "1", "torch", HEALTHY | CHANGED, **header)
    jax = trained(tmp_path / "1", "jax", WRONG | CHANGED, HEALTHY | CHANGED, **header, **changes)
    assert culprits(judged(tmp_path / "1", torch, jax)) == ["Grow.on_epoch_end (net.py:9)"]

    header["places"] = {**hook, "layer/steep": "Scaled, net.py:7"}
    jax = trained(tmp_path / "3", "jax", WRONG | CHANGED, HEALTHY | CHANGED, **header, **changes)
    torch = trained(tmp_path / "3", "torch", HEALTHY | CHANGED, **header)
    assert culprits(judged(tmp_path / "3", torch, jax)) == ["layer 'steep' (Scaled, net.py:7)"]

    eager = changed(HEALTHY, log__3__batch__loss=X * 5)
    counts: dict[str, Any] = {"python_state": {"C.calls": "4"}, "eagerly": {"C.calls": "9"}, "places": hook}
    jax = trained(tmp_path / "2", "jax", WRONG, eager, **counts)
    assert culprits(judged(tmp_path / "2", trained(tmp_path / "2", "torch", HEALTHY), jax)) == [
        "layer 'odd' (C, net.py:3)"
    ]


def test_what_a_callback_changes_afterwards_is_not(tmp_path: Path) -> None:
    late = {"event/5/callback/Grow/after epoch 1": "`Scaled.factor`"}
    jax = trained(tmp_path, "jax", WRONG | late, HEALTHY | late, python_state={"Scaled.factor": "1.5"})
    case = judged(tmp_path, trained(tmp_path, "torch", HEALTHY | late), jax)
    assert "does something else" in told(case)["jax"][1]


def test_what_python_counted_is_named_also_where_the_eager_runs_differ(tmp_path: Path) -> None:
    eager = changed(HEALTHY, log__3__batch__loss=X * 5)
    counts = {"python_state": {"C.calls": "4"}, "eagerly": {"C.calls": "9"}}
    case = judged(tmp_path, trained(tmp_path, "torch", HEALTHY), trained(tmp_path, "jax", WRONG, eager, **counts))
    ((culprit, text),) = told(case).values()
    assert culprit == "jax"
    assert text.startswith("jax, compiled: `C.calls` is 4 afterwards, and 9 eagerly: ")
    assert text.endswith("; run eagerly the targets differ as well")


@pytest.mark.parametrize("eager", [None, [7, 0], [7, 4]])
def test_state_that_nothing_owns_and_that_does_not_move(tmp_path: Path, eager: list[int] | None) -> None:
    start = {"initial/0/unowned/SEEDS": [7, 0]}
    unowned = {"unowned": {"unowned/SEEDS": "x.py:3"}}
    torch = trained(tmp_path, "torch", HEALTHY | start | {STATE: [7, 4]}, **unowned)
    run_eagerly = None if eager is None else start | {STATE: eager}
    jax = trained(tmp_path, "jax", HEALTHY | start | {STATE: [7, 0]}, run_eagerly, **unowned)
    case = judged(tmp_path, torch, jax)
    assert culprits(case) == ["`SEEDS` (x.py:3)"]
    ((culprit, text),) = told(case).values()
    nor = ", nor does it eagerly: only what the model and its optimizer own is kept" if eager == [7, 0] else ""
    assert (culprit, text) == ("jax", f"jax, compiled: the state of `SEEDS` (x.py:3) does not move{nor}")


def test_state_that_moves_otherwise_is_another_matter(tmp_path: Path) -> None:
    start = {"initial/0/unowned/SEEDS": [7, 0]}
    torch = trained(tmp_path, "torch", HEALTHY | start | {STATE: [7, 4]})
    assert told(judged(tmp_path, torch, trained(tmp_path, "jax", HEALTHY | start | {STATE: [7, 5]}))) == {}


# Calls of a `Forward`


def both_ways(folder: Path, eager: dict[str, Any], compiled: dict[str, Any], **header: Any) -> Trace:
    trace = recorded(folder, "jax", HEALTHY)
    return beside(beside(trace, EAGER, eager), COMPILED, compiled, **header)


def test_calls_of_a_target_are_held_against_each_other(tmp_path: Path) -> None:
    comparison = calls_compared(both_ways(tmp_path, HEALTHY, HEALTHY))
    assert comparison is not None
    assert (comparison.target, comparison.reference, comparison.observations) == ("jax, compiled", "jax, eager", 3)
    assert (comparison.verdict, comparison.blame) == (Verdict.IDENTICAL, None)
    assert comparison.bases == {"twins": 3}
    assert calls_compared(recorded(tmp_path / "other", "torch", HEALTHY)) is None


def test_what_a_part_inside_may_have_rounded_in_float32_is_a_leak(tmp_path: Path) -> None:
    for number, (size, verdict) in enumerate({2e-6: Verdict.LEAK, 1e-3: Verdict.DIVERGENT}.items()):
        compiled = changed(HEALTHY, log__3__batch__loss=HEALTHY[LOG] * (1 + size))
        comparison = calls_compared(both_ways(tmp_path / str(number), HEALTHY, compiled))
        assert comparison is not None
        assert comparison.verdict is verdict


def test_a_call_that_differs_where_it_is_compiled_makes_the_case_differ(tmp_path: Path) -> None:
    case = judged(tmp_path, recorded(tmp_path, "torch", HEALTHY), both_ways(tmp_path, HEALTHY, WRONG))
    (run,) = [run for run in case.runs if run.target == "jax"]
    assert run.compiled is not None
    assert run.compiled.blame is not None
    assert (run.compiled.blame.target, run.compiled.unexpected) == ("jax", Verdict.DIVERGENT)
    assert (case.outcome, told(case)) == ("differ", {})
    assert run.to_json()["compiled"]["blame"]["text"] == run.compiled.blame.text


def test_a_call_that_raises_where_it_is_compiled(tmp_path: Path) -> None:
    raised = [Raised("compiled call", "ValueError: no", None)]
    comparison = calls_compared(both_ways(tmp_path, HEALTHY, without(HEALTHY, *KEYS), raised=raised))
    assert comparison is not None
    assert comparison.verdict is Verdict.MISMATCH
    assert comparison.blame is not None
    assert comparison.blame.text == "jax, compiled: raises, and does not where the same code runs eagerly"


def test_it_explains_a_gradient_that_differs_and_no_output(tmp_path: Path) -> None:
    for number, (key, blamed) in enumerate({"gradient/0/x": {"jax"}, "forward/0/x": set()}.items()):
        folder = tmp_path / str(number)
        torch, jax = HEALTHY | {key: X}, HEALTHY | {key: X * 1.5}
        trace = beside(beside(recorded(folder, "jax", jax), EAGER, HEALTHY), COMPILED, WRONG)
        assert set(told(judged(folder, recorded(folder, "torch", torch), trace))) == blamed
