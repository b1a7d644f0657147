"""Votes: who stands alone, and who agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import GRADIENTS, LEAKED, WRONG, X, observation, recorded

from harness.judge.vote import agree, standing_alone
from harness.trace import Trace, write
from harness.verdict import Verdict

IDENTICAL, ROUNDING, LEAK, IMPRECISE, DIVERGENT, MISMATCH = Verdict


def three(folder: Path, **values: Any) -> dict[str, Trace]:
    return {target: recorded(folder, target, {"loss/0/loss": value}) for target, value in values.items()}


@pytest.mark.parametrize("culprit", ["torch", "tensorflow", "jax"])
def test_the_one_of_three_that_differs_from_the_others_stands_alone(tmp_path: Path, culprit: str) -> None:
    values = {target: WRONG if target == culprit else X for target in ("torch", "tensorflow", "jax")}
    assert standing_alone(three(tmp_path, **values), "loss/0/loss", DIVERGENT) == culprit


def test_nobody_stands_alone_of_two_or_where_all_agree_or_all_differ(tmp_path: Path) -> None:
    assert standing_alone(three(tmp_path / "1", torch=X, jax=WRONG), "loss/0/loss", DIVERGENT) is None
    assert standing_alone(three(tmp_path / "2", torch=X, jax=X, tensorflow=X), "loss/0/loss", DIVERGENT) is None
    assert standing_alone(three(tmp_path / "3", torch=X, jax=WRONG, tensorflow=X * 2), "loss/0/loss", DIVERGENT) is None


def test_the_one_that_alone_has_an_observation_stands_alone(tmp_path: Path) -> None:
    traces = {target: recorded(tmp_path, target, {"loss/1/loss": X}) for target in ("torch", "tensorflow")}
    traces["jax"] = recorded(tmp_path, "jax", {"loss/0/loss": X})
    assert standing_alone(traces, "loss/0/loss", DIVERGENT) == "jax"


@pytest.mark.parametrize("header", [{"status": "unavailable", "inference_only": True}, {"lacks": [GRADIENTS]}])
def test_one_that_cannot_have_an_observation_has_no_voice(tmp_path: Path, header: dict[str, Any]) -> None:
    key = "gradient/0/kernel"
    traces = {target: recorded(tmp_path, target, {key: X}) for target in ("torch", "tensorflow")}
    traces["jax"] = recorded(tmp_path, "jax", {key: WRONG})
    traces["numpy"] = recorded(tmp_path, "numpy", {"loss/0/loss": X}, **header)
    assert standing_alone(traces, key, DIVERGENT) == "jax"
    assert not agree(list(traces.values()), key)
    del traces["jax"]
    assert standing_alone(traces, key, DIVERGENT) is None
    assert agree(list(traces.values()), key)


def test_a_leak_of_another_does_not_spoil_the_vote_on_a_divergence(tmp_path: Path) -> None:
    traces = three(tmp_path, torch=WRONG, tensorflow=LEAKED, jax=X)
    assert standing_alone(traces, "loss/0/loss", DIVERGENT) == "torch"
    assert standing_alone(traces, "loss/0/loss", LEAK) is None


def test_the_one_that_lacks_an_observation_stands_alone(tmp_path: Path) -> None:
    traces = three(tmp_path, torch=X, jax=X)
    traces["tensorflow"] = recorded(tmp_path, "tensorflow", {"loss/1/loss": X})
    assert standing_alone(traces, "loss/0/loss", DIVERGENT) == "tensorflow"


@pytest.mark.parametrize(("coarse", "alone"), [(("jax",), "jax"), (("torch",), "torch"), (("torch", "jax"), None)])
def test_one_that_is_more_precise_than_two_others_does_not_stand_alone(
    tmp_path: Path, coarse: tuple[str, ...], alone: str | None
) -> None:
    """As the processor is between two backends that compute in TF32 on a GPU."""
    traces = three(tmp_path, torch=X, tensorflow=X, jax=X)
    for target in coarse:
        place = traces[target].folder
        values = (X * 1024).round() / 1024
        write(place, traces[target].header, [observation("loss/0/loss", values.astype(np.float32))])
        traces[target] = Trace(place)
    assert standing_alone(traces, "loss/0/loss", IMPRECISE) == alone
