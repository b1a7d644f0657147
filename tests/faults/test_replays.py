"""Replays that fail: what is said of a difference then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

#: Cases of which jax has another output than jax:cpu, and which end in some way where they are replayed on jax.
CASES = """
    import os, signal, time, traceback

    import keras
    from harness import Forward, case


    class Scaled(keras.layers.Layer):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def call(self, x):
            return x * self.scale


    def scaled(rng, target, fail):
        is_jax = str(target) == "jax"
        if is_jax and any(frame.name == "replay_case" for frame in traceback.extract_stack()):
            fail()
        return Forward(Scaled(1.1 if is_jax else 1.0), rng.normal(size=(4, 8)).astype("float32"))


    def raise_error():
        raise ValueError("only where it is replayed")


    def kill_the_worker():
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)


    @case
    def crashes(rng, target):
        return scaled(rng, target, os.abort)


    @case
    def raises(rng, target):
        return scaled(rng, target, raise_error)


    @case
    def loses_its_worker(rng, target):
        return scaled(rng, target, kill_the_worker)


    @case
    def ends_well(rng, target):
        return scaled(rng, target, lambda: None)
"""


@pytest.fixture(scope="module")
def replayed(make_project: Callable[[], Any]) -> Any:
    project = make_project()
    project.write("cases/x.py", CASES)
    project.process = project.harness("run", "--targets", "jax:cpu,jax", "--reference", "jax:cpu", "--out", "out")
    return project


def blame(project: Any, name: str) -> Any:
    (comparison,) = project.cases()[name]["comparisons"]
    assert comparison["verdict"] == "divergent"
    return comparison["blame"]


@pytest.mark.slow
class TestAReplayFails:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("crashes", "was killed by SIGABRT"),
            ("raises", "ValueError: only where it is replayed"),
            ("loses_its_worker", "did not end: the worker of jax was killed by SIGKILL while it ran this"),
        ],
    )
    def test_it_is_said_how_and_no_part_is_declared_innocent(self, replayed: Any, name: str, why: str) -> None:
        text = "where it is made is not known, because a replay of its parts failed on jax: "
        assert blame(replayed, name)["text"].startswith(text + why)
        assert text + why in replayed.process.stdout
        assert not blame(replayed, name)["confirmed"]

    def test_the_next_case_is_blamed(self, replayed: Any) -> None:
        assert replayed.process.returncode == 1
        assert "layer 'scaled'" in blame(replayed, "ends_well")["text"]
