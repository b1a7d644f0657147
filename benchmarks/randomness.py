"""What shared randomness costs: a training step with two dropout layers, against the same with native draws.

    python benchmarks/randomness.py

Each backend runs in a process of its own, which times one way and then the other, and prints the ratio of the medians.
The limit is 1.5.
"""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

from harness import backends

LIMIT = 1.5
ROUNDS, STEPS, BATCH, UNITS = 7, 100, 32, 512


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


def seconds_of(fitted, x, y) -> float:
    started = perf_counter()
    fitted.fit(x, y, batch_size=BATCH, verbose=0, shuffle=False)
    return perf_counter() - started


def measure() -> None:
    """In the process of one backend. A compiled step keeps the draws that it was compiled with."""
    import keras
    import numpy as np

    from harness import keras_internals, randomness

    x = np.random.default_rng(0).normal(size=(STEPS * BATCH, UNITS)).astype("float32")
    y = x[:, :10]
    keras_internals.do_not_import_tensorflow()
    native = model()
    seconds_of(native, x, y)  # compiles
    natives = [seconds_of(native, x, y) for _ in range(ROUNDS)]
    randomness.install()
    shared = model()
    seconds_of(shared, x, y)
    shareds = [seconds_of(shared, x, y) for _ in range(ROUNDS)]
    ratio = median(shareds) / median(natives)
    print(
        f"{keras.config.backend():<12} native {median(natives) / STEPS * 1e3:6.2f} ms a step, "
        f"shared {median(shareds) / STEPS * 1e3:6.2f} ms   {ratio:.2f} x (limit {LIMIT})"
    )


def main() -> None:
    if sys.argv[1:] == ["measure"]:
        measure()
        return
    for name in backends.installed():
        environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "2"}
        subprocess.run([sys.executable, __file__, "measure"], env=environment, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
