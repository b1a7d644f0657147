"""Declared differences: which excuse what, and which are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recordings import GRADIENTS, LEAKED, WRONG, X, changed, compared, healthy, place_of, recorded, without

from harness.case import Expected, Known
from harness.judge.compare import compare
from harness.result.model import Comparison
from harness.verdict import Verdict

IDENTICAL, ROUNDING, LEAK, IMPRECISE, DIVERGENT, MISMATCH = Verdict


# Declared differences


JAX_LEAKS = Expected("leak", "a reason", "forward/*")
JAX_DIVERGES = Expected("divergent", "a reason", "*/dense/kernel")


def declared(*expected: tuple[str, Expected], **header: Any) -> dict[str, Any]:
    return {side: {"expect": dict(expected), **header} for side in ("jax", "torch")}


def test_a_declared_difference_is_known_and_not_unexpected(tmp_path: Path) -> None:
    theirs = healthy()
    mine = changed(theirs, forward__dense__output=LEAKED * 2)
    comparison = compared(tmp_path, mine, theirs, **declared(("jax", JAX_LEAKS)))
    assert (comparison.verdict, comparison.unexpected) == (LEAK, IDENTICAL)
    assert (comparison.known, comparison.fixed) == ([JAX_LEAKS], [])
    assert comparison.first is not None
    assert (comparison.first.key, comparison.first.known) == ("forward/dense/output", JAX_LEAKS)


def test_a_difference_declared_by_the_reference_is_known_too(tmp_path: Path) -> None:
    theirs = healthy()
    mine = changed(theirs, forward__dense__output=LEAKED * 2)
    assert compared(tmp_path, mine, theirs, **declared(("torch", JAX_LEAKS))).known == [JAX_LEAKS]


def test_a_declaration_for_another_backend_covers_nothing(tmp_path: Path) -> None:
    theirs = healthy()
    mine = changed(theirs, forward__dense__output=LEAKED * 2)
    comparison = compared(tmp_path, mine, theirs, **declared(("tensorflow", JAX_LEAKS)))
    assert (comparison.unexpected, comparison.known, comparison.fixed) == (LEAK, [], [])


def test_a_declaration_covers_no_worse_verdict_and_no_other_place(tmp_path: Path) -> None:
    theirs = healthy()
    for fault in ({"forward__dense__output": WRONG * 2}, {"loss__0__loss": LEAKED * 3}):
        comparison = compared(tmp_path, changed(theirs, **fault), theirs, **declared(("jax", JAX_LEAKS)))
        assert comparison.unexpected is comparison.verdict
        assert comparison.known == []


def test_a_declaration_covers_a_milder_verdict(tmp_path: Path) -> None:
    theirs = healthy()
    mine = changed(theirs, initial__dense__kernel=LEAKED, gradient__0__dense__kernel=WRONG * 4)
    comparison = compared(tmp_path, mine, theirs, **declared(("jax", JAX_DIVERGES)))
    assert (comparison.verdict, comparison.unexpected, comparison.known) == (DIVERGENT, IDENTICAL, [JAX_DIVERGES])


def test_an_undeclared_difference_is_found_before_a_declared_one_that_is_earlier(tmp_path: Path) -> None:
    theirs = healthy()
    mine = changed(theirs, initial__dense__kernel=WRONG, loss__1__loss=-X * 5)
    comparison = compared(tmp_path, mine, theirs, **declared(("jax", JAX_DIVERGES)))
    assert (place_of(comparison), comparison.unexpected) == ("loss/1/loss", DIVERGENT)


def test_a_declared_missing_observation_is_known(tmp_path: Path) -> None:
    missing = Expected("mismatch", "a reason", "loss/1/*")
    comparison = compared(tmp_path, without(healthy(), "loss/1/loss"), healthy(), **declared(("jax", missing)))
    assert (comparison.verdict, comparison.unexpected, comparison.known) == (MISMATCH, IDENTICAL, [missing])


def test_what_a_backend_is_known_for_is_not_declared_between_two_targets_of_it(tmp_path: Path) -> None:
    """As in an upgrade check: what sets jax apart from others is no reason for it to differ from itself."""
    old = "jax@old/bin/python"
    wrong = changed(healthy(), forward__dense__output=LEAKED * 2)

    def between(mine: dict[str, Any], expect: dict[str, Expected]) -> Comparison:
        return compare(*(recorded(tmp_path, *side, expect=expect) for side in ((old, mine), ("jax", healthy()))))

    moved = between(wrong, {"jax": JAX_LEAKS})
    assert (moved.unexpected, moved.known, moved.fixed) == (LEAK, [], [])
    same = between(healthy(), {"jax": JAX_LEAKS})
    assert (same.unexpected, same.known, same.fixed) == (IDENTICAL, [], [])
    declared_of_one = between(wrong, {old: JAX_LEAKS})
    assert (declared_of_one.unexpected, declared_of_one.known) == (IDENTICAL, [JAX_LEAKS])


def test_a_declared_difference_that_is_gone_is_fixed(tmp_path: Path) -> None:
    for expected in (JAX_LEAKS, JAX_DIVERGES):
        comparison = compared(tmp_path, healthy(), healthy(), **declared(("jax", expected)))
        assert (comparison.known, comparison.fixed) == ([], [expected])


def test_rounding_does_not_keep_a_declaration_alive(tmp_path: Path) -> None:
    theirs = healthy()
    mine = changed(theirs, forward__dense__output=X * 2 * (1 + 1e-15))
    assert compared(tmp_path, mine, theirs, **declared(("jax", JAX_LEAKS))).fixed == [JAX_LEAKS]


def test_a_leak_is_not_called_fixed_where_no_twins_could_show_it(tmp_path: Path) -> None:
    assert compared(tmp_path, healthy(), healthy(), **declared(("jax", JAX_LEAKS), twin=False)).fixed == []
    comparison = compared(tmp_path, healthy(), healthy(), **declared(("jax", JAX_DIVERGES), twin=False))
    assert comparison.fixed == [JAX_DIVERGES]


@pytest.mark.parametrize("side", ["jax", "torch"])
def test_nothing_is_called_fixed_by_a_run_that_stopped(tmp_path: Path, side: str) -> None:
    options = declared(("jax", JAX_DIVERGES))
    options[side]["status"] = "timeout"
    assert compared(tmp_path, healthy(), healthy(), **options).fixed == []


def test_a_difference_is_not_called_fixed_where_the_other_side_cannot_show_it(tmp_path: Path) -> None:
    for position, header in enumerate([{"lacks": [GRADIENTS]}, {"status": "unavailable", "inference_only": True}]):
        options = declared(("jax", JAX_DIVERGES))
        options["torch"] |= header
        assert compared(tmp_path / f"other {position}", healthy(), healthy(), **options).fixed == []
        options = declared(("jax", JAX_DIVERGES))
        options["jax"] |= header
        assert compared(tmp_path / f"own {position}", healthy(), healthy(), **options).fixed == [JAX_DIVERGES]


def test_two_that_both_differ_from_the_others_may_agree_with_each_other(tmp_path: Path) -> None:
    options = declared(("jax", JAX_DIVERGES), ("torch", JAX_DIVERGES))
    assert compared(tmp_path, healthy(), healthy(), **options).fixed == []


# Beside the case


def test_a_table_of_known_differences_excuses_what_it_covers_and_nothing_else(tmp_path: Path) -> None:
    wrong = changed(healthy(), loss__0__loss=WRONG)
    traces = recorded(tmp_path, "jax", wrong), recorded(tmp_path, "torch", healthy())
    entry = Known("cases/*", "jax", Expected("divergent", "it is so", "loss/0/*"))
    covered = compare(*traces, [entry])
    assert covered.known == [entry.expected]
    assert covered.unexpected is not None
    assert covered.unexpected < LEAK
    elsewhere = Known("cases/*", "jax", Expected("divergent", "it is so", "loss/1/*"))
    assert compare(*traces, [elsewhere]).unexpected is DIVERGENT
    other_case = Known("cases/z.py::*", "jax", Expected("divergent", "it is so"))
    assert compare(*traces, [other_case]).unexpected is DIVERGENT


def test_an_entry_whose_difference_is_gone_is_fixed(tmp_path: Path) -> None:
    entry = Known("cases/*", "jax", Expected("divergent", "it was so", "loss/0/*"))
    comparison = compare(recorded(tmp_path, "jax", healthy()), recorded(tmp_path, "torch", healthy()), [entry])
    assert comparison.fixed == [entry.expected]


@pytest.mark.parametrize(("versions", "found"), [("<3.14", "known"), (">=3.14", "unexpected")])
def test_a_difference_of_other_versions_of_keras_is_neither_known_nor_fixed(
    tmp_path: Path, versions: str, found: str
) -> None:
    made = {
        "environment": {"versions": {"keras": "3.12.4"}},
        "expect": {"jax": Expected("divergent", "r", keras=versions)},
    }
    wrong = changed(healthy(), loss__0__loss=WRONG)
    torch = recorded(tmp_path, "torch", healthy(), **made)
    comparison = compare(recorded(tmp_path, "jax", wrong, **made), torch)
    assert (comparison.known != [], comparison.unexpected is DIVERGENT) == (found == "known", found == "unexpected")
    gone = compare(recorded(tmp_path / "gone", "jax", healthy(), **made), torch)
    assert (gone.fixed != []) == (found == "known")
