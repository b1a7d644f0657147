"""Verdicts: what is rounding, what is not, and what must never pass for it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.judge.arrays import rms
from harness.judge.verdict import judge
from harness.result.judgement import Judgement
from harness.result.words import reason
from harness.trace import NUMBER, Observation
from harness.verdict import Verdict

U32, U64 = 2.0**-24, 2.0**-53
IDENTICAL, ROUNDING, LEAK, IMPRECISE, DIVERGENT, MISMATCH = Verdict
NAN, INF = math.nan, math.inf

a_few = settings(max_examples=60, deadline=None)
#: Far from where float32 or a square of it underflows or overflows.
ORDINARY = st.floats(2.0**-20, 2.0**20, width=32)
ARRAYS = npst.arrays(
    np.float64,
    npst.array_shapes(max_dims=2, max_side=20),
    elements=ORDINARY | ORDINARY.map(lambda x: -x) | st.just(0.0),
)


def observed(value: Any, dtype: str | None = None, step: int = 0) -> Observation:
    array = np.asarray(value)
    return Observation("recorded/x", "recorded", step, "x", None, dtype or array.dtype.name, array)


def plain(value: Any) -> Observation:
    return Observation("recorded/x", "recorded", 0, "x", None, None, value)


def number(value: float, step: int = 0) -> Observation:
    return observed(value, NUMBER, step)


def judged(
    a32: Any, b32: Any, a64: Any = None, b64: Any = None, *, group_scale: float = 0.0, step: int = 0
) -> Judgement:
    """Judge arrays; None is a twin that is not there."""
    twins = [None if twin is None else observed(twin) for twin in (a64, b64)]
    return judge(observed(a32, step=step), observed(b32, step=step), *twins, group_scale=group_scale)


def single(array: Any) -> Any:
    return np.asarray(array).astype(np.float32)


def compared(a64: Any, b64: Any, **options: Any) -> Judgement:
    """Judge two functions that both targets round to float32 as well as can be."""
    return judged(single(a64), single(b64), np.asarray(a64), np.asarray(b64), **options)


def values(*shape: int, seed: int = 0) -> Any:
    """Values of one size, no two of them within a percent of their size."""
    count = math.prod(shape)
    return np.random.default_rng(seed).permutation(np.linspace(1.0, 2.0, count)).reshape(shape)


def dense(dtype: type, order: int, *, scale: float = 1.0) -> Any:
    """A dense layer of 256 inputs, summed term by term, forwards or backwards."""
    rng = np.random.default_rng(7)
    x, w = rng.normal(size=(16, 256)).astype(np.float32), rng.normal(size=(256, 8)).astype(np.float32) / 16
    total = np.zeros((16, 8), dtype)
    for k in range(256)[::order]:
        total += x[:, k, None].astype(dtype) * (w[k].astype(dtype) * dtype(scale))
    return np.tanh(total)


# The verdicts


def test_another_order_of_summation_is_rounding() -> None:
    a32, b32, a64, b64 = (dense(dtype, order) for dtype in (np.float32, np.float64) for order in (1, -1))
    judgement = judged(a32, b32, a64, b64)
    assert not np.array_equal(a32, b32)
    assert (judgement.verdict, judgement.basis) == (ROUNDING, "twins")


@pytest.mark.parametrize("fault", [1e-3, -1e-3, 3e-5])
def test_a_layer_that_scales_its_weights_wrongly_is_divergent(fault: float) -> None:
    a32, a64 = (dense(dtype, 1, scale=1 + fault) for dtype in (np.float32, np.float64))
    b32, b64 = (dense(dtype, -1) for dtype in (np.float32, np.float64))
    assert judged(a32, b32, a64, b64).verdict is DIVERGENT


def test_a_fault_the_size_of_its_rounding_in_float32_is_still_more_than_rounding() -> None:
    a32, a64 = (dense(dtype, 1, scale=1 + 1e-6) for dtype in (np.float32, np.float64))
    b32, b64 = (dense(dtype, -1) for dtype in (np.float32, np.float64))
    assert judged(a32, b32, a64, b64).verdict is LEAK


@pytest.mark.parametrize("fault", [1e-3, 1e-6])
@pytest.mark.parametrize("shape", [(1,), (15,), (16,), (100, 100)])
def test_a_relative_error_where_nothing_amplifies_rounding_is_divergent(fault: float, shape: tuple[int, ...]) -> None:
    x = values(*shape)
    # Of 15 elements and fewer the error may be lucky, which is allowed for: 1e-6 is within 32 x 2**-24.
    expected = DIVERGENT if fault == 1e-3 or x.size >= 16 else LEAK
    assert compared(x * (1 + fault), x).verdict is expected


def test_drift_of_a_chaotic_run_is_rounding_at_every_step() -> None:
    start = np.linspace(0.1, 0.9, 32).astype(np.float32)
    runs = {dtype: [start.astype(dtype), start.astype(dtype)] for dtype in (np.float32, np.float64)}
    distances = []
    for _ in range(30):
        for dtype, (a, b) in runs.items():
            r = dtype(3.9)
            runs[dtype] = [r * a * (1 - a), r * b - r * b * b]
        judgement = judged(*runs[np.float32], *runs[np.float64])
        assert judgement.verdict <= ROUNDING
        distances.append(judgement.d32)
    assert distances[0] < 1e-6
    assert distances[-1] > 0.1


def test_a_chaotic_run_with_a_wrong_parameter_is_caught_at_its_first_step() -> None:
    x = np.linspace(0.1, 0.9, 32).astype(np.float32)
    a32, b32, a64, b64 = (
        dtype(r) * x.astype(dtype) * (1 - x.astype(dtype)) for dtype in (np.float32, np.float64) for r in (3.90001, 3.9)
    )
    assert judged(a32, b32, a64, b64).verdict is DIVERGENT


def test_a_twin_that_drops_to_single_precision_once_is_a_leak() -> None:
    x = np.tanh(values(8, 8))
    judgement = judged(single(x), single(x), single(x).astype(np.float64), x)
    assert (judgement.verdict, judgement.basis) == (LEAK, "twins")


def test_identical_needs_the_twins_to_agree_too() -> None:
    x = values(8, 8)
    assert judged(single(x), single(x), x, x * (1 + 1e-15)).verdict is IDENTICAL
    assert judged(single(x), single(x), x, x * (1 + 1e-8)).verdict is LEAK
    assert judged(single(x), single(x), x, x * (1 + 1e-2)).verdict is DIVERGENT


@given(ARRAYS)
@a_few
def test_a_value_is_identical_to_itself(x: Any) -> None:
    assert compared(x, x).verdict is IDENTICAL


@given(npst.arrays(np.float32, st.integers(0, 20)))
@a_few
def test_bits_that_are_equal_are_identical_whatever_they_are(x: Any) -> None:
    assert judged(x, x).verdict is IDENTICAL
    assert judged(x, x, x.astype(np.float64), x.astype(np.float64)).verdict is IDENTICAL


# The bounds, with everything of size 1 and so each distance exact


def at(size: int, *, difference: float, errors: tuple[float, float]) -> Judgement:
    """Judge twins that differ by so much, and whose targets have float32 errors of so many u32."""
    a32, b32, a64, b64 = (np.ones(size, dtype) for dtype in (np.float32, np.float32, np.float64, np.float64))
    a64[0] = 1 - difference
    a32[0] = a64[0]
    a32[1], b32[1] = 1 - errors[0] * U32, 1 - errors[1] * U32
    return judged(a32, b32, a64, b64)


ERRORS = [(1, 0), (0, 1), (16, 0), (0, 16), (300, 299)]


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("size", [2, 15, 16, 1000])
def test_rounding_ends_at_256_times_the_amplified_roundoff_of_float64(size: int, errors: tuple[float, float]) -> None:
    bound = 256 * max(errors) * U64
    inside, outside = at(size, difference=bound, errors=errors), at(size, difference=bound + U64, errors=errors)
    assert (inside.verdict, inside.bound, inside.d64) == (ROUNDING, bound, bound)
    assert (outside.verdict, outside.bound, outside.d64) == (LEAK, bound, bound + U64)
    assert inside.amplification == max(errors)


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize(("size", "slack"), [(2, 32), (15, 32), (16, 8), (1000, 8)])
def test_a_leak_ends_at_8_times_the_measured_rounding_or_32_of_few_elements(
    size: int, slack: float, errors: tuple[float, float]
) -> None:
    bound = slack * max(errors) * U32
    assert at(size, difference=bound, errors=errors).verdict is LEAK
    outside = at(size, difference=bound + U64, errors=errors)
    assert (outside.verdict, outside.bound) == (DIVERGENT, bound)


def test_values_that_float32_holds_exactly_have_an_amplification_of_one() -> None:
    ones = np.ones(32)
    judgement = judged(single(ones), single(ones), ones - U64, ones)
    assert (judgement.verdict, judgement.amplification, judgement.d64) == (IDENTICAL, 1.0, U64)


@pytest.mark.parametrize(("finer", "coarsest"), [(0, 512), (1, 512), (2, 1024)])
def test_a_float32_error_512_times_the_others_is_imprecise(finer: float, coarsest: float) -> None:
    assert at(16, difference=0, errors=(coarsest, finer)).verdict is ROUNDING
    mine = at(16, difference=0, errors=(coarsest + 1, finer))
    theirs = at(16, difference=0, errors=(finer, coarsest + 1))
    assert (mine.verdict, theirs.verdict) == (IMPRECISE, IMPRECISE)
    assert reason(mine).startswith("this target has")
    assert reason(theirs).startswith("the reference has")
    assert mine.bound == coarsest * U32


@pytest.mark.parametrize(("size", "verdict"), [(15, ROUNDING), (16, IMPRECISE)])
def test_an_error_of_few_elements_may_be_luck_if_disturbed_runs_move_as_much(size: int, verdict: Verdict) -> None:
    x, error = values(size), 9999 * U32 * np.cos(np.arange(size))
    sides = observed(single(x + error)), observed(single(x)), observed(x), observed(x)
    moved = [observed(single(x + error[::-1] / 4))]
    assert judge(*sides).verdict is IMPRECISE
    assert judge(*sides, target_noise=moved).verdict is verdict
    assert judge(*sides, reference_noise=moved).verdict is verdict
    assert judge(*sides, reference_noise=[observed(single(x + error / 100))]).verdict is IMPRECISE


# A function that is another one in one precision only


@pytest.mark.parametrize("size", [1, 3, 15, 16, 1000])
@pytest.mark.parametrize("factor", [0.0, -1.0, 1.05, 1.5, 1e6])
@pytest.mark.parametrize("whose", ["target", "reference"])
def test_a_factor_in_float32_only_is_divergent(size: int, factor: float, whose: str) -> None:
    x = values(size) / 3
    right, wrong = single(x), single(x * factor)
    judgement = judged(wrong, right, x, x) if whose == "target" else judged(right, wrong, x, x)
    assert judgement.verdict is DIVERGENT
    assert reason(judgement).startswith("in float32 only")


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_a_small_factor_has_a_pattern_which_low_precision_has_not(factor: float) -> None:
    x = np.random.default_rng(0).normal(size=100)
    assert judged(single(x * factor), single(x), x, x).verdict is DIVERGENT
    in_bfloat16 = single(single(x).astype(ml_dtypes.bfloat16))
    assert judged(in_bfloat16, single(x), x, x).verdict is IMPRECISE


def test_a_factor_is_seen_among_elements_that_are_cut_off() -> None:
    x = np.random.default_rng(0).normal(size=200)
    exact = np.maximum(x, -0.5)  # a limit below which the factor acts on nothing
    wrong = np.where(exact > -0.5, exact * 1.02, exact)
    assert judged(single(wrong), single(exact), exact, exact).verdict is DIVERGENT


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("size", [16, 100, 10_000])
def test_lower_precision_is_imprecise_whatever_the_values(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 64)) * rng.lognormal(size=(size, 1)), rng.normal(size=64)
    low = (tf32(single(x[0])) * tf32(single(x[1]))).sum(axis=1)
    assert judged(low, single(x[0] @ x[1]), x[0] @ x[1], x[0] @ x[1]).verdict <= IMPRECISE


def test_what_disturbed_runs_move_as_much_is_rounding_that_one_side_amplifies() -> None:
    x = np.random.default_rng(0).normal(size=(3, 100))
    sides = observed(single(x[0] + x[1])), observed(single(x[0])), observed(x[0]), observed(x[0])
    assert judge(*sides).verdict is DIVERGENT
    assert judge(*sides, target_noise=[observed(single(x[0] + x[2]))]).verdict is IMPRECISE


def test_a_float64_run_that_is_off_by_itself_is_divergent_in_float64_only() -> None:
    x = values(40)
    judgement = judged(single(x), single(x), x * 4, x)
    assert judgement.verdict is DIVERGENT
    assert reason(judgement).startswith("in float64 only")


# A float64 run that measures nothing


def test_float64_runs_that_are_float32_inside_on_both_sides_are_no_twins() -> None:
    x = values(32)
    a, b = single(x * (1 + 1e-6)), single(x)
    healthy = judged(a, b, a.astype(np.float64), b.astype(np.float64))
    assert (healthy.verdict, healthy.basis) == (ROUNDING, "tolerance")
    wrong = judged(single(x * 1.001), b, single(x * 1.001).astype(np.float64), b.astype(np.float64))
    assert (wrong.verdict, wrong.basis) == (DIVERGENT, "tolerance")


def test_values_that_float32_holds_exactly_are_twins_where_they_agree() -> None:
    ones = np.ones(32, np.float32)
    assert judged(ones, ones, ones.astype(np.float64), ones.astype(np.float64)).basis == "twins"
    assert judged(single(ones * 1.5), ones, ones.astype(np.float64), ones.astype(np.float64)).verdict is DIVERGENT


# What stands for an infinity, or as good as


@pytest.mark.parametrize("twins", [True, False], ids=["twins", "no twins"])
@pytest.mark.parametrize("beside", [(), (8.0,), (2.0**-126,)], ids=["alone", "beside 8", "beside the smallest"])
def test_what_some_backends_make_0_is_as_good_as_0(beside: tuple[float, ...], twins: bool) -> None:
    exact = np.array([2.0**-130, 2.0**-127, *beside])
    kept, flushed = exact.astype(np.float32), np.where(exact < 2.0**-126, 0, exact).astype(np.float32)
    for a, b in ((kept, flushed), (flushed, kept)):
        judgement = judged(a, b, exact, exact) if twins else judged(a, b)
        assert (judgement.verdict, judgement.is_flushed) == (IDENTICAL, True)
    assert not judged(kept, kept).is_flushed
    above, below = np.float32(exact) * np.float32(1 + 2.0**-20), np.float32(exact) * np.float32(1 - 2.0**-20)
    assert judged(above, below).verdict <= ROUNDING
    another = judged(flushed + np.float32(2.0**-125), kept)
    assert another.verdict is DIVERGENT if len(beside) == 0 or beside[0] < 1 else ROUNDING


def test_the_smallest_normal_number_is_that_of_the_dtype() -> None:
    half, zero = np.array([2.0**-15], np.float16), np.zeros(1, np.float16)
    assert judged(half, zero).verdict is IDENTICAL
    assert judged(half.astype(np.float32), zero.astype(np.float32)).verdict is DIVERGENT


@pytest.mark.parametrize("twins", [True, False], ids=["twins", "no twins"])
@pytest.mark.parametrize("mask", [-1e9, 1e30])
def test_a_mask_excuses_nothing_that_stands_beside_it(mask: float, twins: bool) -> None:
    b = values(4, 8)
    a = b.copy()
    a[1] *= 1.5
    a[:, 3:5], b[:, 3:5] = mask * (1 + 1e-15), mask
    assert (compared(a, b) if twins else judged(single(a), single(b))).verdict is DIVERGENT
    a[1] = b[1]
    assert (compared(a, b) if twins else judged(single(a), single(b))).verdict <= ROUNDING


@pytest.mark.parametrize("twin", [True, False])
def test_the_limit_of_a_dtype_on_one_side_only_is_divergent(twin: bool) -> None:
    b = values(5)
    a32, a64 = single(b), b.copy()
    a32[2], a64[2] = np.finfo(np.float32).min, np.finfo(np.float64).min
    judgement = judged(a32, single(b), a64, b if twin else None)
    assert (judgement.verdict, judgement.index) == (DIVERGENT, (2,))
    b32 = single(b)
    b32[2] = a32[2]
    assert judged(a32, b32, a64, a64).verdict is IDENTICAL
    b32[2] = -np.inf  # what an empty segment gives on one backend, where another gives the limit
    judgement = judged(a32, b32, a64, a64 if twin else None)
    assert (judgement.verdict, judgement.index) == (MISMATCH, (2,))


def test_targets_that_are_both_as_coarse_are_rounding() -> None:
    assert at(16, difference=0, errors=(9999, 9000)).verdict is ROUNDING


def test_distances_are_the_largest_difference_over_the_largest_root_mean_square() -> None:
    a32, b32, a64, b64 = np.float32([3, 4]), np.float32([3, 5]), np.array([3.25, 4]), np.array([3, 4.5])
    judgement = judged(a32, b32, a64, b64)
    scale = math.sqrt((9 + 25) / 2)
    assert judgement.d32 == pytest.approx(1 / scale)
    assert judgement.d64 == pytest.approx(0.5 / scale)
    assert judgement.amplification == pytest.approx(0.5 / scale / U32)


def test_the_index_is_where_the_difference_is_largest() -> None:
    b = values(4, 5)
    a = b.copy()
    a[0, 1] += 0.5
    a[2, 3] -= 0.75
    assert compared(a, b).index == (2, 3)
    assert judged(single(a), single(b)).index == (2, 3)


# Lower precision on one side


def tf32(array: Any) -> Any:
    """Values with the ten bits of fraction that TF32 keeps."""
    return (single(array).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def products(*, coarse: tuple[bool, bool], fault: float = 0.0) -> Judgement:
    rng = np.random.default_rng(3)
    x, w = (single(rng.normal(size=(64, 64))) for _ in range(2))
    a32, b32 = (tf32(x) @ tf32(w) if is_coarse else x @ w for is_coarse in coarse)
    exact = x.astype(np.float64) @ w.astype(np.float64)
    return judged(single(a32 * (1 + fault)), b32, exact * (1 + fault), exact)


def test_tf32_on_one_side_is_imprecise() -> None:
    assert products(coarse=(True, False)).verdict is IMPRECISE
    assert products(coarse=(False, True)).verdict is IMPRECISE


def test_tf32_on_both_sides_is_rounding() -> None:
    assert products(coarse=(True, True)).verdict <= ROUNDING


def test_tf32_does_not_hide_another_function() -> None:
    assert products(coarse=(True, False), fault=0.1).verdict is DIVERGENT


# Values that are zero but for rounding


def bias_gradient(dtype: type, order: int) -> Any:
    """The gradient of a bias before a normalisation over the batch: zero, but for rounding."""
    upstream = np.tanh(np.random.default_rng(5).normal(size=(256, 24))).astype(dtype)
    centred = upstream - upstream.mean(axis=0, dtype=dtype)
    total = np.zeros(24, dtype)
    for row in centred[::order]:
        total += row
    return total / dtype(256)


def test_a_gradient_that_is_rounding_in_both_precisions_is_rounding() -> None:
    a32, b32, a64, b64 = (bias_gradient(dtype, order) for dtype in (np.float32, np.float64) for order in (1, -1))
    assert np.abs(a32).max() < 1e-6
    assert np.abs(a64 - b64).max() > 0.01 * np.abs(b64).max()
    judgement = judged(a32, b32, a64, b64, group_scale=1.0)
    assert judgement.verdict is ROUNDING
    assert judgement.d32 is not None
    assert judgement.d32 > 0.1


def test_noise_of_the_twins_where_float32_happens_to_be_zero_is_rounding_of_its_group() -> None:
    zeros, noise = np.zeros(32, np.float32), np.random.default_rng(1).normal(size=(2, 32)) * 1e-17
    assert judged(zeros, zeros, *noise).verdict is LEAK
    assert judged(zeros, zeros, *noise, group_scale=1.0).verdict is IDENTICAL


def test_the_group_excuses_noise_of_256_roundoffs_of_float64_and_no_more() -> None:
    zeros, limit = np.zeros(32, np.float32), np.full(32, 256 * U64 * 2.0**-20)
    assert judged(zeros, zeros, limit, -limit, group_scale=2.0**-20).verdict is IDENTICAL
    assert judged(zeros, zeros, limit * 1.01, -limit, group_scale=2.0**-20).verdict is not IDENTICAL


@pytest.mark.parametrize("twins", [True, False], ids=["twins", "no twins"])
@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("value", [1e-6, 0.5, 30.0])
def test_a_large_neighbour_excuses_no_value_that_its_twin_has_too(value: float, size: int, twins: bool) -> None:
    b = values(size) * value
    options = {"group_scale": 1.7e9}
    judgement = compared(b * 1.2, b, **options) if twins else judged(single(b * 1.2), single(b), **options)
    assert judgement.verdict is DIVERGENT


def test_a_small_gradient_that_is_wrong_is_divergent_in_the_largest_of_groups() -> None:
    gradient = values(32) * 1e-6
    assert compared(gradient * 1.1, gradient, group_scale=1e3).verdict is DIVERGENT


def test_a_value_that_is_real_on_one_side_and_noise_on_the_other_is_divergent() -> None:
    zero = np.random.default_rng(2).normal(size=32)
    a32, b32 = single(values(32) * 1e-3), single(zero * 1e-9)
    assert judged(a32, b32, a32.astype(np.float64), zero * 1e-18, group_scale=1.0).verdict is DIVERGENT


# What must not pass


@pytest.mark.parametrize("size", [1, 10, 1_000, 100_000])
@pytest.mark.parametrize("twins", [True, False], ids=["twins", "no twins"])
def test_one_wrong_element_is_divergent_in_an_array_of_any_size(size: int, twins: bool) -> None:
    b = values(size)
    a = b.copy()
    a[size // 2] *= 1.01
    judgement = compared(a, b) if twins else judged(single(a), single(b))
    assert judgement.verdict is DIVERGENT
    assert judgement.index == (size // 2,)


@given(st.permutations(range(12)))
@a_few
def test_a_permutation_is_divergent_though_all_its_moments_are_equal(order: list[int]) -> None:
    b = np.linspace(1.0, 2.0, 12)
    expected = IDENTICAL if order == sorted(order) else DIVERGENT
    assert compared(b[order], b).verdict is expected
    assert judged(single(b[order]), single(b)).verdict is expected


def test_equal_mean_and_spread_are_not_agreement() -> None:
    b = values(50, 50)
    a = b.mean() - (b - b.mean())
    np.testing.assert_allclose([a.mean(), a.std()], [b.mean(), b.std()])
    assert compared(a, b).verdict is DIVERGENT
    assert judged(single(a), single(b)).verdict is DIVERGENT


def test_one_percent_right_is_divergent_and_so_is_one_element_in_a_hundred_wrong() -> None:
    b = values(100)
    right = np.arange(100) == 0
    assert compared(np.where(right, b, b * 1.001), b).verdict is DIVERGENT
    assert compared(np.where(right, b * 1.001, b), b).verdict is DIVERGENT


def test_values_rounded_to_five_decimals_are_divergent() -> None:
    b = values(20, 20)
    assert compared(b.round(5), b).verdict is DIVERGENT


def test_the_sign_alone_makes_a_value_divergent() -> None:
    b = values(20)
    assert compared(-b, b).verdict is DIVERGENT
    assert judged(single(-b), single(b)).verdict is DIVERGENT


@pytest.mark.parametrize("size", [2, 10, 1_000])
def test_a_bound_does_not_grow_with_the_size_of_an_array(size: int) -> None:
    x = np.ones(size * 16)
    assert compared(x * (1 + 1e-9), x).bound == pytest.approx(256 * U64)
    assert judged(single(x * 1.5), single(x)).bound == pytest.approx(256 * U32)


# NaN and infinity


ONE_SIDED = [(NAN, 1.0), (1.0, NAN), (NAN, 0.0), (INF, 1.0), (1.0, -INF), (INF, -INF), (NAN, INF), (-INF, NAN)]


def with_last(value: Any, dtype: Any) -> Any:
    array = np.ones((3, 4), dtype)
    array[-1, -1] = value
    return array


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.complex64])
@pytest.mark.parametrize(("mine", "theirs"), ONE_SIDED)
def test_a_special_value_on_one_side_is_a_mismatch(mine: float, theirs: float, dtype: Any) -> None:
    for x, y in (
        (np.asarray(mine, dtype), np.asarray(theirs, dtype)),
        (with_last(mine, dtype), with_last(theirs, dtype)),
    ):
        judgement = judged(x, y)
        assert judgement.verdict is MISMATCH
        assert judgement.index == ((2, 3) if x.ndim else ())


@pytest.mark.parametrize(("mine", "theirs"), ONE_SIDED)
def test_a_special_value_on_one_side_is_a_mismatch_whatever_the_twins_say(mine: float, theirs: float) -> None:
    ones = np.ones((3, 4))
    assert judged(with_last(mine, np.float32), with_last(theirs, np.float32), ones, ones).verdict is MISMATCH


@pytest.mark.parametrize(("mine", "theirs"), ONE_SIDED)
def test_a_special_value_in_one_twin_is_a_mismatch_and_says_where(mine: float, theirs: float) -> None:
    ones = np.ones((3, 4), np.float32)
    judgement = judged(ones, ones, with_last(mine, np.float64), with_last(theirs, np.float64))
    assert judgement.verdict is MISMATCH
    assert judgement.index == (2, 3)
    assert "float64" in reason(judgement)


@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_a_special_value_on_both_sides_agrees(special: float) -> None:
    x = values(3, 4)
    x[1, 1] = special
    assert compared(x, x).verdict is IDENTICAL
    near = compared(x * (1 + 1e-15), x)
    assert (near.verdict, near.basis) == (IDENTICAL, "twins")
    assert judged(single(x * (1 + 1e-7)), single(x)).verdict is ROUNDING


@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_a_special_value_on_both_sides_hides_no_difference_beside_it(special: float) -> None:
    b = values(3, 4)
    b[1, 1] = special
    a = b.copy()
    a[2, 2] *= 1.01
    for judgement in (compared(a, b), judged(single(a), single(b)), judged(single(a), single(b), a)):
        assert judgement.verdict is DIVERGENT
        assert judgement.index == (2, 2)


def test_nan_of_another_kind_is_still_nan() -> None:
    x = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000], np.uint32).view(np.float32)
    assert judged(x, x[::-1].copy()).verdict is ROUNDING


@pytest.mark.parametrize("special", [NAN, INF])
def test_twins_that_are_not_finite_are_no_evidence_for_float32_values_that_are(special: float) -> None:
    b = values(32)
    a = b.copy()
    a[3] *= -1
    partly = b.copy()
    partly[3] = special
    for twin in (partly, np.full(32, special)):
        assert judged(single(a), single(b), twin, twin).verdict is DIVERGENT


def test_float32_values_that_overflowed_on_both_sides_leave_the_twins_to_be_judged() -> None:
    b = values(32) * 1e30
    b[5] = 1e39
    wrong = b * 1.01
    with np.errstate(over="ignore"):
        a32, b32 = single(wrong), single(b)
    assert judged(b32, b32, b, b).verdict is IDENTICAL
    assert judged(a32, b32, wrong, b).verdict is DIVERGENT


@given(ARRAYS, st.data(), st.sampled_from([NAN, INF, -INF]), st.sampled_from(["32", "64", "32 and 64"]))
@a_few
def test_no_place_of_a_special_value_on_one_side_passes(
    x: Any, data: st.DataObject, special: float, where: str
) -> None:
    position = data.draw(st.integers(0, x.size - 1))
    bad = x.copy()
    bad.flat[position] = special
    a32, a64 = bad if "32" in where else x, bad if "64" in where else x
    assert judged(single(a32), single(x), a64, x).verdict is MISMATCH
    assert judged(single(x), single(a32), x, a64).verdict is MISMATCH


# Zeros, and nothing at all


@pytest.mark.parametrize("shape", [(), (5,), (32,), (2, 3)])
def test_zeros_on_both_sides_agree_whatever_their_sign(shape: tuple[int, ...]) -> None:
    zeros = np.zeros(shape)
    assert compared(zeros, zeros).verdict is IDENTICAL
    assert compared(-zeros, zeros).verdict is ROUNDING
    assert judged(single(-zeros), single(zeros)).verdict is ROUNDING
    assert judged(single(-zeros), single(-zeros)).verdict is IDENTICAL


@pytest.mark.parametrize("tiny", [1e-30, 2.4e-38])
@pytest.mark.parametrize("shape", [(), (32,)])
def test_zero_is_not_the_smallest_of_values(shape: tuple[int, ...], tiny: float) -> None:
    zeros, some = np.zeros(shape, np.float32), np.full(shape, tiny, np.float32)
    assert judged(some, zeros, some.astype(np.float64), zeros.astype(np.float64)).verdict is DIVERGENT
    assert judged(some, zeros).verdict is DIVERGENT
    assert judged(zeros, some).verdict is DIVERGENT


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16, np.complex64, np.int32, np.bool_])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 1)])
def test_empty_arrays_of_one_shape_are_identical(shape: tuple[int, ...], dtype: Any) -> None:
    empty = np.zeros(shape, dtype)
    assert judged(empty, empty).verdict is IDENTICAL
    assert judged(empty, empty, np.zeros(shape), np.zeros(shape)).verdict is IDENTICAL


# Shape, dtype and kind


SHAPES = [(), (1,), (6,), (6, 1), (1, 6), (2, 3), (3, 2), (0,), (0, 1), (1, 0)]


@pytest.mark.parametrize(("mine", "theirs"), [*itertools.permutations(SHAPES, 2)])
def test_another_shape_is_a_mismatch_however_it_broadcasts(mine: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    judgement = judged(np.ones(mine, np.float32), np.ones(theirs, np.float32), np.ones(mine), np.ones(theirs))
    assert judgement.verdict is MISMATCH
    assert str(mine) in reason(judgement)
    assert str(theirs) in reason(judgement)


DTYPES = ["float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool", "complex64", "complex128"]


@pytest.mark.parametrize(("mine", "theirs"), [*itertools.permutations(DTYPES, 2)])
def test_another_dtype_is_a_mismatch_though_every_value_is_equal(mine: str, theirs: str) -> None:
    judgement = judged(np.ones(3, np.dtype(mine)), np.ones(3, np.dtype(theirs)), np.ones(3), np.ones(3))
    assert judgement.verdict is MISMATCH
    assert reason(judgement) == f"dtype is {mine}, and {theirs} on the reference; the values are equal"


def test_of_another_dtype_it_is_said_whether_the_values_are_equal() -> None:
    ids = np.arange(3, dtype=np.int64)
    assert "values are equal" in reason(judged(ids.astype(np.int32), ids))
    assert reason(judged(ids.astype(np.int32) + 1, ids)) == "dtype is int32, and int64 on the reference"
    assert reason(judged(ids[:2].astype(np.int32), ids)) == "dtype is int32, and int64 on the reference"


def test_the_entry_of_a_dict_that_differs_is_named() -> None:
    theirs = {"dtype": "int64", "shape": [3], "sha256": "12"}
    one = judge(plain(theirs | {"dtype": "int32"}), plain(theirs))
    assert reason(one) == "its dtype is 'int32', and 'int64' on the reference; all else is equal"
    two = judge(plain(theirs | {"shape": [2], "sha256": "34"}), plain(theirs))
    assert reason(two) == "its shape is [2], and [3] on the reference"
    less = judge(plain({"a": 1}), plain({"a": 1, "b": None}))
    assert reason(less) == "its b is missing, and None on the reference; all else is equal"


def test_a_python_float_is_not_an_array_of_one() -> None:
    assert judge(number(1.0), observed(np.float64(1.0))).verdict is MISMATCH
    assert judge(observed(np.float32(1.0)), number(1.0)).verdict is MISMATCH


@pytest.mark.parametrize("other", [plain(1), plain(True), plain(None), plain([1.0]), plain("1.0")])
def test_an_array_is_no_plain_value(other: Observation) -> None:
    there, back = judge(observed(np.float32(1)), other), judge(other, observed(np.int64(1)))
    assert (there.verdict, reason(there)) == (MISMATCH, "it is an array, and a plain value on the reference")
    assert (back.verdict, reason(back)) == (MISMATCH, "it is a plain value, and an array on the reference")
    assert judge(number(1.0), other).verdict is MISMATCH


# Integers, booleans and plain values


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint64, np.bool_])
def test_integers_and_booleans_are_exact(dtype: Any) -> None:
    b = np.ones((100, 100), dtype)
    a = b.copy()
    a[41, 7] = 0
    judgement = judged(a, b)
    assert (judgement.verdict, judgement.basis, judgement.index) == (MISMATCH, "exact", (41, 7))
    assert "1 of 10000" in reason(judgement)
    assert judged(b, b.copy()).verdict is IDENTICAL


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (np.int64(2**53 + 1), np.int64(2**53)),
        (np.uint64(2**64 - 1), np.uint64(2**64 - 2)),
        (np.int64(-(2**63)), np.int64(2**63 - 1)),
        (np.uint8(0), np.uint8(255)),
        (np.int32(-1), np.int32(1)),
        (np.bool_(True), np.bool_(False)),
    ],
)
def test_integers_are_not_compared_as_floats(mine: Any, theirs: Any) -> None:
    judgement = judged(mine, theirs, np.float64(1), np.float64(1))
    assert judgement.verdict is MISMATCH
    assert str(mine) in reason(judgement)
    assert str(theirs) in reason(judgement)


PLAIN = ["", "relu", "ReLU", 0, 1, 2**53, 2**53 + 1, True, False, None, [], [[]], [None], [1, 2], [2, 1], [1], [True]]
PLAIN += ["1", [["a"], "b"], ["a", ["b"]], {}, {"a": 1}, {"a": True}, {"b": 1}, {"a": [1]}, {"a": [True]}, [[1], [2]]]


@pytest.mark.parametrize("position", range(len(PLAIN)), ids=[repr(value) for value in PLAIN])
def test_a_plain_value_is_identical_to_itself_and_to_no_other(position: int) -> None:
    judgements = [judge(plain(PLAIN[position]), plain(other)) for other in PLAIN]
    assert {judgement.basis for judgement in judgements} == {"exact"}
    verdicts = [judgement.verdict for judgement in judgements]
    assert verdicts == [IDENTICAL if other == position else MISMATCH for other in range(len(PLAIN))]


def test_the_keys_of_a_plain_value_have_no_order() -> None:
    assert judge(plain({"a": 1, "b": 2}), plain({"b": 2, "a": 1})).verdict is IDENTICAL


def test_a_mismatch_of_plain_values_says_what_differs() -> None:
    assert "'relu', and 'gelu' on the reference" in reason(judge(plain("relu"), plain("gelu")))
    assert reason(judge(plain(["a", "b", "c"]), plain(["a", "x", "c"]))) == "item 1 is 'b', and 'x' on the reference"
    assert reason(judge(plain(["a", "b"]), plain(["a"]))) == "it has 2 items, and 1 on the reference"


# Dtypes, numbers and scalars


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_is_judged_by_its_own_measured_error(dtype: Any) -> None:
    x = values(8, 8)
    near = (x * (1 + 2.0**-10)).astype(dtype)
    assert not np.array_equal(near, x.astype(dtype))
    assert judged(near, x.astype(dtype), x * (1 + 1e-16), x).verdict is ROUNDING
    assert judged((x * 1.5).astype(dtype), x.astype(dtype), x * 1.5, x).verdict is DIVERGENT
    assert judged(x.astype(dtype), x.astype(dtype)).verdict is IDENTICAL


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("step", [0, 1, 10, 1000])
def test_no_dtype_and_step_make_a_tolerance_that_passes_opposite_values(dtype: Any, step: int) -> None:
    x = np.ones(32, dtype)
    assert judged(-x, x, step=step).verdict is DIVERGENT


def test_without_twins_no_tolerance_passes_a_tenth_of_the_size() -> None:
    x = np.ones(32, ml_dtypes.bfloat16)
    for difference, expected in ((0.0625, ROUNDING), (0.125, DIVERGENT)):
        y = x.copy()
        y[3] = 1 - difference
        assert judged(y, x, step=50).verdict is expected


def test_complex_values_are_judged_in_both_their_parts() -> None:
    x = values(8, 8) + 1j * values(8, 8, seed=1)
    near, other_part, conjugate = x * (1 + 1e-16), x + 1e-3j, x.conj()
    a32 = x.astype(np.complex64)
    assert judged(a32, a32, x, x).verdict is IDENTICAL
    assert judged(a32 * np.complex64(1 + 1e-7), a32, near, x).verdict is ROUNDING
    for wrong in (other_part, conjugate):
        assert judged(wrong.astype(np.complex64), a32, wrong, x).verdict is DIVERGENT
        assert judged(wrong.astype(np.complex64), a32).verdict is DIVERGENT


def test_complex_values_at_either_end_of_the_range_are_judged_like_others() -> None:
    for x in (np.complex64([1, 2, 3]) * np.float32(2.0**-124), np.full(3, 3e38 + 3e38j, np.complex64)):
        wide, half = x.astype(np.complex128), (x * np.float32(0.5)).astype(np.complex64)
        assert judged(x, x, wide, wide).verdict is IDENTICAL
        assert judged(half, x, half.astype(np.complex128), wide).verdict is DIVERGENT
        assert judged(half, x).verdict is DIVERGENT


def test_infinity_in_another_part_of_a_complex_value_is_a_mismatch() -> None:
    assert judged(np.complex64(complex(INF, 1)), np.complex64(complex(1, INF))).verdict is MISMATCH
    assert judged(np.complex64(complex(INF, 1)), np.complex64(complex(INF, 1))).verdict is IDENTICAL


def test_a_python_float_is_judged_with_its_twins() -> None:
    a32, b32, x = number(0.30000001), number(0.3), number(0.3)
    assert judge(a32, b32, number(0.3 * (1 + 1e-16)), x).verdict is ROUNDING
    assert judge(b32, b32, x, x).verdict is IDENTICAL
    assert judge(number(0.301), b32, number(0.301), x).verdict is DIVERGENT
    assert judge(number(NAN), b32, x, x).verdict is MISMATCH


def test_a_python_float_without_twins_has_the_tolerance_of_the_float32_run_it_was_reported_by() -> None:
    assert judge(number(1 - 256 * U32), number(1.0)).verdict is ROUNDING
    assert judge(number(1 - 257 * U32), number(1.0)).verdict is DIVERGENT


def test_an_array_of_such_floats_has_it_too_where_float32_holds_all_values_of_both_sides() -> None:
    history, other = np.float64([1.0, 0.5]), np.float64([1.0, 0.5])
    other[0] -= 16 * U32
    assert judged(history, other).verdict is ROUNDING
    other[1] += U64  # which float32 does not hold
    assert judged(history, other).verdict is DIVERGENT
    assert judged(np.float64([1.0, 0.5]), np.float64([1.01, 0.5])).verdict is DIVERGENT


def test_a_scalar_is_judged_as_an_array_of_one() -> None:
    x = np.float64(0.1)
    assert compared(x, x).verdict is IDENTICAL
    assert compared(x * (1 + 1e-15), x).verdict is IDENTICAL
    wrong = compared(x * 1.001, x)
    assert (wrong.verdict, wrong.index) == (DIVERGENT, ())


# One twin, or none


@pytest.mark.parametrize("side", ["target", "reference"])
@pytest.mark.parametrize(("size", "slack"), [(15, 32), (16, 8), (1000, 8)])
@pytest.mark.parametrize("error", [1, 4])
def test_with_one_twin_float32_is_held_against_its_measured_error(
    side: str, size: int, slack: float, error: float
) -> None:
    bound = slack * error * U32
    b32, twin = np.ones(size, np.float32), np.ones(size)
    twin[0] = 1 - error * U32
    inside, outside = b32.copy(), b32.copy()
    inside[1], outside[1] = 1 - bound, 1 - bound - U32
    for mine, expected in ((inside, ROUNDING), (outside, DIVERGENT)):
        judgement = judged(mine, b32, None, twin) if side == "reference" else judged(b32, mine, twin)
        assert (judgement.verdict, judgement.basis) == (expected, "one twin")
        assert (judgement.bound, judgement.amplification, judgement.d64) == (bound, error, None)


def test_with_one_twin_equal_bits_are_identical() -> None:
    x = values(32)
    assert judged(single(x), single(x), x).verdict is IDENTICAL


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize(
    ("dtype", "u"), [(np.float32, U32), (np.float64, U64), (np.complex64, U32), (np.complex128, U64)]
)
def test_without_twins_the_tolerance_is_256_roundoffs_for_each_step(dtype: Any, u: float, step: int) -> None:
    b = np.ones(32, dtype)
    bound = 256 * u * (1 + step)
    for difference, expected in ((bound, ROUNDING), (bound + u, DIVERGENT)):
        a = b.copy()
        a[4] = 1 - difference
        judgement = judged(a, b, step=step)
        assert (judgement.verdict, judgement.basis, judgement.bound) == (expected, "tolerance", bound)
        assert (judgement.d32, judgement.d64, judgement.amplification) == (difference, None, None)


def test_without_twins_the_tolerance_is_relative_to_the_largest_value_of_the_group() -> None:
    b = np.ones(32, np.float32)
    a = single(b * 0.999)
    for phase, verdict in (("gradient", ROUNDING), ("forward", DIVERGENT)):
        ours, theirs = (replace(observed(side), phase=phase) for side in (a, b))
        assert judge(ours, theirs, group_scale=0.5).verdict is DIVERGENT
        assert judge(ours, theirs, group_scale=100.0).verdict is verdict


def test_a_twin_that_stayed_float32_is_no_twin() -> None:
    x = values(32)
    near = single(x * (1 + 3e-7))
    assert judged(near, single(x), near, single(x)).basis == "tolerance"
    assert judged(near, single(x), near, x).basis == "one twin"
    assert judged(near, single(x), x, x).basis == "twins"


@pytest.mark.parametrize("twin", [observed(np.ones(31)), plain(1), plain(None), observed(np.ones(32, np.int64))])
def test_what_is_no_float64_of_the_same_shape_is_no_twin(twin: Observation) -> None:
    b = np.ones(32, np.float32)
    judgement = judge(observed(single(b * 0.999)), observed(b), twin, twin)
    assert (judgement.verdict, judgement.basis) == (DIVERGENT, "tolerance")


# Properties


@given(ARRAYS, ARRAYS.map(np.ravel), st.integers(-60, 60), st.sampled_from(["twins", "one twin", "tolerance"]))
@a_few
def test_a_power_of_two_changes_nothing(x: Any, noise: Any, exponent: int, basis: str) -> None:
    b64 = x
    a64 = x * (1 + 1e-9 * np.resize(noise, x.shape))
    a32, b32 = single(a64), single(b64)
    twins = {"twins": (a64, b64), "one twin": (a64, None), "tolerance": (None, None)}[basis]
    factor = 2.0**exponent
    scaled = [None if twin is None else twin * factor for twin in twins]
    original = judged(a32, b32, *twins, group_scale=3.0)
    assert judged(a32 * np.float32(factor), b32 * np.float32(factor), *scaled, group_scale=3 * factor) == original


@given(ARRAYS, st.floats(-0.5, 0.5), st.sampled_from(["twins", "one twin", "tolerance"]))
@a_few
def test_the_two_sides_can_change_places(x: Any, fault: float, basis: str) -> None:
    a64, b64 = x * (1 + fault), x
    a32, b32 = single(a64), single(b64)
    twins = {"twins": (a64, b64), "one twin": (a64, None), "tolerance": (None, None)}[basis]
    there, back = judged(a32, b32, *twins), judged(b32, a32, *twins[::-1])
    for what in ("verdict", "basis", "d32", "d64", "amplification", "bound", "index"):
        assert getattr(there, what) == getattr(back, what)


@given(ARRAYS, st.floats(1e-5, 0.5), st.data())
@a_few
def test_an_error_of_one_element_is_never_diluted(x: Any, fault: float, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, x.size - 1))
    wrong = x.copy()
    wrong.flat[position] += fault * max(np.abs(x).max(), 1.0)
    judgement = compared(wrong, x)
    assert judgement.verdict is DIVERGENT
    assert judgement.index == np.unravel_index(position, x.shape)


# What overflows on both sides in float32


def test_what_is_infinite_in_float32_on_both_sides_is_judged_by_what_is_not() -> None:
    """Two runs that blow up: nothing says how far apart rounding alone would take them."""
    b32 = single([1.0, INF] * 10)
    healthy = judged(b32, b32, np.array([1.0, 1e40] * 10), np.array([1.0, 3e40] * 10))
    assert healthy.verdict is IDENTICAL
    wrong = judged(single([1.1, INF] * 10), b32, np.array([1.1, 1e40] * 10), np.array([1.0, 1e40] * 10))
    assert wrong.verdict is DIVERGENT


# Measured noise


def disturbed(b: Any, size: float) -> list[Observation]:
    rng = np.random.default_rng(0)
    return [observed(single(b * (1 + size * rng.integers(-1, 2, size=np.shape(b))))) for _ in range(5)]


@pytest.mark.parametrize("size", [1e-6, 1e-3])
def test_without_twins_measured_noise_decides(size: float) -> None:
    b = np.linspace(1.0, 2.0, 40)
    noise = disturbed(b, size)
    for factor, verdict in ((5, ROUNDING), (50, DIVERGENT)):
        found = judge(observed(single(b * (1 + factor * size))), observed(single(b)), reference_noise=noise)
        assert (found.basis, found.verdict) == ("noise", verdict)


def test_noise_that_moves_nothing_still_leaves_room_for_rounding() -> None:
    b = np.linspace(1.0, 2.0, 40)
    quiet = [observed(single(b))] * 5
    assert judge(observed(single(b * (1 + 10 * U32))), observed(single(b)), reference_noise=quiet).verdict is ROUNDING
    assert judge(observed(single(b * (1 + 200 * U32))), observed(single(b)), reference_noise=quiet).verdict is DIVERGENT


def test_a_step_at_exact_values_is_no_noise() -> None:
    """The gradient of a maximum of equal numbers: all of it on one side, or half on each. Disturbed, all is on one."""
    half, whole = np.array([[0.5, 0.0, 1.0]]), np.array([[1.0, 0.0, 1.0]])
    noise = [observed(single(value)) for value in (whole, np.array([[0.0, 0.0, 1.0]]), half)]
    for ours, theirs in ((half, whole), (whole, half)):
        values, twins = (observed(single(ours)), observed(single(theirs))), (observed(ours), observed(theirs))
        found = judge(*values, *twins, target_noise=noise, reference_noise=noise)
        assert (found.basis, found.verdict) == ("noise", DIVERGENT)
        # Without twins it is not known that the values are exact.
        assert judge(*values, target_noise=noise, reference_noise=noise).verdict is ROUNDING


def test_what_computes_in_float32_whatever_it_is_asked_for_is_still_excused_by_noise() -> None:
    b = single(np.linspace(1.0, 2.0, 40))
    a = single(b * (1 + 3e-3 * np.sin(np.arange(40))))
    twins = observed(a.astype(np.float64)), observed(b.astype(np.float64))
    found = judge(observed(a), observed(b), *twins, reference_noise=disturbed(b, 1e-3))
    assert (found.basis, found.verdict) == ("noise", ROUNDING)


def test_twins_go_before_noise() -> None:
    b = np.linspace(1.0, 2.0, 40)
    a = b * 1.001
    twins = observed(a), observed(b)
    found = judge(observed(single(a)), observed(single(b)), *twins, reference_noise=disturbed(b, 1e-2))
    assert (found.basis, found.verdict) == ("twins", DIVERGENT)


BF16, F16 = 2.0**-8, 2.0**-11
LOW = [("mixed_bfloat16", BF16), ("bfloat16", BF16), ("mixed_float16", F16), ("float16", F16)]


def judged_in(
    precisions: tuple[str, str], ours: Any, theirs: Any, our_twin: Any = None, their_twin: Any = None
) -> Judgement:
    twins = [None if twin is None else observed(twin) for twin in (our_twin, their_twin)]
    return judge(observed(ours), observed(theirs), *twins, precisions=precisions)


def off(exact: Any, error: float, *, seed: int = 0) -> Any:
    """Values with errors of that size, relative to their root mean square."""
    noise = np.random.default_rng(seed).uniform(-1, 1, exact.shape)
    noise /= np.abs(noise).max()
    return (exact + error * rms(exact) * noise).astype(np.float32)


EXACT = np.linspace(1.0, 2.0, 64)


@pytest.mark.parametrize(("precision", "u"), LOW)
def test_the_error_of_a_low_precision_is_rounding(precision: str, u: float) -> None:
    ours, theirs = off(EXACT, 2 * u), off(EXACT, 3 * u, seed=1)
    judgement = judged_in((precision, precision), ours, theirs, EXACT, EXACT)
    assert (judgement.verdict, judgement.basis) == (ROUNDING, "twins")
    # e / u, and not e / 2**-24: what the same values would be said to amplify in float32.
    assert judgement.amplification == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize(("precision", "u"), LOW)
def test_another_function_is_seen_where_a_low_precision_hides_it(precision: str, u: float) -> None:
    """A scale that is off by a thousandth, below the roundoff of bfloat16: the low runs are equal to the bit."""
    low = off(EXACT, 2 * u)
    judgement = judged_in((precision, precision), low, low, EXACT * 1.001, EXACT)
    assert judgement.verdict is DIVERGENT
    assert judgement.d32 == 0


@pytest.mark.parametrize(("precision", "u"), LOW)
@given(ratio=st.floats(1, 200), swap=st.booleans())
@a_few
def test_a_low_precision_that_is_far_less_precise_than_its_peer(
    precision: str, u: float, ratio: float, swap: bool
) -> None:
    """Such as a sum that is accumulated in bfloat16, where the peer accumulates in float32."""
    sides = [off(EXACT, ratio * u), off(EXACT, u, seed=1)]
    judgement = judged_in((precision, precision), *(sides[::-1] if swap else sides), EXACT, EXACT)
    if ratio < 31 or ratio > 33:
        assert judgement.verdict is (IMPRECISE if ratio > 32 else ROUNDING)
    if judgement.verdict is IMPRECISE:
        assert reason(judgement).startswith("the reference" if swap else "this target")
        assert f"a {precision} error" in reason(judgement)


def test_float32_against_bfloat16_is_rounding_whatever_the_dtype() -> None:
    low = off(EXACT, BF16).astype(ml_dtypes.bfloat16)
    judgement = judged_in(("float32", "mixed_bfloat16"), single(EXACT), low, EXACT, EXACT)
    assert judgement.verdict is ROUNDING


def test_float32_is_never_too_precise_for_its_peer() -> None:
    """Adam's first step hides an error of bfloat16, and not one of float32: that is no finding of float32."""
    judgement = judged_in(("float32", "mixed_bfloat16"), off(EXACT, 5000 * U32), off(EXACT, BF16), EXACT, EXACT)
    assert judgement.verdict is ROUNDING


