"""The wall: the controller imports no framework, and what it needs only when it needs it. And rooms: who imports whom.

Rooms are folders and modules at the top of the package. Every import statement counts, those in functions and those for
type checkers among them: what a reader has to know to understand a module is in its imports, whenever they run.
"""

from __future__ import annotations

import ast
import functools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.session import interpreter

FRAMEWORKS = {"keras", "torch", "tensorflow", "jax", "jaxlib"}
PACKAGE = Path(harness.__file__).parent

#: What any room may build on, lowest first.
FOUNDATIONS = ("errors", "version", "files", "plain", "verdict", "target", "case", "suite", "pytest_internals")
FOUNDATIONS += ("processes", "temporary")
#: What the two doors may import, which are not each other's.
DOORS = ("report", "blame", "session", "judge", "result", "project", "backends", "wire", "trace", *FOUNDATIONS)
#: What each room may import. A room stands above all that it imports.
MAY_IMPORT = {
    "__main__": ("cli",),
    "cli": DOORS,
    "pytest_plugin": DOORS,
    "report": ("session", "judge", "result", "project", "backends", "trace", *FOUNDATIONS),
    "blame": ("session", "judge", "result", "project", "backends", "wire", "trace", *FOUNDATIONS),
    "session": ("judge", "result", "project", "backends", "wire", "trace", *FOUNDATIONS),
    "judge": ("result", "project", "trace", *FOUNDATIONS),
    "result": ("project", "trace", *FOUNDATIONS),
    "project": FOUNDATIONS,
    "wire": ("trace", *FOUNDATIONS),
    "trace": FOUNDATIONS,
    "backends": FOUNDATIONS,
    "injected": ("case", "target"),
    "case": ("errors", "plain", "target", "verdict"),
    "target": ("errors",),
    "plain": (),
    "verdict": (),
    "suite": (),
    "processes": (),
    "temporary": (),
    "pytest_internals": (),
    "files": ("errors",),
    "errors": (),
    "version": (),
    # The other side of the wall.
    "worker": ("backends", "wire", "trace", *FOUNDATIONS),
    # The public names, and the one of them that is the worker's.
    "": ("case", "errors", "injected", "target", "version"),
}
#: Imports that are allowed beside those.
ALLOWED = {("harness", "harness.worker.capture.gradients")}

REPORT = """
import json, sys
try:
    from harness.cli import main
    main({arguments!r}, prog_name="harness")
finally:
    sys.stderr.write("\\n" + json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def imported(process: Any) -> set[str]:
    """Top-level packages that a process says it had imported at its end."""
    return set(json.loads(process.stderr.splitlines()[-1]))


def imports_of(project: Any, *arguments: str, status: int = 0) -> set[str]:
    process = project.python("-c", REPORT.format(arguments=list(arguments)))
    assert process.returncode == status, process.stderr
    return imported(process)


@pytest.mark.parametrize(
    "module", ["harness", "harness.cli", "harness.errors", "harness.case", "harness.target", "harness.injected"]
)
def test_importing_the_doors_imports_no_framework_and_nothing_heavy(project: Any, module: str) -> None:
    text = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    found = imported(project.python("-c", f"import {module}; {text}"))
    assert module in found
    assert found.isdisjoint(FRAMEWORKS | {"numpy", "rich", "pytest"})


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["run", "--help"], ["--version"]])
def test_help_imports_no_framework_and_nothing_heavy(project: Any, arguments: list[str]) -> None:
    found = imports_of(project, *arguments)
    assert {"harness", "click"} <= found
    assert found.isdisjoint(FRAMEWORKS | {"numpy", "rich", "pytest", "safetensors"})


@pytest.fixture(scope="module")
def recorded(make_project: Callable[[], Any]) -> Any:
    """A project and a run in it, of which the imports of the controller are known."""
    project = make_project()
    project.write("cases/x.py", "from harness import case\n@case\ndef it(record): record('x', 1.5)\n")
    project.imports = imports_of(project, "run", "--targets", "jax", "--out", "out", "-k", "it")
    shutil.copytree(project.folder / "out", project.folder / "again")
    return project


def test_a_whole_run_imports_no_framework_in_the_controller(recorded: Any) -> None:
    assert recorded.result()["cases"][0]["outcome"] == "agree"
    assert recorded.imports.isdisjoint(FRAMEWORKS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "out", "again", "--html", "page.html", "--junit", "junit.xml"],
        ["show", "out"],
        ["report", "out"],
        ["report", "out", "--markdown", "summary.md", "--tensorboard", "events"],
        ["export", "out", "--csv", "table.csv", "--parquet", "table.parquet"],
    ],
)
def test_traces_are_compared_and_shown_without_a_framework(recorded: Any, arguments: list[str]) -> None:
    recorded.hide(*FRAMEWORKS)
    assert imports_of(recorded, *arguments).isdisjoint(FRAMEWORKS)


def modules() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def frameworks_in(tree: ast.AST) -> Iterator[str]:
    """Every framework that a module imports anywhere in it, also by name."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "import_module",
            "__import__",
        ):
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        yield from (name for name in names if name.partition(".")[0] in FRAMEWORKS)


