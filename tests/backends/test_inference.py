"""Runs on backends that only infer: what is compared there, and that what they cannot do is said and no failure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from harness import backends
from harness.errors import TargetError
from harness.session.targets import choose, choose_reference
from harness.target import Target

INSTALLED = [name for name in backends.NAMES if backends.why_not(name) is None]
pytestmark = pytest.mark.skipif("torch" not in INSTALLED, reason="torch is what they are compared with")

CASES = """
    import keras
    import numpy as np
    from keras import layers, ops

    from harness import Fit, Forward, case, value_and_grad


    def small():
        first, last = layers.Dense(8, activation="tanh", name="first"), layers.Dense(1, name="last")
        model = keras.Sequential([first, layers.BatchNormalization(), last], name="m")
        model.compile("adam", "mse")
        return model


    def data(rng):
        x = rng.normal(size=(48, 6)).astype("float32")
        return x, np.sin(x[:, :1])


    @case
    def fit(rng):
        return Fit(small(), *data(rng), epochs=2, batch_size=16)


    @case
    def forward(rng):
        return Forward(layers.Dense(4, activation="gelu", name="d"), rng.normal(size=(8, 6)))


    @case
    def differentiated(record):
        record("before", ops.exp(1.0))
        record("gradient", value_and_grad(ops.square, 3.0)[1])


    @case
    def trained_by_itself(rng, record):
        model, (x, y) = small(), data(rng)
        record("predicted", model.predict(x, verbose=0))
        try:
            model.fit(x, y, verbose=0)
        except RuntimeError:  # which Keras' own refusal is
            record("caught", True)


    @case
    def nothing_before(rng, record):
        model = small()
        record("loss", model.train_on_batch(*data(rng)))
"""

WRONG = """
    import keras
    import numpy as np
    from keras import layers, ops

    from harness import Forward, case


    class Squash(layers.Layer):
        '''Its bug is in one branch.'''

        def call(self, x):
            x = ops.sin(x)
            return ops.tanh(x) * 1.001 if keras.config.backend() == "numpy" else ops.tanh(x)


    @case
    def squashed(rng):
        model = keras.Sequential([layers.Dense(4, name="first"), Squash(name="squash"), layers.Dense(1, name="last")])
        return Forward(model, rng.normal(size=(8, 6)).astype("float32"))
"""


@pytest.fixture(scope="module")
def on_numpy(make_project: Any) -> Any:
    if "numpy" not in INSTALLED:
        pytest.skip(str(backends.why_not("numpy")))
    project = make_project()
    project.write("cases/x.py", CASES)
    project.done = project.harness("run", "--targets", "torch,numpy", "--out", "out", "--junit", "run.xml")
    project.harness("report", "out", "--html", "run.html", "--markdown", "run.md")
    return project


def of_numpy(project: Any, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A case's run on numpy, and what became of its comparison."""
    case = project.cases()[name]
    (run,) = [run for run in case["runs"] if run["target"] == "numpy"]
    (comparison,) = case["comparisons"]
    return run, comparison


def test_a_run_in_which_some_backend_cannot_train_is_no_failed_run(on_numpy: Any) -> None:
    assert on_numpy.done.returncode == 0, on_numpy.done.stdout + on_numpy.done.stderr
    assert {name: case["outcome"] for name, case in on_numpy.cases().items()} == dict.fromkeys(
        ["fit", "forward", "differentiated", "trained_by_itself", "nothing_before"], "agree"
    )


def test_a_fit_is_compared_up_to_where_training_begins(on_numpy: Any) -> None:
    run, comparison = of_numpy(on_numpy, "fit")
    assert (run["status"], run["inference_only"]) == ("unavailable", True)
    assert run["error"].startswith("Keras has no gradients on numpy, so it cannot train: model.fit is left out")
    assert comparison["verdict"] == "rounding"
    mine, theirs = (on_numpy.trace("fit", target) for target in ("numpy", "torch"))
    assert mine.keys == [key for key in theirs.keys if key in mine]
    phases = {key.partition("/")[0] for key in mine.keys}
    assert phases == {"initial", "event", "forward", "loss"}  # an event: which callbacks there are
    assert comparison["observations"] == len(mine)
    assert comparison["not_compared"] == len(theirs) - len(mine) > 0
    for key in mine.keys:
        if key.startswith("initial/") and mine[key].is_array:
            np.testing.assert_array_equal(mine[key].array, theirs[key].array)


