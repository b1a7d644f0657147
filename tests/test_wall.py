"""The wall: the controller imports no framework, and what it needs only when it needs it."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import harness

FRAMEWORKS = {"keras", "torch", "tensorflow", "jax", "jaxlib"}
PACKAGE = Path(harness.__file__).parent
#: What runs in workers, which import one framework each.
WORKERS_SIDE = ("worker", "backends")

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


@pytest.mark.parametrize("path", [path for path in modules() if path.parts[0] not in WORKERS_SIDE], ids=str)
def test_no_module_on_the_controllers_side_imports_a_framework(path: Path) -> None:
    assert list(frameworks_in(ast.parse((PACKAGE / path).read_text(encoding="utf-8")))) == []


def test_the_scan_sees_every_way_to_import() -> None:
    text = "import keras\ndef f():\n  from jax import numpy\n  import torch.nn as nn\n  __import__('tensorflow')\n"
    text += "  importlib.import_module('keras.ops')\n  from . import torch\n  from harness.jax import x\n"
    assert sorted(frameworks_in(ast.parse(text))) == ["jax", "keras", "keras.ops", "tensorflow", "torch.nn"]


def test_the_workers_side_is_where_the_wall_says() -> None:
    importing = {
        path.parts[0]
        for path in modules()
        if list(frameworks_in(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))))
    }
    assert importing == set(WORKERS_SIDE)


@pytest.mark.parametrize("name", harness.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(harness, name) is not None


def test_what_the_readme_of_a_case_imports_is_public() -> None:
    assert {"Fit", "Forward", "case", "value_and_grad", "HarnessError", "__version__"} <= set(harness.__all__)
    assert list(harness.__all__) == sorted(set(harness.__all__))
