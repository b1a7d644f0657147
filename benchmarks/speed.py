"""How long the cases of five files take with `harness run`, compared with a new process for each case and backend.

    python benchmarks/speed.py [-k EXPR] [--jobs N] [--repeat N]

The naive way runs `KERAS_BACKEND=x python case.py` for every case and installed backend, as many at once as the
harness runs cases. It trains, evaluates and predicts, but records nothing and compares nothing. The harness begins
with an empty cache folder, and runs its cases once more with what is in it then. Quote the ratios, because absolute
times depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import backends, pytest_internals

ROOT = Path(__file__).resolve().parents[1]
FILES = [f"cases/{name}.py" for name in ("simple_dense", "tickets", "callbacks", "metrics", "train_step")]

#: What a person would write to run one case by hand.
NAIVE = """
import inspect, json, pathlib, sys, tempfile
import numpy as np
from harness.case import CaseRef, Fit, Forward
from harness.plain import from_plain
from harness.worker.collect import find
case = from_plain(json.loads(sys.argv[1]), CaseRef)
function, values = find(case, pathlib.Path.cwd())
folder = tempfile.TemporaryDirectory()
given = {"rng": np.random.default_rng(0), "record": lambda *_: None, "target": None, **values}
given["tmp_path"] = pathlib.Path(folder.name)
result = function(**{name: given[name] for name in inspect.signature(function).parameters})
if isinstance(result, Fit):
    options = {"verbose": 0, **result.options}
    result.model.fit(result.x, result.y, **options)
    if result.model.loss is not None:
        result.model.evaluate(result.x, result.y, verbose=0)
    result.model.predict(result.x, verbose=0)
elif isinstance(result, Forward):
    result.function(*result.inputs)
"""
COLLECT = """
import json, pathlib, sys
from harness.plain import to_plain
from harness.worker.collect import cases_of
root = pathlib.Path.cwd()
print(json.dumps([to_plain(case) for file in sys.argv[1:] for case in cases_of(root / file, root)]))
"""


def collect(keyword: str | None) -> list[dict[str, str]]:
    """The cases of these files, as one backend declares them."""
    environment = {**os.environ, "KERAS_BACKEND": backends.installed()[0]}
    output = subprocess.run(
        [sys.executable, "-c", COLLECT, *FILES], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    cases: list[dict[str, str]] = json.loads(output.stdout.splitlines()[-1])
    wanted = (lambda _: True) if keyword is None else pytest_internals.expression(keyword)
    return [case for case in cases if wanted(lambda word, id=case["id"]: word.lower() in id.lower())]


def naive(cases: list[dict[str, str]], jobs: int) -> float:
    def one(job: tuple[dict[str, str], str]) -> None:
        case, backend = job
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, "-c", NAIVE, json.dumps(case)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{case['id']} by hand on {backend} ended with status {done.returncode}:\n{done.stderr}")

    started = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, [(case, backend) for case in cases for backend in backends.installed()]))
    return time.perf_counter() - started


def harness(precision: str, keyword: str | None, jobs: int, cache: Path) -> float:
    """Seconds of `harness run`. What backends compile is kept in the folder `cache`."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--precision", precision, "--jobs", str(jobs), "--out", folder]
        chosen = [] if keyword is None else ["-k", keyword]
        command = [sys.executable, "-m", "harness", "run", *FILES, *chosen, *options]
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        started = time.perf_counter()
        finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if finished.returncode not in (0, 1):
        sys.exit(f"harness run ended with status {finished.returncode}:\n{finished.stdout}{finished.stderr}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", dest="keyword", help="some of the cases, as `harness run -k` takes it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=1, help="rounds; each prints its own ratios")
    arguments = parser.parse_args()
    cases = collect(arguments.keyword)
    print(f"{len(cases)} cases on {', '.join(backends.installed())}, {arguments.jobs} at once")
    for _ in range(arguments.repeat):
        base = naive(cases, arguments.jobs)
        print(f"naive                      {base:6.1f} s")
        for precision, limit in (("float32", 0.2), ("both", 0.4)):
            with tempfile.TemporaryDirectory() as cache:
                first, second = (harness(precision, arguments.keyword, arguments.jobs, Path(cache)) for _ in range(2))
            print(f"harness, {precision:<17} {first:6.1f} s   {first / base:.0%} of naive (wanted: {limit:.0%})")
            print(f"harness, again             {second:6.1f} s   {second / first:.0%} of the first time (wanted: 50%)")


if __name__ == "__main__":
    main()
