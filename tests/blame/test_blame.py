"""Whose a difference is: bugs put into one backend, found, and traced to their phase, part and operation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = """
    import keras
    import numpy as np
    from keras import layers, ops

    from harness import Expected, Fit, Forward, case
    from harness.worker.keras_internals import replaced_function
    from harness.worker.patching import FOR_GOOD

    BACKEND = keras.backend.backend()


    class Squash(layers.Layer):
        '''Its bug is its own, in one branch.'''

        def call(self, x):
            x = ops.sin(x)
            x = ops.tanh(x) * 1.001 if keras.backend.backend() == "jax" else ops.tanh(x)
            return ops.exp(x)


    def data(rng):
        x = rng.normal(size=(48, 6)).astype("float32")
        return x, np.sin(x[:, :1])


    def fit(rng, *features, optimizer="sgd"):
        model = keras.Sequential([layers.Dense(8, name="first"), *features, layers.Dense(1, name="last")])
        model.compile(optimizer, "mse")
        return Fit(model, *data(rng), epochs=3, batch_size=16)


    @case
    def own_layer(rng):
        return fit(rng, Squash(name="squash"))


    @case
    def wrong_gradient(rng):
        def wrong(softplus):
            def with_wrong_gradient(x):
                y = softplus(x)
                return ops.stop_gradient(y) + 1.001 * (y - ops.stop_gradient(y))

            return with_wrong_gradient

        if BACKEND == "torch":
            FOR_GOOD.enter_context(replaced_function("keras.src.backend.torch.nn", "softplus", wrong))
        return fit(rng, layers.Activation("softplus", name="soft"))


    @case
    def late_optimizer(rng):
        optimizer = keras.optimizers.Adam(0.01)
        step = optimizer.update_step
        if BACKEND == "tensorflow":
            def late(gradient, variable, rate):
                factor = 1 + 0.01 * ops.cast(optimizer.iterations >= 5, gradient.dtype)
                return step(gradient * factor, variable, rate)

            optimizer.update_step = late
        return fit(rng, layers.Activation("tanh"), optimizer=optimizer)


    @case
    def momentum_of_statistics(rng):
        norm = layers.BatchNormalization(name="norm")
        if BACKEND == "jax":
            norm.momentum = 0.98
        return fit(rng, norm)


    @case
    def real_one(rng):
        # Wrong on torch in keras 3.15.1.
        pool = layers.AveragePooling2D(3, strides=2, padding="same")
        return Forward(pool, rng.normal(size=(4, 6, 6, 2)).astype("float32"))


    @case(expect={"torch": Expected("divergent", reason="as above")})
    def declared(rng):
        return real_one(rng)


    @case
    def by_hand(rng, record):
        x = ops.convert_to_tensor(data(rng)[0])
        record("fine", ops.exp(x))
        y = ops.log1p(ops.square(x))
        record("wrong", y * 1.001 if BACKEND == "jax" else ops.tanh(y) if BACKEND == "torch" else ops.tanh(y))


    calls = []


    @case
    def restless(record):
        import time

        record("it", np.float32(time.time() % 1000))
        record("fine", 1)
