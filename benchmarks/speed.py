"""How long the five cases of the card take through `harness run`, against one fresh process for each and backend.

    python benchmarks/speed.py

The naive way runs `KERAS_BACKEND=x python case.py` for every case and installed backend, as many at once as the
harness runs cases: it trains, evaluates and predicts, records nothing and compares nothing. All are timed in one go,
and the ratios are what to quote: absolute times depend on the machine.
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

from harness import backends

ROOT = Path(__file__).resolve().parents[1]
FILES = [f"cases/{name}.py" for name in ("simple_dense", "tickets", "callbacks", "metrics", "train_step")]

#: What a person would write to run one case by hand.
NAIVE = """
import importlib.util, pathlib, sys, tempfile
import numpy as np
from harness.worker.collect import find
from harness.case import CaseRef, Fit, Forward
import inspect, json
case = CaseRef.from_json(json.loads(sys.argv[1]))
function, values = find(case, pathlib.Path.cwd())
given = {"rng": np.random.default_rng(0), "record": lambda *_: None, "target": None, "tmp_path": None, **values}
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


def collect() -> list[dict[str, str]]:
    """The cases of these files, as one backend declares them."""
    code = (
        "import json, pathlib, sys; from harness.worker.collect import cases_of; root = pathlib.Path.cwd();"
        "print(json.dumps([c.to_json() for f in sys.argv[1:] for c in cases_of(root / f, root)]))"
    )
    environment = {**os.environ, "KERAS_BACKEND": backends.installed()[0]}
    output = subprocess.run(
        [sys.executable, "-c", code, *FILES], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(output.stdout.splitlines()[-1])


def naive(cases: list[dict[str, str]], jobs: int) -> float:
    def one(job: tuple[dict[str, str], str]) -> None:
        case, backend = job
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, "-c", NAIVE, json.dumps(case)]
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)

    started = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, [(case, backend) for case in cases for backend in backends.installed()]))
    return time.perf_counter() - started


def harness(precision: str, jobs: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "harness",
            "run",
            "--precision",
            precision,
            "--jobs",
            str(jobs),
            "--out",
            folder,
        ]
        started = time.perf_counter()
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if finished.returncode not in (0, 1):
        sys.exit(f"harness run ended with status {finished.returncode}:\n{finished.stdout}{finished.stderr}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=1, help="rounds; each prints its own ratios")
    arguments = parser.parse_args()
    cases = collect()
    print(f"{len(cases)} cases on {', '.join(backends.installed())}, {arguments.jobs} at once")
    for _ in range(arguments.repeat):
        base = naive(cases, arguments.jobs)
        print(f"naive                      {base:6.1f} s")
        for precision, limit in (("float32", 0.4), ("both", 0.8)):
            seconds = harness(precision, arguments.jobs)
            print(f"harness, {precision:<17} {seconds:6.1f} s   {seconds / base:.0%} of naive (limit {limit:.0%})")


if __name__ == "__main__":
    main()
