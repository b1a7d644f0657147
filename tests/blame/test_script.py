"""Scripts that show a difference: what they say, and that they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.blame.script import NoScriptError, Script, Side, is_whole, issue_text, scripts_of
from harness.result.judgement import Judgement, Unlike
from harness.result.model import Finding
from harness.trace import Header, Observation, Trace, write
from harness.trace.parts import MOST_EMBEDDED, operation, part_of
from harness.verdict import Verdict

SIDES = Side("torch", {"KERAS_BACKEND": "torch"}), Side("jax", {"KERAS_BACKEND": "jax"})
X = np.arange(24, dtype=np.float32).reshape(4, 6) / 7


def script(**changes: Any) -> Script:
    values = {
        "title": "keras.ops.tanh differs.",
        "call": "keras.ops.tanh(inputs[0])",
        "inputs": (X,),
        "setup": "",
        "gradient": False,
        "upstream": (),
        "sides": SIDES,
        "bound": 1e-5,
    }
    return Script(**(values | changes))


def replayed(folder: Path, arguments: Any, *inputs: Any, name: str = "keras.ops.tanh") -> Trace:
    """A trace of one operation in a part."""
    where = operation("model/dense", 0, name)
    observations = [
        Observation(
            f"initial/0/{where}/arguments", "initial", 0, f"{where}/arguments", None, None, json.dumps(arguments)
        )
    ]
    for position, array in enumerate(inputs):
        suffix = f"{where}/input" + (f"/{position}" if len(inputs) > 1 else "")
        observations.append(Observation(f"forward/0/{suffix}", "forward", 0, suffix, None, array.dtype.name, array))
    write(folder, Header("c", "torch", "float32"), observations)
    return Trace(folder)


def written(trace: Trace, *, name: str = "keras.ops.tanh", phase: str = "forward", d32: float = 0.5) -> Script:
    what = "input" if phase == "gradient" else "output"
    key = f"{operation('model/dense', 0, name)}/{what}"
    judgement = Judgement(Verdict.DIVERGENT, "twins", d32=d32, d64=0.5, amplification=2.0)
    part = part_of(key)
    assert part is not None
    (found,) = scripts_of(Finding(f"{phase}/0/{key}", key, phase, 0, "dense", judgement), part, trace, SIDES)  # type: ignore[arg-type]
    return found


def test_an_operation_is_called_as_it_was(tmp_path: Path) -> None:
    arguments = {
        "args": [{"tensor": 0}, {"tuple": [3, 3]}, "same"],
        "kwargs": {"axis": {"list": [1, None]}, "low": {"float": "-inf"}, "y": {"tensor": 1}},
    }
    found = written(replayed(tmp_path, arguments, X, X))
    assert found.call == ("keras.ops.tanh(inputs[0], (3, 3,), 'same', axis=[1, None], low=float('-inf'), y=inputs[1])")
    assert [array.tolist() for array in found.inputs] == [X.tolist(), X.tolist()]


def test_where_none_can_be_written_or_would_show_anything_it_is_said_why(tmp_path: Path) -> None:
    plain = {"args": [{"tensor": 0}], "kwargs": {}}
    written(replayed(tmp_path / "1", plain, X))
    with pytest.raises(NoScriptError, match="a SeedGenerator, which cannot be written down"):
        written(replayed(tmp_path / "2", {"args": [{"object": "SeedGenerator"}], "kwargs": {}}, X))
    with pytest.raises(NoScriptError, match="more than 50,000 numbers"):
        written(replayed(tmp_path / "3", plain, np.zeros(MOST_EMBEDDED + 1, np.float32)))
    with pytest.raises(NoScriptError, match="rounding hides"):
        written(replayed(tmp_path / "4", plain, X), d32=1e-7)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("rows", [2, 400])
def test_a_script_is_python_of_about_sixty_lines(gradient: bool, rows: int) -> None:
    text = script(gradient=gradient, inputs=(np.ones((rows, 3), np.float32),)).text()
    compile(text, "repro.py", "exec")
    assert len(text.splitlines()) < 66


def test_smaller_scripts_keep_the_row_that_differs_and_come_first() -> None:
    smaller = list(script(inputs=(X, X)).smaller(2, (2, 1)))
    assert [s.inputs[0].shape for s in smaller] == [(1,), (1, 6), (2, 6)]
    assert smaller[0].inputs[0][0] == X[2, 1]
    assert smaller[1].inputs[0][0].tolist() == X[2].tolist()
    assert any(row.tolist() == X[2].tolist() for row in smaller[2].inputs[1])
    for smaller_one in script(inputs=(X,), gradient=True, upstream=(2 * X,)).smaller(2, (2, 1)):
        np.testing.assert_array_equal(smaller_one.upstream[0], 2 * smaller_one.inputs[0])


def test_what_has_no_rows_is_left_whole() -> None:
    kernel = np.ones((6, 2), np.float32)
    smaller = list(script(inputs=(X, kernel)).smaller(3, (3, 1)))
    assert all(s.inputs[1].shape == (6, 2) for s in smaller)


def test_a_script_says_whether_backends_differ(tmp_path: Path) -> None:
    """Run for real, on two backends, of a function that they compute alike and of one they are told apart by."""
    differs = 'keras.ops.cos(inputs[0]) * (1.5 if keras.backend.backend() == "jax" else 1)'
    for call, status in (("keras.ops.cos(inputs[0])", 0), (differs, 1)):
        path = tmp_path / "repro.py"
        path.write_text(script(call=call).text(), encoding="utf-8")
        ran = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
        assert ran.returncode == status, ran.stderr
        assert "torch" in ran.stdout
        assert "jax" in ran.stdout
        assert "rounding explains 1.0e-05" in ran.stdout


@pytest.mark.parametrize("is_known", [False, True])
def test_the_gradient_that_a_script_takes_is_that_of_a_projection(tmp_path: Path, is_known: bool) -> None:
    """Against the closed form: of sum(c x²), which is 2 c x, with c as it came from behind where that is known."""
    path = tmp_path / "repro.py"
    c = np.float32(X - 3) if is_known else np.random.default_rng(0).standard_normal(X.shape)
    square = script(call="keras.ops.square(inputs[0])", gradient=True, upstream=(c,) if is_known else ())
    path.write_text(square.text(), encoding="utf-8")
    expected = 2 * c * X
    code = f"import runpy, json; print(json.dumps(runpy.run_path({str(path)!r})['value']()[1].tolist()))"
    for backend in ("torch", "tensorflow", "jax"):
        output = subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "KERAS_BACKEND": backend}, text=True
        )
        np.testing.assert_allclose(json.loads(output.splitlines()[-1]), expected.ravel(), rtol=1e-5, atol=1e-6)


def test_the_text_of_an_issue_has_versions_numbers_and_the_script() -> None:
    environment = {"versions": {"keras": "3.15.1", "jax": "0.10.2"}, "python": "3.11.7", "device": "cpu"}
    text = issue_text("print(1)\n", "torch 1\njax 2\n", "It differs.", {"jax": environment})
    assert text.startswith("# It differs.\n")
    assert "- jax: keras 3.15.1, jax 0.10.2, Python 3.11.7, device cpu" in text
    assert "```\ntorch 1\njax 2\n```" in text
    assert "```python\nprint(1)\n```" in text


OWN_STEP = """
import keras


