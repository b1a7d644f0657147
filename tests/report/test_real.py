"""Reports of a real run, with a bug that is blamed, made again on a machine without any framework."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from lxml import html as parser

pytestmark = pytest.mark.slow

CASES = """
    import keras
    from keras import layers, ops
    from harness import Fit, case


    class Squash(layers.Layer):
        def call(self, x):
            return ops.tanh(x) * 1.001 if keras.backend.backend() == "jax" else ops.tanh(x)


    @case(tags=["squash"])
    def residual(rng):
        inputs = keras.Input((6,))
        first = layers.Dense(8, name="first")(inputs)
        both = layers.Add(name="both")([first, Squash(name="squash")(first)])
        model = keras.Model(inputs, layers.Dense(1, name="last")(both))
        model.compile("sgd", "mse")
        x, y = rng.normal(size=(48, 6)).astype("float32"), rng.normal(size=(48, 1)).astype("float32")
        return Fit(model, x, y, epochs=2, batch_size=16)
"""


@pytest.fixture(scope="module")
def real(make_project: Callable[[], Any]) -> Any:
    """A project, the run in it with its reports, and the same reports made again without a framework."""
    project = make_project()
    project.write("cases/x.py", CASES)
    arguments = ("--targets", "torch,jax", "--out", "out", "--html", "run.html", "--junit", "run.xml")
    project.ran = project.harness("run", "cases/x.py", *arguments)
    project.hide("keras", "torch", "tensorflow", "jax")
    project.told = project.harness("report", "out", "--html", "told.html", "--junit", "told.xml")
    return project


def test_the_reports_of_a_run_follow_from_its_folder_alone(real: Any) -> None:
    assert real.ran.returncode == 1, real.ran.stdout + real.ran.stderr
    assert real.told.returncode == 0, real.told.stderr
    for kind in ("html", "xml"):
        assert (real.folder / f"run.{kind}").read_bytes() == (real.folder / f"told.{kind}").read_bytes()


def test_the_page_has_the_model_the_curves_and_the_reproducer(real: Any) -> None:
    page = parser.document_fromstring((real.folder / "run.html").read_text(encoding="utf-8"))
    (script,) = page.xpath("//pre")
    assert "class Squash" in script.text
    assert page.xpath("//tr/@data-tags") == ["squash"]
    (element,) = page.xpath("//script[@type='application/json']")
    data = json.loads(element.text)
    assert data["blamed"] == [["squash"]]
    (case,) = data["cases"]
    layers = [path for path, _, _ in case["graph"]["layers"]]
    edges = {
        (layers[source].rpartition("/")[2], layers[target].rpartition("/")[2])
        for source, target, _ in case["graph"]["edges"]
    }
    assert edges == {("first", "squash"), ("first", "both"), ("squash", "both"), ("both", "last")}
    assert all(is_known for _, _, is_known in case["graph"]["edges"])
    assert [len(curve["steps"]) for curve in case["curves"]] == [6]


def test_the_terminal_says_what_to_type_and_that_shows_the_difference(real: Any) -> None:
    (command,) = [
        line.split(maxsplit=1)[1] for line in real.ran.stdout.splitlines() if "next" in line and "show" in line
    ]
    shown = real.harness(*command.replace("'", "").split()[1:])
    assert shown.returncode == 0, shown.stderr
    assert "divergent" in shown.stdout
