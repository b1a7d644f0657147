"""The doors: every call that is wrong ends with status 2 and one paragraph, and what is shown is harmless."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.cli import main
from harness.report.console import Live
from harness.result.model import CaseResult
from harness.trace import write
from harness.version import __version__

CASE = "from harness import case\n@case\ndef it(record): record('x', 1)\n"


def check_refusal(process: subprocess.CompletedProcess[str], words: list[str]) -> None:
    """A call was refused: status 2, one paragraph that has the words, no traceback, and nothing on standard output."""
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    message = process.stderr.partition("Error: ")[2].rstrip("\n")
    assert message
    assert "\n\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.fixture(scope="module")
def office(make_project: Callable[[], Any]) -> Any:
    """A project in which nothing has to run, for calls that are refused."""
    project = make_project()
    project.write("cases/x.py", CASE)
    project.write("file", "")
    project.write("empty/.keep", "")
    project.write("nothing/x.py", "# nothing of interest")
    project.write("foreign/result.json", '{"schema": 99}')
    project.write("hollow/result.json", '{"schema": 1}')
    project.write("broken/result.json", "{")
    project.write("damaged/trace.json", '{"schema": 1}')
    return project


WRONG_CALLS = {
    "an unknown target": (["run", "--targets", "jax,theano"], ["'theano'", "torch, tensorflow, jax"]),
    "a malformed target": (["run", "--targets", "jax:"], ["'jax:'", "is not a target"]),
    "a device that is not here": (["run", "--targets", "torch:cuda:63"], ["cuda:63", "It sees: cpu:0"]),
    "an option that a backend does not have": (["run", "--targets", "torch+graph"], ["'graph'", "eager, jit"]),
    "options that exclude each other": (["run", "--targets", "jax+eager+jit"], ["'eager' and 'jit'"]),
    "no target": (["run", "--targets", ","], ["','"]),
    "a path that does not exist": (["run", "cases/y.py"], ["'cases/y.py'", "does not exist", "FILE::CASE"]),
    "one path of two": (["run", "cases/x.py", "y::z"], ["'y'", "does not exist"]),
    "a case in a folder": (["run", "cases::it"], ["'cases::it'", "FILE::it"]),
    "an expression with -k": (["run", "-k", "it and"], ["'it and'", "parentheses"]),
    "an unknown reference": (["run", "--targets", "jax", "--reference", "theano"], ["'theano'"]),
    "a reference that is no target": (["run", "--targets", "jax", "--reference", "torch"], ["'torch'", "--targets"]),
    "a verdict": (["run", "--fail-on", "bad"], ["'bad'", "rounding"]),
    "an expression with --tag": (["run", "--tag", "(slow"], ["--tag", "'(slow'", "parentheses"]),
    "a quick run in both precisions": (["run", "--quick", "--precision", "both"], ["--quick", "--precision both"]),
    "noise runs of native randomness": (
        ["run", "--randomness", "native", "--noise-runs", "5"],
        ["--randomness native", "--noise-runs"],
    ),
    "an observer check of native randomness": (
        ["run", "--randomness", "native", "--observer-check"],
        ["--randomness native", "--observer-check"],
    ),
    "noise runs below zero": (["run", "--noise-runs", "-1"], ["--noise-runs", "-1"]),
    "blame of nothing": (["blame"], ["PATH"]),
    "a report of nothing": (["report"], ["RUN"]),
    "an export of nothing": (["export"], ["RUN"]),
    "an export of no kind": (["export", "hollow", "--xml", "x"], ["--xml"]),
    "a key of a run": (["show", "hollow", "--key", "x"], ["hollow", "trace.json"]),
    "a trace beside what is none": (["show", "damaged", "gone"], ["damaged", "Record the case again"]),
    "a report of what is no run": (["report", "empty", "--junit", "x.xml"], ["'empty'", "result.json"]),
    "a report of a hollow run": (["report", "hollow", "--junit", "x.xml"], ["hollow/result.json", "'harness'"]),
    "a report to a folder": (["report", "hollow", "--junit", "cases"], ["cases", "directory"]),
    "a seed below zero": (["run", "--seed", "-1"], ["--seed", "-1"]),
    "no jobs": (["run", "--jobs", "0"], ["--jobs", "0"]),
    "jobs that are no number": (["run", "--jobs", "many"], ["--jobs", "many"]),
    "no time": (["run", "--timeout", "0"], ["--timeout", "0"]),
    "no time for blame": (["blame", "cases", "--blame-seconds", "0"], ["--blame-seconds", "'0'"]),
    "a precision": (["run", "--precision", "float16"], ["'float16'", "both"]),
    "an option": (["run", "--colour"], ["--colour"]),
    "a command": (["walk"], ["'walk'"]),
    "a file in place of the output folder": (["run", "--targets", "jax", "--out", "file"], ["file'", "--out"]),
    "a file above the output folder": (["run", "--targets", "jax", "--out", "file/out"], ["file/out'", "--out"]),
    "record without a target": (["record", "cases", "--out", "o"], ["--target"]),
    "record on two targets": (["record", "cases", "--target", "torch,jax", "--out", "o"], ["'torch,jax'", "Name one"]),
    "record to nowhere": (["record", "cases", "--target", "jax"], ["--out"]),
    "record to a file": (["record", "cases", "--target", "jax", "--out", "file"], ["file'", "--out"]),
    "compare nothing": (["compare"], ["DIR"]),
    "compare a folder that is not there": (["compare", "gone"], ["'gone'", "harness record"]),
    "compare a folder without traces": (["compare", "empty"], ["'empty'", "harness record"]),
    "compare a damaged trace": (["compare", "damaged"], ["damaged", "Record the case again"]),
    "show what is not there": (["show", "gone"], ["'gone'", "trace.json", "result.json"]),
    "show a folder without a trace": (["show", "empty"], ["'empty'", "trace.json", "result.json"]),
    "show a damaged trace": (["show", "damaged"], ["damaged", "Record the case again"]),
    "show a broken result": (["show", "broken"], ["broken", "cannot be read"]),
    "show a result of another schema": (["show", "foreign"], ["foreign", "schema 1"]),
    "show a result with nothing in it": (["show", "hollow"], ["hollow"]),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_wrong_call_is_refused_with_the_value_and_the_remedy(name: str, office: Any) -> None:
    arguments, words = WRONG_CALLS[name]
    check_refusal(office.harness(*arguments), words)


def test_a_wrong_path_leaves_no_folder_behind(project: Any, harness: Callable[..., Any]) -> None:
    check_refusal(harness("run", "cases/y.py", "--targets", "jax"), ["'cases/y.py'"])
    assert not (project.folder / "runs").exists()


def test_what_plots_need_is_told_where_it_is_missing(project: Any) -> None:
    project.write("cases/x.py", CASE)
    project.hide("matplotlib")
    process = project.harness("run", "--targets", "jax", "--precision", "float32", "--out", "out")
    assert process.returncode == 0
    assert "pip install 'keras-harness[plots]'" in process.stdout


def test_a_project_without_cases_is_told_to_name_them(project: Any, harness: Callable[..., Any]) -> None:
    check_refusal(harness("run"), [repr(str(project.folder)), "harness run PATH"])


FILE = ["cases/x.py"]
REFUSED_FILES = {
    "no case": ("from harness import case\n", FILE, ["'cases/x.py'", "@harness.case"]),
    "a syntax error": ("x = 1\ndef f(:\n", FILE, ["cases/x.py", "SyntaxError", "line 2"]),
    "an import error": ("\nimport not_there\n", FILE, ["ModuleNotFoundError", "not_there", "cases/x.py:2"]),
    "a crash": ("import os\nos.kill(os.getpid(), 9)\n", FILE, ["x.py", "SIGKILL"]),
    "an argument nothing injects": (
        "from harness import case\n@case\ndef it(monkeypatch): ...\n",
        FILE,
        ["it asks", "'monkeypatch'", "rng, record, target, tmp_path", "parametrize"],
    ),
    "a skip mark": (
        "import pytest\nfrom harness import case\n@case\n@pytest.mark.skip\ndef it(record): ...\n",
        FILE,
        ["it is marked 'skip'", "Remove the mark"],
    ),
    "-k that matches nothing": (CASE, [*FILE, "-k", "nobody"], ["No case matches", "-k"]),
    "a case that is not there": (CASE, ["cases/x.py::that"], ["'that'", "'cases/x.py'", "@harness.case"]),
    "a row that is not there": (CASE, ["cases/x.py::it[1]"], ["'it[1]'", "'cases/x.py'"]),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_a_file_that_cannot_be_used_is_refused_with_the_place_and_the_remedy(
    name: str, project: Any, harness: Callable[..., Any]
) -> None:
    text, arguments, words = REFUSED_FILES[name]
    project.write("cases/x.py", text)
    check_refusal(harness("run", *arguments, "--targets", "jax", "--out", "out"), words)


@pytest.mark.parametrize("command", ["run --targets", "record --out out --target"])
def test_a_target_whose_backend_is_not_installed_is_refused(project: Any, command: str) -> None:
    project.write("cases/x.py", CASE)
    project.hide("jax")
    process = project.harness(*command.split(), "jax")
    check_refusal(process, ["'jax'", "jax is not installed", "pip install 'keras-harness[jax]'"])


def test_without_keras_every_backend_is_missing(project: Any) -> None:
    project.write("cases/x.py", CASE)
    project.hide("keras")
    check_refusal(project.harness("run"), ["No backend is installed", "keras is not installed", "pip install"])


def test_what_is_not_installed_is_left_out_and_that_is_said(project: Any) -> None:
    project.write("cases/x.py", CASE)
    project.hide("torch", "tensorflow")
    process = project.harness("run", "--out", "out")
    assert process.returncode == 0
    assert project.result()["targets"] == ["jax"]
    for name in ("torch", "tensorflow"):
        assert f"{name} is left out: {name} is not installed" in process.stdout
    assert "nothing was compared" in process.stdout


def test_a_result_that_cannot_be_written_is_refused_with_the_place(quick: Any) -> None:
    process = quick.harness("compare", "out", "again", "--json", "pyproject.toml/result.json")
    check_refusal(process, ["'pyproject.toml/result.json'", "--json"])
    process = quick.harness("compare", "out", "again", "--out", "pyproject.toml/compared")
    check_refusal(process, ["pyproject.toml/compared'", "--out"])


def test_traces_of_one_target_are_refused_with_what_there_is(quick: Any) -> None:
    check_refusal(quick.harness("compare", "out"), ["All traces here are of jax", "nothing to compare"])


def test_a_comparison_with_a_folder_of_its_own_is_shown_and_told_like_a_run(quick: Any) -> None:
    process = quick.harness("compare", "out", "again", "--out", "deep/compared")
    assert process.returncode == 0
    assert process.stdout.endswith("deep/compared/result.json\n")
    result = quick.result("deep/compared")
    assert sorted(run["target"] for run in result["cases"][0]["runs"]) == ["jax", "jax (old)"]
    for run in result["cases"][0]["runs"]:
        assert (quick.folder / "deep/compared" / run["trace"] / "trace.json").is_file()
    for line in ("case  ", "jax / old", "between old and new", "old is out, new is again", "nothing was replayed"):
        assert line in process.stdout
    assert "5 cases on jax: 5 agree." in process.stdout
    assert quick.harness("show", "deep/compared").stdout == process.stdout
    assert quick.harness("report", "deep/compared", "--markdown", "compared.md").returncode == 0
    assert "old is out, new is again" in (quick.folder / "compared.md").read_text(encoding="utf-8")


QUICK = """
import pytest
from harness import case


