"""What a caller names: files, folders and cases; and the root of the project that they belong to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import files
from harness.errors import CaseError

#: A folder with one of these is the root of a project. The ids of cases are relative to it.
_ROOT_MARKERS = ("pyproject.toml", "tox.ini", "setup.cfg", "setup.py", ".git")


@dataclass(frozen=True)
class Selection:
    """A file or folder that the caller named as `text`; within a file, perhaps one case."""

    text: str
    path: Path
    case: str | None


def root_of(paths: Iterable[Path]) -> Path:
    """The project that holds the paths: the nearest folder above them all that has one of pytest's usual markers."""
    common = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))
    for folder in (common, *common.parents):
        if any((folder / marker).exists() for marker in _ROOT_MARKERS):
            return folder
    here = Path.cwd()
    return here if common.is_relative_to(here) else common


def select(arguments: Sequence[str]) -> list[Selection]:
    """Read `PATH` and `PATH::CASE` from the command line; no argument means the folder `cases`.

    Raises:
        CaseError: a path does not exist.
    """
    if not arguments and not Path("cases").is_dir():
        raise CaseError(
            f"There is no folder 'cases' in {str(Path.cwd())!r}. Name a case file or folder: harness run PATH."
        )
    selections = []
    for text in arguments or ["cases"]:
        name, _, case = text.partition("::")
        path = Path(name)
        if not path.exists():
            raise CaseError(f"The path {name!r} does not exist. Name a case file, a folder of them, or FILE::CASE.")
        if not (path.is_file() or path.is_dir()):
            raise CaseError(f"{name!r} is neither a file nor a folder. Name a case file, or a folder of them.")
        if case and path.is_dir():
            raise CaseError(f"{text!r} names a case in a folder. Name the file that declares it: FILE::{case}.")
        selections.append(Selection(text, path.resolve(), case or None))
    return selections


def case_files(selections: Sequence[Selection]) -> list[Path]:
    """The files to look for cases in. In a folder these are the Python files that mention the harness."""
    found: dict[Path, None] = {}
    for selection in selections:
        if not selection.path.is_dir():
            found[selection.path] = None
            continue
        for path in sorted(selection.path.rglob("*.py")):
            hidden = any(part.startswith(".") for part in path.relative_to(selection.path).parts)
            if not hidden and path.is_file() and b"harness" in _source(path):
                found[path] = None
    return list(found)


def _source(path: Path) -> bytes:
    try:
        return files.read(path)
    except (OSError, ValueError) as error:
        raise CaseError(f"{str(path)!r} cannot be read, to look for cases in it: {error}.") from None
