"""Golden traces: old against new, what changed between them, and who moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import TraceError
from harness.judge.folders import compare_folders
from harness.result.golden import Change
from harness.result.model import Result
from harness.trace import Header, Observation, Status, write
from harness.verdict import Verdict

X = np.linspace(1.0, 2.0, 32)
KERAS = {"keras": "3.12.4", "numpy": "2.4.6"}


def record(
    folder: Path,
    target: str,
    *values: Any,
    case: str = "it",
    status: Status = "ok",
    source: str | None = "a" * 64,
    seed: int = 7,
    versions: dict[str, str] = KERAS,
    harness: str | None = None,
    **environment: Any,
) -> Path:
    """Record a case on a target: the values of `first`, `second`, ..., each 1 to 2 unless given."""
    place = folder / "traces" / target / case
    observed = values or (X,)
    for path, precision in ((place, "float32"), (place / "twin", "float64")):
        items = [
            Observation(f"forward/0/{name}/output", "forward", 0, f"{name}/output", name, precision, value)
            for name, array in zip(("first", "second"), observed, strict=False)
            for value in [np.asarray(array, precision)]
        ]
        backend = {target: "2.0", **versions}
        made = {"backend": target, "versions": backend, "generator_seed": seed, **environment}
        write(
            path, Header(f"cases/x.py::{case}", target, precision, status, None, 1.0, seed, made, source=source), items
        )
        if harness is not None:
            index = path / "trace.json"
            data = json.loads(index.read_text(encoding="utf-8"))
            index.write_text(json.dumps(data | {"harness": harness}), encoding="utf-8")
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return tmp_path / "old"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new"


def compared(*folders: Path, reference: str | None = None, root: Path = Path("/")) -> Result:
    return compare_folders(folders, reference, Verdict.DIVERGENT, (), root)


def verdicts(result: Result) -> dict[tuple[str, str], str]:
    return {(item.target, item.reference): str(item.verdict) for case in result.cases for item in case.comparisons}


def blamed(result: Result) -> dict[str, tuple[str | None, str]]:
    comparisons = [item for case in result.cases for item in case.comparisons]
    return {item.target: (item.blame.target, item.blame.text) for item in comparisons if item.blame is not None}


# What is compared with what


def test_each_target_is_compared_with_its_own_old_trace(old: Path, new: Path) -> None:
    for target, before in (("torch", X), ("jax", X * 3)):
        record(old, target, before)
        record(new, target, before)
    result = compared(old, new)
    assert verdicts(result) == {("torch", "torch (old)"): "identical", ("jax", "jax (old)"): "identical"}
    assert (result.reference, sorted(result.targets), result.exit_status) == ("old", ["jax", "torch"], 0)
    assert [(run.target, run.status) for run in result.cases[0].runs] == [
        ("jax", "ok"),
        ("jax (old)", "ok"),
        ("torch", "ok"),
        ("torch (old)", "ok"),
    ]
    assert blamed(result) == {}


def test_the_first_folder_is_the_old_one(old: Path, new: Path) -> None:
    record(old, "jax", X)
    record(new, "jax", X * 2)
    result = compared(old, new)
    assert (result.exit_status, result.precision) == (1, "both")
    first = result.cases[0].comparisons[0].first
    assert first is not None
    assert first.evidence is not None
    assert (first.evidence.ours, first.evidence.theirs) == (4.0, 2.0)
    assert (first.key, first.layer, first.phase) == ("forward/0/first/output", "first", "forward")


def test_a_rounding_of_the_last_bit_is_no_move(old: Path, new: Path) -> None:
    record(old, "jax", X)
    place = record(new, "jax", X) / "traces" / "jax" / "it"
    nudged = np.nextafter(X.astype("float32"), np.float32(9))
    item = Observation("forward/0/first/output", "forward", 0, "first/output", "first", "float32", nudged)
    write(place, Header("cases/x.py::it", "jax", "float32", seed=7), [item])
    result = compared(old, new)
    assert (verdicts(result), result.exit_status) == ({("jax", "jax (old)"): "rounding"}, 0)
    assert blamed(result) == {}


def test_what_a_case_declares_between_backends_says_nothing_between_old_and_new(old: Path, new: Path) -> None:
    for folder, value in ((old, X), (new, X * 2)):
        place = record(folder, "jax", value) / "traces" / "jax" / "it" / "trace.json"
        data = json.loads(place.read_text(encoding="utf-8"))
        declared = {"verdict": "divergent", "reason": "it is so", "where": "*", "link": None}
        place.write_text(json.dumps(data | {"expect": {"jax": declared}}), encoding="utf-8")
    result = compared(old, new)
    assert [case.outcome for case in result.cases] == ["differ"]
    assert result.cases[0].comparisons[0].known == []
    assert compared(old, record(new, "jax", X)).exit_status == 0


@pytest.mark.parametrize("only", ["old", "new"])
def test_a_case_in_one_of_the_folders_is_not_compared_and_not_passed_over(old: Path, new: Path, only: str) -> None:
    for folder in (old, new):
        record(folder, "jax")
    record({"old": old, "new": new}[only], "jax", case="another")
    result = compared(old, new)
    assert {case.id.partition("::")[2]: case.outcome for case in result.cases} == {"it": "agree", "another": "error"}
    (lacking,) = [run for case in result.cases for run in case.runs if run.status == "unavailable"]
    assert lacking.target == ("jax" if only == "old" else "jax (old)")
    assert result.exit_status == 3


def test_a_case_that_no_longer_runs_is_an_error(old: Path, new: Path) -> None:
    record(old, "jax", X, X)
    record(new, "jax", X, status="error")
    result = compared(old, new)
    assert (result.exit_status, result.cases[0].comparisons[0].not_compared) == (3, 1)


def test_paths_of_traces_resolve_from_the_folder_they_are_relative_to(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        record(tmp_path / "real" / folder, "jax")
    (tmp_path / "real" / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    above = tmp_path / "link" / ".."  # which is `real`
    result = compared(above / "old", above / "new", root=tmp_path / "out")
    assert [(tmp_path / "out" / str(run.trace)).resolve() for run in result.cases[0].runs] == [
        tmp_path / "real" / folder / "traces" / "jax" / "it" for folder in ("new", "old")
    ]


# What is refused


def test_folders_of_the_same_targets_but_of_other_cases_are_one_recording(old: Path, new: Path) -> None:
    for target in ("torch", "jax"):
        record(old, target, case="one")
        record(new, target, case="two")
    result = compared(old, new)
    assert (result.golden, result.reference, result.exit_status) == (None, "torch", 0)


def test_folders_that_share_some_targets_are_refused_with_the_remedy(old: Path, new: Path) -> None:
    for target in ("torch", "jax"):
        record(old, target)
    record(new, "jax")
    with pytest.raises(TraceError, match="two folders that hold the same targets, and no more"):
        compared(old, new)
    assert compared(old / "traces" / "jax", new).exit_status == 0


def test_three_recordings_of_one_target_are_refused(old: Path, new: Path, tmp_path: Path) -> None:
    folders = [record(folder, "jax") for folder in (old, new, tmp_path / "newest")]
    with pytest.raises(TraceError, match="two traces"):
        compared(*folders)


def test_a_reference_is_refused(old: Path, new: Path) -> None:
    for folder in (old, new):
        record(folder, "jax")
    with pytest.raises(TraceError, match=r"--reference jax says nothing\. Leave it out"):
        compared(old, new, reference="jax")


def test_other_seeds_and_another_randomness_are_refused(old: Path, new: Path, tmp_path: Path) -> None:
    record(old, "jax")
    with pytest.raises(TraceError, match="different seeds: 7, 8"):
        compared(old, record(new, "jax", seed=8))
    with pytest.raises(TraceError, match="different randomness: native, shared"):
        compared(old, record(tmp_path / "native", "jax", randomness="native"))


# What changed


def test_what_changed_is_said_once_with_its_targets(old: Path, new: Path) -> None:
    for case in ("it", "other"):
        for target in ("jax", "torch"):
            record(old, target, case=case, python="3.11.7", interpreter="/old/python", threads={"intra_op": 2})
            moved = {"torch": "2.1"} if target == "torch" else {}
            made = {"versions": {**KERAS, "keras": "3.15.1", **moved}, "python": "3.11.7"}
            record(new, target, case=case, **made, interpreter="/new/python", threads={})
    golden = compared(old, new).golden
    assert golden is not None
    assert (golden.old, golden.new) == (str(old), str(new))
    assert golden.changed == (
        Change("keras", "3.12.4", "3.15.1", ("jax", "torch")),
        Change("threads.intra_op", "2", "not told", ("jax", "torch")),
        Change("torch", "2.0", "2.1", ("torch",)),
    )
    assert golden.edited == ()


def test_another_version_of_the_harness_is_explained_and_not_refused(old: Path, new: Path) -> None:
    record(old, "jax", harness="0.0.9")
    result = compared(old, record(new, "jax", harness="0.2.0"))
    assert result.exit_status == 0
    assert result.golden is not None
    assert result.golden.changed == (Change("harness", "0.0.9", "0.2.0", ("jax",)),)


def test_a_case_file_that_changed_is_named(old: Path, new: Path) -> None:
    for folder, source in ((old, "a" * 64), (new, "b" * 64)):
        record(folder, "jax", case="edited", source=source)
        record(folder, "jax", case="same")
    record(old, "jax", case="older", source=None)
    record(new, "jax", case="older")
    golden = compared(old, new).golden
    assert golden is not None
    assert golden.edited == ("cases/x.py::edited",)


def test_a_run_that_never_began_says_nothing_of_what_it_was_made_with(old: Path, new: Path) -> None:
    record(old, "jax")
    place = new / "traces" / "jax" / "it"
    write(place, Header("cases/x.py::it", "jax", "float32", "unavailable", "the worker did not start"), [])
    result = compared(old, new)
    assert result.golden is not None
    assert (result.golden.changed, result.exit_status) == ((), 3)


# Who moved


def moved(old: Path, new: Path, **factors: float) -> Result:
    """Three targets, of which some moved by a factor, and their backend or Keras was another."""
    for target in ("jax", "tensorflow", "torch"):
        record(old, target, X)
        versions = KERAS if len(factors) < 3 else {**KERAS, "keras": "3.15.1"}
        backend = {target: "2.1"} if target in factors else {}
        record(new, target, X * factors.get(target, 1.0), versions={**versions, **backend})
    return compared(old, new)


def test_the_backend_that_moved_alone_is_blamed_with_what_changed_there(old: Path, new: Path) -> None:
    text = "jax and tensorflow did not move. What changed on torch alone: torch 2.0 → 2.1"
    assert blamed(moved(old, new, torch=1.01)) == {"torch": ("torch", text)}


def test_where_nothing_changed_on_the_one_that_moved_alone_it_is_what_changed_on_others_too(
    old: Path, new: Path, tmp_path: Path
) -> None:
    for target in ("jax", "torch"):
        record(old, target, X)
        record(new, target, X * (1.01 if target == "torch" else 1), versions={**KERAS, "keras": "3.15.1"})
        record(tmp_path / "same", target, X * (1.01 if target == "torch" else 1))
    text = "jax did not move. What changed on torch, and on others too: keras 3.12.4 → 3.15.1"
    assert blamed(compared(old, new)) == {"torch": ("torch", text)}
    text = "jax did not move. Nothing that the traces name changed on torch"
    assert blamed(compared(old, tmp_path / "same")) == {"torch": ("torch", text)}


def test_targets_that_moved_alike_point_at_what_they_share(old: Path, new: Path) -> None:
    result = moved(old, new, jax=1.01, tensorflow=1.01, torch=1.01)
    text = (
        "jax, tensorflow and torch moved, and agree with one another now. "
        "What changed on all of them: keras 3.12.4 → 3.15.1; your own code may have changed too"
    )
    assert blamed(result) == dict.fromkeys(("jax", "tensorflow", "torch"), (None, text))


def test_targets_that_moved_each_in_another_way_are_said_to(old: Path, new: Path) -> None:
    result = moved(old, new, jax=1.01, tensorflow=1.02, torch=1.03)
    text = "jax, tensorflow and torch moved, each in another way"
    assert set(blamed(result).values()) == {(None, text)}


def test_two_of_three_that_moved_are_named(old: Path, new: Path) -> None:
    text = "jax and torch moved; tensorflow did not"
    assert blamed(moved(old, new, jax=1.01, torch=1.01)) == dict.fromkeys(("jax", "torch"), (None, text))


def test_one_target_by_itself_tells_nobody_apart(old: Path, new: Path) -> None:
    record(old, "torch", X)
    result = compared(old, record(new, "torch", X * 2))
    assert blamed(result)["torch"][0] is None
    assert "No other target was recorded twice" in blamed(result)["torch"][1]


def test_targets_that_gained_an_observation_moved_alike(old: Path, new: Path) -> None:
    for target in ("torch", "jax"):
        record(old, target, X)
        record(new, target, X, X)
    result = compared(old, new)
    assert set(verdicts(result).values()) == {"mismatch"}
    assert "agree with one another now" in blamed(result)["jax"][1]


def test_targets_that_lost_an_observation_moved_alike_and_one_that_gained_it_did_not(
    old: Path, new: Path, tmp_path: Path
) -> None:
    for target in ("torch", "jax"):
        record(old, target, X, X)
        record(new, target, X)
        record(tmp_path / "apart", target, *((X,) if target == "jax" else (X * 2, X)))
    assert "agree with one another now" in blamed(compared(old, new))["jax"][1]
    assert "torch moved, each in another way" in blamed(compared(old, tmp_path / "apart"))["jax"][1]


def test_where_the_first_difference_is_stands_in_the_blame(old: Path, new: Path) -> None:
    for target in ("torch", "jax"):
        record(old, target, X, X)
        record(new, target, X, X * (1.01 if target == "jax" else 1))
    (blame,) = [item.blame for item in compared(old, new).cases[0].comparisons if item.blame is not None]
    assert (blame.target, blame.layer, blame.phase, blame.step, blame.confirmed) == (
        "jax",
        "second",
        "forward",
        0,
        False,
    )
    assert (blame.repro, blame.op) == (None, None)


def test_the_result_holds_it_all_as_json(old: Path, new: Path) -> None:
    data = json.loads(json.dumps(moved(old, new, torch=1.01).to_json()))
    assert data["golden"] == {
        "old": str(old),
        "new": str(new),
        "changed": [{"what": "torch", "old": "2.0", "new": "2.1", "targets": ["torch"]}],
        "edited": [],
    }
    assert [item["reference"] for item in data["cases"][0]["comparisons"]] == [
        f"{target} (old)" for target in data["targets"]
    ]
