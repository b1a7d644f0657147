"""Known differences that a project declares: the table `[[tool.harness.known]]` of its `pyproject.toml`.

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

An entry means the same as an `Expected` in a case: a case whose differences are all declared is `known`, and a case
whose declared difference is gone fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.case import Expected, Known
from harness.errors import CaseError, HarnessError
from harness.project.configuration import FILE, table

_KEYS = ("case", "target", "where", "verdict", "reason", "link", "keras")


def read(folder: Path) -> list[Known]:
    """The entries of the table in a folder's `pyproject.toml`; none if there is no such table.

    Raises:
        HarnessError: the file cannot be read as TOML, or an entry lacks a key, or has an unknown key or a wrong value.
    """
    path = folder / FILE
    entries = table(folder).get("known", [])
    if not isinstance(entries, list):
        raise HarnessError(f"[[tool.harness.known]] in {str(path)!r} is not a list of tables.")
    return [_entry(entry, number, path) for number, entry in enumerate(entries, 1)]


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
        expected = Expected(**{key: value for key, value in entry.items() if key not in ("case", "target")})
    except CaseError as error:
        raise HarnessError(f"{where}: {error}") from None
    return Known(entry["case"], entry["target"], expected)
