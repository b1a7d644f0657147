"""Packages of others: what is pinned has cases, what was looked at is there, and the page says what runs say."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.result.file import write

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "ecosystem"
CASES = sorted((FOLDER / "cases").glob("*.py"))


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ecosystem_report", FOLDER / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def functions(file: Path) -> list[ast.FunctionDef]:
    """The functions of a case file that are decorated with `@case`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [statement for statement in tree.body if isinstance(statement, ast.FunctionDef)]
    return [
        function for function in found if any(ast.unparse(item).startswith("case") for item in function.decorator_list)
    ]


def run_of(target: str, error: str | None = None) -> dict[str, Any]:
    status = "ok" if error is None else "error"
    environment = {"versions": {"keras": "3.15.1", target: "1.2"}, "python": "3.11.7"}
    run: dict[str, Any] = {"target": target, "status": status, "seconds": 1.4, "trace": None, "error": error}
    return {**run, "environment": environment, "notes": [], "pictures": [], "disturbed": []}


def comparison(verdict: str, *, reason: str = "", known: str = "") -> dict[str, Any]:
    first = {
        "key": "forward/0/a|b/output",
        "phase": "forward",
        "step": 0,
        "layer": None,
        "verdict": verdict,
        "basis": "twins",
        "reason": reason,
        "d32": None,
        "d64": None,
        "amplification": None,
        "bound": None,
        "index": None,
        "evidence": None,
    }
    declared = {"verdict": verdict, "reason": known, "where": "*", "link": None}
    return {
        "target": "jax",
        "reference": "torch",
        "verdict": verdict,
        "observations": 1200,
        "not_compared": 0,
        "counts": {"identical": 1199, verdict: 1},
        "bases": {},
        "known": [declared] if known else [],
        "fixed": [],
        "first": first if reason else None,
        "blame": None,
        "continuation": None,
    }


