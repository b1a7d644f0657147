"""What users annotate with is what they are given: `Record` and `Parity` are kept by the worker's own classes."""

from __future__ import annotations

import functools
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.worker.capture.parity import Parity
from harness.worker.capture.record import Recorder

ROOT = Path(__file__).parents[1]

#: What a user may write, and what mypy is to say of it: nothing, but for the lines that are marked.
USE = """
import harness
from harness.worker.capture.parity import Parity
from harness.worker.capture.record import Recorder


def given(recorder: Recorder, parity: Parity) -> tuple[harness.Record, harness.Parity]:
    return recorder.record, parity


def my_case(record: harness.Record, target: harness.Target) -> None:
    record("backend", target.backend)
    record(1, target.backend)  # wrong
    target.backed  # wrong


def test_it(parity: harness.Parity, layer: harness.Forward) -> None:
    parity.record("x", parity.rng.normal(size=3))
    parity.run(layer)
    parity.run(3)  # wrong
    parity.target = parity.target  # wrong
"""


def public(kind: type) -> dict[str, object]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def test_record_is_called_as_its_type_says() -> None:
    assert inspect.signature(Recorder.record) == inspect.signature(harness.Record.__call__)


def test_parity_has_the_methods_of_its_type() -> None:
    methods = {name: value for name, value in public(harness.Parity).items() if inspect.isfunction(value)}
    assert set(methods) == {"record", "run"}
    for name, method in methods.items():
        assert inspect.signature(getattr(Parity, name)) == inspect.signature(method)


def test_parity_has_the_attributes_of_its_type(tmp_path: Path) -> None:
    properties = {name: value for name, value in public(harness.Parity).items() if isinstance(value, property)}
    assert set(properties) == {"rng", "target"}
    rng = vars(Parity)["rng"]
    assert isinstance(rng, functools.cached_property)
    assert inspect.signature(rng.func) == inspect.signature(properties["rng"].fget)  # type: ignore[arg-type]
    target = harness.Target("jax")
    assert Parity(Recorder(), target, 0, tmp_path).target is target


def test_nothing_public_of_parity_is_kept_from_its_type() -> None:
    assert set(public(Parity)) | {"target"} == set(public(harness.Parity))


@pytest.mark.parametrize("method", [harness.Record.__call__, harness.Parity.record, harness.Parity.run])
def test_the_types_say_what_they_take_and_raise(method: object) -> None:
    text = inspect.getdoc(method) or ""
    assert "Raises:\n    CaseError: " in text


@pytest.mark.slow
def test_a_type_checker_follows_what_users_annotate(tmp_path: Path) -> None:
    file = tmp_path / "use.py"
    file.write_text(USE, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", ROOT / "pyproject.toml", file]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    wrong = [number for number, line in enumerate(USE.splitlines(), 1) if "# wrong" in line]
    assert [int(line.split(":")[1]) for line in done.stdout.splitlines() if "error:" in line] == wrong, done.stdout