"""


@pytest.fixture(scope="module")
def blamed(make_warm_project: Callable[[], Any]) -> Any:
    project = make_warm_project()
    project.write("cases/bugs.py", CASES)
    project.ran = project.harness("run", "cases", "--out", "out")
    return project


def blame_of(project: Any, case: str, target: str = "jax") -> dict[str, Any]:
    (comparison,) = [item for item in project.cases()[case]["comparisons"] if item["target"] == target]
    blame: dict[str, Any] = comparison["blame"]
    return blame


def test_a_layer_of_ones_own_is_blamed_and_shown_by_a_script(blamed: Any) -> None:
    blame = blame_of(blamed, "own_layer")
    assert (blame["target"], blame["layer"], blame["confirmed"]) == ("jax", "squash", True)
    shows(blamed, blame)


def test_an_operation_whose_gradient_alone_is_wrong_is_blamed(blamed: Any) -> None:
    for target in ("jax", "tensorflow"):
        blame = blame_of(blamed, "wrong_gradient", target)
        assert (blame["target"], blame["layer"], blame["op"]) == ("torch", "soft", "keras.ops.softplus")
        assert "gradient" in blame["text"]
        # The bug was put in by the case, so that a script of Keras alone does not have it: none is handed over.
        assert blame["repro"] is None


def test_an_optimizer_that_goes_wrong_late_is_blamed_at_that_step(blamed: Any) -> None:
    blame = blame_of(blamed, "late_optimizer", "tensorflow")
    assert (blame["target"], blame["part"], blame["confirmed"]) == ("tensorflow", "(optimizer)", True)
    assert blame["step"] == 5


def test_statistics_with_another_momentum_are_the_layers(blamed: Any) -> None:
    blame = blame_of(blamed, "momentum_of_statistics")
    assert (blame["target"], blame["layer"], blame["confirmed"]) == ("jax", "norm", True)


def test_a_real_difference_of_keras_is_found_blamed_on_its_backend_and_reproduced(blamed: Any) -> None:
    for target in ("jax", "tensorflow"):
        blame = blame_of(blamed, "real_one", target)
        assert (blame["target"], blame["op"]) == ("torch", "keras.ops.average_pool")
        script = shows(blamed, blame)
        assert len(script.read_text(encoding="utf-8").splitlines()) < 60
        issue = (script.parent / "issue.md").read_text(encoding="utf-8")
        assert "keras.ops.average_pool" in issue
        assert "keras 3." in issue
        assert script.read_text(encoding="utf-8") in issue


def test_an_operation_that_a_case_does_not_call_on_one_backend_is_told(blamed: Any) -> None:
    blame = blame_of(blamed, "by_hand")
    assert (blame["target"], blame["layer"], blame["op"], blame["confirmed"]) == ("jax", None, "keras.ops.tanh", True)
    assert blame["text"] == (
        "introduced in the case itself: it calls keras.ops.tanh on torch and tensorflow, and not on jax"
    )


def test_a_case_that_does_not_repeat_itself_is_blamed_on_nobody(blamed: Any) -> None:
    case = blamed.cases()["restless"]
    assert case["outcome"] == "nondeterministic"
    for comparison in case["comparisons"]:
        assert (comparison["first"], comparison["blame"]) == (None, None)
        assert set(comparison["unrepeated"]["targets"]) == {comparison["target"], "torch"}
        assert comparison["unrepeated"]["key"] == "recorded/it"
    assert "do not repeat themselves" in blamed.ran.stdout


def test_what_is_declared_is_blamed_on_demand_only(blamed: Any) -> None:
    assert blamed.cases()["declared"]["outcome"] == "known"
    assert blame_of(blamed, "declared") is None
    ran = blamed.harness("blame", "cases/bugs.py::declared", "--out", "demanded")
    assert ran.returncode == 0
    comparisons = blamed.cases("demanded")["declared"]["comparisons"]
    assert {comparison["target"] for comparison in comparisons} == {"jax", "tensorflow"}
    for comparison in comparisons:
        assert (comparison["blame"]["target"], comparison["blame"]["op"]) == ("torch", "keras.ops.average_pool")


def test_without_blame_nothing_is_replayed(blamed: Any) -> None:
    ran = blamed.harness("run", "cases/bugs.py::real_one", "--no-blame", "--out", "unblamed")
    assert ran.returncode == 1
    assert blamed.cases("unblamed")["real_one"]["comparisons"][0]["blame"] is None
    assert not (blamed.folder / "unblamed" / "blame").exists()
    assert blamed.cases("unblamed")["real_one"]["alone"] == "torch"


def shows(project: Any, blame: dict[str, Any]) -> Path:
    """The script of a blame, which was run once more and shows the difference."""
    script: Path = project.folder / "out" / blame["repro"]
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    assert "rounding explains" in ran.stdout
    return script


PARTING = """
    import keras
    import numpy as np
    import pytest
    from keras import layers, ops

    from harness import Fit, case


    @case
    @pytest.mark.parametrize("bug", [False, True])
    def parting(bug, rng):
        '''Steps so long that rounding soon grows to the size of the weights, which stay where float32 holds them.'''
        optimizer = keras.optimizers.SGD(0.8, momentum=0.9, clipnorm=1.0)
        if bug and keras.backend.backend() == "jax":
            step = optimizer.update_step

            def late(gradient, variable, rate):
                is_late = ops.cast(optimizer.iterations >= 60, gradient.dtype)
                return step(gradient * (1 + 0.001 * is_late), variable, rate)

            optimizer.update_step = late
        model = keras.Sequential([layers.Dense(16, "tanh"), layers.Dense(16, "tanh"), layers.Dense(1)])
        model.compile(optimizer, "mse")
        x = rng.normal(size=(64, 6)).astype("float32")
        return Fit(model, x, np.sin(3 * x[:, :1] * x[:, 1:2]), epochs=40, batch_size=32)
"""


@pytest.fixture(scope="module")
def parted(make_warm_project: Callable[[], Any]) -> Any:
    project = make_warm_project()
    project.write("cases/parting.py", PARTING)
    project.ran = project.harness("run", "cases", "--no-blame", "--out", "out")
    return project


class TestTrainingThatParts:
    def test_healthy_training_raises_no_alarm(self, parted: Any) -> None:
        case = parted.cases()["parting[False]"]
        assert case["outcome"] == "agree"
        assert {comparison["target"] for comparison in case["comparisons"]} == {"jax", "tensorflow"}
        for comparison in case["comparisons"]:
            assert comparison["continuation"]["verdict"] in ("rounding", "leak")
            assert comparison["continuation"]["last_step"] == 79

    def test_a_bug_after_runs_have_parted_is_found_where_it_starts(self, parted: Any) -> None:
        case = parted.cases()["parting[True]"]
        assert case["outcome"] == "differ"
        (jax,) = [item for item in case["comparisons"] if item["target"] == "jax"]
        assert jax["continuation"]["first_step"] < 60
        assert jax["continuation"]["verdict"] == "divergent"
        assert jax["continuation"]["first"]["step"] == 60
        (tensorflow,) = [item for item in case["comparisons"] if item["target"] == "tensorflow"]
        assert tensorflow["continuation"]["verdict"] in ("rounding", "leak")

    def test_it_is_said_from_which_step_on(self, parted: Any) -> None:
        assert "training parted" in parted.ran.stdout
        assert "each from the reference's state" in parted.ran.stdout
