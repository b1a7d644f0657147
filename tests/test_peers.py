"""What other tools of this kind get wrong, and that this one does not: end to end, from a case to the exit status.

Each was read in the code of a tool, or in a fix of it. What a unit test proves is not proved again here:

 1. What is missing on one side is skipped: `TestAsARun`, and test_locate.py (an observation that one side lacks).
 2. The wait for a worker has no deadline until it has answered once: test_pool.py (a worker that never comes up).
 3. The backward check compares forward outputs; only the first step is compared; only means are: `TestAsARun`, and
    test_locate.py (a wrong gradient, the last of many steps) and test_verdict.py (a permutation, mean and spread).
 4. NaN on one side passes: `TestAsARun`, and test_verdict.py (a special value on one side).
 5. The tolerance grows with the size of an array, or a threshold is inverted: `TestAsARun`, and test_verdict.py (the
    bound does not grow, one percent right).
 6. Stored values are rounded: `TestAsARun`, and test_trace.py (stored values are not rounded).
 7. An option is read and never used, or a documented threshold is not the one in the code: here.
 8. A fixed seed hides that half the runs fail: here.
 9. The instrument changes the result: worker/checks/check_record.py (recording changes no weight and no log).
10. A reproducer that does not reproduce: test_blame.py (each that is offered is run once more).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from harness.cli import options as cli
from harness.judge import verdict
from harness.pytest_plugin.settings import Settings
from harness.session.options import Options
from harness.suite import pytest_addoption

ROOT = Path(__file__).parents[1]

FAULTS = '''
import keras
import numpy as np
import pytest

from harness import Fit, Forward, case

BACKEND = keras.backend.backend()
faulty = BACKEND == "jax"


@case
def missing(record):
    record("a", 1.0)
    if not faulty:
        record("b", 2.0)


@case
def gradient(rng):
    """The forward pass is right to the bit."""

    def square(x):
        y = x * x
        return keras.ops.stop_gradient(y) + 1.001 * (y - keras.ops.stop_gradient(y)) if faulty else y

    return Forward(square, rng.normal(size=(4, 5)).astype("float32"))


class LateSGD(keras.optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        late = keras.ops.cast(self.iterations >= 5, variable.dtype)
        super().update_step(gradient, variable, learning_rate * (1 + 0.01 * late if faulty else 1))


@case
def last_step(rng):
    """Six steps, of which the last is wrong."""
    model = keras.Sequential([keras.layers.Dense(3)])
    model.compile(LateSGD(0.1), "mse")
    return Fit(model, rng.normal(size=(24, 4)), rng.normal(size=(24, 3)), batch_size=8, epochs=2)


@case
def permutation(rng, record):
    """Mean and spread are those of the reference."""
    values = rng.normal(size=50)
    record("x", values[::-1] if faulty else values)


@case
def not_a_number(rng, record):
    values = rng.normal(size=(20, 20)).astype("float32")
    if faulty:
        values[7, 7] = np.nan
    record("x", values)


@case
def one_in_many(rng, record):
    values = rng.normal(size=300_000).astype("float32")
    if faulty:
        values[1234] += 0.01
    record("x", values)


@case
def one_percent_right(rng, record):
    values = rng.normal(size=100).astype("float32")
    record("x", np.where(np.arange(100) == 0, values, 1.01 * values) if faulty else values)


@case
def rounded(rng, record):
    values = rng.normal(size=100)
    record("x", values.round(5) if faulty else values)
'''

#: Each fault and the first difference that the harness is to name.
PLACES = {
    "missing": "recorded/b",
    "gradient": "gradient/0/input",
    "last_step": "update/5/sequential/dense/kernel",
    "permutation": "recorded/x",
    "not_a_number": "recorded/x",
    "one_in_many": "recorded/x",
    "one_percent_right": "recorded/x",
    "rounded": "recorded/x",
}


@pytest.fixture(scope="module")
def faults(make_warm_project: Callable[[], Any]) -> Any:
    """A run over faults that jax alone has."""
    project = make_warm_project()
    project.write("cases/faults.py", FAULTS)
    project.process = project.harness("run", "--targets", "torch,jax", "--out", "out")
    return project


@pytest.mark.slow
class TestAsARun:
    @pytest.mark.parametrize("name", PLACES)
    def test_a_fault_that_other_comparisons_pass_is_found_in_its_place(self, faults: Any, name: str) -> None:
        case = faults.cases()[name]
        (comparison,) = case["comparisons"]
        assert case["outcome"] == "differ"
        assert comparison["first"]["key"] == PLACES[name]
        assert comparison["not_compared"] == 0

    def test_every_fault_is_reported_and_the_run_fails(self, faults: Any) -> None:
        assert faults.process.returncode == 1
        assert f"{len(PLACES)} differ." in faults.process.stdout
        told = " ".join(line for line in faults.process.stdout.splitlines() if line.startswith("  case "))
        assert [name for name in PLACES if f"cases/faults.py::{name}" not in told] == []


SOMETIMES = """
from harness import case