class Step(keras.optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * (1.5 if keras.backend.backend() == "jax" else 1), variable, learning_rate)
"""


def recorded(folder: Path, plain: dict[str, Any], arrays: dict[str, Any]) -> Trace:
    """What the reference recorded of a part: plain values and arrays, by their keys."""
    observations = []
    for key, value in {**{key: json.dumps(item) for key, item in plain.items()}, **arrays}.items():
        phase, step, name = key.split("/", 2)
        dtype = None if isinstance(value, str) else value.dtype.name
        observations.append(Observation(key, phase, int(step), name, None, dtype, value))  # type: ignore[arg-type]
    write(folder, Header("c", "torch", "float32"), observations)
    return Trace(folder)


def made_of(trace: Trace, key: str, cause: Any = None) -> list[Script]:
    phase, _, name = key.split("/", 2)
    judgement = Judgement(Verdict.DIVERGENT, "twins", d32=None if cause else 0.5, cause=cause)
    part = part_of(name)
    assert part is not None
    return scripts_of(Finding(key, name, phase, 0, None, judgement), part, trace, SIDES)  # type: ignore[arg-type]


def ran(folder: Path, script: Script) -> subprocess.CompletedProcess[str]:
    path = folder / "repro.py"
    path.write_text(script.text(), encoding="utf-8")
    return subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)


def described(module: str, name: str, config: Any = None, **more: Any) -> dict[str, Any]:
    return {"module": module, "class": name, "config": {} if config is None else config, **more}


def step_of_two(folder: Path, **more: Any) -> Trace:
    """An optimizer's step of a kernel and a bias, with a momentum each."""
    kernel, bias = X[:2, :3], X[0, :3]
    config = {"name": "step", "learning_rate": 0.5, "momentum": 0.9}
    plain = {"initial/0/(optimizer)/config": described("bugs", "Step", config, **more)}
    state = {
        "iteration": np.array(4, np.int32),
        "learning_rate": np.array(0.5, np.float32),
        "net_kernel_momentum": kernel * 2,
        "net_bias_momentum": bias * 2,
    }
    arrays = {"initial/0/(optimizer)/weight/net/kernel": kernel, "initial/0/(optimizer)/weight/net/bias": bias}
    arrays |= {f"initial/0/(optimizer)/state/step/{name}": value for name, value in state.items()}
    arrays |= {"forward/0/(optimizer)/input/0": kernel + 1, "forward/0/(optimizer)/input/1": bias + 1}
    return recorded(folder, plain, arrays)


