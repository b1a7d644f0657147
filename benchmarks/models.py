"""How long one `Forward` of a real model takes on each backend, in both precisions, compared with PyTorch.

    python benchmarks/models.py [tiny] [mobilenet] [densenet] [bert]

Each backend runs alone, with an empty cache folder, and then once more with what it has compiled by then. Keras makes
the weights, so nothing is downloaded; `bert` needs keras-hub. Quote the ratios, because absolute times depend on the
machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import backends

HEAD = """
import keras
from harness import Forward, case

@case
def model(rng):
"""
CASES = {
    "tiny": """
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    return Forward(model, rng.normal(size=(2, 8, 8, 3)).astype("float32"))
""",
    "mobilenet": """
    model = keras.applications.MobileNetV2((64, 64, 3), weights=None, classes=10)
    return Forward(model, rng.normal(size=(2, 64, 64, 3)).astype("float32"))
""",
    "densenet": """
    model = keras.applications.DenseNet121(input_shape=(64, 64, 3), weights=None, classes=10)
    return Forward(model, rng.normal(size=(2, 64, 64, 3)).astype("float32"))
""",
    "bert": """
    import keras_hub
    model = keras_hub.models.BertBackbone(
        vocabulary_size=50, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32, max_sequence_length=12
    )
    inputs = {
        "token_ids": rng.integers(0, 50, size=(2, 12)).astype("int32"),
        "segment_ids": rng.integers(0, 2, size=(2, 12)).astype("int32"),
        "padding_mask": (rng.uniform(size=(2, 12)) < 0.8).astype("int32"),
    }
    return Forward(model, inputs)
""",
}


def seconds(file: Path, backend: str, cache: Path) -> float:
    """How long `harness run` takes for one file on one backend."""
    command = [sys.executable, "-m", "harness", "run", str(file), "--targets", backend, "--no-blame", "-q"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        done = subprocess.run([*command, "--out", out], env=environment, capture_output=True, text=True, check=False)
        taken = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{file.stem} on {backend} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{', '.join(CASES)} [mobilenet densenet]")
    chosen = parser.parse_args().models or ["mobilenet", "densenet"]
    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(CASES)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            file = Path(folder, f"{name}.py")
            file.write_text(HEAD + CASES[name], encoding="utf-8")
            print(f"{name:<12}   first     again     first, of {backends.installed()[0]}'s")
            base = None
            for backend in backends.installed():
                cache = Path(folder, "cache", name, backend)
                first, again = seconds(file, backend, cache), seconds(file, backend, cache)
                base = base or first
                print(f"{backend:<12} {first:7.1f} s {again:7.1f} s {first / base:7.1f} times", flush=True)


if __name__ == "__main__":
    main()
