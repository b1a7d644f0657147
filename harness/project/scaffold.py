"""The setup that `harness init` writes into a project: a first case, and what pytest, tox and GitHub Actions need.

Existing files stay as they are, except that `.gitignore` gets a line at its end and `pyproject.toml` a table, unless
pytest is configured elsewhere. Text that is not written is reported, for the user to add by hand.
"""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from harness.errors import HarnessError

#: Files that are copies of a template, each with the name of its template.
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
        """Whether a folder has a configuration of the tool. A second one might take precedence over it."""
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
        left: files that existed already, and were not changed.
        by_hand: text for the user to add, by the name of what it is to be added to.
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
    # pytest comes before tox, because its configuration is looked for in tox.ini too.
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
        return True  # it may have the section, so nothing is written
    return parser.has_section(section)


def _ignore_runs(folder: Path, report: Report) -> None:
    """Add the folder of runs to `.gitignore`, unless it is there already."""
    place = folder / ".gitignore"
    text = place.read_text(encoding="utf-8") if place.exists() else ""
    if "runs" in {line.strip().strip("/") for line in text.splitlines()}:
        report.left.append(place.name)
    else:
        _write(folder, place.name, text + ("" if not text or text.endswith("\n") else "\n") + f"{_IGNORED}\n", report)
