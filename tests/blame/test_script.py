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

from harness.blame.script import MOST_EMBEDDED, Script, Side, issue_text, script_of
from harness.result.judgement import Judgement
from harness.result.model import Finding
from harness.trace import Header, Observation, Trace, write
from harness.trace.parts import operation, part_of
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


def written(trace: Trace, *, name: str = "keras.ops.tanh", phase: str = "forward", d32: float = 0.5) -> Script | None:
    what = "input" if phase == "gradient" else "output"
    key = f"{operation('model/dense', 0, name)}/{what}"
    judgement = Judgement(Verdict.DIVERGENT, "twins", d32=d32, d64=0.5, amplification=2.0)
    part = part_of(key)
    assert part is not None
    return script_of(Finding(f"{phase}/0/{key}", key, phase, 0, "dense", judgement), part, trace, SIDES)  # type: ignore[arg-type]


def test_an_operation_is_called_as_it_was(tmp_path: Path) -> None:
    arguments = {
        "args": [{"tensor": 0}, {"tuple": [3, 3]}, "same"],
        "kwargs": {"axis": {"list": [1, None]}, "low": {"float": "-inf"}, "y": {"tensor": 1}},
    }
    found = written(replayed(tmp_path, arguments, X, X))
    assert found is not None
    assert found.call == ("keras.ops.tanh(inputs[0], (3, 3,), 'same', axis=[1, None], low=float('-inf'), y=inputs[1])")
    assert [array.tolist() for array in found.inputs] == [X.tolist(), X.tolist()]


def test_none_is_written_where_it_could_not_be_run_or_would_show_nothing(tmp_path: Path) -> None:
    plain = {"args": [{"tensor": 0}], "kwargs": {}}
    assert written(replayed(tmp_path / "1", plain, X)) is not None
    assert written(replayed(tmp_path / "2", {"args": [{"object": "SeedGenerator"}], "kwargs": {}}, X)) is None
    assert written(replayed(tmp_path / "3", plain, np.zeros(MOST_EMBEDDED + 1, np.float32))) is None
    assert written(replayed(tmp_path / "4", plain, X), d32=1e-7) is None  # float32 does not show it


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("rows", [2, 400])
def test_a_script_is_python_of_about_sixty_lines(gradient: bool, rows: int) -> None:
    text = script(gradient=gradient, inputs=(np.ones((rows, 3), np.float32),)).text()
    compile(text, "repro.py", "exec")
    assert len(text.splitlines()) < 62


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
    code = f"import runpy, json; print(json.dumps(runpy.run_path({str(path)!r})['value']().tolist()))"
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
