"""What is run again before it counts, and what does not repeat itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.judge.compare import compare
from harness.result.model import Comparison
from harness.trace import AGAIN, FULL, NOISE, Trace
from harness.verdict import Verdict
from tests.judge.recordings import X, healthy, recorded

RNG = np.random.default_rng(0)
#: What a generator that nobody seeded gives in each of the runs of one target, and of the other.
UNSEEDED = 1 + 0.1 * RNG.normal(size=(8, 32))
KEY = "loss/0/loss"


def run_again(trace: Trace, again: dict[str, Any], twin: dict[str, Any] | None = None) -> Trace:
    """The same trace with a second run beside it, and with another twin if there is one."""
    place = trace.folder
    if twin is not None:
        shutil.rmtree(place / "twin")
        shutil.copytree(recorded(place / "x", "twin", twin, twin=False).folder, place / "twin")
    shutil.copytree(recorded(place / "x", "again", again).folder, place / AGAIN)
    return Trace(place)


def unseeded(folder: Path, target: str, draws: Any, factor: float = 1.0) -> Trace:
    """A target that draws other numbers in each of its runs: first, twin, and again."""
    values = [healthy() | {KEY: draw * factor} for draw in draws]
    return run_again(recorded(folder, target, values[0]), values[2], values[1])


@pytest.mark.parametrize("factor", [1.0, 1.2, 1.001])
def test_what_neither_side_repeats_is_not_compared(tmp_path: Path, factor: float) -> None:
    comparison = compare(unseeded(tmp_path, "jax", UNSEEDED[:3], factor), unseeded(tmp_path, "torch", UNSEEDED[3:6]))
    assert comparison.unrepeated is not None
    assert (comparison.unrepeated.key, comparison.unrepeated.targets) == (KEY, ["jax", "torch"])
    assert (comparison.verdict, comparison.not_compared) == (Verdict.IDENTICAL, 1)


def test_one_side_that_does_not_repeat_itself_is_named(tmp_path: Path) -> None:
    steady = healthy() | {KEY: X}
    theirs = run_again(recorded(tmp_path, "torch", steady), steady)
    comparison = compare(unseeded(tmp_path, "jax", UNSEEDED[:3]), theirs)
    assert comparison.unrepeated is not None
    assert comparison.unrepeated.targets == ["jax"]


def test_a_difference_that_repeats_itself_counts(tmp_path: Path) -> None:
    mine, theirs = healthy() | {KEY: X * 1.5}, healthy() | {KEY: X}
    again = [run_again(recorded(tmp_path, name, side), side) for name, side in (("jax", mine), ("torch", theirs))]
    comparison = compare(*again)
    assert (comparison.unrepeated, comparison.verdict) == (None, Verdict.DIVERGENT)


def test_a_kernel_that_adds_in_another_order_each_time_hides_nothing(tmp_path: Path) -> None:
    """As on a GPU: the second run differs from the first by rounding, and the two targets by more."""
    mine, theirs = healthy() | {KEY: X * 1.001}, healthy() | {KEY: X}
    moved = [
        run_again(recorded(tmp_path, name, side), side | {KEY: side[KEY] * (1 + 1e-6)})
        for name, side in (("jax", mine), ("torch", theirs))
    ]
    comparison = compare(*moved)
    assert (comparison.unrepeated, comparison.verdict) == (None, Verdict.DIVERGENT)


def test_text_that_is_another_one_each_time_is_not_compared(tmp_path: Path) -> None:
    sides = [run_again(recorded(tmp_path, name, {"event/a": name}), {"event/a": f"{name} again"}) for name in "ab"]
    comparison = compare(*sides)
    assert comparison.unrepeated is not None
    assert comparison.verdict is None


def wanted(folder: Path, mine: Any, theirs: Any, **options: Any) -> frozenset[str]:
    comparison: Comparison = compare(
        recorded(folder, "jax", healthy() | {KEY: mine}, **options),
        recorded(folder, "torch", healthy() | {KEY: theirs}),
    )
    return comparison.further_runs


def test_what_differs_is_to_be_run_again_and_what_agrees_is_not(tmp_path: Path) -> None:
    assert wanted(tmp_path, X, X) == frozenset()
    assert wanted(tmp_path, X * (1 + 3e-8), X) == frozenset()  # a leak of one roundoff
    assert wanted(tmp_path, X * 1.5, X) == {AGAIN}


def test_where_a_twin_is_missing_disturbed_runs_are_wanted_too(tmp_path: Path) -> None:
    assert wanted(tmp_path, X * 1.5, X, twin=False) == {AGAIN, NOISE}


# What may compute float32 in fewer bits, and is far off in float32 alone: as behind the gradient of a ReLU in TF32

OTHERWISE = X * np.where(np.arange(32) == 7, 1.4, 1.0)


def in_float32_only(folder: Path, full: Any = None) -> Comparison:
    """jax is far off in one element in float32, and in its run in full computes what is told."""
    recorded(folder, "jax", healthy() | {KEY: X})
    wrong = healthy() | {KEY: OTHERWISE}
    trace = run_again(recorded(folder, "jax", wrong, twin=False), wrong)
    if full is not None:
        shutil.copytree(recorded(folder / "x", "full", healthy() | {KEY: full}).folder, trace.folder / FULL)
    theirs = healthy() | {KEY: X}
    return compare(Trace(trace.folder), run_again(recorded(folder, "torch", theirs), theirs))


def test_a_run_in_full_is_wanted_where_a_switch_may_be_all_of_it(tmp_path: Path) -> None:
    comparison = in_float32_only(tmp_path)
    assert comparison.verdict is Verdict.DIVERGENT
    assert comparison.further_runs == {FULL, NOISE}


@pytest.mark.parametrize(
    ("full", "verdict"),
    [(X * (1 + 3e-8), Verdict.IMPRECISE), (OTHERWISE, Verdict.DIVERGENT), (X * 1.5, Verdict.DIVERGENT)],
)
def test_what_is_gone_in_full_is_imprecise_and_what_stays_is_divergent(
    tmp_path: Path, full: Any, verdict: Verdict
) -> None:
    comparison = in_float32_only(tmp_path, full)
    assert comparison.verdict is verdict
    assert FULL not in comparison.further_runs
    assert comparison.first is not None
    assert comparison.first.key == KEY
