"""What Python decides, holds or counts while it is traced, and state that no layer owns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"
#: What is said of a call or a step that is compiled.
OTHERWISE = "does something else than where the same code runs eagerly"
GROWN = "keep `Scaled.factor` of the first trace, which `Grow` changed"


@pytest.fixture(scope="module")
def cases(run: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    project = run("compiled.py")
    assert project.ran.returncode == 1
    found: dict[str, dict[str, Any]] = project.cases()
    return found


def line(text: str) -> int:
    return (CASES / "compiled.py").read_text(encoding="utf-8").splitlines().index(text) + 1


def calls(case: dict[str, Any]) -> dict[str, tuple[str, str, str] | None]:
    """Verdict, key and words of each target whose compiled calls part from its eager ones."""
    found = {item["target"]: item["compiled"] for item in case["runs"] if item["compiled"] is not None}
    return {
        target: (calls["verdict"], calls["first"]["key"], calls["blame"]["text"])
        for target, calls in found.items()
        if calls["blame"] is not None
    }


def told(case: dict[str, Any]) -> dict[str, tuple[str, str | None, str]]:
    """Key, culprit and words of the difference of each target from the reference."""
    return {
        item["target"]: (item["first"]["key"], item["blame"]["target"], item["blame"]["text"])
        for item in case["comparisons"]
        if item["blame"] is not None
    }


HEALTHY = ["healthy", "healthy_function", "healthy_with_plain_values", "healthy_that_tells_its_shape"]


@pytest.mark.parametrize("name", [*HEALTHY, "grown_eagerly", "left_out"])
def test_healthy_code_agrees(cases: dict[str, dict[str, Any]], name: str) -> None:
    assert (cases[name]["outcome"], calls(cases[name])) == ("agree", {})


def test_plain_values_are_no_tensors_in_a_compiled_call(cases: dict[str, dict[str, Any]]) -> None:
    for item in cases["healthy_with_plain_values"]["runs"]:
        if item["target"] != "torch":
            assert item["compiled"]["observations"] == 2 * 2  # two tensors of each of two calls


def test_both_ways_of_a_healthy_layer_are_compared(cases: dict[str, dict[str, Any]]) -> None:
    found = {item["target"]: item["compiled"] for item in cases["healthy"]["runs"]}
    assert found["torch"] is None
    for target in ("tensorflow", "jax"):
        # Two outputs and, after each of the two calls, two moving statistics and two states of seeds.
        assert found[target]["observations"] == 2 + 2 * 3
        assert set(found[target]["bases"]) <= {"twins", "exact"}


def test_other_values_where_traced(cases: dict[str, dict[str, Any]]) -> None:
    assert calls(cases["other_values"]) == {
        target: ("divergent", "forward/0/doubled/output", f"{target}, compiled: {OTHERWISE}")
        for target in ("tensorflow", "jax")
    }
    # jax traces what it differentiates.
    assert told(cases["other_values"]) == {"jax": ("gradient/0/input", "jax", f"jax, compiled: {OTHERWISE}")}


def test_another_shape_where_traced(cases: dict[str, dict[str, Any]]) -> None:
    assert calls(cases["other_shape"]) == {
        target: ("mismatch", "forward/0/largest/output", f"{target}, compiled: {OTHERWISE}")
        for target in ("tensorflow", "jax")
    }


def test_what_python_counts_shows_in_the_second_call(cases: dict[str, dict[str, Any]]) -> None:
    why = "`Counting.calls` is 2 afterwards, and 3 eagerly: Python runs when a call is traced, and not later"
    assert calls(cases["counted"]) == {
        target: ("divergent", "forward/1/counting/output", f"{target}, compiled: {why}")
        for target in ("tensorflow", "jax")
    }


def test_what_raises_where_it_is_traced_is_told_with_its_line(run: Callable[..., Any]) -> None:
    project = run("compiled.py")
    case = project.cases()["refused"]
    assert {target: found[0] for target, found in calls(case).items()} == {"tensorflow": "mismatch", "jax": "mismatch"}
    for item in case["runs"][1:]:
        assert f"{item['target']}, compiled raises in 'compiled call'" in item["compiled"]["first"]["reason"]
        assert (
            f"at compiled.py:{line('        return x if int(ops.sum(x)) > 0 else -x')}, in call"
            in (item["compiled"]["first"]["reason"])
        )
    title = "jax, compiled: raises, and does not where the same code runs eagerly"
    assert title in project.ran.stdout.splitlines()
    assert "identical, mismatch where compiled" in project.ran.stdout


def test_compiled_calls_that_a_case_does_not_want_are_told_as_left_out(run: Callable[..., Any]) -> None:
    told = "compiled.py::left_out on tensorflow, jax: compiled call: the case leaves it out: compiled=False"
    assert told in run("compiled.py").ran.stdout


def test_state_that_no_layer_owns_does_not_move_in_jax(cases: dict[str, dict[str, Any]]) -> None:
    still = f"the state of `SEEDS` (compiled.py:{line('SEEDS = keras.random.SeedGenerator(42)')}) does not move"
    assert calls(cases["rows_dropped"]) == {
        "jax": ("mismatch", "update/0/unowned/SEEDS", f"jax, compiled: {still}"),
    }
    assert told(cases["rows_dropped"]) == {}
    nor = "nor does it eagerly: only what the model and its optimizer own is kept"
    assert told(cases["rows_dropped_in_training"]) == {
        "jax": ("update/0/unowned/SEEDS", "jax", f"jax, compiled: {still}, {nor}")
    }


def test_what_a_callback_changes_is_not_seen_by_steps_that_are_compiled(cases: dict[str, dict[str, Any]]) -> None:
    assert told(cases["grown"]) == dict.fromkeys(
        ("tensorflow", "jax"),
        ("log/3/batch/loss", None, f"tensorflow and jax, compiled: {GROWN}; run eagerly (`+eager`) the targets agree"),
    )


def test_nor_is_what_a_call_counts(cases: dict[str, dict[str, Any]]) -> None:
    for _, culprit, text in told(cases["counted_in_training"]).values():
        assert culprit is None
        assert text.startswith("tensorflow and jax, compiled: `Counting.calls` is ")
    assert set(told(cases["counted_in_training"])) == {"tensorflow", "jax"}