@case
@pytest.mark.parametrize("n", [1, 2])
def alpha(n, record):
    record("number", n)
    record("text", "some words")
    record("array", [0.5, n])


@case
@pytest.mark.parametrize("s", ["one", "two"])
def beta(s, record):
    record("s", s)


@case(tags=["slow", "Big"])
def alphabet(record, rng):
    record("x", rng.normal(size=3))
"""


@pytest.fixture(scope="module")
def quick(make_project: Callable[[], Any]) -> Any:
    """A project and a run in float32 alone on jax."""
    project = make_project()
    project.write("cases/x.py", QUICK)
    arguments = ("--targets", "jax", "--precision", "float32", "--json", "copy/of/it.json", "--junit", "run.xml")
    project.process = project.harness("run", *arguments, "--out", "out")
    project.ids = [case["id"] for case in project.result()["cases"]]
    shutil.copytree(project.folder / "out/traces", project.folder / "again")
    return project


def test_float32_alone_writes_no_twin(quick: Any) -> None:
    assert quick.process.returncode == 0
    assert quick.result()["precision"] == "float32"
    assert len(list((quick.folder / "out").rglob("trace.json"))) == 5
    assert list((quick.folder / "out").rglob("twin")) == []


def test_a_comparison_in_float32_alone_says_what_it_does_not_see(quick: Any) -> None:
    shutil.copytree(quick.folder / "out/traces", quick.folder / "renamed")
    for index in (quick.folder / "renamed").rglob("trace.json"):
        index.write_text(index.read_text().replace('"target": "jax"', '"target": "torch"'))
    process = quick.harness("compare", "out", "renamed")
    assert process.returncode == 0
    assert "5 cases on jax, torch: 5 agree." in process.stdout
    assert "Without float64 runs" in process.stdout


KNOWN = """
[[tool.harness.known]]
case = "cases/x.py::it"
target = "jax"
verdict = "mismatch"
reason = "it is so"

