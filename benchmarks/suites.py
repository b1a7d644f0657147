"""What a suite of tests of layers costs under `pytest --parity`, compared with a run of plain pytest on each backend.

    python benchmarks/suites.py [--files N] [--tests N]

The suite is written into a temporary folder: files that each import Keras and test that many small layers. Plain pytest
runs it once for each installed backend, one after the other; `--parity` runs it on all of them, each test twice, in
float32 and float64, and compares. It prints seconds of processor time of all processes together, and their ratio.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import backends

LAYERS = (
    *("Dense(3)", "LayerNormalization()", "BatchNormalization()", "UnitNormalization()", "Activation('gelu')"),
    *("LeakyReLU()", "Dropout(0.5)", "GaussianNoise(0.1)", "PReLU()", "ELU()", "Softmax()", "Rescaling(2.0)"),
    *("Flatten()", "Reshape((2, 2))", "RepeatVector(2)"),
)
HEAD = """
import keras
import numpy as np

def check(layer):
    x = np.linspace(-1, 1, 12).reshape(3, 4).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(y, keras.ops.convert_to_numpy(layer(x)), rtol=1e-5)
"""


def write(folder: Path, files: int, tests: int) -> None:
    body = "".join(
        f"\ndef test_{number}():\n    check(keras.layers.{LAYERS[number % len(LAYERS)]})\n" for number in range(tests)
    )
    for number in range(files):
        (folder / f"test_{number}.py").write_text(HEAD + body, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")


def seconds(folder: Path, *options: str, backend: str | None = None) -> float:
    """The processor time of pytest in that folder, and of all processes that it has started."""
    environment = {**os.environ, **({} if backend is None else {"KERAS_BACKEND": backend})}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--tests", type=int, default=15, help="in each file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, arguments.files, arguments.tests)
        plain = 0.0
        for backend in backends.installed():
            plain += (took := seconds(folder, backend=backend))
            print(f"plain, {backend:<10} {took:7.1f} s", flush=True)
        parity = seconds(folder, "--parity")
        print(f"parity, all       {parity:7.1f} s   {parity / plain:.1f} times plain")


if __name__ == "__main__":
    main()
