"""What a case draws from frameworks that are not those of its target is the same on every target."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from harness.session.layout import seed_of

CASES = """
from harness import case


@case
def tensorflow_shuffles(record):
    import tensorflow as tf

    record("order", [int(value) for value in tf.data.Dataset.range(10).shuffle(10, seed=1)])


@case
def torch_permutes(record):
    import torch

    record("order", torch.randperm(10).tolist())
"""
#: The same draws without the harness.
PLAIN = {
    "tensorflow_shuffles": (
        "import tensorflow as tf; tf.random.set_seed({seed});"
        "print([int(value) for value in tf.data.Dataset.range(10).shuffle(10, seed=1)])"
    ),
    "torch_permutes": "import torch; torch.manual_seed({seed}); print(torch.randperm(10).tolist())",
}


@pytest.mark.slow
def test_frameworks_are_seeded_whoever_imports_them(project: Any) -> None:
    project.write("cases/x.py", CASES)
    targets = ["torch", "tensorflow", "jax"]
    done = project.harness("run", "--targets", ",".join(targets), "--precision", "float32", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    for name, plain in PLAIN.items():
        script = plain.format(seed=seed_of(f"cases/x.py::{name}"))
        output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        drawn = [str(project.trace(name, target)["recorded/order"].value) for target in targets]
        assert drawn == [output.splitlines()[-1]] * 3