[[tool.harness.known]]
case = "cases/gone.py::*"
target = "torch"
verdict = "leak"
reason = "it was so"
"""


def test_differences_are_known_by_the_table_of_the_project(project: Any, harness: Callable[..., Any]) -> None:
    source = "from harness import case\n\n@case\ndef it(record, target):\n    record('it', target.backend == 'jax')\n"
    project.write("cases/x.py", source)
    arguments = ("run", "--targets", "torch,jax", "--precision", "float32", "--no-blame", "--out", "out")
    assert harness(*arguments).returncode == 1
    project.write("pyproject.toml", KNOWN)
    known = harness(*arguments)
    assert known.returncode == 0
    assert project.cases()["it"]["outcome"] == "known"
    assert "it is so" in known.stdout
    assert "The known difference of cases/gone.py::* on torch speaks of no case of this run." in known.stdout
    assert project.result()["unmatched"] == [{"case": "cases/gone.py::*", "target": "torch"}]
    assert harness("compare", "out/traces").returncode == 0  # from the same folder, the same table
    check_refusal(project_with(project, "known = 3"), ["not a list"])


def project_with(project: Any, table: str) -> Any:
    project.write("pyproject.toml", f"[tool.harness]\n{table}\n")
    return project.harness("run", "--targets", "jax")


OBSERVED = """
import keras
from harness import Fit, Forward, case


