"""Arithmetic of the judge: the root mean square."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.judge.arrays import rms

NAN, INF = math.nan, math.inf
a_few = settings(max_examples=60, deadline=None)


@given(npst.arrays(np.float64, st.integers(1, 50), elements=st.floats(-(2.0**100), 2.0**100)))
@a_few
def test_rms_is_the_root_mean_square(x: Any) -> None:
    expected = math.sqrt(math.fsum(float(item) ** 2 for item in x) / len(x))
    assert rms(x) == pytest.approx(expected, rel=1e-12, abs=1e-150)


def test_rms_holds_at_either_end_of_the_range() -> None:
    for size in (1e308, 1e-300):
        assert rms(np.array([size, -size, 0, 0])) == pytest.approx(size * math.sqrt(0.5))
    assert rms(np.float32([3e38] * 9)) == pytest.approx(3e38)
    assert rms(np.array([5e-324])) == 5e-324


def test_rms_counts_finite_elements_only() -> None:
    assert rms(np.array([3.0, NAN, INF, 4.0, -INF])) == pytest.approx(math.sqrt(12.5))
    assert rms(np.array([NAN])) == 0.0
    assert rms(np.zeros(0)) == 0.0


def test_rms_of_other_dtypes() -> None:
    assert rms(np.array([3 + 4j, 0], np.complex64)) == pytest.approx(5 / math.sqrt(2))
    assert rms(np.array([300.0] * 4, np.float16)) == 300.0
    assert rms(np.array([2.0, 4.0], ml_dtypes.bfloat16)) == pytest.approx(math.sqrt(10))
