"""Real runs of targets: their precisions, execution modes, devices, and batches that several devices share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.trace import Trace

HEAD = """
    import keras
    from harness import Expected, Fit, Forward, case
    from keras import ops
"""
#: What these runs show, float32 shows by itself.
IN_FLOAT32 = ("--precision", "float32")
FIT = """
    def model_of(*layers):
        model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(1)])
        model.compile(optimizer="adam", loss="mse", metrics=["mae"])
        return model

    def trained(rng, model, rows=32):
        x, y = rng.normal(size=(rows, 8)).astype("float32"), rng.normal(size=(rows, 1)).astype("float32")
        return Fit(model, x, y, epochs=2, batch_size=8)
"""


def outcomes(project: Any, targets: str, *more: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Run `cases` on targets without blame: for each case its comparisons by target."""
    process = project.harness("run", "--targets", targets, "--out", "out", "--no-blame", *more)
    assert process.returncode in (0, 1), process.stdout + process.stderr
    return {
        name: {comparison["target"]: comparison for comparison in case["comparisons"]}
        for name, case in project.cases().items()
    }


def environment(project: Any, name: str, target: str) -> dict[str, Any]:
    found: dict[str, Any] = project.trace(name, target).header.environment
    return found


def dtypes(trace: Trace, phase: str) -> set[str | None]:
    return {item.dtype for item in trace if item.phase == phase and item.dtype is not None}


@pytest.fixture(scope="module")
def low(make_project: Callable[[], Any]) -> Any:
    """A training and a faulty layer in low precisions."""
    project = make_project()
    project.write(
        "cases/x.py",
        f"""{HEAD}{FIT}
    class Scaled(keras.layers.Layer):
        '''Off by a ten-thousandth on jax: far less than what bfloat16 loses.'''
        def call(self, x):
            return x * (1.0001 if keras.config.backend() == "jax" else 1.0)

    class Sum(keras.layers.Layer):
        '''Adds one after the other on jax, where each sum is rounded to bfloat16 in a low precision.'''
        def call(self, x):
            if keras.config.backend() != "jax":
                return ops.sum(x, axis=-1)
            total = x[:, 0]
            for column in range(1, x.shape[1]):
                total = total + x[:, column]
            return total

    @case
    def healthy(rng):
        return trained(rng, model_of(keras.layers.Dense(4, "relu")))

    @case
    def scaled(rng):
        return Forward(Scaled(), rng.normal(size=(4, 8)).astype("float32"))

    @case
    def summed(rng):
        # In bfloat16 a sum of 256 stays the same when less than 1 is added.
        return Forward(Sum(), rng.uniform(0.8, 0.99, size=(32, 400)).astype("float32"))
    """,
    )
    project.compared = outcomes(project, "torch+mixed_bfloat16,jax+mixed_bfloat16,torch")
    return project


@pytest.mark.slow
def test_a_precision_is_what_the_case_computes_in(low: Any) -> None:
    for target, policy, computed in (
        ("jax+mixed_bfloat16", "mixed_bfloat16", {"float32", "bfloat16"}),
        ("torch", "float32", {"float32"}),
    ):
        trace = low.trace("healthy", target)
        assert trace.twin is not None
        assert (trace.header.precision, trace.header.environment["dtype_policy"]) == (policy, policy)
        assert (dtypes(trace, "initial"), dtypes(trace, "forward")) == ({"float32"}, computed)
        assert (trace.twin.header.precision, dtypes(trace.twin, "forward")) == ("float64", {"float64"})


@pytest.mark.slow
def test_a_healthy_training_in_low_precision_is_rounding(low: Any) -> None:
    for target in ("jax+mixed_bfloat16", "torch"):
        comparison = low.compared["healthy"][target]
        assert comparison["verdict"] == "rounding", comparison["first"]
        assert comparison["bases"].get("tolerance", 0) == 0


@pytest.mark.slow
def test_a_fault_below_the_roundoff_of_bfloat16_is_found(low: Any) -> None:
    comparison = low.compared["scaled"]["jax+mixed_bfloat16"]
    assert comparison["verdict"] == "divergent"
    assert comparison["first"]["key"] == "forward/0/scaled/output"
    assert 1e-4 < comparison["first"]["d64"] < 1e-3
    assert low.compared["scaled"]["torch"]["verdict"] in ("identical", "rounding")


@pytest.mark.slow
def test_a_sum_that_is_accumulated_in_bfloat16_is_imprecise(low: Any) -> None:
    comparison = low.compared["summed"]["jax+mixed_bfloat16"]
    assert (comparison["verdict"], comparison["first"]["key"]) == ("imprecise", "forward/0/sum/output")
    assert "this target has a mixed_bfloat16 error" in comparison["first"]["reason"]


