"""What the user's pytest and the pytest in its workers share: options, marker, fixture, and ids of tests.

As a plugin it registers the options and the marker, because the project's configuration may use them on both sides.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

#: The name of the plugin by which a worker's pytest is known.
INSIDE = "parity-inside"
#: The fixture that a test asks for to record by itself what is compared.
FIXTURE = "parity"
_MARKER = (
    "parity(expect=None): of a test that asks for the fixture `parity`: the differences that are known, by backend or "
    "target, each a harness.Expected."
)
DEFAULT_OUT = "runs/pytest"


@dataclass(frozen=True)
class Option:
    """One option: its name, its metavar (None for a switch), and its help."""

    name: str
    metavar: str | None
    help: str

    @property
    def key(self) -> str:
        return self.name.removeprefix("--").replace("-", "_")


OPTIONS = (
    Option(
        "--parity",
        None,
        "Run the tests on every target, each as it is, and compare the values given to assert_allclose and the like.",
    ),
    Option(
        "--parity-targets",
        "T,T,...",
        "Where to run: targets, sets of them, or all. Default: every installed backend that trains.",
    ),
    Option("--parity-reference", "T", "What others are compared with. Default: torch, or the first."),
    Option(
        "--parity-precision",
        "P",
        "'both', the default, runs everything once more in float64, which verdicts rest on; 'float32' does not.",
    ),
    Option("--parity-fail-on", "VERDICT", "The mildest verdict that fails. Default: divergent."),
    Option("--parity-timeout", "S", "Seconds for one case or test on one target in one precision. Default: 300."),
    Option("--parity-out", "DIR", f"Where traces and result.json go. Default: {DEFAULT_OUT}."),
    Option("--parity-no-blame", None, "Do not search for the origin of differences."),
    Option("--parity-blame-seconds", "S", "Seconds for the search for the origin of one difference. Default: 180."),
    Option("--parity-args", "ARGS", "Further arguments for the pytest that runs in each worker."),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register every option, and the key of the same name in pytest's configuration."""
    group = parser.getgroup("parity", "parity of Keras backends (harness)")
    for option in OPTIONS:
        if option.metavar is None:
            group.addoption(option.name, action="store_true", default=None, help=option.help)
            parser.addini(option.key, option.help, type="bool", default=None)
        else:
            group.addoption(option.name, metavar=option.metavar, default=None, help=option.help)
            parser.addini(option.key, option.help, default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


def names_of(item: pytest.Item) -> list[str]:
    """The classes that hold a test in its file, and its own name."""
    names: list[str] = []
    for node in reversed(item.listchain()):
        if isinstance(node, pytest.File):
            break
        names.insert(0, node.name)
    return names


def moved(path: Path, source: Path, to: Path) -> Path:
    """A path in the folder `source` as one in the folder `to`; any other path as it is."""
    return to / path.relative_to(source) if path.is_relative_to(source) else path


def id_of(path: Path, names: list[str], root: Path) -> str:
    """The id of a test, the same in controller and workers: its file relative to the root, and its names.

    pytest's own node ids will not do: for a file outside pytest's root they depend on pytest's arguments, so the tests
    of an installed suite have other ids when all of it is collected than when one file is.
    """
    return "::".join([Path(os.path.relpath(path, root)).as_posix(), *names])
