"""The sentences of `result.json`, one for each rule that can decide a verdict."""

from __future__ import annotations

import pytest

from harness.result.judgement import (
    Cause,
    Drawn,
    Judgement,
    LessPrecise,
    Lost,
    Missing,
    OneSided,
    Reordered,
    Unequal,
    Unlike,
)
from harness.result.words import reason, spread
from harness.verdict import Verdict

IDENTICAL, ROUNDING, LEAK, IMPRECISE, DIVERGENT, MISMATCH = Verdict


@pytest.mark.parametrize(
    ("judgement", "sentence"),
    [
        (Judgement(IDENTICAL, "exact"), "equal"),
        (Judgement(IDENTICAL, "exact", d32=0.0), "equal bit for bit, in float32"),
        (Judgement(IDENTICAL, "twins", 0.0, 1e-16), "equal bit for bit"),
        (Judgement(ROUNDING, "twins", 1e-7, 1e-16), "the float64 runs agree to 1.0e-16"),
        (
            Judgement(LEAK, "twins", 1e-7, 2e-8),
            "the float64 runs differ by 2.0e-08: one of them is in float32 inside",
        ),
        (
            Judgement(DIVERGENT, "twins", 1e-2, 1e-2, explained=5e-7),
            "the float64 runs differ by 1.0e-02, and rounding of float32 explains 5.0e-07",
        ),
        (Judgement(ROUNDING, "one twin", 1e-7), "the targets agree to 1.0e-07"),
        (
            Judgement(DIVERGENT, "noise", 1e-2, bound=1e-5),
            "the targets differ by 1.0e-02, and the bound from noise is 1.0e-05",
        ),
    ],
)
def test_what_was_measured_is_told_with_the_numbers_that_decide(judgement: Judgement, sentence: str) -> None:
    assert reason(judgement) == sentence


@pytest.mark.parametrize(
    ("cause", "index", "sentence"),
    [
        (Missing(on_target=True), None, "it was not recorded on this target"),
        (Missing(on_target=False), None, "it was not recorded on the reference"),
        (
            Reordered("initial", ("a/kernel", "b/kernel")),
            None,
            "variables are in another order than on the reference ('a/kernel' and 'b/kernel' moved): lists of "
            "get_weights(), and whatever else goes by position, do not fit",
        ),
        (
            Reordered("forward", ("a", "b", "c", "d", "e", "f")),
            None,
            "layers are called in another order than on the reference: 'a', 'b', 'c', 'd' and 2 more moved",
        ),
        (Reordered("event", ("a",)), None, "it was recorded in another order than on the reference: 'a' moved"),
        (Lost("jax", "gradients", "ValueError: no"), None, "jax raises in 'gradients': ValueError: no"),
        (Unlike("dtype", "int32", "int64"), None, "dtype is int32, and int64 on the reference"),
        (Unlike("shape", "(2,)", "(3,)"), None, "shape is (2,), and (3,) on the reference"),
        (Unlike("kind", "an array", "a plain value"), None, "it is an array, and a plain value on the reference"),
        (Unlike("value", "'a'", "None"), None, "it is 'a', and None on the reference"),
        (Unlike("item", "1", "2", 3), None, "item 3 is 1, and 2 on the reference"),
        (Unlike("length", "1", "2"), None, "it has 1 items, and 2 on the reference"),
        (Unequal("3", "4", 2, 9), (0, 1), "2 of 9 elements differ, first 3 at (0, 1), and 4 on the reference"),
        (Unequal("3", "4", 1, 1), (), "3, and 4 on the reference"),
        (OneSided("nan", "1.0", in_float64=False), (4,), "it is nan at (4,), and 1.0 on the reference"),
        (OneSided("nan", "1.0", in_float64=True), (), "it is nan, and 1.0 on the reference in float64"),
    ],
)
def test_a_mismatch_says_what_is_on_either_side(cause: Cause, index: tuple[int, ...] | None, sentence: str) -> None:
    assert reason(Judgement(MISMATCH, "exact", index=index, cause=cause)) == sentence


def test_a_side_that_is_less_precise_is_named_with_its_precision() -> None:
    judgement = Judgement(IMPRECISE, "twins", cause=LessPrecise(True, "float32", 1e-3, "float32", 1e-7))
    assert reason(judgement) == "this target has a float32 error of 1.0e-03, and the other one of 1.0e-07"
    judgement = Judgement(IMPRECISE, "twins", cause=LessPrecise(False, "bfloat16", 0.5, "float32", 1e-7))
    assert reason(judgement) == "the reference has a bfloat16 error of 5.0e-01, and the other one of 1.0e-07 in float32"


def test_a_distribution_is_told_with_its_test() -> None:
    test = "the mean of 16 runs on each side (Kolmogorov-Smirnov, p = 1.0e-09)"
    cause = Drawn("mean", 16, 1e-9)
    assert reason(Judgement(DIVERGENT, "distribution", cause=cause)) == f"{test} has another distribution"
    told = f"one distribution, as far as can be told: {test}"
    assert reason(Judgement(ROUNDING, "distribution", cause=cause)) == told


@pytest.mark.parametrize(
    ("count", "size", "band", "told"),
    [
        (1, 1, None, "the one element there is"),
        (1, 9, ("row", 0, 3), "one element"),
        (9, 9, None, "all 9 elements"),
        (3, 9, ("channel", 2, 3), "channel 2 of 3, 3 elements"),
        (4, 9, None, "4 of 9 elements"),
    ],
)
def test_how_far_a_difference_spreads(count: int, size: int, band: tuple[str, int, int] | None, told: str) -> None:
    assert spread(count, size, band) == told
