"""Copies of the folder that a suite lies in: one for each target and precision, in which its tests run.

Tests write where they run and beside themselves, and all targets run at once: in one folder they would overwrite each
other's files. A copy costs little, whatever the folder holds: Python files are links, for tests import them and do not
write them, and so is what is large, what a tool has made, and what is left when the copy has its most entries.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

#: The most files and folders of a copy, and the most bytes of its files together. The rest are links.
MOST_ENTRIES = 4_000
MOST_BYTES = 32 << 20
#: The most bytes of a file that is copied.
LARGEST = 4 << 20
#: Folders that tools make, and that tests do not write to. Those whose names begin with a dot are such, too.
_OF_TOOLS = ("build", "dist", "node_modules")
#: Files that mark a folder as an environment of Python's, as pytest knows them.
_OF_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta/history")
_SOURCES = (".py", ".pyc")


@dataclass(frozen=True)
class Copies:
    """Makes the copies of a folder, each when it is first asked for.

    Attributes:
        original: the folder.
        first: folders in it, or itself, that are copied whatever they hold, and before the others.
        omitted: folders that are left out of copies.
        place: where the copies are made. Several processes may share it.
    """

    original: Path
    first: Sequence[Path]
    omitted: Sequence[Path]
    place: Path

    def of(self, name: str) -> Path:
        """The copy of that name."""
        copy = self.place / name / (self.original.name or "root")
        self.place.mkdir(parents=True, exist_ok=True)
        with FileLock(self.place / f"{name}.lock"):
            if not copy.exists():
                part = self.place / f"{name}.part"
                shutil.rmtree(part, ignore_errors=True)
                self._copy(part / copy.name)
                part.rename(copy.parent)
        return copy

    def _copy(self, copy: Path) -> None:
        needed = {folder for first in self.first for folder in (first, *first.parents)}
        omitted = {*self.omitted, self.place}
        device = self.original.stat().st_dev
        entries, size, seen = 0, 0, set()
        for queue in [deque([folder]) for folder in (*self.first, self.original)]:
            while queue:
                folder = queue.popleft()
                if folder in seen:
                    continue
                seen.add(folder)
                there = copy / folder.relative_to(self.original)
                held = _held(folder, None if folder in needed else max(0, MOST_ENTRIES - entries))
                if held is None:
                    _link(folder, there)
                    continue
                there.mkdir(parents=True, exist_ok=True)
                entries += len(held)
                for entry in held:
                    path, to = Path(entry.path), there / entry.name
                    if path in omitted:
                        continue
                    if path in needed or (entry.is_dir(follow_symlinks=False) and _is_of_a_suite(path, device)):
                        queue.append(path)
                    elif (bytes_ := _size_to_copy(entry)) is not None and size + bytes_ <= MOST_BYTES:
                        size += bytes_
                        _copy_file(path, to)
                    else:
                        _link(path, to)


def _held(folder: Path, most: int | None) -> list[os.DirEntry[str]] | None:
    """What a folder holds, by name; None if it is more than `most`, or cannot be read."""
    try:
        with os.scandir(folder) as found:
            held = list(itertools.islice(_without_rewritten(found), None if most is None else most + 1))
    except OSError:
        return None
    return None if most is not None and len(held) > most else sorted(held, key=lambda entry: entry.name)


def _without_rewritten(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    """Without what pytest has compiled of tests, in which the paths of the original are written."""
    return (entry for entry in entries if not (entry.name.endswith(".pyc") and "-pytest-" in entry.name))


def _is_of_a_suite(folder: Path, device: int) -> bool:
    """Whether a folder was not made by a tool, and lies on the file system of that device."""
    if folder.name.startswith(".") or folder.name in _OF_TOOLS:
        return False
    try:
        return folder.stat().st_dev == device and not any((folder / file).exists() for file in _OF_ENVIRONMENTS)
    except OSError:
        return False


def _size_to_copy(entry: os.DirEntry[str]) -> int | None:
    """The size of what is to be copied; None for what is to be a link."""
    try:
        if not entry.is_file(follow_symlinks=False) or entry.name.endswith(_SOURCES):
            return None
        size = entry.stat().st_size
    except OSError:
        return None
    return size if size <= LARGEST else None


def _copy_file(path: Path, to: Path) -> None:
    try:
        shutil.copy2(path, to)
    except OSError:  # it may not be read, which a test may rely on
        to.unlink(missing_ok=True)
        _link(path, to)


def _link(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.symlink_to(path)