@pytest.mark.slow
def test_the_scale_of_a_loss_is_compared(low: Any) -> None:
    """These gradients overflow in float16: two steps are left out, and the scale is halved twice, on each backend."""
    targets = ["torch+mixed_float16", "jax+mixed_float16", "tensorflow+mixed_float16"]
    compared = outcomes(low, ",".join(targets), "-k", "healthy")["healthy"]
    verdicts = {target: comparison["verdict"] for target, comparison in compared.items()}
    assert verdicts == dict.fromkeys(targets[1:], "rounding")
    for target in targets:
        trace = low.trace("healthy", target)
        steps, scale = (
            trace[f"optimizer/7/{name}"] for name in ("adam/iteration", "loss_scale_optimizer/dynamic_scale")
        )
        assert (steps.value, scale.array.item()) == (6, 2.0**13)
        assert "optimizer/0/adam/sequential_dense_kernel_momentum" in trace


@pytest.fixture(scope="module")
def modes(make_project: Callable[[], Any]) -> Any:
    """What runs otherwise when it is compiled."""
    project = make_project()
    project.write(
        "cases/x.py",
        f"""{HEAD}{FIT}
    class Counting(keras.layers.Layer):
        '''Adds how often Python has called it: once where it is traced, each time where it runs eagerly.'''
        calls = 0

        def call(self, x):
            Counting.calls += 1
            return x + 1e-3 * Counting.calls

    def doubled(x):
        # Concrete when it runs eagerly, and not when it is compiled.
        try:
            float(ops.convert_to_numpy(x).sum())
        except Exception:
            return x * 2
        return x

    @case
    def healthy(rng):
        return trained(rng, model_of(keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.5)), rows=30)

    @case
    def counting(rng):
        return trained(rng, model_of(Counting()))

    @case
    def layer(rng):
        return Forward(keras.layers.BatchNormalization(), rng.normal(size=(8, 4)).astype("float32"), training=True)

    @case
    def looking(rng):
        return Forward(doubled, rng.normal(size=(8, 4)).astype("float32"))

    @case
    def by_hand(record):
        record("one", 1.0)
    """,
    )
    return project


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["jax,jax+eager", "tensorflow+graph,tensorflow+eager,tensorflow+jit"])
def test_a_backend_against_itself_in_other_modes(modes: Any, targets: str) -> None:
    reference, *others = targets.split(",")
    compared = outcomes(modes, targets, "--reference", reference, "-k", "healthy or counting", *IN_FLOAT32)
    for target in others:
        assert compared["healthy"][target]["verdict"] in ("identical", "rounding"), compared["healthy"][target]["first"]
    flags = [environment(modes, "healthy", target)["model"] for target in targets.split(",")]
    assert [flag["run_eagerly"] for flag in flags] == ["eager" in target for target in targets.split(",")]
    # What Python does once where it is traced, and each time where it runs eagerly.
    eager = next(target for target in targets.split(",") if "eager" in target)
    other = compared["counting"][eager]
    assert other["verdict"] == "divergent"
    assert other["first"]["phase"] in ("log", "update")


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["jax,jax+jit", "torch,torch+jit", "tensorflow,tensorflow+graph"])
def test_a_forward_is_compiled_where_the_mode_says_so(modes: Any, targets: str) -> None:
    compared = outcomes(modes, targets, "-k", "layer or looking or by_hand", *IN_FLOAT32)
    target = targets.split(",")[1]
    assert compared["layer"][target]["verdict"] in ("identical", "rounding")
    # torch.compile breaks its graph where a value is looked at, and computes what eager code does.
    assert compared["looking"][target]["verdict"] == ("identical" if "torch" in targets else "divergent")
    (run,) = [run for run in modes.cases()["by_hand"]["runs"] if run["target"] == target]
    assert any("runs as written" in note["reason"] for note in run["notes"])


def _batches(trace: Trace) -> list[tuple[str, Any]]:
    """What the steps of training took, in order."""
    names = ("data/x", "data/y")
    return [(item.key, item.value) for item in trace if item.phase == "event" and item.name in names]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_several_steps_in_one_execution(modes: Any, backend: str) -> None:
    """Of 4 batches in an epoch, and so that the last execution has fewer: what epochs end with is the same."""
    targets = [backend, f"{backend}+steps_per_execution=2", f"{backend}+steps_per_execution=3"]
    compared = outcomes(modes, ",".join(targets), "-k", "healthy", *IN_FLOAT32)["healthy"]
    for target in targets[1:]:
        assert compared[target]["verdict"] in ("identical", "rounding"), compared[target]["first"]
        assert compared[target]["not_compared"] > 0
        assert {"update/7/sequential/dense/kernel", "log/7/epoch 1/loss"} <= set(modes.trace("healthy", target).keys)
        # Each step has the batch that it took, also where its logs are those of several.
        taken = _batches(modes.trace("healthy", backend))
        assert len(taken) == 16
        assert _batches(modes.trace("healthy", target)) == taken
    (run,) = [run for run in modes.cases()["healthy"]["runs"] if run["target"] == targets[1]]
    assert {"part": "event/*/fit", "reason": "callbacks are called once for 2 steps"} in run["notes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "device"),
    [("jax:cpu", "cpu:0"), ("jax:cpu:1", "cpu:1"), ("tensorflow:cpu:2", "cpu:2"), ("torch:cpu", "cpu:0")],
)
def test_tensors_live_where_the_target_says(modes: Any, target: str, device: str) -> None:
    backend = target.partition(":")[0]
    compared = outcomes(modes, f"{backend},{target}", "-k", "healthy", *IN_FLOAT32)
    assert compared["healthy"][target]["verdict"] == "identical"
    trace = modes.trace("healthy", target)
    held = {item.device for item in trace if item.phase in ("initial", "forward", "update") and item.is_array}
    assert held == {device}
    assert list(trace.header.environment["placement"]) == [device]


