"""The table of planted mistakes: what it holds, how an answer is scored, and a few of its rows as they are run."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

QUALITY = Path(__file__).parent / "quality"
sys.path.insert(0, str(QUALITY))

from planted_bugs import BUGS, FILE, Planted  # noqa: E402
from score_planted import COLUMNS, scored, table  # noqa: E402

STEP = Planted("x", "torch", "looped", {"mistake": "two updates"}, ("Loop.train_step",), "train_step")
(LOOP,) = STEP.places
NAMED = {"target": "torch", "culprit": f"Loop.train_step (tests/quality/{LOOP})", "text": "it updates twice"}
#: Rows of several kinds that take little time.
QUICK = ("tensorflow_halves_the_rate", "torch_row_is_scaled", "torch_stops_a_gradient")


def test_it_holds_mistakes_of_every_kind_on_every_backend() -> None:
    names = [bug.name for bug in BUGS]
    assert len(set(names)) == len(names) >= 20
    assert min(Counter(bug.target for bug in BUGS).values()) >= 5
    steps = {bug.method for bug in BUGS if bug.method is not None}
    assert steps == {"train_step", "test_step", "predict_step", "on_epoch_end"}
    classes = {name for bug in BUGS for name in bug.classes}
    assert {"Near", "Halve", "Shrink", "Warming", "Gate", "Cosh"} < classes


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_each_says_what_to_open(bug: Planted) -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {argument.arg for argument in functions[bug.scenario].args.args} >= set(bug.how)
    assert bool(bug.code) != bool(bug.rows)
    source = FILE.read_text(encoding="utf-8").splitlines()
    for code, place in zip(bug.code, bug.places, strict=True):
        name = code.rpartition(".")[2]
        line = source[int(place.rpartition(":")[2]) - 1].strip()
        assert line.startswith((f"class {name}(", f"def {name}("))


def case(blame: dict[str, Any] | None, verdict: str | None = "divergent", target: str = "jax") -> dict[str, Any]:
    return {"comparisons": [{"target": target, "reference": "torch", "verdict": verdict, "blame": blame}]}


def wrong(bug: Planted, said: dict[str, Any]) -> set[str]:
    return {name for name, answer in scored(bug, said).columns.items() if answer is False}


def test_an_answer_is_right_that_names_target_class_method_and_line() -> None:
    assert wrong(STEP, case(NAMED)) == set()
    assert wrong(STEP, case({**NAMED, "culprit": None, "text": f"`Loop.train_step` ({LOOP}) updates twice"})) == set()


@pytest.mark.parametrize(
    ("blame", "columns"),
    [
        pytest.param(None, {"target", "class", "method", "line"}, id="nothing"),
        pytest.param({**NAMED, "target": None}, {"target"}, id="no target"),
        pytest.param({**NAMED, "culprit": f"Loops.train_step ({LOOP})"}, {"class"}, id="another class"),
        pytest.param({**NAMED, "culprit": f"Loop ({LOOP})"}, {"method"}, id="no method"),
        pytest.param({**NAMED, "culprit": f"Loop.train_step ({LOOP}0)"}, {"line"}, id="a longer line"),
    ],
)
def test_an_answer_is_wrong_where_one_of_them_is_missing(blame: dict[str, Any] | None, columns: set[str]) -> None:
    assert wrong(STEP, case(blame)) == columns


def test_what_is_left_to_look_at_is_not_said_to_be_at_fault() -> None:
    text = f"no part differs by itself. Still to look at: Loop.train_step ({LOOP}). Ruled out: the loss"
    assert wrong(STEP, case({"target": "torch", "text": text})) == {"class", "method", "line"}


def test_only_a_real_difference_counts_as_found() -> None:
    assert wrong(STEP, case(NAMED, verdict="leak")) == {"found"}
    assert wrong(STEP, case(NAMED, verdict=None)) == {"found"}


def test_of_data_the_rows_have_to_be_named() -> None:
    bug = Planted("x", "jax", "trained", {"swapped": True}, rows=(3, 17))
    assert wrong(bug, case({"target": "jax", "text": "rows 3 and 17 of x are other ones on jax"})) == set()
    assert wrong(bug, case({"target": "jax", "text": "row 3 of x is another one on jax"})) == {"rows"}
    assert scored(bug, case(None)).columns["class"] is None


def test_the_table_has_a_line_for_each_row_and_what_was_said_of_a_wrong_one() -> None:
    right, silent = scored(STEP, case(NAMED)), scored(STEP, case(None))
    lines = list(table([right, silent]))
    assert lines[0].split() == ["bug", *COLUMNS]
    assert lines[1].split() == ["x", "yes", "yes", "yes", "yes", "yes", "-"]
    assert lines[3].strip() == f"expected {LOOP}; said: nothing"
    assert lines[-1].split() == ["right", "2/2", "1/2", "1/2", "1/2", "1/2", "0/0"]


@pytest.mark.slow
def test_mistakes_of_several_kinds_are_found_and_named(tmp_path: Path) -> None:
    command = [sys.executable, QUALITY / "score_planted.py", "-k", " or ".join(QUICK), "--out", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads((tmp_path / "run" / "planted.json").read_text(encoding="utf-8"))
    assert {row["bug"] for row in told["bugs"]} == set(QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
