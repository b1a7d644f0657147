"""Each benchmark runs, in its smallest form. What it measures here says nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import backends

ROOT = Path(__file__).parents[1]
#: The faults of `soak.py`, in turn.
FAULTS = (
    *("raises", "segmentation fault", "abort", "ends its process", "runs past its limit", "is out of memory"),
    *("leaves a daemon", "prints 50 MB", "is killed", "kills its worker"),
)


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks" / name, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_speed_times_both_ways_to_run_the_same_cases() -> None:
    done = run("speed.py", "-k", "metrics and by_hand")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f" cases on {', '.join(backends.installed())}" in done.stdout.splitlines()[0]
    arms = [line.split("  ")[0] for line in done.stdout.splitlines()[1:]]
    assert arms == ["naive", "harness, float32", "harness, again", "harness, both", "harness, again"]


@pytest.mark.slow
def test_models_are_called_on_every_backend_with_and_without_what_was_compiled_before() -> None:
    done = run("models.py", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    title, *rows = done.stdout.splitlines()
    assert title.startswith("tiny")
    assert [row.split()[0] for row in rows] == list(backends.installed())


@pytest.mark.slow
def test_randomness_compares_two_ways_to_draw_on_every_backend() -> None:
    done = run("randomness.py", "1")
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1 where the machine was busy with other things
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(backends.installed())


@pytest.mark.slow
def test_suites_are_run_by_plain_pytest_on_each_backend_and_under_parity() -> None:
    done = run("suites.py", "--files", "1", "--tests", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    *plain, parity = done.stdout.splitlines()
    assert [line.split()[1] for line in plain] == list(backends.installed())
    assert parity.endswith("times plain")


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("google-chrome")),
    reason="chromium is not installed: apt-get install chromium",
)
def test_reports_are_made_of_a_run_and_timed() -> None:
    done = run("reports.py", "--cases", "2", "--targets", "2", "--steps", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cases, 2 targets" in done.stdout
    assert "CSV" in done.stdout


@pytest.mark.slow
def test_each_run_of_a_soak_is_accounted_for() -> None:
    done = run("soak.py", "--runs", "40", "--every", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.strip().split("  ")[0] for line in done.stdout.splitlines()[1:12]] == ["none", *FAULTS]
    assert done.stdout.endswith("each run is there once, and ended as it should\n")


@pytest.mark.slow
def test_large_traces_are_compared_beside_numpy() -> None:
    done = run("comparing.py", "--megabytes", "4", "--arrays", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [line.rpartition(": ")[2] for line in done.stdout.splitlines()[1:]]
    assert verdicts == ["identical", "rounding", "divergent"]