def test_bfloat16_that_amplifies_far_more_than_float32_is_imprecise() -> None:
    judgement = judged_in(("float32", "mixed_bfloat16"), single(EXACT), off(EXACT, 100 * BF16), EXACT, EXACT)
    assert judgement.verdict is IMPRECISE
    assert reason(judgement).startswith("the reference has a mixed_bfloat16 error of 3.8e-01")
    assert reason(judgement).endswith("in float32")


@pytest.mark.parametrize(
    ("ours", "theirs", "precisions"),
    [
        (single(EXACT), EXACT.astype(ml_dtypes.bfloat16), ("mixed_bfloat16", "mixed_bfloat16")),
        (single(EXACT), EXACT.astype(np.int32), ("float32", "mixed_bfloat16")),
        (single(EXACT), EXACT.astype(np.complex64), ("float32", "float64")),
    ],
)
def test_a_dtype_that_a_precision_does_not_explain_is_a_mismatch(
    ours: Any, theirs: Any, precisions: tuple[str, str]
) -> None:
    assert judged_in(precisions, ours, theirs).verdict is MISMATCH


def test_targets_in_float64_are_judged_as_twins_are() -> None:
    """Their float64 runs are the observations, and their float32 runs measure the amplification."""
    leaked, wrong = EXACT * (1 + 1e-9), EXACT * (1 + 1e-5)
    both = ("float64", "float64")
    assert judged_in(both, EXACT, EXACT, single(EXACT), single(EXACT)).verdict is IDENTICAL
    assert judged_in(both, EXACT * (1 + 4 * U64), EXACT, single(EXACT), single(EXACT)).verdict is ROUNDING
    assert judged_in(both, leaked, EXACT, single(leaked), single(EXACT)).verdict is LEAK
    assert judged_in(both, wrong, EXACT, single(wrong), single(EXACT)).verdict is DIVERGENT


def test_a_target_in_float64_against_one_in_float32() -> None:
    mixed = ("float64", "float32")
    assert judged_in(mixed, EXACT, single(EXACT), single(EXACT), EXACT).verdict is ROUNDING
    assert judged_in(mixed, EXACT * 1.001, single(EXACT), single(EXACT * 1.001), EXACT).verdict is DIVERGENT


@pytest.mark.parametrize(("precision", "u"), LOW[:1])
def test_without_twins_a_low_precision_has_the_tolerance_of_its_own_roundoff(precision: str, u: float) -> None:
    """In arrays of float32 too: a weight is one, and was moved by a gradient of bfloat16."""
    ours, theirs = off(EXACT, 2 * u), single(EXACT)
    assert judged_in((precision, precision), ours, theirs).verdict is ROUNDING
    assert judged_in(("float32", "float32"), ours, theirs).verdict is DIVERGENT