@case
def fit(rng):
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(20, 3)), rng.normal(size=(20, 1)), epochs=2, batch_size=8)


@case
def forward(rng):
    return Forward(keras.layers.LayerNormalization(name="norm"), rng.normal(size=(4, 8)))


@case
def by_hand(rng, record):
    record("x", rng.normal(size=3))
"""


@pytest.fixture(scope="module")
def watched(make_project: Callable[[], Any]) -> Any:
    """A run with noise and without instruments, on two backends."""
    project = make_project()
    project.write("cases/x.py", OBSERVED)
    options = ("--precision", "float32", "--noise-runs", "3", "--observer-check")
    project.process = project.harness("run", "--targets", "torch,jax", *options, "--out", "out")
    return project


def test_without_instruments_nothing_is_other(watched: Any) -> None:
    assert watched.process.returncode == 0, watched.process.stdout
    for name in ("fit", "forward"):
        for target in ("torch", "jax"):
            unobserved = watched.trace(name, target).unobserved
            assert unobserved is not None
            assert len(unobserved) > 0
            assert [run["disturbed"] for run in watched.cases()[name]["runs"]] == [[], []]


def test_instruments_that_change_something_fail_the_case(watched: Any) -> None:
    trace = watched.trace("forward", "jax")
    place = trace.folder / "unobserved"
    changed = [replace(item, value=item.array * 2) for item in trace.unobserved]
    write(place, trace.unobserved.header, changed)
    process = watched.harness("compare", "out")
    assert process.returncode == 3
    assert "the instruments change what they measure" in process.stdout


def test_where_there_is_no_twin_measured_noise_decides(watched: Any) -> None:
    for name in ("fit", "forward"):
        (comparison,) = watched.cases()[name]["comparisons"]
        assert comparison["bases"]["noise"] > 0
        assert "tolerance" not in comparison["bases"]
    # What is recorded by hand cannot be disturbed, so there its noise would be none.
    (comparison,) = watched.cases()["by_hand"]["comparisons"]
    assert "noise" not in comparison["bases"]


def test_json_writes_the_result_there_as_well(quick: Any) -> None:
    copy, original = (quick.folder / name for name in ("copy/of/it.json", "out/result.json"))
    assert copy.read_bytes() == original.read_bytes()


def test_the_result_has_the_promised_shape(quick: Any) -> None:
    result = quick.result()
    assert {key: result[key] for key in ("schema", "reference", "targets", "exit_status")} == {
        "schema": 1,
        "reference": "jax",
        "targets": ["jax"],
        "exit_status": 0,
    }
    assert len(result["cases"]) > 1
    for case in result["cases"]:
        (run,) = case["runs"]
        assert (run["target"], run["status"], run["error"]) == ("jax", "ok", None)
        assert run["seconds"] > 0
        assert (case["outcome"], case["comparisons"]) == ("agree", [])


def test_without_out_a_run_goes_to_a_folder_of_its_own_under_runs(project: Any, harness: Callable[..., Any]) -> None:
    project.write("cases/x.py", CASE)
    process = harness("run", "--targets", "jax", "--precision", "float32")
    (result,) = (project.folder / "runs").glob("*/result.json")
    assert project.folder / process.stdout.splitlines()[-1] == result
    assert (result.parent / ".gitignore").read_text() == "*\n"


def test_what_failed_last_is_run_again(project: Any) -> None:
    none = project.harness("run", "--last-failed", "--targets", "jax,torch")
    check_refusal(none, ["There is no run in 'runs' yet"])
    project.write("own/a.py", CASE.replace("record)", "record, target)").replace("1)", "target.backend)"))
    project.write("own/b.py", CASE)
    assert project.harness("run", "own", "--targets", "jax,torch", "--no-blame").returncode == 1
    again = project.harness("run", "--lf", "--targets", "jax,torch", "--no-blame")
    assert again.returncode == 1, again.stderr
    assert "1 case on jax, torch: 1 differ." in again.stdout
    project.write("own/a.py", CASE)
    assert project.harness("run", "--lf", "--targets", "jax,torch").returncode == 0
    rest = project.harness("run", "own", "--lf", "--targets", "jax,torch")
    assert "Nothing failed in runs/" in rest.stdout
    assert "2 cases on jax, torch: 2 agree." in rest.stdout


@pytest.mark.parametrize("expression", ["ALPHA and not 2", "wo] or (cases and alpha and not alphabet and 1)"])
def test_k_selects_what_pytest_selects(quick: Any, expression: str) -> None:
    quick.write("pytest.ini", "[pytest]\npython_files = x.py\npython_functions = *\n")
    options = ("-k", expression)
    alone = ("-p", "no:harness", "-p", "no:cacheprovider")  # pytest as it is without our plugin
    by_pytest = quick.python("-m", "pytest", "--collect-only", "-q", "cases", *options, *alone)
    expected = [line for line in by_pytest.stdout.splitlines() if "::" in line]
    process = quick.harness("record", *options, "--target", "jax", "--out", "selected", "--precision", "float32")
    assert process.returncode == 0
    assert re.findall(r"^ok +(.*)$", process.stdout, re.MULTILINE) == [id for id in expected if "::case" not in id]


def test_a_compact_recording_is_written_held_against_a_run_and_told(quick: Any) -> None:
    how = ("--target", "jax", "--precision", "float32", "--out", "whole")
    process = quick.harness("record", *how, "--compact", "kept/golden.gz")
    assert process.returncode == 0
    size = (quick.folder / "kept/golden.gz").stat().st_size
    assert process.stdout.endswith(f"kept/golden.gz: {size / 1000:.1f} kB\n")
    assert size < 2000
    process = quick.harness("compare", "kept/golden.gz", "out", "--out", "held")
    assert (process.returncode, "5 cases on jax: 5 agree." in process.stdout) == (0, True)
    for command in (
        ["report", "held", "--html", "held.html"],
        ["show", "held"],
        ["export", "held", "--csv", "held.csv"],
    ):
        told = quick.harness(*command)
        assert told.returncode == 0, told.stderr


def test_a_file_that_is_no_recording_is_refused(quick: Any) -> None:
    quick.write("no.gz", "no")
    check_refusal(quick.harness("compare", "no.gz", "out"), ["'no.gz' is no compact recording", "Record the cases"])


def test_quick_leaves_out_what_is_slow_and_the_twins(quick: Any) -> None:
    process = quick.harness("record", "--quick", "-k", "alph", "--target", "jax", "--out", "hurried")
    assert process.returncode == 0
    assert re.findall(r"^ok +.*::(.*)$", process.stdout, re.MULTILINE) == ["alpha[1]", "alpha[2]"]
    assert list((quick.folder / "hurried").rglob("twin")) == []


def test_a_tag_chooses_what_runs_and_another_seed_makes_other_data(quick: Any) -> None:
    quick.harness("run", "--tag", "slow and Big", "--targets", "jax", "--seed", "7", "--out", "seeded")
    assert list(quick.cases("seeded")) == ["alphabet"]
    trace, original = quick.trace("alphabet", "jax", "seeded"), quick.trace("alphabet", "jax")
    assert trace.header.seed not in (original.header.seed, 7)
    expected = np.random.default_rng(trace.header.seed).normal(size=3)
    np.testing.assert_array_equal(trace["recorded/x"].value, expected)
    assert not np.array_equal(original["recorded/x"].value, expected)


@pytest.mark.parametrize("path", ["out", "out/result.json"])
def test_show_prints_a_run_as_it_was_reported(quick: Any, path: str) -> None:
    process = quick.harness("show", path)
    assert process.returncode == 0
    report = process.stdout.rpartition("\n5 cases on jax")[0]
    assert [line.split() for line in report.splitlines()[1:6]] == [[case, "ran"] for case in quick.ids]
    assert report in quick.process.stdout


@pytest.mark.parametrize("file", ["", "trace.json"])
def test_show_prints_a_trace(quick: Any, file: str) -> None:
    folder = quick.cases()["alpha[2]"]["runs"][0]["trace"]
    process = quick.harness("show", Path("out") / folder / file)
    assert process.returncode == 0
    assert process.stdout.splitlines()[0] == "cases/x.py::alpha[2] on jax, float32: ok"
    lines = [line.split() for line in process.stdout.splitlines()]
    assert ["recorded/number", "plain", "2"] in lines
    assert ["recorded/text", "plain", "'some", "words'"] in lines
    assert ["recorded/array/0", "float", "0.5"] in lines
    assert f"jax {importlib.metadata.version('jax')}" in process.stdout


def test_a_run_is_told_in_every_form_by_run_and_again_by_report(quick: Any) -> None:
    """`run` writes the same as `report` makes of the run's folder."""
    assert quick.harness("report", "out", "--junit", "deep/again.xml", "--markdown", "again.md").stdout == ""
    assert (quick.folder / "deep/again.xml").read_bytes() == (quick.folder / "run.xml").read_bytes()
    assert "5 cases on jax:" in (quick.folder / "again.md").read_text(encoding="utf-8")


