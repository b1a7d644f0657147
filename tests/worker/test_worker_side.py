"""The worker's side of the wall, on every backend that is installed: each has a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import backends
from harness.target import Target

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("backend", backends.installed())
def test_the_workers_side(backend, tmp_path):
    command = [sys.executable, "-m", "pytest", "tests/worker/checks", "-q", "-n0", "-p", "no:cacheprovider"]
    command += ["-o", "python_files=check_*.py", "-o", "filterwarnings=default"]
    ours = backends.get(backend).environment_for(Target(backend, "cpu"), tmp_path)
    environment = {**os.environ, **ours, "KERAS_BACKEND": backend}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 0
