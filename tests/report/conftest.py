"""An invented run with one case of each kind, which every report is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import Case, write_run

from harness.case import Expected
from harness.result.run_folder import RunFolder
from harness.trace import Note

EXPECTED = {"jax": Expected("divergent", "it is so", link="https://example.org/1")}
OTHER_EVENTS = [["on_train_begin", None, []], ["on_train_end", None, ["loss"]]]

CASES = [
    Case("cases/a.py::agrees", tags=["quick"]),
    Case("cases/a.py::differs[1]", wrong={"jax": "forward/0/model/smooth/output"}, tags=["layers", "slow"], steps=12),
    Case("cases/b.py::events", events={"tensorflow": OTHER_EVENTS}),
    Case("cases/b.py::fails", status={"jax": ("crashed", "it ended with signal 11")}),
    Case("cases/b.py::declared", wrong={"jax": "loss/0/loss"}, expect=EXPECTED, notes=[Note("save", "it cannot be")]),
    Case("cases/c.py::reference_fails", status={"torch": ("error", "ValueError: no\n  at cases/c.py:3, in f")}),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run."""
    return write_run(tmp_path_factory.mktemp("run") / "run", CASES)


@pytest.fixture
def run(folder: Path) -> RunFolder:
    return RunFolder.open(folder)