def is_on_the_workers_side(path: Path) -> bool:
    """Whether a module runs in workers: all of `worker`, and of `backends` what the controller does not ask."""
    room, *inner = [part for part in path.with_suffix("").parts if part != "__init__"] or [""]
    is_description = not inner or inner in (["base"], ["packages"]) or (PACKAGE / room / inner[-1]).is_dir()
    return room == "worker" or (room == "backends" and not is_description)


@pytest.mark.parametrize("path", [path for path in modules() if not is_on_the_workers_side(path)], ids=str)
def test_no_module_on_the_controllers_side_imports_a_framework(path: Path) -> None:
    text = (PACKAGE / path).read_text(encoding="utf-8")
    assert list(frameworks_in(ast.parse(text))) == []
    assert "keras_internals" not in text


def test_the_scan_sees_every_way_to_import() -> None:
    text = "import keras\ndef f():\n  from jax import numpy\n  import torch.nn as nn\n  __import__('tensorflow')\n"
    text += "  importlib.import_module('keras.ops')\n  from . import torch\n  from harness.jax import x\n"
    assert sorted(frameworks_in(ast.parse(text))) == ["jax", "keras", "keras.ops", "tensorflow", "torch.nn"]


def test_the_scan_finds_the_frameworks_of_the_workers_side() -> None:
    texts = [(PACKAGE / path).read_text(encoding="utf-8") for path in modules() if is_on_the_workers_side(path)]
    assert {name.partition(".")[0] for text in texts for name in frameworks_in(ast.parse(text))} >= {"keras"}


@pytest.mark.parametrize("name", harness.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(harness, name) is not None


def test_what_the_readme_of_a_case_imports_is_public() -> None:
    assert {"Fit", "Forward", "case", "value_and_grad", "HarnessError", "__version__"} <= set(harness.__all__)
    assert list(harness.__all__) == sorted(set(harness.__all__))


# Who imports whom.


@dataclass(frozen=True)
class Import:
    """A module of ours that imports another, and the line it does it in."""

    module: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}, imports {self.imported}"


def imports_in(text: str, module: str, known: Set[str], *, is_package: bool = False) -> Iterator[Import]:
    """Every import of a module of the same package, anywhere in a module's text, also by name."""
    package, _, _ = module.partition(".")
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) + is_package - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            within = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if name in known else source for name in within]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
        for name in dict.fromkeys(names):
            if name.partition(".")[0] == package and name != module:
                yield Import(module, name, node.lineno)


def name_of(path: Path) -> str:
    """The name that a module is imported by."""
    return ".".join(["harness", *path.with_suffix("").parts]).removesuffix(".__init__")


def room_of(module: str) -> str:
    """The room of a module; `worker` for all that runs there, and no name for the package itself."""
    path = Path(*module.split(".")[1:])
    return "" if not path.parts else "worker" if is_on_the_workers_side(path) else path.parts[0]


@functools.cache
def all_imports() -> list[Import]:
    """Every import of one module of ours by another."""
    known = {name_of(path) for path in modules()}
    return [
        found
        for path in modules()
        for found in imports_in(
            (PACKAGE / path).read_text(encoding="utf-8"), name_of(path), known, is_package=path.name == "__init__.py"
        )
    ]


