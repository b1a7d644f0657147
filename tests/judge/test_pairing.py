"""Variables that differ in name alone are compared; layers that one side alone calls inside another one are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.judge.compare import compare
from harness.judge.pairing import paired
from harness.result.model import Comparison
from harness.verdict import Verdict
from tests.judge.recordings import X, compared, recorded

A, B = np.linspace(1.0, 2.0, 32), np.linspace(-3.0, 5.0, 32)
SGD = {
    "initial/0/m/kernel": A,
    "optimizer/0/SGD/iteration": 1,
    "optimizer/0/SGD/momentum": A * 3,
    "optimizer/0/SGD/velocity": B,
    "optimizer/1/SGD/iteration": 2,
    "optimizer/1/SGD/momentum": A * 4,
    "optimizer/1/SGD/velocity": B * 2,
}


def renamed(exact: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {key.replace(old, new): value for key, value in exact.items()}


def test_an_optimizer_of_another_name_is_paired(tmp_path: Path) -> None:
    comparison = compared(tmp_path, renamed(SGD, "SGD/", "sgd/"), SGD)
    assert (comparison.verdict, comparison.not_compared) == (Verdict.IDENTICAL, 0)
    assert comparison.renamed == {f"sgd/{name}": f"SGD/{name}" for name in ("iteration", "momentum", "velocity")}


def test_variables_of_other_names_are_paired_by_their_values(tmp_path: Path) -> None:
    mine = renamed(renamed(SGD, "/momentum", "/z"), "/velocity", "/a")
    comparison = compared(tmp_path, dict(sorted(mine.items())), SGD)
    assert comparison.renamed == {"SGD/z": "SGD/momentum", "SGD/a": "SGD/velocity"}


def test_a_difference_in_a_renamed_variable_is_found_with_its_twin(tmp_path: Path) -> None:
    mine = renamed(SGD, "SGD/", "sgd_1/") | {"optimizer/1/sgd_1/momentum": A * 4.1}
    comparison = compared(tmp_path, mine, SGD)
    assert comparison.verdict is Verdict.DIVERGENT
    assert comparison.first is not None
    assert (comparison.first.key, comparison.first.judgement.basis) == ("optimizer/1/SGD/momentum", "twins")


def test_a_variable_without_an_owner_on_one_side_is_paired_by_its_own_name(tmp_path: Path) -> None:
    theirs = {"optimizer/0/nadam/iteration": 1, "optimizer/0/variable": A, "optimizer/0/after fit/variable": B}
    comparison = compared(tmp_path, renamed(theirs, "variable", "nadam/variable"), theirs)
    assert comparison.verdict is Verdict.IDENTICAL
    assert comparison.renamed["nadam/variable"] == "variable"


def test_what_is_called_after_a_renamed_variable_goes_with_it(tmp_path: Path) -> None:
    theirs = {"initial/0/m/scale": A, "prediction/3/after load/m/scale survived": True}
    comparison = compared(tmp_path, renamed(theirs, "m/scale", "m/gamma"), theirs)
    assert (comparison.verdict, comparison.renamed) == (Verdict.IDENTICAL, {"m/gamma": "m/scale"})


def test_strict_names_are_a_mismatch(tmp_path: Path) -> None:
    jax, torch = recorded(tmp_path, "jax", renamed(SGD, "SGD/", "sgd/")), recorded(tmp_path, "torch", SGD)
    strict = compare(jax, torch, strict_names=True)
    assert (strict.verdict, strict.renamed) == (Verdict.MISMATCH, {})


@pytest.mark.parametrize(
    ("changed", "value"),
    [("other/m", A * 3), ("SGD/b", A[:31]), ("SGD/b", (A * 3).astype(np.int64))],
    ids=["owner", "shape", "dtype"],
)
def test_what_differs_in_more_than_its_name_is_not_paired(tmp_path: Path, changed: str, value: Any) -> None:
    mine = {key: item for key, item in SGD.items() if not key.endswith("momentum")} | {f"optimizer/0/{changed}": value}
    comparison = compared(tmp_path, mine, SGD)
    assert (comparison.verdict, comparison.renamed) == (Verdict.MISMATCH, {})


def test_one_more_variable_on_one_side_is_not_paired(tmp_path: Path) -> None:
    mine = renamed(SGD, "/momentum", "/m") | {"optimizer/0/SGD/extra": A * 3, "optimizer/1/SGD/extra": A * 4}
    assert compared(tmp_path, mine, SGD).verdict is Verdict.MISMATCH


def test_what_is_called_the_same_is_left_as_it_is(tmp_path: Path) -> None:
    trace = recorded(tmp_path, "jax", SGD)
    assert paired(trace, recorded(tmp_path, "torch", SGD)) == (trace, {})


# Layers inside a layer

FUSED = {"forward/0/m/attention/output": X, "forward/0/m/output": X * 2}
UNFUSED = {"forward/0/m/attention/softmax/output": B, **FUSED}


def test_an_inner_layer_that_one_side_alone_calls_is_told_and_not_compared(tmp_path: Path) -> None:
    for mine, theirs, who in ((UNFUSED, FUSED, "jax"), (FUSED, UNFUSED, "torch")):
        comparison: Comparison = compared(tmp_path, mine, theirs)
        assert (comparison.verdict, comparison.not_compared) == (Verdict.IDENTICAL, 1)
        assert comparison.one_sided == {"m/attention/softmax": who}


def test_what_comes_after_it_is_the_finding(tmp_path: Path) -> None:
    comparison = compared(tmp_path, UNFUSED | {"forward/0/m/attention/output": X * 1.5}, FUSED)
    assert comparison.first is not None
    assert (comparison.first.key, comparison.verdict) == ("forward/0/m/attention/output", Verdict.DIVERGENT)


def test_an_outermost_layer_that_one_side_alone_calls_is_a_mismatch(tmp_path: Path) -> None:
    assert compared(tmp_path, FUSED | {"forward/0/other/output": X}, FUSED).verdict is Verdict.MISMATCH