def case(name: str, outcome: str, compared: dict[str, Any], error: str | None = None) -> dict[str, Any]:
    runs = [run_of("torch"), run_of("jax", error)]
    return {
        "id": f"ecosystem/cases/on_{name}",
        "outcome": outcome,
        "runs": runs,
        "comparisons": [compared],
        "plots": [],
        "alone": None,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    cases = [
        case("k3_node.py::sum", "agree", comparison("rounding")),
        case("softadapt.py::in_training[a]", "known", comparison("divergent", reason="1 against 2", known="kept")),
        case("softadapt.py::other", "differ", comparison("mismatch", reason="<b>3</b> against 4")),
        case("kgcnn.py::pooled", "error", comparison("identical"), error="ValueError: no\n\n  shape"),
    ]
    return {
        "schema": 1,
        "harness": "0.1.0",
        "reference": "torch",
        "targets": ["torch", "jax"],
        "precision": "both",
        "randomness": "shared",
        "fail_on": "divergent",
        "exit_status": 1,
        "cases": cases,
        "unmatched": [],
    }


def test_each_pin_before_the_dependencies_has_a_case_file_and_each_file_a_pin(report: ModuleType) -> None:
    packages, _ = (FOLDER / "requirements.txt").read_text(encoding="utf-8").split("# What they import.")
    assert [file.stem for file in CASES] == sorted(f"on_{name}" for name in report.pins(packages))
    assert len(CASES) >= 20


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_each_package_is_trained(file: Path) -> None:
    assert any("in_training" in function.name for function in functions(file))


def test_what_was_looked_at_is_of_cases_and_scripts_that_are_there(report: ModuleType) -> None:
    known = report.remarks((FOLDER / "findings.toml").read_text(encoding="utf-8"))
    for remark in known:
        file = FOLDER / "cases" / f"on_{remark.package.replace('-', '_')}.py"
        names = {function.name for function in functions(file)}
        for pattern in remark.cases:
            assert pattern.partition("[")[0].rstrip("*") in {*names, *(name[: len(pattern) - 1] for name in names)}, (
                pattern
            )
    scripts = {path.name for path in (FOLDER / "confirmed").glob("*.py")}
    assert scripts == {remark.script for remark in known if remark.script}


def test_scripts_do_without_the_harness() -> None:
    for script in (FOLDER / "confirmed").glob("*.py"):
        assert "harness" not in script.read_text(encoding="utf-8"), script


def test_the_page_counts_what_was_compared(report: ModuleType, result: dict[str, Any]) -> None:
    text = report.page([result], {"k3_node": "1.0", "softadapt": "0.2", "kgcnn": "4"}, [])
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    heads, _, *packages, total = rows
    assert [row[:2] for row in packages] == [["k3-node", "1.0"], ["kgcnn", "4"], ["softadapt", "0.2"]]
    of_softadapt, in_all = (dict(zip(heads, row, strict=True)) for row in (packages[2], total))
    assert of_softadapt == {
        "package": "softadapt",
        "version": "0.2",
        "cases": "2",
        "compared": "2,400",
        "identical": "2,398",
        "rounding": "0",
        "leak": "0",
        "imprecise": "0",
        "divergent": "1",
        "mismatch": "1",
        "do not agree": "2",
        "seconds": "6",
    }
    assert (in_all["cases"], in_all["compared"], in_all["do not agree"]) == ("4", "4,800", "3")
    assert "jax 1.2, keras 3.15.1, python 3.11.7, torch 1.2" in text
    assert "1 of the packages do the same" in text


def test_what_was_looked_at_stands_beside_what_shows_it(report: ModuleType, result: dict[str, Any]) -> None:
    seen = report.Remark("softadapt", ["in_training*"], "real", "Weights are kept.")
    gone = report.Remark("k3-node", ["sum"], "keras", "Was another sum.")
    also = report.Remark("softadapt", ["in_*"], "keras", "Twice.")
    text = report.page([result], {"k3_node": "1.0", "softadapt": "0.2", "kgcnn": "4"}, [seen, also, gone])
    assert "shown by `in_training[a]`. Twice." in text
    assert "**A difference of the package**, shown by `in_training[a]`. Weights are kept." in text
    assert "not found in this run (`sum`). Was another sum." in text
    left = text[text.index("## softadapt") :]
    assert "- `other`: jax against torch: mismatch at `forward/0/a|b/output`: \\<b\\>3\\</b\\> against 4" in left
    assert "in_training" not in left[left.index("Not looked at") :]


def test_what_is_declared_and_what_raised_is_told(report: ModuleType, result: dict[str, Any]) -> None:
    text = report.page([result], {"k3_node": "1.0", "softadapt": "0.2", "kgcnn": "4"}, [])
    assert "- `in_training[a]`: jax: declared: kept" in text
    assert "- `pooled`: jax: error: ValueError: no shape" in text
    assert "## k3-node" not in text


def test_what_is_otherwise_where_compiled_is_told(report: ModuleType, result: dict[str, Any]) -> None:
    compiled = comparison("mismatch", reason="it raises") | {"target": "jax, compiled", "reference": "jax, eager"}
    result["cases"] = [case("kgcnn.py::pooled", "differ", comparison("identical"))]
    result["cases"][0]["runs"][1]["compiled"] = compiled
    text = report.page([result], {"kgcnn": "4"}, [])
    assert "- `pooled`: jax, compiled against jax, eager: mismatch at `forward/0/a|b/output`: it raises" in text


def test_a_file_of_no_package_is_refused(report: ModuleType, result: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"on_kgcnn\.py::pooled is in no file"):
        report.page([result], {"k3_node": "1.0", "softadapt": "0.2"}, [])


def test_a_kind_that_is_none_is_refused(report: ModuleType) -> None:
    with pytest.raises(ValueError, match="'bug' is not a kind"):
        report.remarks('[[finding]]\npackage = "a"\ncases = ["b"]\nkind = "bug"\nwhat = "c"\n')


def test_the_command_writes_the_page(tmp_path: Path, result: Any) -> None:
    write(tmp_path / "result.json", result)
    command = [sys.executable, str(FOLDER / "report.py"), str(tmp_path), "--out", str(tmp_path / "page.md")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    assert (tmp_path / "page.md").read_text(encoding="utf-8").startswith("# On the packages that people have\n")


def test_the_page_has_the_versions_that_are_pinned(report: ModuleType) -> None:
    versions = report.pins((FOLDER / "requirements.txt").read_text(encoding="utf-8"))
    text = (ROOT / "docs/ecosystem.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (\d\S*) \|", text, re.MULTILINE)
    assert rows
    assert all(versions[name.replace("-", "_")] == version for name, version in rows)
