"""All that differs between backends, and nowhere else. A new backend is one new folder and its name here.

A folder's own module describes the backend to the controller, and imports no framework. `runtime` in it is what the
backend does in a worker.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache

from packaging.version import Version

from harness.backends import packages
from harness.backends.base import Backend
from harness.target import Target

#: Every backend the harness knows: PyTorch first, as the reference unless told otherwise, and last what only infers.
NAMES = ("torch", "tensorflow", "jax", "numpy", "openvino")
#: The oldest Keras that the harness supports.
OLDEST_KERAS = "3.10"


@cache
def get(name: str) -> Backend:
    """The backend of that name. No framework is imported."""
    backend = importlib.import_module(f"harness.backends.{name}").BACKEND
    assert isinstance(backend, Backend)
    return backend


def why_not(name: str) -> str | None:
    """Why a backend cannot be used here, with the remedy; None where it can. Imports nothing."""
    return lacking(name, packages.versions(modules_of(name)), f"pip install 'keras-harness[{name}]'")


def modules_of(name: str) -> tuple[str, ...]:
    """What has to be installed for a backend."""
    return ("keras", name, *get(name).needs)


def lacking(name: str, versions: Mapping[str, str | None], remedy: str) -> str | None:
    """What a backend lacks where these versions are installed, with the remedy; None where it lacks nothing.

    A Keras that does not tell its version is taken to be new enough.
    """
    for module in modules_of(name):
        if module not in versions:
            return f"{module} is not installed: {remedy}"
    keras = versions["keras"]
    if keras is not None and Version(keras).release < Version(OLDEST_KERAS).release:
        return f"keras {keras} is installed, and the harness needs {OLDEST_KERAS} or newer: {remedy}"
    return None


def compiles(target: Target) -> bool:
    """Whether `fit` compiles its step on a target."""
    return get(target.backend).compiles is not None and target.mode != "eager"


def training() -> tuple[str, ...]:
    """Names of the backends that train: what a session runs on unless it is told otherwise."""
    return tuple(name for name in NAMES if get(name).trains)


def installed() -> tuple[str, ...]:
    """Names of those that train and are installed here."""
    return tuple(name for name in training() if why_not(name) is None)