class TestAnOptimizersStep:
    def test_it_is_that_of_the_weight_which_differs_and_then_of_all(self, tmp_path: Path) -> None:
        trace = step_of_two(tmp_path, source=OWN_STEP)
        alone, whole = made_of(trace, "update/0/(optimizer)/weight/net/bias")
        assert [array.shape for array in alone.inputs] == [(3,), (3,), (), (), (3,)]
        assert [len(script.inputs) for script in (alone, whole)] == [5, 8]
        assert alone.title == "The optimizer Step differs between torch and jax."
        assert "return weights[0].value" in alone.setup
        assert "return weights[1].value" in whole.setup

    def test_of_a_slot_it_is_that_slot(self, tmp_path: Path) -> None:
        trace = step_of_two(tmp_path, source=OWN_STEP)
        alone, whole = made_of(trace, "optimizer/0/(optimizer)/state/step/net_bias_momentum")
        assert "return optimizer.variables[2].value" in alone.setup
        assert "return optimizer.variables[3].value" in whole.setup

    def test_one_element_of_it_runs_and_shows_the_difference_of_the_users_class(self, tmp_path: Path) -> None:
        trace = step_of_two(tmp_path, source=OWN_STEP)
        alone, _ = made_of(trace, "update/0/(optimizer)/weight/net/bias")
        smallest = next(alone.smaller(1, (1,)))
        assert [array.shape for array in smallest.inputs] == [(1,), (1,), (), (), (1,)]
        found = ran(tmp_path, smallest)
        assert (found.returncode, is_whole(found.stdout)) == (1, True), found.stderr
        # In plain numbers: the velocity is 0.9 times itself less the rate times the gradient, and is added.
        weight, gradient, velocity = (float(smallest.inputs[place][0]) for place in (1, 0, 4))
        expected = [weight + 0.9 * velocity - 0.5 * factor * gradient for factor in (1, 1.5)]
        told = found.stdout.splitlines()[-2]
        assert [float(told.split()[2]), float(told.split()[4])] == pytest.approx(expected, rel=1e-5)


