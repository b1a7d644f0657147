"""Which targets a session has: named sets, all that is here, and refusals before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import backends
from harness.errors import HarnessError, TargetError
from harness.project.configuration import target_sets
from harness.session.targets import choose

SETS = """
[tool.harness.targets]
ci = ["torch", "jax"]
precise = ["torch+float64", "jax+float64"]
nightly = ["ci", "tensorflow+jit", "precise"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(SETS, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("ci", ["torch", "jax"]),
        ("precise,jax", ["torch+float64", "jax+float64", "jax"]),
        ("jax, ci", ["jax", "torch"]),
        ("nightly", ["torch", "jax", "tensorflow+jit", "torch+float64", "jax+float64"]),
        ("jax+eager+float64,jax+float64+eager", ["jax+float64+eager"]),
    ],
)
def test_a_set_stands_for_its_targets(project: Path, text: str, targets: list[str]) -> None:
    assert [str(target) for target in choose(text, project)] == targets


def test_a_set_may_name_itself_only_as_a_target(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.harness.targets]\na = ['b']\nb = ['a']\n", encoding="utf-8")
    with pytest.raises(TargetError, match="'a' in target 'a' is not a backend"):
        choose("a", project)


@pytest.mark.slow
def test_all_is_every_backend_that_is_here(project: Path) -> None:
    """Those that only infer among them; each on every kind of device that it sees where there are several."""
    targets = choose("all", project)
    here = [name for name in backends.NAMES if backends.why_not(name) is None]
    assert list(dict.fromkeys(target.backend for target in targets)) == here
    for name in here:
        kinds = [target.kind for target in targets if target.backend == name]
        assert kinds == [None] or (len(set(kinds)) == len(kinds) > 1 and "cpu" in kinds)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("targets = 3", "is not a table of lists"),
        ("targets.all = ['torch']", "'all', which means"),
        ("targets.ci = 'torch'", "ci = 'torch'"),
        ("targets.ci = []", r"ci = \[\]"),
        ("targets.ci = [3]", r"ci = \[3\]"),
        ("targets.jax = ['torch']", "'jax', which means"),
    ],
)
def test_a_set_that_is_none_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.harness]\n{text}\n", encoding="utf-8")
    with pytest.raises(HarnessError, match=complaint):
        choose("torch", tmp_path)


def test_without_a_table_there_are_no_sets(tmp_path: Path) -> None:
    assert target_sets(tmp_path, reserved=()) == {}
    with pytest.raises(TargetError, match="'nightly' in target 'nightly' is not a backend"):
        choose("nightly", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch:tpu", ["'tpu'", "torch does not have", "cpu, cuda, mps"]),
        ("jax:mps", ["'mps'", "jax does not have"]),
        ("torch:cpu:1", ["'cpu:1'", "one cpu"]),
        ("torch+graph", ["'graph'", "torch does not have", "eager, jit"]),
        ("jax+graph", ["'graph'", "jax does not have"]),
        ("torch+steps_per_execution=2", ["'steps_per_execution=2'", "torch does not have"]),
        ("torch+jit+data_parallel=2", ["without jit"]),
        ("torch:cuda+data_parallel=2", ["on cpu"]),
        ("jax:cpu:1+data_parallel=2", ["'cpu:1'", "first 2"]),
    ],
)
def test_what_a_backend_does_not_have_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(TargetError) as caught:
        choose(text, tmp_path)
    assert [word for word in [repr(text), *words] if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("torch:cuda:63", marks=pytest.mark.slow),
        "jax:cuda:63",
        pytest.param("tensorflow:gpu:63", marks=pytest.mark.slow),
    ],
)
def test_a_device_that_is_not_here_is_refused_with_those_that_are(tmp_path: Path, text: str) -> None:
    backend = text.partition(":")[0]
    with pytest.raises(TargetError) as caught:
        choose(text, tmp_path)
    assert f"which {backend} does not see here. It sees: cpu:0" in str(caught.value)


def test_without_a_compiler_torch_cannot_jit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(TargetError, match=r"needs a C\+\+ compiler.*install g\+\+"):
        choose("torch+jit", tmp_path)