def test_quietly_only_the_sum_is_said_of_what_agrees_and_verbosely_everything(quick: Any) -> None:
    quiet, normal, verbose = (quick.harness("show", "out", *options).stdout for options in (["-q"], [], ["-v"]))
    assert quiet == "5 cases on jax: 5 ran, and nothing was compared: there is one target.\nout/result.json\n"
    assert "alpha" in normal
    assert re.search(r"jax: ok in [\d.]+ s, .*jax \d", verbose)
    assert len(verbose) > len(normal)


def test_the_version_is_told(harness: Callable[..., Any]) -> None:
    process = harness("--version")
    assert (process.returncode, process.stdout) == (0, f"harness, version {__version__}\n")


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_help(harness: Callable[..., Any], command: str) -> None:
    assert f" {command} " in harness("--help").stdout
    process = harness(command, "--help")
    assert process.returncode == 0
    assert process.stdout.startswith(f"Usage: harness {command} [OPTIONS]")


BROKEN = "raise RuntimeError('a broken tensorflow')"


@pytest.mark.slow
def test_doctor_tells_versions_and_devices_of_every_backend(harness: Callable[..., Any]) -> None:
    process = harness("doctor")
    assert process.returncode == 0
    for name in ("torch", "tensorflow", "jax", "keras", "numpy", "openvino"):
        assert f"{name} {importlib.metadata.version(name)}" in process.stdout
    assert process.stdout.lower().count("devices: cpu") == 5


