"""What ran, and how: the proof that stands in a trace's header."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.backends import runtime
from harness.errors import TargetError
from harness.target import Target
from harness.trace import Observation


def versions() -> dict[str, Any]:
    """Versions, as the imported modules themselves give them, and the interpreter. Known before anything runs."""
    backend = runtime.current().backend
    names = ("keras", backend.name, *backend.companions, "numpy")
    return {
        "backend": backend.name,
        "versions": {name: str(importlib.import_module(name).__version__) for name in names},
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "platform": platform.platform(),
    }


def environment(*, native: bool, fresh_process: str | None) -> dict[str, Any]:
    """What is installed, every setting that is in force now, and why the process was not forked if it was not."""
    import keras

    return {
        **versions(),
        "floatx": keras.config.floatx(),
        "dtype_policy": keras.config.dtype_policy().name,
        "image_data_format": keras.config.image_data_format(),
        "thread_variables": {k: v for k, v in sorted(os.environ.items()) if k.endswith("_NUM_THREADS")},
        **runtime.current().settings(),
        "randomness": "native" if native else "shared",
        "fresh_process": fresh_process,
    }


def placement(observations: Iterable[Observation]) -> dict[str, int]:
    """How many of the recorded tensors lived on each device, by the device's name."""
    return dict(Counter(item.device for item in observations if item.device is not None).most_common())


def check_placement(target: Target, placement: Mapping[str, int]) -> None:
    """Check that a case ran on the device that its target names.

    Raises:
        TargetError: tensors were recorded, and none of them lived on that device.
    """
    asked = f"{target.kind}:{target.index}"
    if target.device is not None and placement and not any(asked in devices.split() for devices in placement):
        raise TargetError(
            f"Target {str(target)!r} asks for {asked}, and every tensor that was recorded lived on "
            f"{', '.join(placement)}. See `harness doctor` for what is here."
        )
