"""A part that raises on one backend: its own words are the finding, in everything that tells of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"
WORDS = "ValueError: Reverse-mode differentiation does not work for lax.while_loop"


@pytest.fixture(scope="module")
def ran(make_warm_project: Callable[[], Any]) -> Any:
    project = make_warm_project()
    project.write("cases/empty.txt", "")
    for name in ("raises_on_one_side.py", "saving_raises.py"):
        shutil.copy(CASES / name, project.folder / "cases")
    project.ran = project.harness("run", "cases", "--out", "out", "--junit", "junit.xml")
    return project


def block(text: str, title: str) -> list[str]:
    """The lines that follow a title, up to an empty one."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(title))
    return lines[start + 1 : lines.index("", start)]


def finding(text: str, case: str) -> tuple[str, list[str]]:
    """The heading and the facts of what was found in a case."""
    (found,) = [part.splitlines() for part in text.split("\n\n") if f"\n  case    {case}\n" in f"{part}\n"]
    return found[0], found[1:]


def test_its_own_words_head_the_case(ran: Any) -> None:
    heading, told = finding(ran.ran.stdout, "cases/raises_on_one_side.py::reconstruct")
    assert heading.startswith("jax raises in layer 'reconstruct'")
    assert f": {WORDS}" in heading
    assert any(line.strip().startswith(f"what    jax raises in 'gradients': {WORDS}") for line in told)
    assert re.search(r"layer 'reconstruct' \(\w+, \S+\.py:\d+\), in its gradient", "\n".join(told))
    heading, _ = finding(ran.ran.stdout, "cases/saving_raises.py::saved")
    assert heading.startswith("jax raises in layer 'table'")
    assert ": TypeError: Cannot serialize object" in heading
    assert "was not recorded" not in ran.ran.stdout
    assert "amplified" not in ran.ran.stdout


def test_they_are_the_finding_of_the_result(ran: Any) -> None:
    assert ran.ran.returncode == 1
    (comparison,) = [item for item in ran.cases()["reconstruct"]["comparisons"] if item["target"] == "jax"]
    first, blame = comparison["first"], comparison["blame"]
    assert (first["phase"], first["layer"], first["raised"]) == ("gradient", "reconstruct", "jax")
    assert WORDS in first["reason"]
    assert (blame["target"], blame["layer"]) == ("jax", "reconstruct")
    place = r"layer 'reconstruct' \(\w+, \S+\.py:\d+\)"
    assert re.fullmatch(f"jax raises in {place}, in its gradient", blame["text"])
    assert "jax raises in 'gradients'" in (ran.folder / "junit.xml").read_text(encoding="utf-8")


def test_a_run_that_ends_by_it_says_in_what(ran: Any) -> None:
    case = ran.cases()["reconstruct_in_training"]
    assert case["outcome"] == "error"
    told = block(ran.ran.stdout, "cases/raises_on_one_side.py::reconstruct_in_training on jax: error")
    assert told[0].strip().startswith(f"what    {WORDS}")
    assert told[1].strip() == "where   it raised in 'fit and all that follows'"
    # There jax has lost the line of the layer, which was known before.
    assert told[2].strip().startswith(f"before  'gradients' raised {WORDS}")
    assert "at cases/raises_on_one_side.py:19, in call" in (line.strip() for line in told[3:])


def test_so_do_traces_that_are_compared_later(ran: Any) -> None:
    ran.harness("record", "cases/raises_on_one_side.py::reconstruct", "--target", "torch", "--out", "one")
    ran.harness("record", "cases/raises_on_one_side.py::reconstruct", "--target", "jax", "--out", "two")
    compared = ran.harness("compare", "one", "two")
    assert compared.returncode == 1
    assert f"jax raises in 'gradients': {WORDS}" in compared.stdout


@pytest.fixture(scope="module")
def raising(run: Callable[..., Any]) -> Any:
    return run("raising.py", "--no-blame")


LINE = 12  # of `raise` in raising.py


@pytest.mark.parametrize("case", ["built", "forward"])
def test_the_line_that_raised_is_told_wherever_it_was_called_from(raising: Any, case: str) -> None:
    told = "\n".join(block(raising.ran.stdout, f"raising.py::{case} on jax: error"))
    assert "this backend is not" in told
    assert f"at raising.py:{LINE}, in refuse" in told
    assert "\x1b" not in told
    assert raising.cases()[case]["outcome"] == "error"


def test_what_raised_first_is_told_where_it_leads_to_something_else(raising: Any) -> None:
    tensorflow = "\n".join(block(raising.ran.stdout, "raising.py::traced on tensorflow: error"))
    assert "'forward, layer by layer, and gradients' raised TypeError" in tensorflow
    jax = "\n".join(block(raising.ran.stdout, "raising.py::traced on jax: error"))
    assert "ConcretizationTypeError: Abstract tracer value" in jax
    assert "_error_repr" not in jax
    for told in (tensorflow, jax):
        assert "at raising.py:29, in call" in told


def test_so_is_the_line_of_what_cannot_be_loaded_or_saved(raising: Any, ran: Any) -> None:
    told = "\n".join(finding(raising.ran.stdout, "raising.py::loaded")[1])
    assert f"at raising.py:{LINE}, in refuse" in told
    # No line of the user's raises here: it is Keras that cannot write what the layer's config holds.
    told = "\n".join(finding(ran.ran.stdout, "cases/saving_raises.py::saved")[1])
    (line,) = [n for n, text in enumerate((CASES / "saving_raises.py").read_text().splitlines(), 1) if "@keras" in text]
    assert f"at cases/saving_raises.py:{line}, in Table" in told
