"""Many cases in one run, some of which go wrong: whether each is accounted for, and what the controller holds.

    python benchmarks/soak.py [--runs N] [--every N] [--target T]

One run in N has a fault, of ten kinds in turn, which take down a case, its process or its worker. The rest record a
number. It prints how the runs ended, by kind, and the memory and the open files of the controller in the second and the
last quarter of the time. It ends with status 1 where a run is missing, is there twice, or ended as it should not; or
where the controller holds more in the end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

#: Faults, and the statuses that a run with one may end with.
FAULTS = {
    "raises": {"error"},
    "segmentation fault": {"crashed"},
    "abort": {"crashed"},
    "ends its process": {"crashed"},
    "runs past its limit": {"timeout"},
    "is out of memory": {"error"},
    "leaves a daemon": {"ok"},
    "prints 50 MB": {"ok"},
    "is killed": {"crashed"},
    "kills its worker": {"crashed"},
}
CASES = """
import os, resource, signal, sys, time
import pytest
from harness import case

FAULTS = {faults}


@case
@pytest.mark.parametrize("number", range({runs}))
def run(number, record):
    fault = FAULTS[number // {every} % len(FAULTS)] if number % {every} == {every} - 1 else None
    record("number", number)
    if fault == "raises":
        raise ValueError(number)
    if fault == "segmentation fault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "abort":
        os.abort()
    if fault == "ends its process":
        os._exit(0)
    if fault == "runs past its limit":
        time.sleep(600)
    if fault == "is out of memory":
        raise MemoryError
    if fault == "leaves a daemon" and os.fork() == 0:
        os.setsid()
        time.sleep(600)
    if fault == "prints 50 MB":
        for _ in range(50):
            print("x" * 1_000_000)
    if fault == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "kills its worker":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
"""
#: The end may have so many times the memory of the beginning, and so many more files open.
MOST_MEMORY, MOST_FILES = 1.5, 5


def held(process: int) -> tuple[float, int]:
    """Megabytes that a process has in memory, and how many files it has open."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    kilobytes = int(status.partition("VmRSS:")[2].split()[0])
    return kilobytes / 1000, sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def soaked(folder: Path, runs: int, every: int, target: str) -> list[tuple[float, int]]:
    """Run the cases, and look at the controller once a second."""
    text = CASES.format(runs=runs, every=every, faults=list(FAULTS))
    (folder / "cases").mkdir()
    (folder / "cases" / "soak.py").write_text(text, encoding="utf-8")
    (folder / "pyproject.toml").touch()
    command = [sys.executable, "-m", "harness", "run", "--targets", target, "--precision", "float32", "--timeout", "10"]
    with (folder / "printed.txt").open("wb") as output:
        process = subprocess.Popen([*command, "--out", "out", "-q"], cwd=folder, stdout=output, stderr=output)
        seen = []
        while process.poll() is None:
            try:
                seen.append(held(process.pid))
            except (OSError, IndexError):  # it has just ended
                break
            time.sleep(1)
        process.wait()
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--target", default="jax")
    arguments = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        folder = Path(place)
        started = time.monotonic()
        seen = soaked(folder, arguments.runs, arguments.every, arguments.target)
        seconds = time.monotonic() - started
        result = json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))
    ended: dict[str, Counter[str]] = {}
    numbers = Counter(case["id"] for case in result["cases"])
    names = list(FAULTS)
    for case in result["cases"]:
        number = int(case["id"].partition("[")[2].rstrip("]"))
        is_faulty = number % arguments.every == arguments.every - 1
        fault = names[number // arguments.every % len(names)] if is_faulty else "none"
        status = case["runs"][0]["status"]
        ended.setdefault(fault, Counter())[status] += 1
        if status not in FAULTS.get(fault, {"ok"}):
            wrong.append(f"{case['id']} ({fault}): {status}: {case['runs'][0]['error']}"[:300])
    if len(numbers) != arguments.runs or set(numbers.values()) != {1}:
        wrong.append(f"{len(numbers)} of {arguments.runs} runs are there, one of them {max(numbers.values())} times")
    print(f"{arguments.runs} runs on {arguments.target}, {seconds:.0f} s")
    for fault in ["none", *FAULTS]:
        if fault in ended:
            print(f"  {fault:<20} {', '.join(f'{count} {status}' for status, count in ended[fault].items())}")
    quarter = max(1, len(seen) // 4)
    first, last = seen[quarter : 2 * quarter] or seen, seen[-quarter:]
    before, after = (statistics.median(memory for memory, _ in part) for part in (first, last))
    few, many = (statistics.median(files for _, files in part) for part in (first, last))
    print(
        f"  memory {before:.0f} MB in the second quarter, {after:.0f} MB in the last; open files {few:.0f}, {many:.0f}"
    )
    if after > MOST_MEMORY * before or many > few + MOST_FILES:
        wrong.append("the controller holds more in the end")
    print("\n".join(wrong[:20]) if wrong else "  each run is there once, and ended as it should")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