def test_doctor_tells_why_a_backend_is_not_there(project: Any, harness: Callable[..., Any]) -> None:
    project.hide("torch")
    project.write("site/tensorflow/__init__.py", BROKEN)
    process = harness("doctor")
    assert process.returncode == 3
    lines = [line.split(maxsplit=1) for line in process.stdout.splitlines()]
    assert ["tensorflow", "RuntimeError: a broken tensorflow"] in lines
    assert ["torch", "torch is not installed: pip install 'keras-harness[torch]'"] in lines
    assert f"jax {importlib.metadata.version('jax')}" in process.stdout


def test_doctor_does_not_fail_where_a_backend_is_only_missing(project: Any, harness: Callable[..., Any]) -> None:
    project.hide("torch", "tensorflow")
    process = harness("doctor")
    assert process.returncode == 0
    assert "torch is not installed" in process.stdout


def test_a_backend_that_cannot_be_imported_is_unavailable_and_others_go_on(project: Any) -> None:
    project.write("cases/x.py", CASE)
    project.write("site/tensorflow/__init__.py", "print('last words')\n" + BROKEN)
    process = project.harness("run", "--targets", "tensorflow,jax", "--out", "out")
    assert process.returncode == 3
    tensorflow, jax = project.cases()["it"]["runs"]
    assert (jax["target"], jax["status"]) == ("jax", "ok")
    assert (tensorflow["target"], tensorflow["status"]) == ("tensorflow", "unavailable")
    assert "RuntimeError: a broken tensorflow" in tensorflow["error"]
    assert "last words" in tensorflow["error"]
    assert project.cases()["it"]["outcome"] == "error"


