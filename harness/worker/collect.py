"""Finds the cases of a file: imports it, and expands `pytest.mark.parametrize`."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.case import INJECTED, CaseRef, Row, declaration_of, is_case
from harness.errors import CaseError

#: `sys.path` before any case file was imported: where a process that runs no case finds modules.
_INSTALLED = tuple(sys.path)
#: Marks by which pytest leaves a test out, or expects it to fail. A case may not have them.
_SKIPPING = ("skip", "skipif", "xfail")


def cases_of(file: Path, root: Path) -> list[CaseRef]:
    """The cases of a file, in the order they are written, one for each row of parameters.

    Raises:
        CaseError: a case asks for an argument that nothing injects, or has a mark that cannot be honoured.
    """
    path = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    refs = []
    module = _load(file, root)
    marks = getattr(module, "pytestmark", [])
    for mark in marks if isinstance(marks, (list, tuple)) else [marks]:
        raise CaseError(f"{path} has a pytestmark of {mark.name!r} for all its cases. Mark each case by itself.")
    for name, function in _functions(module):
        for row in rows(function):
            suffix = "" if row.id is None else f"[{row.id}]"
            declared = declaration_of(function)
            refs.append(CaseRef(f"{path}::{name}{suffix}", str(file), name, row.id, declared.expect, declared.tags))
    return refs


def find(case: CaseRef, root: Path) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """A case's function and the values of its parameters. Its file is imported again.

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
    finder = _NotCaseFiles(file)
    sys.meta_path[:] = [finder, *(other for other in sys.meta_path if not isinstance(other, _NotCaseFiles))]
    is_taken = file.stem in sys.modules or finder.find_spec(file.stem) is not None
    name = f"{file.stem}_cases" if is_taken else file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise CaseError(f"{str(file)!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    # Loading a saved model finds the model's classes by the name of this module.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _NotCaseFiles:
    """A finder of modules by which a package is found that has the name of the case file, or of one in its folder.

    The folder comes first on `sys.path`, for modules that help the cases. A file of cases for the package `kgcnn` is
    best called `kgcnn.py`, and means the package when it imports `kgcnn`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def find_spec(self, name: str, path: Any = None, _: Any = None) -> ModuleSpec | None:
        namesake = self._file.with_name(f"{name}.py")
        if path is not None or not namesake.is_file():
            return None
        if namesake == self._file:
            return _found(name, [folder for folder in sys.path if Path(folder).resolve() != self._file.parent])
        return _found(name, _INSTALLED) if b"harness" in namesake.read_bytes() else None


def is_importable(module: str) -> bool:
    """Whether a process that runs no case finds a module, because it is installed or on its `PYTHONPATH`."""
    return _found(module.partition(".")[0], _INSTALLED) is not None


def _found(name: str, path: Sequence[str]) -> ModuleSpec | None:
    """The spec of a module or package of that name on a path, or from another finder, as of editable packages."""
    for finder in sys.meta_path:
        if isinstance(finder, _NotCaseFiles):
            continue
        spec = finder.find_spec(name, path if finder is PathFinder else None)
        if spec is not None and spec.origin is not None:  # a mere folder has none
            return spec
    return None


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
    names = Counter(name for axis in axes if axis for name in axis[0].values)
    for name in (name for name, count in names.items() if count > 1):
        raise CaseError(f"{function.__name__} is parametrised over {name!r} twice. Name it in one mark.")
    combined = [
        Row(
            "-".join(str(row.id) for row in rows) if rows else None,
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
    argnames: str | Sequence[str],
    argvalues: Iterable[Any],
    indirect: Any = False,
    ids: Iterable[Any] | Callable[[Any], Any] | None = None,
    scope: Any = None,  # noqa: ARG001 - part of the mark's signature, but only for fixtures
) -> list[Row]:
    """The rows of one mark, with their ids, both made by pytest's own code."""
    import pytest
    from _pytest.mark.structures import ParameterSet
    from _pytest.python import IdMaker

    if indirect:
        raise CaseError(
            f"{function.__name__} is parametrised with indirect={indirect!r}, and a case has no fixtures. Leave it out."
        )
    argvalues = list(argvalues)
    names, force_tuple = ParameterSet._parse_parametrize_args(argnames, argvalues)
    found = ParameterSet._parse_parametrize_parameters(argvalues, force_tuple)
    for position, row in enumerate(found):
        for mark in row.marks:
            _refuse_skipping(function, mark)
        if not isinstance(row.values, Sized) or len(row.values) != len(names):
            raise CaseError(
                f"{function.__name__} is parametrised over {', '.join(names)}, and row {position} is {row.values!r}: "
                f"give it {len(names)} values."
            )
    given = None if ids is None or callable(ids) else list(ids)
    if given is not None and len(given) != len(found):
        raise CaseError(
            f"{function.__name__} is parametrised with {len(found)} rows and {len(given)} ids. Give one each."
        )
    offered: dict[str, Any] = {
        "argnames": names,
        "parametersets": found,
        "idfn": ids if callable(ids) else None,
        "ids": given,
        "config": None,
        "nodeid": function.__name__,
        "func_name": function.__name__,  # needed by pytest 8
    }
    accepted = inspect.signature(IdMaker).parameters
    try:
        made = IdMaker(**{name: offered[name] for name in accepted}).make_unique_parameterset_ids()
    except pytest.fail.Exception as error:
        raise CaseError(f"{function.__name__} is parametrised with ids that pytest refuses: {error}") from None
    return [Row(str(name), dict(zip(names, row.values, strict=True))) for name, row in zip(made, found, strict=True)]


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
