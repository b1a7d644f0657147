"""The setup that `harness init` writes into a project: a first case, and what pytest, tox and GitHub Actions need.

Existing files stay as they are, except that `.gitignore` gets a line at its end and `pyproject.toml` a table, unless
pytest is configured elsewhere. Text that is not written is reported, for the user to add by hand. Either all is written
or, where something cannot be, nothing.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from harness import files
from harness.errors import HarnessError
from harness.project import configuration

#: Files that are copies of a template, each with the name of its template.
_WHOLE = {"cases/first_case.py": "first_case.py.txt", ".github/workflows/parity.yml": "parity.yml"}
_PYPROJECT = configuration.FILE
_TOX = "tox.ini"
_IGNORED = "/runs/"


@dataclass(frozen=True)
class _Tool:
    """Where a tool looks for its configuration: in files of its own, or in a section of others'."""

    name: str
    files: tuple[str, ...]
    sections: Mapping[str, str]

    def is_configured(self, folder: Path) -> bool:
        """Whether a folder has a configuration of the tool. A second one might take precedence over it."""
        if any(os.path.lexists(folder / name) for name in self.files) or self.name in configuration.tools(folder):
            return True
        return any(_has_section(folder / name, section) for name, section in self.sections.items())


_PYTEST = _Tool(
    "pytest",
    ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini"),
    {"tox.ini": "pytest", "setup.cfg": "tool:pytest"},
)
_TOX_ITSELF = _Tool("tox", (_TOX, "tox.toml"), {"setup.cfg": "tox:tox"})


@dataclass
class Report:
    """What was done in a folder.

    Attributes:
        written: files that were made, or added to.
        left: files that existed already, and were not changed.
        by_hand: text for the user to add, by the name of what it is to be added to.
    """

    written: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    by_hand: dict[str, str] = field(default_factory=dict)


def init(folder: Path) -> Report:
    """Write the setup into a folder.

    Raises:
        HarnessError: it is not a folder, a file in it cannot be read or written, or a link leads out of it. Nothing was
            written then.
    """
    if not folder.is_dir():
        raise HarnessError(f"{str(folder)!r} is not a folder. Name the folder of your project.")
    report, texts = Report(), dict[str, bytes]()
    _add_pytest_table(folder, report, texts)
    if _TOX_ITSELF.is_configured(folder):
        report.by_hand["the configuration of tox"] = _template(_TOX).partition("\n\n")[2]  # without its head
    else:
        texts[_TOX] = _template(_TOX).encode()
    for name, template in _WHOLE.items():
        if os.path.lexists(folder / name):
            report.left.append(name)
        else:
            texts[name] = _template(template).encode()
    _ignore_runs(folder, report, texts)
    files.check_inside(folder, *((folder / name).parent for name in texts))
    _write(folder, texts)
    report.written.extend(texts)
    return report


def _write(folder: Path, texts: Mapping[str, bytes]) -> None:
    """Write files, all or none."""
    places = [folder / name for name in texts]
    new_folders = {parent for place in places for parent in place.parents if not parent.exists()}
    before: dict[Path, bytes | None] = {}
    try:
        for place, text in zip(places, texts.values(), strict=True):
            there = files.read(place) if place.exists() else None
            files.write(place, text)
            before[place] = there
    except (OSError, HarnessError) as error:
        for place, there in before.items():
            with contextlib.suppress(OSError):
                place.unlink() if there is None else files.write(place, there)
        for new in sorted(new_folders, reverse=True):  # what lies in another comes first
            with contextlib.suppress(OSError):
                new.rmdir()
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise HarnessError(
            f"The setup cannot be written into {str(folder)!r}: {reason}. Nothing was changed."
        ) from None


def _template(name: str) -> str:
    return (resources.files("harness.project") / "templates" / name).read_text(encoding="utf-8")


def _add_pytest_table(folder: Path, report: Report, texts: dict[str, bytes]) -> None:
    """Add the table of pytest to `pyproject.toml`, where there is one and pytest is configured nowhere else."""
    place, table = folder / _PYPROJECT, _template("pytest.toml")
    extended = None
    if place.is_file() and not place.is_symlink() and not _PYTEST.is_configured(folder):
        extended = _with_table(_read(place), table)
    if extended is None:
        report.by_hand["the configuration of pytest"] = table
    else:
        texts[_PYPROJECT] = extended


def _with_table(text: bytes, table: str) -> bytes | None:
    """A file of TOML with a table at its end; None where that would be no TOML, or mean something else."""
    extended = _with_lines(text, f"\n{table}" if text.strip() else table)
    try:
        found = tomllib.loads(extended.decode())
        added = tomllib.loads(table)["tool"]["pytest"]
        if found["tool"].pop("pytest") != added:
            return None
    except ValueError:  # such as that `tool` is written as an inline table, to which nothing can be added
        return None
    old = tomllib.loads(text.decode())
    return extended if found == {"tool": {}, **old} else None


def _with_lines(text: bytes, lines: str) -> bytes:
    """A text with lines at its end, which end as most of its own do."""
    end = b"\r\n" if 2 * text.count(b"\r\n") > text.count(b"\n") else b"\n"
    between = end if text and not text.endswith(b"\n") else b""
    return text + between + lines.encode().replace(b"\n", end)


def _read(place: Path) -> bytes:
    try:
        return files.read(place, configuration.LARGEST)
    except (OSError, ValueError) as error:
        raise HarnessError(f"{str(place)!r} cannot be read: {error}. Mend it first. Nothing was changed.") from None


def _has_section(place: Path, section: str) -> bool:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    if not place.exists():
        return False
    try:
        parser.read_string(_read(place).decode())
    except (configparser.Error, UnicodeError):
        return True  # it may have the section, so nothing is written
    return parser.has_section(section)


def _ignore_runs(folder: Path, report: Report, texts: dict[str, bytes]) -> None:
    """Add the folder of runs to `.gitignore`, unless it is there already."""
    place = folder / ".gitignore"
    text = _read(place) if place.exists() else b""
    if b"runs" in {line.strip().strip(b"/") for line in text.splitlines()}:
        report.left.append(place.name)
    elif place.is_symlink() or b"\0" in text:  # the file is another one, or in an encoding that git does not read
        report.by_hand[place.name] = f"{_IGNORED}\n"
    else:
        texts[place.name] = _with_lines(text, f"{_IGNORED}\n")