@case
def sometimes(rng, record, target):
    x = rng.normal()
    record("x", -x if x > 0 and target.backend == "jax" else x)
"""


@pytest.mark.slow
def test_what_fails_for_half_of_all_seeds_fails_for_another_seed(project: Any) -> None:
    project.write("cases/x.py", SOMETIMES)
    outcomes = set()
    for seed in range(6):
        project.harness("run", "--targets", "torch,jax", "--seed", str(seed), "--out", f"{seed}")
        outcomes.add(project.cases(str(seed))["sometimes"]["outcome"])
    assert outcomes == {"agree", "differ"}


def test_no_argument_of_a_command_is_read_and_never_used() -> None:
    functions = [node for tree in _trees("cli") for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    options = [decorator for function in functions for decorator in function.decorator_list]
    assert len(options) > 20
    unused = [
        f"{function.name}: {argument.arg}"
        for function in functions
        for argument in [*function.args.args, *function.args.kwonlyargs]
        if argument.arg not in ("self", *_names(function.body)) and not argument.arg.startswith("_")
    ]
    assert unused == []


def test_no_option_of_the_plugin_is_registered_and_never_read() -> None:
    parser: Any = _Parser()
    pytest_addoption(parser)
    keys = {name.removeprefix("--").replace("-", "_") for name in parser.options}
    assert len(keys) > 5
    compared = {node for tree in _trees("pytest_plugin") for node in ast.walk(tree) if isinstance(node, ast.Compare)}
    asked = {node.left for node in compared if isinstance(node.ops[0], (ast.In, ast.NotIn))}
    calls = {node for tree in _trees("pytest_plugin") for node in ast.walk(tree) if isinstance(node, ast.Call)}
    asked |= {call.args[0] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "get"}
    assert keys - {node.value for node in asked if isinstance(node, ast.Constant)} == set()


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Options, {"options"}),
        (cli.What, {"self", "what"}),
        (cli.How, {"self", "how"}),
        (cli.Judging, {"judging"}),
        (cli.Telling, {"self", "telling"}),
        (Settings, {"settings", "chosen"}),
    ],
)
def test_no_option_of_a_run_is_set_and_never_looked_at(kind: Any, names: set[str]) -> None:
    """Looked at is an attribute of what is called so, and not of anything that has an attribute of that name."""
    rooms = ("blame", "cli", "pytest_plugin", "session") if kind in (Options, Settings) else ("cli",)
    looked_at = {
        node.attr
        for tree in _trees(*rooms)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _called(node.value) in names
    }
    assert {field.name for field in fields(kind)} - looked_at == set()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("RESIDUE", r"d64 ≤ (\d+) · a · u64"),
        ("RESIDUE", r"it is within (\d+) · u64 of nothing beside the largest value"),
        ("SLACK", r"d64 ≤ (\d+) · a · u32"),
        ("SLACK_FEW", r"a · u32 \((\d+) for fewer than"),
        ("FEW", r"for fewer than (\d+) elements"),
        ("COARSER", r"one of e_A, e_B is more than (\d+) times the other"),
        ("SLACK_LOW", r"the error is at most (\d+) · 2⁻⁸ times"),
        ("BLIND", r"The bound is (\d+) · u · \(1 \+ training steps"),
        ("NOISE", r"The bound is (\d+) times the median distance"),
        ("QUIET", r"and never less than 10 times (\d+) u"),
        ("BLINDEST", r"and at most (0\.\d+), u being"),
    ],
)
def test_a_threshold_is_the_one_that_is_documented(name: str, sentence: str) -> None:
    text = " ".join((ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8").split())
    found = re.findall(sentence, text)
    assert found, f"docs/verdicts.md no longer says {sentence!r}"
    assert {float(number) for number in found} == {getattr(verdict, name)}


class _Parser:
    """A parser of pytest's, as far as options are registered with it."""

    def __init__(self) -> None:
        self.options: list[str] = []

    def getgroup(self, *_: str) -> _Parser:
        return self

    def addoption(self, name: str, **_: Any) -> None:
        self.options.append(name)

    def addini(self, *_: Any, **__: Any) -> None: ...


def _trees(*rooms: str) -> list[ast.Module]:
    """The modules of some rooms of the harness."""
    paths = [path for room in rooms for path in sorted((ROOT / "harness" / room).rglob("*.py"))]
    assert paths
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def _called(node: ast.expr) -> str:
    """What a variable or an attribute is called, without the underscores of what is private."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.lstrip("_")


def _names(body: list[ast.stmt]) -> set[str]:
    return {node.id for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)}
