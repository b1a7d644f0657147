"""The fuzzer of every reader runs, in its smallest form, and finds what is wrong with a reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
READERS = ["trace", "arrays", "compare", "result", "recording", "project", "init"]


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks/fuzz.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_reader_fails_at_what_is_spoiled() -> None:
    done = fuzz("--mutations", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.startswith("60 mutations, seed 0: 0 faults")
    assert [row.split()[0] for row in rows] == READERS


def test_a_reader_that_fails_or_writes_elsewhere_is_a_fault() -> None:
    code = f"""
import runpy, sys
from harness.project import configuration, scaffold
def fails(*_): raise KeyError("gone")
def elsewhere(folder): (folder.parent / "new").touch()
configuration.target_sets, scaffold.init = fails, elsewhere
sys.argv[1:] = ["--mutations", "40"]
runpy.run_path({str(ROOT / "benchmarks/fuzz.py")!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "KeyError" in done.stdout
    assert "outside" in done.stdout
