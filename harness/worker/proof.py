"""What ran, and how: the proof that stands in a trace's header."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from harness import backends


def versions() -> dict[str, Any]:
    """What is installed here. It is known before anything runs."""
    backend = backends.current()
    names = ("keras", backend.name, *backend.companions, "numpy")
    return {
        "backend": backend.name,
        "versions": {name: importlib.metadata.version(name) for name in names},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def environment(*, native: bool) -> dict[str, Any]:
    """What is installed, and every setting that is in force now."""
    import keras

    return {
        **versions(),
        "floatx": keras.config.floatx(),
        "dtype_policy": keras.config.dtype_policy().name,
        "image_data_format": keras.config.image_data_format(),
        "thread_variables": {k: v for k, v in sorted(os.environ.items()) if k.endswith("_NUM_THREADS")},
        **backends.current().settings(),
        "randomness": "native" if native else "shared",
    }


def fingerprint(file: Path) -> str:
    """The sha256 of a case file, the same whatever ends its lines."""
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
