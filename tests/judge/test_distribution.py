"""Repeated runs judged as distributions: the test's level, its power, and what it is held against."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from harness.judge.distribution import LEVEL, REPEATS, judge_distribution, ks_p_value, varies
from harness.trace import Observation
from harness.verdict import Verdict


def runs(arrays):
    return [Observation("recorded/x", "recorded", 0, "x", None, array.dtype.name, array) for array in arrays]


def draws(seed, make):
    rng = np.random.default_rng(seed)
    return runs([np.asarray(make(rng), "float32") for _ in range(REPEATS)])


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("n", [3, 16])
def test_p_value_is_scipys_exact_one(n, shift):
    rng = np.random.default_rng(int(10 * shift) + n)
    x, y = rng.normal(size=n), rng.normal(size=n) + shift
    assert ks_p_value(x, y) == pytest.approx(ks_2samp(x, y, method="exact").pvalue, rel=1e-9)


def test_equal_samples_have_p_value_1():
    assert ks_p_value(np.arange(16.0), np.arange(16.0)) == 1.0


def test_alarms_on_equal_distributions_are_as_rare_as_stated():
    alarms = 0
    for seed in range(400):
        ours, theirs = (draws(2 * seed + side, lambda rng: rng.normal(size=20)) for side in (0, 1))
        alarms += judge_distribution(ours, theirs, tests=1).verdict is Verdict.DIVERGENT
    assert alarms <= 4  # 0.4 expected at a level of 1e-3, and more than 4 with a probability below 1e-4
    assert LEVEL == 1e-3


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("another deviation", lambda rng: 1.3 * rng.normal(size=200)),
        ("another mean", lambda rng: rng.normal(size=200) + 0.3),
        ("another range", lambda rng: rng.uniform(-1.7, 1.7, size=200)),
        ("unscaled dropout", lambda rng: (rng.random(200) > 0.5) * 1.0),
        ("one element alone", lambda rng: np.where(np.arange(200) == 7, 40.0, rng.normal(size=200))),
        ("NaN now and then", lambda rng: np.where(rng.random(200) < 0.2, np.nan, rng.normal(size=200))),
    ],
)
def test_another_distribution_is_divergent(name, make):
    reference = draws(1, lambda rng: rng.normal(size=200))
    judgement = judge_distribution(draws(2, make), reference, tests=50)
    assert judgement.verdict is Verdict.DIVERGENT, name
    assert judgement.basis == "distribution"


def test_right_values_in_the_wrong_places_are_divergent():
    ramp = np.linspace(-3, 3, 50)
    ours = draws(1, lambda rng: ramp + 0.1 * rng.normal(size=50))
    theirs = draws(2, lambda rng: np.random.default_rng(0).permutation(ramp) + 0.1 * rng.normal(size=50))
    assert judge_distribution(ours, theirs, tests=1).verdict is Verdict.DIVERGENT


def test_more_tests_make_each_stricter():
    ours, theirs = draws(1, lambda rng: rng.normal(size=20)), draws(2, lambda rng: rng.normal(size=20))
    one, ten = (judge_distribution(ours, theirs, tests=tests).bound for tests in (1, 10))
    assert ten == pytest.approx(one / 10)


def test_varies_looks_at_every_run_and_at_plain_values():
    same = np.ones(3, "float32")
    assert not varies(runs([same, same, same]))
    assert varies(runs([same, same, same + 1]))
    plain = [Observation("recorded/e", "recorded", 0, "e", None, None, value) for value in (4, 4, 5)]
    assert varies(plain)
    assert not varies(plain[:2])
