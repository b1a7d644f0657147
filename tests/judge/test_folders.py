"""Traces by folder: what is compared with what, and which traces are not comparable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import TraceError
from harness.judge.folders import common_folder, compare_folders
from harness.result.model import Result
from harness.trace import Header, Observation, Trace, compact, find_traces, write
from harness.verdict import Verdict

X = np.linspace(1.0, 2.0, 32)


def record(folder: Path, target: str, *cases: str, exact: Any = X, twins: bool = True, **header: Any) -> Path:
    """Record cases on a target into a folder of its own, as a job with one backend does."""
    for case in cases or ("one", "two"):
        place = folder / "traces" / target.replace(":", "-") / case
        for path, precision, value in (
            (place, "float32", exact.astype(np.float32)),
            (place / "twin", "float64", exact),
        ):
            if precision == "float32" or twins:
                item = Observation("recorded/x", "recorded", 0, "x", None, precision, value)
                write(path, Header(f"cases/x.py::{case}", target, precision, **header), [item])
    return folder


def compared(*folders: Path, reference: str | None = None, fail_on: Verdict = Verdict.DIVERGENT) -> Result:
    return compare_folders(folders, reference, fail_on, (), common_folder(folders))


def outcomes(result: Result) -> dict[str, str]:
    return {case.id.partition("::")[2]: case.outcome for case in result.cases}


def verdicts(result: Result) -> dict[tuple[str, str], str]:
    return {
        (case.id.partition("::")[2], comparison.target): str(comparison.verdict)
        for case in result.cases
        for comparison in case.comparisons
    }


def test_traces_of_separate_jobs_are_compared_case_by_case(tmp_path: Path) -> None:
    folders = [record(tmp_path / target, target) for target in ("jax", "torch", "tensorflow")]
    result = compared(*folders)
    assert (result.reference, result.targets) == ("torch", ["jax", "torch", "tensorflow"])
    assert (result.precision, result.exit_status) == ("both", 0)
    expected = {(case, target): "identical" for case in ("one", "two") for target in ("jax", "tensorflow")}
    assert verdicts(result) == expected
    assert outcomes(result) == {"one": "agree", "two": "agree"}


def test_one_folder_may_hold_traces_of_several_targets(tmp_path: Path) -> None:
    for target in ("torch", "jax"):
        record(tmp_path, target)
    assert verdicts(compared(tmp_path)) == {("one", "jax"): "identical", ("two", "jax"): "identical"}


def test_a_case_that_differs_is_the_one_that_is_said_to(tmp_path: Path) -> None:
    torch = record(tmp_path / "a", "torch")
    jax = record(record(tmp_path / "b", "jax", "one"), "jax", "two", exact=X * 1.01)
    result = compared(torch, jax)
    assert verdicts(result) == {("one", "jax"): "identical", ("two", "jax"): "divergent"}
    assert (outcomes(result), result.exit_status) == ({"one": "agree", "two": "differ"}, 1)


def test_fail_on_reaches_the_judgement(tmp_path: Path) -> None:
    folders = [record(tmp_path / "a", "torch"), record(tmp_path / "b", "jax", exact=X * (1 + 3e-8))]
    assert compared(*folders).exit_status == 0
    strict = compared(*folders, fail_on=Verdict.LEAK)
    assert (strict.exit_status, strict.fail_on) == (1, Verdict.LEAK)


def test_without_twins_the_precision_is_float32_and_the_basis_a_tolerance(tmp_path: Path) -> None:
    folders = [record(tmp_path / "a", "torch", twins=False), record(tmp_path / "b", "jax", exact=X * 1.01, twins=False)]
    result = compared(*folders)
    assert (result.precision, result.exit_status) == ("float32", 1)
    assert result.cases[0].comparisons[0].bases == {"tolerance": 1}


def test_paths_of_traces_are_relative_to_the_folder_above_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "a", "torch", "one")
    record(tmp_path / "b" / "c", "jax", "one")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = compared(Path("../a"), Path("../b/c"))
    assert [run.trace for run in result.cases[0].runs] == ["a/traces/torch/one", "b/c/traces/jax/one"]


# The reference


def test_torch_is_the_reference_wherever_it_stands(tmp_path: Path) -> None:
    jax, torch = record(tmp_path / "a", "jax"), record(tmp_path / "b", "torch")
    assert compared(jax, torch).reference == compared(torch, jax).reference == "torch"


def test_torch_with_options_is_torch(tmp_path: Path) -> None:
    jax, torch = record(tmp_path / "a", "jax+eager"), record(tmp_path / "b", "torch+mixed_bfloat16")
    assert compared(jax, torch).reference == "torch+mixed_bfloat16"


def test_without_torch_the_first_target_is_the_reference(tmp_path: Path) -> None:
    tensorflow, jax = record(tmp_path / "a", "tensorflow"), record(tmp_path / "b", "jax")
    assert compared(tensorflow, jax).reference == "tensorflow"
    assert compared(jax, tensorflow).reference == "jax"


def test_a_reference_that_is_named_is_taken(tmp_path: Path) -> None:
    folders = [record(tmp_path / "a", "torch"), record(tmp_path / "b", "jax:cpu")]
    result = compared(*folders, reference="jax:cpu")
    assert result.reference == "jax:cpu"
    assert verdicts(result) == {("one", "torch"): "identical", ("two", "torch"): "identical"}


@pytest.mark.parametrize("reference", ["tensorflow", "jax:cpu", ""])
def test_a_reference_that_has_no_trace_is_refused_by_name(tmp_path: Path, reference: str) -> None:
    folders = [record(tmp_path / "a", "torch"), record(tmp_path / "b", "jax")]
    with pytest.raises(TraceError, match=rf"'{reference}' has no trace here.*torch, jax"):
        compared(*folders, reference=reference)


# Cases that some targets lack


@pytest.mark.parametrize("lacking", ["jax", "torch"])
def test_a_case_that_a_target_lacks_is_reported_and_exits_with_3(tmp_path: Path, lacking: str) -> None:
    folders = [
        record(tmp_path / target, target, *(["one"] if target == lacking else ["one", "two"]))
        for target in ("torch", "jax")
    ]
    result = compared(*folders)
    assert (outcomes(result), result.exit_status) == ({"one": "agree", "two": "error"}, 3)
    (run,) = [run for run in result.cases[1].runs if run.target == lacking]
    assert (run.status, run.trace) == ("unavailable", None)
    assert run.error is not None
    assert verdicts(result) == {("one", "jax"): "identical"}


def test_targets_that_share_no_case_do_not_agree(tmp_path: Path) -> None:
    result = compared(record(tmp_path / "a", "torch", "one"), record(tmp_path / "b", "jax", "two"))
    assert (outcomes(result), result.exit_status) == ({"one": "error", "two": "error"}, 3)
    assert [[run.target for run in case.runs] for case in result.cases] == [["torch", "jax"]] * 2


def test_a_difference_in_one_case_goes_before_another_that_a_target_lacks(tmp_path: Path) -> None:
    torch, jax = record(tmp_path / "a", "torch"), record(tmp_path / "b", "jax", "one", exact=-X)
    result = compared(torch, jax)
    assert (outcomes(result), result.exit_status) == ({"one": "differ", "two": "error"}, 1)


def test_a_third_target_is_compared_where_the_second_lacks_the_case(tmp_path: Path) -> None:
    folders = [record(tmp_path / "a", "torch"), record(tmp_path / "b", "jax", "one"), record(tmp_path / "c", "numpy")]
    result = compared(*folders)
    assert verdicts(result)["two", "numpy"] == "identical"
    assert [run.status for run in result.cases[1].runs] == ["ok", "unavailable", "ok"]


# Traces that are not comparable


def test_two_traces_of_one_case_and_target_are_refused_by_their_folders(tmp_path: Path) -> None:
    folders = [record(tmp_path / "a", "torch"), record(tmp_path / "b", "jax"), record(tmp_path / "c", "jax", "two")]
    with pytest.raises(TraceError, match=r"two traces of cases/x.py::two on jax") as caught:
        compared(*folders)
    for place in ("b", "c"):
        assert repr(str(tmp_path / place / "traces" / "jax" / "two")) in str(caught.value)


def test_one_folder_named_twice_is_refused(tmp_path: Path) -> None:
    record(tmp_path, "torch")
    with pytest.raises(TraceError, match="two traces"):
        compared(tmp_path, tmp_path)


def test_traces_of_different_seeds_are_refused_by_seed(tmp_path: Path) -> None:
    torch, jax = record(tmp_path / "a", "torch", seed=1), record(tmp_path / "b", "jax", "two", seed=23)
    with pytest.raises(TraceError, match=r"cases/x.py::two were made with different seeds: 1, 23"):
        compared(torch, jax)


def test_cases_may_have_seeds_of_their_own(tmp_path: Path) -> None:
    for target in ("torch", "jax"):
        record(record(tmp_path / target, target, "one", seed=1), target, "two", seed=2)
    assert compared(tmp_path / "torch", tmp_path / "jax").exit_status == 0


def test_a_run_that_never_began_has_no_seed_to_disagree(tmp_path: Path) -> None:
    torch = record(tmp_path / "a", "torch", "one", seed=5)
    jax = record(tmp_path / "b", "jax", "one", status="error", error="no such case")
    assert compared(torch, jax).exit_status == 3


def test_traces_of_different_versions_of_the_harness_are_refused(tmp_path: Path) -> None:
    torch, jax = record(tmp_path / "a", "torch", "one"), record(tmp_path / "b", "jax", "one")
    index = jax / "traces" / "jax" / "one" / "trace.json"
    data = json.loads(index.read_text(encoding="utf-8"))
    index.write_text(json.dumps(data | {"harness": "99.0"}), encoding="utf-8")
    with pytest.raises(TraceError, match=r"different versions of the harness: .*99\.0"):
        compared(torch, jax)


def test_traces_of_different_case_files_are_refused(tmp_path: Path) -> None:
    torch = record(tmp_path / "a", "torch", "one", source="0a1b2c3d4e5f" + "0" * 52)
    jax = record(tmp_path / "b", "jax", "one", source="f" * 64)
    words = r"different versions of its case file, by sha256: 0a1b2c3d4e5f, f{12}\. Record them again .* one commit"
    with pytest.raises(TraceError, match=words):
        compared(torch, jax)


def test_a_trace_that_does_not_tell_its_case_file_is_compared(tmp_path: Path) -> None:
    torch, jax = record(tmp_path / "a", "torch", "one", source="0" * 64), record(tmp_path / "b", "jax", "one")
    assert compared(torch, jax).exit_status == 0


def test_traces_of_shared_and_of_native_randomness_are_refused(tmp_path: Path) -> None:
    torch = record(tmp_path / "a", "torch", "one", environment={"randomness": "shared"})
    jax = record(tmp_path / "b", "jax", "one", environment={"randomness": "native"})
    with pytest.raises(TraceError, match="different randomness: native, shared"):
        compared(torch, jax)


def test_traces_of_another_schema_are_refused(tmp_path: Path) -> None:
    torch, jax = record(tmp_path / "a", "torch", "one"), record(tmp_path / "b", "jax", "one")
    index = jax / "traces" / "jax" / "one" / "trace.json"
    index.write_text(json.dumps(json.loads(index.read_text(encoding="utf-8")) | {"schema": 2}), encoding="utf-8")
    with pytest.raises(TraceError, match=r"has schema 2, and this version of the harness reads schema 1\. Record"):
        compared(torch, jax)


@pytest.mark.parametrize("bad", ["gone", "empty", "damaged"])
def test_a_folder_that_cannot_be_read_is_refused_beside_those_that_can(tmp_path: Path, bad: str) -> None:
    torch = record(tmp_path / "a", "torch")
    (tmp_path / "empty").mkdir()
    (record(tmp_path / "damaged", "jax", "one") / "traces" / "jax" / "one" / "trace.json").write_text("{")
    with pytest.raises(TraceError, match=bad):
        compared(torch, tmp_path / bad)


def test_a_twin_is_never_taken_for_a_trace(tmp_path: Path) -> None:
    result = compared(record(tmp_path / "a", "torch", "one"), record(tmp_path / "b", "jax", "one"))
    assert [run.target for run in result.cases[0].runs] == ["torch", "jax"]
    assert [comparison.bases for comparison in result.cases[0].comparisons] == [{"twins": 1}]


def test_repeats_are_told_by_the_randomness_of_the_result(tmp_path: Path) -> None:
    folders = [record(tmp_path / target, target, "one", twins=False) for target in ("torch", "jax")]
    assert compared(*folders).randomness == "shared"
    for folder, target in zip(folders, ("torch", "jax"), strict=True):
        one = folder / "traces" / target / "one"
        (one / "repeats" / "01").mkdir(parents=True)
        for file in ("trace.json", "arrays.safetensors"):
            shutil.copy(one / file, one / "repeats" / "01")
    result = compared(*folders)
    assert result.randomness == "native"
    assert len(result.cases) == 1


# Compact recordings


def pinned(folder: Path, source: Path) -> Path:
    """The traces of a folder as one compact file."""
    file = folder / "golden.gz"
    compact.write(file, [Trace(place) for place in find_traces(source)])
    return file


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "identical"), (1.01, "divergent")])
def test_a_compact_recording_is_held_against_traces_of_another_target(
    tmp_path: Path, factor: float, verdict: str
) -> None:
    golden = pinned(tmp_path, record(tmp_path / "torch", "torch"))
    result = compared(golden, record(tmp_path / "jax", "jax", exact=X * factor))
    assert verdicts(result) == {("one", "jax"): verdict, ("two", "jax"): verdict}
    traces = {run.target: run.trace for case in result.cases for run in case.runs}
    assert traces["torch"] is None  # no path names one of the traces in a file
    assert traces["jax"] is not None


def test_it_outlives_an_edit_of_its_case_file_and_another_version_of_the_harness(tmp_path: Path) -> None:
    golden = pinned(tmp_path, record(tmp_path / "torch", "torch", source="a" * 64))
    jax = record(tmp_path / "jax", "jax", source="b" * 64)
    for index in jax.rglob("trace.json"):
        index.write_text(json.dumps({**json.loads(index.read_text()), "harness": "9.9"}))
    assert outcomes(compared(golden, jax)) == {"one": "agree", "two": "agree"}
    with pytest.raises(TraceError, match="different versions"):
        compared(tmp_path / "torch", jax)


def test_it_does_not_outlive_another_seed(tmp_path: Path) -> None:
    golden = pinned(tmp_path, record(tmp_path / "torch", "torch", seed=1))
    with pytest.raises(TraceError, match="different seeds: 1, 2"):
        compared(golden, record(tmp_path / "jax", "jax", seed=2))


def test_the_same_target_is_compared_with_what_it_was(tmp_path: Path) -> None:
    golden = pinned(tmp_path, record(tmp_path / "old", "torch"))
    result = compared(golden, record(tmp_path / "new", "torch", exact=X * 2))
    assert result.golden is not None
    assert verdicts(result) == {("one", "torch"): "divergent", ("two", "torch"): "divergent"}


def test_a_case_that_one_side_alone_has_is_told(tmp_path: Path) -> None:
    golden = pinned(tmp_path, record(tmp_path / "torch", "torch", "one"))
    assert outcomes(compared(golden, record(tmp_path / "jax", "jax", "one", "two"))) == {"one": "agree", "two": "error"}


def test_another_shape_is_a_mismatch_that_says_both(tmp_path: Path) -> None:
    golden = pinned(tmp_path, record(tmp_path / "torch", "torch", "one"))
    result = compared(golden, record(tmp_path / "jax", "jax", "one", exact=X.reshape(8, 4)))
    (comparison,) = result.cases[0].comparisons
    assert comparison.first is not None
    reason = comparison.first.to_json()["reason"]
    assert "float32 of shape (8, 4)" in reason
    assert "float32 of shape (32,)" in reason
