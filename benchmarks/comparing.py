"""How fast two large traces are compared, beside `numpy.abs(a - b).max()` over the same files, and in how much memory.

    python benchmarks/comparing.py [--megabytes N] [--arrays N]

Each trace holds so many megabytes of float32, and a twin of twice as many. The traces are equal, or differ by rounding,
or one is another function. Both ways read what lies in the page cache, and run once before they are timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from harness.trace import TWIN, Header, Observation, write

#: Compares two traces twice, as numpy alone or as the harness does, and prints the verdict, seconds and peak of memory.
WORK = """
import json, resource, sys, time
from pathlib import Path

import numpy as np

from harness.judge.compare import compare
from harness.trace import Trace, large_elements

folders = [Path(name) for name in sys.argv[2:]]

def by_numpy():
    apart = 0.0
    for places in (folders, [folder / "twin" for folder in folders]):
        a, b = map(Trace, places)
        for key in a.keys:
            sides = [large_elements(trace, key) for trace in (a, b)]
            one, other = (np.memmap(side.file, side.dtype, "r", side.start, side.shape) for side in sides)
            apart = max(apart, float(np.abs(one - other).max()))
    return apart

def by_the_harness():
    return str(compare(*map(Trace, folders)).verdict)

work = by_numpy if sys.argv[1] == "numpy" else by_the_harness
work()
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
found = work()
print(json.dumps([found, time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
#: What is done to one side, in float32 and in float64, by what that is called.
SIDES = {
    "equal": (lambda x: x, lambda x: x),
    "rounding": (lambda x: x * np.float32(1 + 2**-22), lambda x: x),
    "another function": (lambda x: x * np.float32(1.001), lambda x: x * 1.001),
}


def record(folder: Path, arrays: int, size: int, kind: str) -> None:
    """Write a trace and its twin."""
    narrow, wide = SIDES[kind]
    low, high = [], []
    for number in range(arrays):
        exact = np.random.default_rng(number).standard_normal(size)
        what = (f"recorded/{number}", "recorded", 0, str(number), None)
        low.append(Observation(*what, "float32", narrow(exact.astype(np.float32))))
        high.append(Observation(*what, "float64", wide(exact)))
    write(folder, Header("x.py::it", folder.name, "float32"), low)
    write(folder / TWIN, Header("x.py::it", folder.name, "float64"), high)


def measured(way: str, *folders: Path) -> tuple[object, float, float]:
    """What was found, in how many seconds, and the most MiB that the process had."""
    command = [sys.executable, "-c", WORK, way, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, seconds, memory = json.loads(done.stdout)
    return found, seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=512, help="of float32 in each trace [512]")
    parser.add_argument("--arrays", type=int, default=8, help="in each trace [8]")
    options = parser.parse_args()
    size = (options.megabytes << 20) // 4 // options.arrays
    with tempfile.TemporaryDirectory() as folder:
        print(f"{options.arrays} arrays of {size:,} elements in each trace, with twins")
        for kind in SIDES:
            places = [Path(folder, name) for name in ("one", kind)]
            for place, what in zip(places, ("equal", kind), strict=True):
                record(place, options.arrays, size, what)
            _, base, _ = measured("numpy", *places)
            verdict, seconds, memory = measured("harness", *places)
            print(
                f"{kind:<17} numpy {base:6.2f} s   harness {seconds:6.2f} s, {seconds / base:4.1f} times as long, "
                f"{memory:5.0f} MiB at most: {verdict}",
                flush=True,
            )


if __name__ == "__main__":
    main()
