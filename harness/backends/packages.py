"""What is installed in a Python. Another environment's interpreter, which has no harness, runs this file by itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterable


def versions(modules: Iterable[str]) -> dict[str, str | None]:
    """The versions of those of the modules that are here, None of one that does not tell it. Imports none of them."""
    return {module: _version(module) for module in modules if importlib.util.find_spec(module) is not None}


def _version(module: str) -> str | None:
    """The version of the distribution that a module is of, which need not have its name: `tensorflow-cpu`."""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        others = importlib.metadata.packages_distributions().get(module, [])
        return importlib.metadata.version(others[0]) if others else None
