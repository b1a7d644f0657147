"""Evidence: what a difference looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.judge.evidence import evidence
from harness.judge.verdict import judge
from harness.result.judgement import Evidence
from harness.trace import Observation


def observed(value: Any) -> Observation:
    array = np.asarray(value)
    return Observation("recorded/x", "recorded", 0, "x", None, array.dtype.name, array)


def plain(value: Any) -> Observation:
    return Observation("recorded/x", "recorded", 0, "x", None, None, value)


def single(array: Any) -> Any:
    return np.asarray(array).astype(np.float32)


def shown(a64: Any, b64: Any) -> Evidence:
    """The evidence of two functions that both targets round to float32 as well as can be."""
    observations = [observed(single(a64)), observed(single(b64)), observed(np.asarray(a64)), observed(np.asarray(b64))]
    found = evidence(judge(*observations), *observations)
    assert found is not None
    return found


def test_evidence_has_the_element_that_differs_most_and_the_tolerances_that_would_have_passed() -> None:
    b = np.linspace(1.0, 2.0, 20).reshape(4, 5)
    a = b.copy()
    a[2, 1] *= 1.01
    found = shown(a, b)
    assert found.precision == "float32"
    assert (found.ours, found.theirs) == (float(np.float32(a[2, 1])), float(np.float32(b[2, 1])))
    assert found.atol is not None
    assert found.rtol is not None
    np.testing.assert_allclose(single(a), single(b), rtol=0, atol=found.atol * 1.001)
    np.testing.assert_allclose(single(a), single(b), rtol=found.rtol * 1.001, atol=0)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(single(a), single(b), rtol=0, atol=found.atol * 0.999)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(single(a), single(b), rtol=found.rtol * 0.999, atol=0)


@pytest.mark.parametrize(
    ("where", "spread"),
    [
        ((slice(2, 3), slice(1, 2)), "one element"),
        ((2,), "row 2 of 4, 5 elements"),
        ((slice(None), 3), "channel 3 of 5, 4 elements"),
        ((slice(None),), "all 20 elements"),
        ((slice(1, 3), slice(0, 2)), "4 of 20 elements"),
    ],
)
def test_evidence_says_where_a_difference_spreads(where: Any, spread: str) -> None:
    b = np.linspace(1.0, 2.0, 20).reshape(4, 5)
    a = b.copy()
    a[where] *= 1.01
    assert shown(a, b).spread == spread


def test_a_difference_that_float32_does_not_show_is_shown_in_float64() -> None:
    b = np.linspace(1.0, 2.0, 20)
    found = shown(b * (1 + 1e-9), b)
    assert found.precision == "float64"
    assert found.ours != found.theirs


def test_no_tolerance_passes_where_the_reference_is_zero() -> None:
    assert shown(np.array([1.0, 0.5] * 10), np.array([1.0, 0.0] * 10)).rtol is None


def test_plain_values_have_no_evidence() -> None:
    assert evidence(judge(plain("a"), plain("b")), plain("a"), plain("b")) is None
