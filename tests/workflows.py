"""Workflows of GitHub Actions as they are read and, as far as a machine without GitHub can, run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]


def read(path: Path) -> dict[str, Any]:
    workflow: dict[str, Any] = YAML(typ="safe").load(path)
    return workflow


def commands(job: Mapping[str, Any], values: Mapping[str, str]) -> list[str]:
    """What the steps of a job run, with expressions replaced by their values, installations left out.

    Raises:
        KeyError: an expression has no value here.
    """
    lines = [step["run"] for step in job["steps"] if "run" in step]
    filled = [re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], line) for line in lines]
    return [line for line in filled if "pip install" not in line]


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does, with the harness of these tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    source = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": source, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
