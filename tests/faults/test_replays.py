"""Replays that fail: what is said of a difference then."""

from __future__ import annotations

import signal
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


#: Two cases, of which the first differs. The second one waits until the first is replayed, and then perhaps for ever.
BESIDE = """
    import fcntl, os, subprocess, sys, time, traceback

    import keras
    from harness import Forward, case

    def wait_for(name):
        while not os.path.exists("{folder}/" + name):
            time.sleep(0.05)

    class Scaled(keras.layers.Layer):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def call(self, x):
            return x * self.scale

    @case
    def differs(rng, target):
        is_jax = str(target) == "jax"
        if is_jax and any(frame.name == "replay_case" for frame in traceback.extract_stack()):
            {replayed}
        return Forward(Scaled(1.1 if is_jax else 1.0), rng.normal(size=(4, 8)).astype("float32"))

    @case
    def waits(record):
        {recorded}
        record("x", 1.0)
"""
#: Both have a process of their own that holds a lock for as long as it lives.
STAYS = """lock = open("{folder}/NAME.lock", "w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
            open("{folder}/NAME", "w").close()
            time.sleep(600)"""
#: More than the runs of the case that waits, so that there is room for a replay.
BESIDE_OPTIONS = ("--targets", "jax:cpu,jax", "--reference", "jax:cpu", "--precision", "float32", "--jobs", "3")


@pytest.mark.slow
def test_a_case_is_replayed_while_another_is_recorded(project: Any) -> None:
    replayed, recorded = 'open("{folder}/replayed", "w").close()', 'wait_for("replayed")'
    text = BESIDE.replace("{replayed}", replayed).replace("{recorded}", recorded)
    project.write("cases/x.py", text.format(folder=project.folder))
    process = project.harness("run", *BESIDE_OPTIONS, "--timeout", "120", "--out", "out")
    assert process.returncode == 1, process.stderr
    cases = project.cases()
    assert list(cases) == ["differs", "waits"]
    assert cases["waits"]["outcome"] == "agree"
    assert "introduced in layer 'scaled'" in cases["differs"]["comparisons"][0]["blame"]["text"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_replay_and_a_record_at_once(
    project: Any, comes_true: Callable[..., bool], number: signal.Signals
) -> None:
    replayed, recorded = STAYS.replace("NAME", "replayed"), 'wait_for("replayed"); open("{folder}/waits", "w").close()'
    recorded += "\n        time.sleep(600)"
    text = BESIDE.replace("{replayed}", replayed).replace("{recorded}", recorded)
    project.write("cases/x.py", text.format(folder=project.folder))
    with project.start("run", *BESIDE_OPTIONS, "--out", "out") as process:
        assert any(comes_true((project.folder / "waits").exists) for _ in range(6))
        process.send_signal(number)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert list(project.cases()) == ["differs"]
    assert project.cases()["differs"]["outcome"] == "differ"
    assert project.result()["unfinished"]["left"] == 1
    assert f"Unfinished, 1 cases were not judged: {number.name} interrupted it." in printed
    assert comes_true(lambda: not project.is_held("replayed.lock"))
    assert list(project.temporary.glob("harness-*")) == []