def test_what_is_compared_has_its_float64_twin(on_numpy: Any) -> None:
    for name in ("fit", "forward", "differentiated", "trained_by_itself"):
        _, comparison = of_numpy(on_numpy, name)
        assert set(comparison["bases"]) <= {"exact", "twins"}, name
    twin = on_numpy.trace("fit", "numpy").twin
    assert (twin.header.inference_only, twin["forward/0/m/output"].dtype) == (True, "float64")


def test_a_forward_is_compared_but_for_its_gradients(on_numpy: Any) -> None:
    run, comparison = of_numpy(on_numpy, "forward")
    assert (run["status"], run["inference_only"], run["error"]) == ("ok", False, None)
    assert run["notes"] == [{"part": "gradient/*", "reason": "Keras has no gradients on numpy"}]
    gradients = [key for key in on_numpy.trace("forward", "torch").keys if key.startswith("gradient/")]
    assert comparison["not_compared"] == len(gradients) == 3


@pytest.mark.parametrize(
    ("name", "recorded", "left_out"),
    [
        ("differentiated", ["recorded/before"], "value_and_grad"),
        ("trained_by_itself", ["recorded/predicted"], "model.fit"),
        ("nothing_before", [], "model.train_on_batch"),
    ],
)
def test_a_case_that_trains_by_itself_keeps_what_it_recorded_before(
    on_numpy: Any, name: str, recorded: list[str], left_out: str
) -> None:
    run, comparison = of_numpy(on_numpy, name)
    assert (run["status"], run["inference_only"]) == ("unavailable", True)
    assert f"{left_out} is left out" in run["error"]
    assert on_numpy.trace(name, "numpy").keys == recorded
    assert comparison["observations"] == len(recorded)


def cells(printed: str, case: str) -> list[str]:
    """The cells of a case in the table, that of the reference first."""
    (row,) = [line for line in printed.splitlines() if re.match(rf"cases/x\.py::{case} +[a-z]", line)]
    return re.split(" {2,}", row.strip())[1:]


def test_every_report_says_where_the_comparison_ends(on_numpy: Any) -> None:
    printed = on_numpy.done.stdout
    assert cells(printed, "fit") == ["reference", "rounding, inference only"]
    assert cells(printed, "nothing_before") == ["reference", "not compared, inference only"]
    assert "Keras has no gradients on numpy" in printed
    assert "5 cases on torch, numpy: 5 agree. On numpy 4 ended where training begins." in printed
    for name in ("run.html", "run.md"):
        text = (on_numpy.folder / name).read_text(encoding="utf-8")
        assert "rounding, inference only" in text
        assert "On numpy 4 ended where training begins." in text


def test_junit_skips_what_ended_early_with_the_reason(on_numpy: Any) -> None:
    (suite,) = ET.parse(on_numpy.folder / "run.xml").getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "0",
        "errors": "0",
        "skipped": "4",
    }
    skipped = {case.get("name"): case[0].get("message") for case in suite if len(case)}
    assert "forward" not in skipped
    assert str(skipped["fit"]).startswith("rounding, inference only: Keras has no gradients on numpy")