def circles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The shortest way round for every group that imports each other in a circle, from its first name."""
    following: dict[str, list[str]] = {}
    for start, end in sorted(set(edges)):
        following.setdefault(start, []).append(end)

    def ways(start: str) -> dict[str, list[str]]:
        """The shortest way to each name that can be reached, the start itself among them where it can."""
        found: dict[str, list[str]] = {}
        waiting = [[start]]
        for way in waiting:
            for name in following.get(way[-1], []):
                if name not in found:
                    found[name] = [*way, name]
                    waiting.append(found[name])
        return found

    reached = {name: ways(name) for name in following}
    groups: dict[frozenset[str], list[str]] = {}
    for name in sorted(following):
        group = frozenset(other for other in reached[name] if name in reached.get(other, {}))
        if name in group:
            groups.setdefault(group, reached[name][name])
    return list(groups.values())


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room_of(name_of(path)) for path in modules()} <= set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT, ids=lambda room: room or "harness")
def test_a_room_imports_what_it_may_and_nothing_else(room: str) -> None:
    wrong = [
        found
        for found in all_imports()
        if room_of(found.module) == room
        and room_of(found.imported) not in (room, *MAY_IMPORT[room])
        and (found.module, found.imported) not in ALLOWED
    ]
    may = f"{room or 'harness'} may import {', '.join(MAY_IMPORT[room]) or 'nothing'}."
    assert not wrong, "\n".join([may, *map(str, wrong)])


def test_only_the_workers_side_imports_what_is_private_to_keras() -> None:
    importing = [found for found in all_imports() if found.imported.endswith(".keras_internals")]
    assert importing
    wrong = [found for found in importing if room_of(found.module) != "worker"]
    assert not wrong, "\n".join(map(str, wrong))


def test_rooms_import_each_other_in_no_circle() -> None:
    edges = [(room_of(found.module), room_of(found.imported)) for found in all_imports()]
    found = circles((start, end) for start, end in edges if start != end)
    assert not found, "\n".join(" imports ".join(way) for way in found)


def test_modules_import_each_other_in_no_circle() -> None:
    found = circles((found.module, found.imported) for found in all_imports())
    assert not found, "\n".join(" imports ".join(way) for way in found)


def test_what_is_carried_into_another_environment_is_all_that_the_workers_side_imports() -> None:
    carried = {Path(name).stem for name in interpreter.WORKERS_SIDE}
    needed = {room_of(found.imported) for found in all_imports() if room_of(found.module) in carried - {"__init__"}}
    public = {room_of(found.imported) for found in all_imports() if found.module == "harness"}
    assert carried == {"__init__", *(needed | public) - {""}}


def test_the_order_itself_has_no_circle() -> None:
    assert circles((room, other) for room, others in MAY_IMPORT.items() for other in others) == []


def test_every_import_is_seen() -> None:
    text = """
import json, p.a
from p import b, name
from p.c import d, name
if TYPE_CHECKING:
    from p.e import name
def f():
    from p import g as other
    importlib.import_module("p.h.i")
    from . import j
    from .k import name
    from .. import l
"""
    known = {"p", *(f"p.{name}" for name in "abcegkl"), "p.c.d", "p.h.i", "p.x.j", "p.x.k"}
    found = [(item.imported, item.line) for item in imports_in(text, "p.x.y", known)]
    assert sorted(found, key=lambda item: item[1]) == [
        ("p.a", 2),
        ("p.b", 3),
        ("p", 3),
        ("p.c.d", 4),
        ("p.c", 4),
        ("p.e", 6),
        ("p.g", 8),
        ("p.h.i", 9),
        ("p.x.j", 10),
        ("p.x.k", 11),
        ("p.l", 12),
    ]
    assert [item.imported for item in imports_in("from .a import name", "p.x", {"p.x.a"}, is_package=True)] == ["p.x.a"]


def test_every_circle_is_found_once() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "a"), ("b", "a"), ("c", "d"), ("e", "f"), ("f", "e"), ("g", "g")]
    assert circles(edges) == [["a", "b", "a"], ["e", "f", "e"], ["g", "g"]]
    assert circles([("a", "b"), ("b", "c"), ("a", "c")]) == []