def test_a_run_without_any_backend_that_works_is_refused(project: Any, harness: Callable[..., Any]) -> None:
    project.write("cases/x.py", CASE)
    project.write("site/tensorflow/__init__.py", BROKEN)
    process = harness("run", "--targets", "tensorflow")
    check_refusal(process, ["No target could be started", "tensorflow", "a broken tensorflow"])


EVIL = "\x1b]0;title\x07[bold]x[/bold]\x1b[2J\x9b31m"
EVIL_CASES = """
import os, pytest
from harness import case

EVIL = {evil!r}


@case
@pytest.mark.parametrize("n", [1], ids=["[red]" + EVIL])
def named(n, record):
    record(EVIL, EVIL)


@case
def raises():
    raise ValueError(EVIL)


@case
def prints():
    print(EVIL, flush=True)
    os._exit(1)
"""


def check_harmless(output: str) -> None:
    """No control character but the end of a line has come through, and no markup was taken for one."""
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", output) == []
    assert "[bold]x[/bold]" in output


@pytest.fixture(scope="module")
def evil(make_project: Callable[[], Any]) -> Any:
    project = make_project()
    project.write("cases/[u]\x1b[31m\x07.py", EVIL_CASES.format(evil=EVIL))
    project.process = project.harness("run", "--targets", "jax", "--out", "out", "--precision", "float32")
    return project