class TestALoss:
    def trace(self, folder: Path, loss: Any, weights: Any = None, *, several: bool = False) -> Trace:
        given = [{"list": [{"tensor": 0}, {"tensor": 1}]}, {"list": [{"tensor": 2}, {"tensor": 3}]}, None]
        given = given if several else [{"tensor": 0}, {"tensor": 1}, None]
        plain = {
            "initial/0/(loss)/config": {"loss": loss, "weights": weights},
            "initial/0/(loss)/arguments": {"args": given, "kwargs": {}},
        }
        count = 4 if several else 2
        arrays = {f"forward/0/(loss)/given/{place}": X + place for place in range(count)}
        predicted = ["/0", "/1"] if several else [""]
        return recorded(folder, plain, arrays | {f"forward/0/(loss)/input{suffix}": X for suffix in predicted})

    def test_it_is_what_compile_was_given(self, tmp_path: Path) -> None:
        (found,) = made_of(self.trace(tmp_path, {"text": "mse"}), "loss/0/(loss)/value")
        assert "model.compile(loss='mse')" in found.setup
        assert found.call == "call(inputs[0], inputs[1], None)"
        assert found.title == "The loss 'mse' differs between torch and jax."

    @pytest.mark.slow
    def test_a_function_and_several_losses_come_with_their_source_and_weights(self, tmp_path: Path) -> None:
        source = "def mine(y_true, y_pred):\n    return (y_true - y_pred) ** 2\n"
        mine = {**described("bugs", "mine"), "is_function": True, "source": source}
        loss = {"list": [mine, described("keras.src.losses.losses", "Huber", {"delta": 2.0, "name": "huber"})]}
        trace = self.trace(tmp_path, loss, [1.0, 0.5], several=True)
        (found,) = made_of(trace, "loss/0/(loss)/value")
        assert source in found.setup
        assert "loss=[mine, keras.losses.Huber.from_config({'delta': 2.0})], loss_weights=[1.0, 0.5]" in found.setup
        assert found.title == "The loss mine and keras.losses.Huber differs between torch and jax."
        same = ran(tmp_path, found)
        assert same.returncode == 0, same.stderr

    def test_its_gradient_is_with_respect_to_the_predictions_alone(self, tmp_path: Path) -> None:
        trace = self.trace(tmp_path, {"text": "mse"})
        (found,) = made_of(trace, "gradient/0/(loss)/input/0")
        assert found.differentiated == "[:1]"
        path = tmp_path / "repro.py"
        path.write_text(found.text(), encoding="utf-8")
        code = f"import runpy, json; print(json.dumps(runpy.run_path({str(path)!r})['value']()[1].tolist()))"
        output = subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "KERAS_BACKEND": "jax"}, text=True
        )
        c = np.random.default_rng(0).standard_normal(())
        expected = np.full(X.size, 2 * c * -1 / X.size)
        np.testing.assert_allclose(json.loads(output.splitlines()[-1]), expected, rtol=1e-5)


@pytest.mark.slow
def test_a_metric_is_updated_with_the_batch_and_asked(tmp_path: Path) -> None:
    place = "(metrics)/value/near"
    plain = {
        f"initial/0/{place}/config": described("keras.src.metrics.regression_metrics", "MeanAbsoluteError"),
        f"initial/0/{place}/arguments": {"args": [{"tensor": 0}, {"tensor": 1}], "kwargs": {}},
    }
    trace = recorded(tmp_path, plain, {f"forward/0/{place}/given/0": X, f"forward/0/{place}/given/1": X + 0.5})
    (script,) = made_of(trace, f"metric/0/{place}")
    assert script.title == "The metric keras.metrics.MeanAbsoluteError differs between torch and jax."
    found = ran(tmp_path, script)
    assert (found.returncode, "0.5 and 0.5" in found.stdout) == (0, True), found.stderr


@pytest.mark.parametrize("kind", ["regularizer", "constraint"])
def test_a_regularizer_and_a_constraint_are_called_with_the_weight(tmp_path: Path, kind: str) -> None:
    place = f"net/kernel/{kind}"
    cls = {"regularizer": "L2", "constraint": "NonNeg"}[kind]
    plain = {
        f"initial/0/{place}/config": described(f"keras.src.{kind}s", cls),
        f"initial/0/{place}/arguments": {"args": [{"tensor": 0}], "kwargs": {}},
    }
    (script,) = made_of(recorded(tmp_path, plain, {f"forward/0/{place}/given": X}), f"loss/0/{place}")
    assert (script.call, f"keras.{kind}s.{cls}.from_config({{}})(value)" in script.setup) == ("call(inputs[0])", True)


