"""All that differs between backends, and nowhere else. A new backend is one new file and its name here."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from functools import cache

from harness.backends.base import Backend

#: Every backend the harness knows: PyTorch first, as the reference unless told otherwise, and last what only infers.
NAMES = ("torch", "tensorflow", "jax", "numpy", "openvino")


@cache
def get(name: str) -> Backend:
    """The backend of that name. Neither it nor its module imports the framework before it is used."""
    backend = importlib.import_module(f"harness.backends.{name}").BACKEND
    assert isinstance(backend, Backend)
    return backend


def current() -> Backend:
    """The backend that Keras runs on in this process."""
    import keras

    return get(keras.config.backend())


def why_not(name: str) -> str | None:
    """Why a backend cannot be used here, with the remedy; None where it can. Imports nothing."""
    for module in ("keras", name, *get(name).needs):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed: pip install 'keras-harness[{name}]'"
    return None


def training() -> tuple[str, ...]:
    """Names of the backends that train: what a session runs on unless it is told otherwise."""
    return tuple(name for name in NAMES if get(name).trains)


def installed() -> tuple[str, ...]:
    """Names of those that train and are installed here."""
    return tuple(name for name in training() if why_not(name) is None)
