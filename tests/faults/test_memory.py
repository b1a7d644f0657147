"""Large arrays are compared piece by piece: what that needs of memory, and that it changes no verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import trace
from harness.judge import arrays
from harness.judge.pair import judge_key
from harness.judge.verdict import judge
from harness.trace import Header, Observation, Trace, elements
from harness.verdict import Verdict

KEY = "recorded/x"
#: Compares two traces, and says by how many bytes that raised the most memory that the process ever had.
COMPARING = """
import json, resource, sys
from pathlib import Path
from harness.judge.compare import compare
from harness.trace import Trace

def most():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

before = most()
compared = compare(*(Trace(Path(folder)) for folder in sys.argv[1:]))
print(json.dumps([int(compared.verdict), most() - before]))
"""


def observed(array: Any) -> Observation:
    return Observation(KEY, "recorded", 0, "x", None, array.dtype.name, array)


def record(folder: Path, array: Any, twin: Any = None) -> Trace:
    trace.write(folder, Header("x.py::it", folder.name, "float32"), [observed(array)])
    if twin is not None:
        trace.write(folder / trace.TWIN, Header("x.py::it", folder.name, "float64"), [observed(twin)])
    return Trace(folder)


@pytest.fixture(scope="module")
def large() -> Any:
    """An array of 32 MiB in float32."""
    return np.random.default_rng(0).standard_normal((1 << 13, 1 << 10), dtype=np.float32)


@pytest.mark.parametrize(
    ("factor", "verdict", "times"),
    [(1.0, Verdict.IDENTICAL, 1), (1.0 + 2**-20, Verdict.DIVERGENT, 1)],
    ids=["equal", "unequal"],
)
def test_a_large_array_needs_little_memory(
    project: Any, large: Any, factor: float, verdict: Verdict, times: float
) -> None:
    """Both sides and their twins are six times the array itself."""
    for side, by in (("a", 1.0), ("b", factor)):
        values = large * np.float32(by)
        record(project.folder / side, values, values.astype(np.float64) * (1 + 1e-8))
    done = project.python("-c", COMPARING, "a", "b")
    found, needed = json.loads(done.stdout)
    assert found == verdict
    assert needed < times * large.nbytes


def values(*more: float) -> Any:
    return np.concatenate([np.random.default_rng(1).normal(size=100), more]).astype(np.float32)


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes everything large that has more than 7 elements."""
    for module in (arrays, elements):
        monkeypatch.setattr(module, "PIECE", 7)


SIDES = [
    pytest.param([values()], [values()], id="equal"),
    pytest.param([values()], [values() * np.float32(1.001)], id="unequal"),
    pytest.param([values()], [np.r_[values()[:-1], np.float32(np.nan)]], id="NaN on one side"),
    pytest.param([values(np.nan, np.inf)], [values(np.nan, np.inf)], id="NaN and infinity on both sides"),
    pytest.param([values(-1e9)], [values(-1e9)], id="beside a large one"),
    pytest.param([values(1e-40)], [values(0.0)], id="as good as zero"),
    pytest.param([np.arange(100)], [np.arange(100)], id="equal integers"),
    pytest.param([np.arange(100)], [np.arange(100) // 99 + np.arange(100)], id="unequal integers"),
]
SIDES += [
    pytest.param(
        *([own, own.astype(np.float64) * (1 + error)] for (own,), error in zip(sides.values, errors, strict=True)),
        id=f"{sides.id}, with twins that are {what}",
    )
    for sides in SIDES[:6]
    for what, errors in {"equal": (1e-8, 1e-8), "apart": (1e-8, 2e-8), "coarse": (1e-8, 1e-3)}.items()
]


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize(("ours", "theirs"), SIDES)
def test_pieces_are_judged_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Sequence[Any], theirs: Sequence[Any]
) -> None:
    in_pieces = judge_key(record(tmp_path / "a", *ours), record(tmp_path / "b", *theirs), KEY)
    monkeypatch.undo()
    twins = (None if len(side) == 1 else observed(side[1]) for side in (ours, theirs))
    whole = judge(observed(ours[0]), observed(theirs[0]), *twins)
    for name in ("d32", "d64", "amplification", "bound", "explained", "claimed"):
        found, expected = getattr(in_pieces, name), getattr(whole, name)
        assert found == (None if expected is None else pytest.approx(expected, rel=1e-12))
        in_pieces = replace(in_pieces, **{name: expected})
    if in_pieces.cause is not None and whole.cause is not None:
        assert type(in_pieces.cause) is type(whole.cause)
        in_pieces = replace(in_pieces, cause=whole.cause)
    assert in_pieces == whole


@pytest.mark.usefixtures("in_pieces")
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    sides = [record(tmp_path / name, values()) for name in "ab"]
    file = tmp_path / "a" / trace.model.ARRAYS
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(trace.reading.TraceError):
        judge_key(*sides, KEY)
