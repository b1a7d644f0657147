"""What the environment of a run holds: versions, and settings under dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def versions_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """The versions of what a run was made with, by name; nothing if the environment, perhaps a stranger's, has none."""
    versions = environment.get("versions")
    told = versions.items() if isinstance(versions, dict) else ()
    return {name: str(version) for name, version in told if version is not None}


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name, such as `threads.intra_op`."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
