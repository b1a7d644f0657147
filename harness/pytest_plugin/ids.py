"""What a test is called on both sides of the wall.

pytest's own node ids depend on the arguments it is called with, where a file lies outside its root: a suite that is
installed has other ones as a whole than file by file.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def names_of(item: pytest.Item) -> list[str]:
    """The classes that hold an item in its file, and its own name."""
    names: list[str] = []
    for node in reversed(item.listchain()):
        if isinstance(node, pytest.File):
            break
        names.insert(0, node.name)
    return names


def id_of(path: Path, names: list[str], root: Path) -> str:
    """The id of a test: its file relative to the root, and its names."""
    return "::".join([Path(os.path.relpath(path, root)).as_posix(), *names])
