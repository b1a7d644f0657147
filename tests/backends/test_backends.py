"""What every backend has: a description for the controller, and a runtime for workers."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from harness import backends
from harness.backends.runtime import Runtime

FRAMEWORKS = {"keras", "torch", "tensorflow", "jax", "openvino"}


@pytest.mark.parametrize("name", backends.NAMES)
def test_a_backend_is_one_folder_with_a_description_and_a_runtime(name: str) -> None:
    runtime = importlib.import_module(f"harness.backends.{name}.runtime").RUNTIME
    assert isinstance(runtime, Runtime)
    assert runtime.backend is backends.get(name)
    assert runtime.backend.name == name


def test_the_controller_reads_descriptions_and_no_runtime() -> None:
    code = (
        "import sys; from harness import backends; [backends.get(name) for name in backends.NAMES]; print(*sys.modules)"
    )
    imported = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert {f"harness.backends.{name}" for name in backends.NAMES} <= imported
    assert imported.isdisjoint(FRAMEWORKS)
    assert [name for name in imported if name.startswith("harness.") and name.endswith(("runtime", "internals"))] == []
