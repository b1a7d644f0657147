"""Cases of a file: its import, and the expansion of `pytest.mark.parametrize`."""

from __future__ import annotations

import enum
import importlib.util
import inspect
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.case import INJECTED, CaseRef, Row, declaration_of, is_case
from harness.errors import CaseError

#: Marks that would make pytest leave a test out, or expect it to fail.
_SKIPPING = ("skip", "skipif", "xfail")


def cases_of(file: Path, root: Path) -> list[CaseRef]:
    """The cases of a file, in the order they are written, one for each row of parameters.

    Raises:
        CaseError: a case asks for an argument that nothing injects, or has a mark that cannot be honoured.
    """
    path = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    refs = []
    for name, function in _functions(_load(file, root)):
        for row in rows(function):
            suffix = "" if row.id is None else f"[{row.id}]"
            declared = declaration_of(function)
            refs.append(CaseRef(f"{path}::{name}{suffix}", str(file), name, row.id, declared.expect, declared.tags))
    return refs


def find(case: CaseRef, root: Path) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """A case's function and the values of its parameters, imported anew.

    Raises:
        CaseError: the file does not declare the case, on this backend.
    """
    functions = dict(_functions(_load(Path(case.file), root)))
    if case.function in functions:
        for row in rows(functions[case.function]):
            if row.id == case.parameters:
                return functions[case.function], row.values
    raise CaseError(f"{case.id} is not declared on this target. Declare the same cases on every backend.")


def _load(file: Path, root: Path) -> ModuleType:
    for folder in (str(root), str(file.parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    name = file.stem if file.stem not in sys.modules else f"{file.stem}_cases"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise CaseError(f"{str(file)!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    # Importable by its name, for classes are found again by it when a saved model is loaded.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _functions(module: ModuleType) -> list[tuple[str, Callable[..., Any]]]:
    return [(name, value) for name, value in vars(module).items() if is_case(value)]


def rows(function: Callable[..., Any]) -> list[Row]:
    """The rows that `pytest.mark.parametrize` gives a case, with pytest's ids and in pytest's order.

    Raises:
        CaseError: see `cases_of`.
    """
    marks = getattr(function, "pytestmark", [])
    for mark in marks:
        _refuse_skipping(function, mark)
    parametrized = [mark for mark in marks if mark.name == "parametrize"]
    axes = [_axis(function, *mark.args, **mark.kwargs) for mark in parametrized]
    combined = [
        Row(
            "-".join(str(row.id) for row in rows) or None,
            {k: v for row in rows for k, v in row.values.items()},
        )
        for rows in itertools.product(*axes)
    ]
    if not combined:
        raise CaseError(f"{function.__name__} is parametrised with no rows, so it would never run. Give it one.")
    _check_arguments(function, combined[0].values)
    return combined


def _axis(
    function: Callable[..., Any],
    argnames: str | Iterable[str],
    argvalues: Iterable[Any],
    indirect: Any = False,
    ids: Iterable[Any] | Callable[[Any], Any] | None = None,
    scope: Any = None,
) -> list[Row]:
    if indirect:
        raise CaseError(
            f"{function.__name__} is parametrised with indirect={indirect!r}, and a case has no fixtures. Leave it out."
        )
    names = [n.strip() for n in argnames.split(",") if n.strip()] if isinstance(argnames, str) else list(argnames)
    given = list(ids) if ids is not None and not callable(ids) else None
    found: list[Row] = []
    for position, value in enumerate(argvalues):
        own_id = None
        if hasattr(value, "marks") and hasattr(value, "values") and hasattr(value, "id"):  # pytest.param(...)
            for mark in value.marks:
                _refuse_skipping(function, mark)
            own_id, values = value.id, tuple(value.values)
        else:
            values = (value,) if len(names) == 1 else tuple(value)
        if len(values) != len(names):
            raise CaseError(
                f"{function.__name__} is parametrised over {', '.join(names)}, and row {position} has "
                f"{len(values)} values: {values!r}."
            )
        if own_id is None and given is not None:
            own_id = given[position]
        if own_id is None:
            maker = ids if callable(ids) else None
            parts = zip(names, values, strict=True)
            own_id = "-".join(_value_id(name, part, position, maker) for name, part in parts)
        found.append(Row(str(own_id), dict(zip(names, values, strict=True))))
    return _unique(found)


def _unique(rows: list[Row]) -> list[Row]:
    """Rows of one id are numbered, from 0."""
    counts = Counter(row.id for row in rows)
    numbers: Counter[str | None] = Counter()
    unique = []
    for row in rows:
        name = row.id
        if counts[name] > 1:
            separator = "_" if name and name[-1].isdigit() else ""
            name = f"{name}{separator}{numbers[row.id]}"
            numbers[row.id] += 1
        unique.append(Row(name, row.values))
    return unique


def _value_id(name: str, value: Any, position: int, maker: Callable[[Any], Any] | None) -> str:
    made = maker(value) if maker is not None else None
    if made is not None:
        value = made
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, int, float, complex, enum.Enum)):
        return str(value)
    if isinstance(getattr(value, "__name__", None), str):
        return str(value.__name__)
    return f"{name}{position}"


def _refuse_skipping(function: Callable[..., Any], mark: Any) -> None:
    if mark.name in _SKIPPING:
        raise CaseError(
            f"{function.__name__} is marked {mark.name!r}, and the harness leaves nothing out silently. Remove the "
            "mark; to run fewer cases, name them or use -k."
        )


def _check_arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> None:
    parameters = inspect.signature(function).parameters
    known = {*INJECTED, *values}
    unknown = [
        name for name, p in parameters.items() if name not in known or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if unknown:
        raise CaseError(
            f"{function.__name__} asks for the argument {unknown[0]!r}, which nothing injects. Injected are "
            f"{', '.join(INJECTED)}, and what @pytest.mark.parametrize names."
        )
    unused = [name for name in values if name not in parameters]
    if unused:
        raise CaseError(f"{function.__name__} is parametrised over {unused[0]!r}, which is not one of its arguments.")