def test_names_errors_and_output_of_cases_are_shown_and_do_no_harm(evil: Any) -> None:
    assert evil.process.returncode == 3
    check_harmless(evil.process.stdout)
    check_harmless(evil.harness("show", "out").stdout)
    assert evil.process.stdout.count("cases/[u]\\x1b[31m\\x07.py::raises on jax: error") == 1
    for block in ("raises on jax: error", "prints on jax: crashed"):
        words = evil.process.stdout.partition(block)[2].partition("\n\n")[0]
        assert "[bold]x[/bold]" in words
        assert not any(escape in words for escape in ("title", "\\x1b[2J", "\\x9b31m"))


def test_a_shown_trace_does_no_harm(evil: Any) -> None:
    (named,) = [case for name, case in evil.cases().items() if name.startswith("named")]
    shown = evil.harness("show", Path("out") / named["runs"][0]["trace"])
    assert shown.returncode == 0
    check_harmless(shown.stdout)


def test_what_record_and_compare_print_does_no_harm(evil: Any) -> None:
    recorded = evil.harness("record", "cases", "--target", "jax", "--out", "recorded", "--precision", "float32")
    assert recorded.returncode == 3
    check_harmless(recorded.stdout)
    check_harmless(evil.harness("compare", "out", "recorded").stdout)


def test_an_error_at_the_import_of_a_file_does_no_harm(project: Any, harness: Callable[..., Any]) -> None:
    project.write("cases/x.py", f"raise ImportError({EVIL!r})")
    process = harness("run", "cases/x.py", "--targets", "jax", "--out", "out")
    check_refusal(process, ["ImportError"])
    check_harmless(process.stderr)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_does_no_harm(terminal: bool) -> None:
    console = Console(force_terminal=terminal, width=200, color_system=None, legacy_windows=False)
    with console.capture() as capture, Live(console) as live:
        live.planned([], [])
        live.started(f"cases/x.py::{EVIL}", "jax", "float32")
        live.judged(CaseResult(f"cases/x.py::{EVIL}", "agree", [], []))
    shown = capture.get()
    assert [control for control in ("\x07", "\x1b[2J", "\x9b") if control in shown] == []
    assert "\\x1b]0;title\\x07[bold]x[/bold]\\x1b[2J" in shown


WAITS = """
import fcntl, os, pathlib, subprocess, sys, time
from harness import case


@case
def waits():
    lock = open("alive.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
    pathlib.Path("worker.part").write_text(str(os.getppid()))
    os.rename("worker.part", "worker.pid")
    time.sleep(600)
"""


class Interrupted:
    """A run that got a signal in the middle of a case."""

    def __init__(self, project: Any, number: int, comes_true: Callable[..., bool]) -> None:
        self.project = project
        project.write("cases/waits.py", WAITS)
        process = project.start("run", "--targets", "jax", "--out", "out", "--precision", "float32")
        self.started = comes_true((project.folder / "worker.pid").exists)
        os.killpg(process.pid, number)
        self.output, self.errors = process.communicate(timeout=60)
        self.status = process.returncode
        self.worker = int((project.folder / "worker.pid").read_text())


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def interrupted(make_project: Callable[[], Any], comes_true: Callable[..., bool]) -> Interrupted:
    return Interrupted(make_project(), signal.SIGINT, comes_true)


def test_an_interrupted_run_says_so_and_has_status_130(interrupted: Interrupted) -> None:
    assert interrupted.started
    assert interrupted.status == 130
    assert "Interrupted" in interrupted.errors
    assert "Traceback" not in interrupted.output + interrupted.errors
    assert not (interrupted.project.folder / "out/result.json").exists()


def test_an_interrupted_run_leaves_no_process_behind(interrupted: Interrupted, comes_true: Callable[..., bool]) -> None:
    assert not is_running(interrupted.worker)
    assert comes_true(lambda: not interrupted.project.is_held("alive.lock"))


def test_an_interrupted_run_leaves_no_temporary_folder_behind(interrupted: Interrupted) -> None:
    assert list(interrupted.project.temporary.glob("harness-*")) == []


def test_a_run_that_is_killed_leaves_no_process_behind(project: Any, comes_true: Callable[..., bool]) -> None:
    killed = Interrupted(project, signal.SIGKILL, comes_true)
    assert killed.status == -signal.SIGKILL
    assert comes_true(lambda: not project.is_held("alive.lock"))
    assert comes_true(lambda: not is_running(killed.worker))
