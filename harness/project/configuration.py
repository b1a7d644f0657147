"""A project's configuration of the harness: the table `[tool.harness]` of its `pyproject.toml`.

```toml
[tool.harness.targets]                  # named sets: harness run --targets ci
ci = ["torch", "tensorflow", "jax"]
gpu = ["torch:cpu", "torch:cuda", "jax:cuda"]

[[tool.harness.known]]                  # known differences: see harness.project.known
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import HarnessError

FILE = "pyproject.toml"
#: The most bytes of a file of configuration that is read.
LARGEST = 1 << 20
#: The set of targets that every project has: every installed backend.
ALL = "all"
_KEYS = ("known", "targets")


def tools(folder: Path) -> Mapping[str, Any]:
    """The tables of tools of the project in a folder; none where there is no `pyproject.toml`.

    Raises:
        HarnessError: the file cannot be read as TOML.
    """
    path = folder / FILE
    try:
        found = tomllib.loads(files.read_text(path, LARGEST)).get("tool", {})
    except FileNotFoundError:
        return {}
    except RecursionError:
        raise HarnessError(f"{str(path)!r} cannot be read: it is nested too deeply. Mend it first.") from None
    except (OSError, ValueError) as error:
        raise HarnessError(f"{str(path)!r} cannot be read: {error}. Mend it first.") from None
    return found if isinstance(found, dict) else {}


def table(folder: Path) -> Mapping[str, Any]:
    """The table of the project in a folder; empty where there is none.

    Raises:
        HarnessError: the file cannot be read as TOML, or the table is none, or has an unknown key.
    """
    path = folder / FILE
    found = tools(folder).get("harness", {})
    if not isinstance(found, dict):
        raise HarnessError(f"[tool.harness] in {str(path)!r} is not a table.")
    unknown = sorted(set(found) - set(_KEYS))
    if unknown:
        raise HarnessError(
            f"[tool.harness] in {str(path)!r} has {unknown[0]!r}, which means nothing. It has: {', '.join(_KEYS)}."
        )
    return dict(found)


def target_sets(folder: Path, reserved: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The sets of targets of the project in a folder: lists of text, by name.

    Args:
        reserved: names that a set may not have, because they mean targets already.

    Raises:
        HarnessError: see `table`, or a set is not a list of text, or has a name that is reserved.
    """
    where = f"[tool.harness.targets] in {str(folder / FILE)!r}"
    sets = table(folder).get("targets", {})
    if not isinstance(sets, dict):
        raise HarnessError(f"{where} is not a table of lists, such as ci = ['torch', 'jax'].")
    for name, targets in sets.items():
        if name in reserved:
            raise HarnessError(f"{where} has {name!r}, which means a target, or all of them, already. Rename it.")
        if not (isinstance(targets, list) and targets and all(isinstance(target, str) for target in targets)):
            raise HarnessError(
                f"{where} has {name} = {targets!r}. Give it a list of targets, such as ['torch', 'jax']."
            )
    return sets
