"""What shared randomness costs: seconds of a training step with two dropout layers, compared with native draws.

    python benchmarks/randomness.py [ROUNDS]

For each backend two processes, one with native draws and one with shared ones, take turns: each trains one epoch in
every round, so that other load on the machine slows both. It prints the milliseconds a step of the fastest epochs,
their ratio, and the median of the ratios of all rounds. If a median is above 1.5, the exit status is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

from harness import backends

LIMIT = 1.5
STEPS, BATCH, UNITS = 100, 32, 512


def model():
    import keras

    layers = keras.layers
    built = keras.Sequential(
        [
            layers.Dense(UNITS, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(UNITS, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )
    built.compile(optimizer="adam", loss="mse")
    return built


def take_turns(draws: str) -> None:
    """Train one epoch for each line on standard input, and print its seconds. This runs in a process of its own."""
    import numpy as np

    from harness.worker import keras_internals, randomness

    keras_internals.do_not_import_tensorflow()
    if draws == "shared":
        randomness.install()
    x = np.random.default_rng(0).normal(size=(STEPS * BATCH, UNITS)).astype("float32")
    fitted = model()
    for turn, _ in enumerate(sys.stdin):  # the first one compiles
        started = perf_counter()
        fitted.fit(x, x[:, :10], batch_size=BATCH, verbose=0, shuffle=False)
        print(f"turn {turn} {perf_counter() - started}", flush=True)


def start(draws: str, backend: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen([sys.executable, __file__, draws], env=environment, **pipes)


def seconds_of_a_turn(process: subprocess.Popen[str]) -> float:
    print("go", file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("turn "):
            return float(line.split()[2])
    raise SystemExit(f"{' '.join(process.args)} ended with status {process.wait()}.")


def measure(backend: str, rounds: int) -> float:
    """Print the figures of one backend. Returns the median ratio."""
    processes = {draws: start(draws, backend) for draws in ("native", "shared")}
    seconds = {draws: [seconds_of_a_turn(process)] for draws, process in processes.items()}
    for turn in range(rounds):
        for draws in sorted(processes, reverse=turn % 2 == 1):
            seconds[draws].append(seconds_of_a_turn(processes[draws]))
    for process in processes.values():
        process.communicate()
    native, shared = seconds["native"][1:], seconds["shared"][1:]
    ratio = median(mine / theirs for mine, theirs in zip(shared, native, strict=True))
    print(
        f"{backend:<12} native {min(native) / STEPS * 1e3:6.2f} ms a step, shared {min(shared) / STEPS * 1e3:6.2f} ms: "
        f"{min(shared) / min(native):.2f} x, median {ratio:.2f} x (limit {LIMIT})",
        flush=True,
    )
    return ratio


def main() -> None:
    asked = sys.argv[1] if len(sys.argv) > 1 else "15"
    if asked in ("native", "shared"):
        take_turns(asked)
    elif max([measure(backend, int(asked)) for backend in backends.installed()]) > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