class TestALayer:
    def trace(self, folder: Path, **more: Any) -> Trace:
        plain = {
            "initial/0/net/norm/config": {**described("keras.src.layers", "BatchNormalization"), **more},
            "initial/0/net/norm/arguments": {"args": [{"tensor": 0}], "kwargs": {}},
        }
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        arrays = {f"initial/0/net/norm/weight/net/norm/{name}": X[0] + 1 for name in names}
        return recorded(folder, plain, arrays | {"forward/0/net/norm/input": X})

    def test_its_state_is_told_where_that_differs(self, tmp_path: Path) -> None:
        (found,) = made_of(self.trace(tmp_path), "update/0/net/norm/state/net/norm/moving_mean")
        assert found.setup.endswith("    layer(*args, **kwargs)\n    return layer.weights[2].value\n")

    @pytest.mark.slow
    def test_the_gradient_of_a_weight_is_taken_with_respect_to_it(self, tmp_path: Path) -> None:
        (found,) = made_of(self.trace(tmp_path), "gradient/0/net/norm/weight/net/norm/gamma")
        assert (found.call, found.differentiated) == ("call(inputs[0], weight=inputs[1])", "[1:]")
        same = ran(tmp_path, found)
        assert (same.returncode, is_whole(same.stdout)) == (0, True), same.stderr + same.stdout
        assert "torch (6,) [" in same.stdout  # as many as the weight has elements, and not as the input

    def test_why_there_is_none(self, tmp_path: Path) -> None:
        trace = self.trace(tmp_path / "1", why="OSError: could not get source code")
        with pytest.raises(NoScriptError, match=r"the layer BatchNormalization cannot .*: OSError: could not get"):
            made_of(trace, "forward/0/net/norm/output")
        with pytest.raises(NoScriptError, match="made with another config"):
            made_of(trace, "initial/0/net/norm/config")
        with pytest.raises(NoScriptError, match="not recorded"):
            made_of(trace, "forward/0/net/other/output")


@pytest.mark.parametrize(
    ("differs", "kind"),
    [("keras.ops.cast(inputs[0], {!r})", "dtype"), ("inputs[0][:{}]", "shape")],
    ids=["dtype", "shape"],
)
def test_a_dtype_or_a_shape_alone_is_told_and_compared(tmp_path: Path, differs: str, kind: str) -> None:
    values = ("float16", "float32") if kind == "dtype" else (1, 2)
    one, other = (differs.format(value) for value in values)
    found = {}
    for call in (one, f"({one} if keras.backend.backend() == 'jax' else {other})"):
        found[call] = ran(tmp_path, script(call=call, inputs=(np.float32([0.5, 2.0]),), unlike=kind))
    same, apart = found.values()
    assert (same.returncode, apart.returncode) == (0, 1), apart.stderr
    assert f"they differ in {kind}" in apart.stdout
    assert all(str(value) in apart.stdout for value in values)
    assert "Traceback" not in apart.stderr


def test_sides_of_other_shapes_end_in_no_traceback_where_numbers_are_compared(tmp_path: Path) -> None:
    found = ran(tmp_path, script(call="inputs[0][: 2 if keras.backend.backend() == 'jax' else 3]"))
    assert (found.returncode, found.stderr.count("Traceback")) == (1, 0)
    assert "(3, 6)" in found.stdout
    assert "(2, 6)" in found.stdout
    assert is_whole(found.stdout)


def test_a_script_that_raises_is_not_whole_though_python_ends_with_the_same_status(tmp_path: Path) -> None:
    found = ran(tmp_path, script(call="inputs[0] if keras.backend.backend() == 'torch' else 1 / 0"))
    assert (found.returncode, is_whole(found.stdout)) == (1, False)


def test_a_finding_of_a_dtype_is_shown_as_one(tmp_path: Path) -> None:
    arguments = {"args": [{"tensor": 0}], "kwargs": {}}
    place = operation("model/dense", 0, "keras.ops.tanh")
    trace = replayed(tmp_path, arguments, X)
    (found,) = made_of(trace, f"forward/0/{place}/output", Unlike("dtype", "int32", "int64"))
    assert found.unlike == "dtype"
    assert found.title == "keras.ops.tanh differs in dtype between torch and jax."