@pytest.mark.slow
def test_a_case_that_computes_elsewhere_is_no_run_of_its_target(project: Any) -> None:
    project.write(
        "cases/x.py",
        f"""{HEAD}
    @case
    def elsewhere(record):
        with keras.device("cpu:0"):
            record("x", ops.ones((2, 2)) + 1)
    """,
    )
    process = project.harness("run", "--targets", "jax:cpu:1", "--out", "out")
    assert process.returncode == 3, process.stdout
    (run,) = project.cases()["elsewhere"]["runs"]
    assert "asks for cpu:1, and every tensor that was recorded lived on cpu:0" in run["error"]


@pytest.fixture(scope="module")
def shared(make_project: Callable[[], Any]) -> Any:
    """Trainings of which several devices share each batch."""
    project = make_project()
    project.write(
        "cases/x.py",
        f"""{HEAD}{FIT}
    @case
    def whole(rng):
        return trained(rng, model_of(keras.layers.Dense(4, "relu")))

    @case
    def normalised(rng):
        return trained(rng, model_of(keras.layers.Dense(4, "relu"), keras.layers.BatchNormalization()))
    """,
    )
    return project


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "proof", "is_synchronised"),
    [("jax", "cpu:0 cpu:1", True), ("tensorflow", "cpu:0 cpu:1", False), ("torch", "cpu:0", False)],
)
def test_devices_that_share_a_batch_train_as_one_does(
    shared: Any, backend: str, proof: str, is_synchronised: bool
) -> None:
    """But for batch normalisation, whose statistics are those of each device's rows where nothing synchronises them."""
    target = f"{backend}:cpu+data_parallel=2"
    compared = outcomes(shared, f"{backend},{target}", *IN_FLOAT32)
    whole = compared["whole"][target]
    assert whole["verdict"] in ("identical", "rounding"), whole["first"]
    assert whole["counts"]["identical"] + whole["counts"]["rounding"] == whole["observations"] > 40
    assert (compared["normalised"][target]["verdict"] == "divergent") is not is_synchronised
    trace = shared.trace("whole", target)
    assert trace["update/0/sequential/dense/kernel"].device == proof
    assert trace.header.environment.get("processes") == (2 if backend == "torch" else None)


@pytest.mark.slow
def test_processes_of_torch_evaluate_and_predict_all_rows_in_the_midst_of_training(project: Any) -> None:
    project.write(
        "cases/x.py",
        f"""{HEAD}{FIT}
    @case
    def looked_at(rng, record):
        model = model_of()
        x, y = rng.normal(size=(32, 8)).astype("float32"), rng.normal(size=(32, 1)).astype("float32")

        def look(epoch, logs):
            record(f"predicted {{epoch}}", model.predict(x, verbose=0))
            record(f"loss {{epoch}}", model.evaluate(x, y, verbose=0)[0])

        watcher = keras.callbacks.LambdaCallback(on_epoch_end=look)
        return Fit(model, x, y, epochs=2, batch_size=8, callbacks=[watcher])
    """,
    )
    compared = outcomes(project, "torch,torch+data_parallel=2", *IN_FLOAT32)
    comparison = compared["looked_at"]["torch+data_parallel=2"]
    assert comparison["verdict"] in ("identical", "rounding"), comparison["first"]
    trace = project.trace("looked_at", "torch+data_parallel=2")
    assert trace["recorded/predicted 0"].array.shape == (32, 1)


@pytest.mark.slow
def test_what_processes_of_torch_cannot_share(project: Any) -> None:
    project.write(
        "cases/x.py",
        f"""{HEAD}{FIT}
    @case
    def odd(rng):
        return trained(rng, model_of(), rows=9)

    @case
    def generated(rng):
        x, y = rng.normal(size=(8, 8)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")
        return Fit(model_of(), iter([(x, y)] * 2), steps_per_epoch=2)
    """,
    )
    process = project.harness("run", "--targets", "torch+data_parallel=2", "--out", "out", "--precision", "float32")
    assert process.returncode == 3, process.stdout
    errors = {name: case["runs"][0]["error"] for name, case in project.cases().items()}
    assert "A batch of 1 rows cannot be shared by 2 processes" in errors["odd"]
    assert "shares the rows of arrays, and fit was given" in errors["generated"]
