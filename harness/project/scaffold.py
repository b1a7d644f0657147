"""A small setup in a library that has none yet: first cases, and what pytest, tox and GitHub Actions run them with.

Nothing that is there is changed, but for a line at the end of `.gitignore` and a table at the end of `pyproject.toml`,
where no tool is configured in another place. What is not written is handed over, to be added by hand.
"""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from harness.errors import HarnessError

#: Files that are written as they are, by the template they are made of.
_WHOLE = {"cases/first_case.py": "first_case.py.txt", ".github/workflows/parity.yml": "parity.yml"}
_PYPROJECT = "pyproject.toml"
_TOX = "tox.ini"
_IGNORED = "/runs/"


@dataclass(frozen=True)
class _Tool:
    """Where a tool looks for its configuration: in files of its own, or in a section of others'."""

    name: str
    files: tuple[str, ...]
    sections: Mapping[str, str]

    def is_configured(self, folder: Path) -> bool:
        """Whether it finds one in a folder. A second one might take precedence over that."""
        if any((folder / name).exists() for name in self.files) or self.name in _tools_of(folder):
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
        left: files that were there already and stay as they were.
        by_hand: what is to be added to what stays as it was, by its name.
    """

    written: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    by_hand: dict[str, str] = field(default_factory=dict)


def init(folder: Path) -> Report:
    """Write the setup into a folder.

    Raises:
        HarnessError: it is not a folder, or its `pyproject.toml` cannot be read.
    """
    if not folder.is_dir():
        raise HarnessError(f"{str(folder)!r} is not a folder. Name the folder of your project.")
    report = Report()
    # Pytest first, for it would look into a tox.ini too.
    _add_pytest_table(folder, report)
    if _TOX_ITSELF.is_configured(folder):
        report.by_hand["the configuration of tox"] = _template(_TOX).partition("\n\n")[2]  # without its head
    else:
        _write(folder, _TOX, _template(_TOX), report)
    for name, template in _WHOLE.items():
        if (folder / name).exists():
            report.left.append(name)
        else:
            _write(folder, name, _template(template), report)
    _ignore_runs(folder, report)
    return report


def _write(folder: Path, name: str, text: str, report: Report) -> None:
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    report.written.append(name)


def _template(name: str) -> str:
    return (files("harness.project") / "templates" / name).read_text(encoding="utf-8")


def _add_pytest_table(folder: Path, report: Report) -> None:
    """Add the table of pytest to `pyproject.toml`, where there is one and pytest is configured nowhere else."""
    place, table = folder / _PYPROJECT, _template("pytest.toml")
    if not place.exists() or _PYTEST.is_configured(folder):
        report.by_hand["the configuration of pytest"] = table
    else:
        _write(folder, _PYPROJECT, f"{place.read_text(encoding='utf-8').rstrip()}\n\n{table}".lstrip(), report)


def _tools_of(folder: Path) -> Mapping[str, object]:
    """The tables of tools in `pyproject.toml`."""
    place = folder / _PYPROJECT
    if not place.exists():
        return {}
    try:
        tools = tomllib.loads(place.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError) as error:
        raise HarnessError(f"{str(place)!r} cannot be read: {error}. Mend it first.") from None
    return tools if isinstance(tools, dict) else {}


def _has_section(place: Path, section: str) -> bool:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read(place, encoding="utf-8")
    except (configparser.Error, UnicodeError):
        return True  # who knows: hands off
    return parser.has_section(section)


def _ignore_runs(folder: Path, report: Report) -> None:
    """Let git not see the folder of runs."""
    place = folder / ".gitignore"
    text = place.read_text(encoding="utf-8") if place.exists() else ""
    if "runs" in {line.strip().strip("/") for line in text.splitlines()}:
        report.left.append(place.name)
    else:
        _write(folder, place.name, text + ("" if not text or text.endswith("\n") else "\n") + f"{_IGNORED}\n", report)