def test_the_other_way_round_all_are_compared_with_what_only_infers(on_numpy: Any) -> None:
    done = on_numpy.harness(
        "run", "-k", "forward or fit", "--targets", "torch,numpy", "--reference", "numpy", "--out", "round"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (fit, forward) = (on_numpy.cases("round")[name]["comparisons"][0] for name in ("fit", "forward"))
    assert (fit["verdict"], fit["observations"]) == ("rounding", of_numpy(on_numpy, "fit")[1]["observations"])
    assert (forward["verdict"], forward["not_compared"]) == ("rounding", 3)
    assert cells(done.stdout, "fit") == ["reference", "rounding, inference only"]


def test_what_only_infers_and_does_not_start_is_a_failure(project: Any) -> None:
    project.write("cases/x.py", CASES)
    broken = "if os.environ.get('KERAS_BACKEND') == 'numpy':\n    os._exit(1)\n"
    project.write("site/sitecustomize.py", f"import os\n{broken}")
    done = project.harness("run", "-k", "forward", "--targets", "torch,numpy", "--out", "out")
    assert done.returncode == 3
    _, numpy = project.cases()["forward"]["runs"]
    assert (numpy["status"], numpy["inference_only"]) == ("unavailable", False)


@pytest.mark.parametrize("blamed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_wrong_inference_is_found_and_traced_to_its_layer(project: Any, blamed: bool) -> None:
    if "numpy" not in INSTALLED:
        pytest.skip(str(backends.why_not("numpy")))
    project.write("cases/wrong.py", WRONG)
    done = project.harness("run", "--targets", "torch,numpy", "--out", "out", *([] if blamed else ["--no-blame"]))
    assert done.returncode == 1, done.stdout + done.stderr
    (comparison,) = project.cases()["squashed"]["comparisons"]
    assert comparison["verdict"] == "divergent"
    assert comparison["first"]["key"] == "forward/0/sequential/squash/output"
    if blamed:
        assert (comparison["blame"]["layer"], comparison["blame"]["confirmed"]) == ("squash", True)
        assert "introduced in layer 'squash'" in done.stdout


@pytest.mark.slow
def test_openvino_is_compared_without_a_twin_of_its_own(project: Any) -> None:
    if "openvino" not in INSTALLED:
        pytest.skip(str(backends.why_not("openvino")))
    project.write("cases/x.py", CASES)
    done = project.harness("run", "--targets", "torch,openvino", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    for name, case in project.cases().items():
        _, run = case["runs"]
        assert case["outcome"] == "agree"
        assert run["inference_only"] is (name != "forward")
        assert "so there is no float64 run on openvino" in json.dumps(run["notes"])
    (comparison,) = project.cases()["fit"]["comparisons"]
    assert comparison["verdict"] == "rounding"
    assert comparison["bases"].get("one twin", 0) > 0
    # The callbacks are looked at before training begins.
    phases = {key.partition("/")[0] for key in project.trace("fit", "openvino").keys}
    assert phases == {"initial", "forward", "loss", "event"}


@pytest.mark.slow
def test_pytest_skips_what_ends_where_training_begins(on_numpy: Any) -> None:
    on_numpy.write(
        "tests/test_it.py",
        """
        import keras
        import numpy as np

        def test_infers():
            assert np.allclose(keras.ops.exp(0.0), 1.0)

        def test_trains():
            model = keras.Sequential([keras.layers.Dense(1)])
            model.compile("sgd", "mse")
            model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0)
        """,
    )
    options = ["--parity-targets", "torch,numpy", "-rs", "-p", "no:cacheprovider"]
    cases = on_numpy.python("-m", "pytest", "cases", *options)
    assert "1 passed, 4 skipped" in cases.stdout, cases.stdout + cases.stderr
    assert "model.fit is left out" in cases.stdout
    suite = on_numpy.python("-m", "pytest", "tests", "--parity", *options)
    assert "numpy: 1 passed, 1 skipped" in suite.stdout, suite.stdout + suite.stderr
    assert "torch: 2 passed" in suite.stdout
    assert suite.returncode == 0


# Which targets there are.


def test_what_only_infers_runs_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "why_not", lambda _name: None)
    assert (
        [str(target) for target in choose(None, Path.cwd())]
        == list(backends.training())
        == ["torch", "tensorflow", "jax"]
    )
    assert [str(target) for target in choose("numpy,openvino,jax", Path.cwd())] == ["numpy", "openvino", "jax"]


def test_the_reference_trains_unless_another_is_named() -> None:
    numpy, jax, torch = Target("numpy"), Target("jax"), Target("torch")
    assert choose_reference(None, [numpy, jax]) == jax
    assert choose_reference(None, [numpy, jax, torch]) == torch
    assert choose_reference(None, [numpy]) == numpy
    assert choose_reference("numpy", [numpy, jax]) == numpy


@pytest.mark.parametrize(
    ("name", "missing"), [("numpy", "jax"), ("numpy", "scipy"), ("openvino", "openvino"), ("openvino", "scipy")]
)
def test_what_is_missing_is_named_with_the_extra_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, missing: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None if module == missing else object())
    assert backends.why_not(name) == f"{missing} is not installed: pip install 'keras-harness[{name}]'"
    with pytest.raises(TargetError, match=f"{missing} is not installed"):
        choose(name, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("openvino+float64", ["'float64'", "openvino does not have", "no option"]),
        ("numpy+jit", ["'jit'", "numpy does not have", "float64"]),
        ("numpy:cuda", ["'cuda'", "numpy does not have", "cpu"]),
    ],
)
def test_what_they_do_not_have_is_refused(text: str, words: list[str]) -> None:
    target = Target.parse(text, backends.NAMES)
    with pytest.raises(TargetError) as raised:
        backends.get(target.backend).check(target)
    assert all(word in str(raised.value) for word in words)
