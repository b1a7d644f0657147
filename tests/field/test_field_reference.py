"""A reference that fails: the other targets are compared with one another, in every door."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"


@pytest.fixture(scope="module")
def project(make_warm_project: Callable[[], Any]) -> Any:
    project = make_warm_project()
    project.write("cases/empty.txt", "")
    shutil.copy(CASES / "reference_fails.py", project.folder / "cases")
    return project


def comparison_of(project: Any, case: str, target: str, out: str) -> dict[str, Any]:
    (comparison,) = [item for item in project.cases(out)[case]["comparisons"] if item["target"] == target]
    found: dict[str, Any] = comparison
    return found


def test_where_the_others_agree_the_case_has_failed(project: Any) -> None:
    ran = project.harness("run", "cases", "-k", "others_agree", "--out", "agree")
    assert ran.returncode == 3
    assert project.cases("agree")["others_agree"]["outcome"] == "error"
    comparison = comparison_of(project, "others_agree", "jax", "agree")
    assert (comparison["reference"], comparison["verdict"]) == ("tensorflow", "rounding")
    assert "there is no squash on torch" in ran.stdout
    assert "others_agree on jax: compared with tensorflow, because the reference torch has failed" in ran.stdout


def test_where_they_differ_that_is_found_and_blamed(project: Any) -> None:
    ran = project.harness("run", "cases", "-k", "others_differ", "--out", "differ")
    assert ran.returncode == 1
    comparison = comparison_of(project, "others_differ", "jax", "differ")
    assert (comparison["reference"], comparison["verdict"]) == ("tensorflow", "divergent")
    assert any(line.startswith("jax against tensorflow: ") for line in ran.stdout.splitlines()), ran.stdout
    blame = comparison["blame"]
    assert (blame["layer"], blame["confirmed"]) == ("squash", True)


def test_traces_are_compared_in_the_same_way(project: Any) -> None:
    for target in ("torch", "tensorflow", "jax"):
        project.harness("record", "cases", "-k", "others_differ", "--target", target, "--out", f"of-{target}")
    ran = project.harness("compare", "of-torch", "of-tensorflow", "of-jax", "--reference", "torch", "--json", "c.json")
    assert ran.returncode == 1
    assert any(line.startswith("jax against tensorflow: ") for line in ran.stdout.splitlines()), ran.stdout


def test_pytest_fails_where_they_differ_and_where_the_reference_failed(project: Any) -> None:
    ran = project.python(
        "-m", "pytest", "cases", "-p", "no:cacheprovider", "-rA", "--parity-targets=torch,tensorflow,jax"
    )
    assert ran.returncode == 1
    assert any(line.startswith("jax against tensorflow: ") for line in ran.stdout.splitlines()), ran.stdout
    for case, target in (("agree", "jax"), ("agree", "tensorflow"), ("differ", "jax"), ("differ", "tensorflow")):
        assert f"FAILED cases/reference_fails.py::others_{case}[{target}]" in ran.stdout
