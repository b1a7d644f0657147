"""Known differences that are declared beside the cases: the table `[[tool.harness.known]]` of a `pyproject.toml`.

```toml
[[tool.harness.known]]
case = "cases/pictures.py::*"           # ids; * stands for anything
target = "torch"                        # a backend or a target
where = "forward/*/pool/output"         # keys of observations; anything if left out
verdict = "divergent"
reason = "Average pooling pads in another way."
link = "https://github.com/..."         # may be left out
keras = "<3.13"                         # versions of Keras that have it; all if left out
```

They mean what `Expected` means in a case: a difference that is covered makes the case `known`, and one that has gone
makes it fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.case import Expected, matches
from harness.errors import CaseError, HarnessError
from harness.project.configuration import FILE, table
from harness.target import backend_of

_KEYS = ("case", "target", "where", "verdict", "reason", "link", "keras")


@dataclass(frozen=True)
class Known:
    """One entry of the table: what is expected, of which cases, on which backend or target."""

    case: str
    target: str
    expected: Expected

    def covers(self, case: str, target: str, backend: str) -> bool:
        """Whether it speaks of a case on a target."""
        return self.target in (target, backend) and matches(self.case, case)


def read(folder: Path) -> list[Known]:
    """The entries of the project in a folder; none where it has no such table.

    Raises:
        HarnessError: the file is not TOML, or an entry is not one.
    """
    path = folder / FILE
    entries = table(folder).get("known", [])
    if not isinstance(entries, list):
        raise HarnessError(f"[[tool.harness.known]] in {str(path)!r} is not a list of tables.")
    return [_entry(entry, number, path) for number, entry in enumerate(entries, 1)]


def unmatched(entries: Sequence[Known], cases: Sequence[str], targets: Sequence[str]) -> list[Known]:
    """The entries that speak of none of the cases on any of the targets."""
    return [
        entry
        for entry in entries
        if not any(entry.covers(case, target, backend_of(target)) for case in cases for target in targets)
    ]


def _entry(entry: Any, number: int, path: Path) -> Known:
    where = f"Entry {number} of [[tool.harness.known]] in {str(path)!r}"
    if not isinstance(entry, dict):
        raise HarnessError(f"{where} is not a table.")
    wrong = [key for key, value in entry.items() if key not in _KEYS or not isinstance(value, str)]
    if wrong:
        raise HarnessError(f"{where} has {wrong[0]!r}: {entry[wrong[0]]!r}. It takes text for {', '.join(_KEYS)}.")
    missing = [key for key in ("case", "target", "verdict", "reason") if key not in entry]
    if missing:
        raise HarnessError(f"{where} has no {missing[0]!r}.")
    try:
        told = (entry["verdict"], entry["reason"], entry.get("where", "*"), entry.get("link"), entry.get("keras", ""))
        expected = Expected(*told)
    except CaseError as error:
        raise HarnessError(f"{where}: {error}") from None
    return Known(entry["case"], entry["target"], expected)
