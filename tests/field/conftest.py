"""What tests of small inputs share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parent / "cases"


@pytest.fixture(scope="module")
def run(make_warm_project: Callable[[], Any]) -> Callable[..., Any]:
    """Runs a file of `cases` with the command line, once for all tests of a module, and returns the project.

    What the command printed, and its status, are in the project's `ran`.
    """
    projects: dict[tuple[str, ...], Any] = {}

    def run(file: str, *options: str) -> Any:
        if (file, *options) not in projects:
            project = projects[file, *options] = make_warm_project()
            shutil.copyfile(CASES / file, project.folder / file)
            project.ran = project.harness("run", file, "--out", "out", *options)
        return projects[file, *options]

    return run
