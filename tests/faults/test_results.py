"""What has been judged is on disk and is shown, whatever happens next; status 1 means a difference and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: Three cases that end at once, one of which differs, and then one that waits to be interrupted.
SLOW = """
import time
from harness import case
import keras, pytest

@case
@pytest.mark.parametrize("n", [1, 2, 3])
def quick(n, record):
    record("x", float(n) if n < 3 or keras.config.backend() == "jax" else 7.0)

@case
def waits(record):
    open("{folder}/waits", "w").close()
    time.sleep(600)
    record("x", 1.0)
"""
QUICK = """
from harness import case

@case
def one(record): record("x", 1.0)

@case
def two(record): record("x", 2.0)
"""


def started(project: Any, comes_true: Callable[..., bool], *options: str) -> Any:
    """A run that has judged three cases, and now waits in the fourth."""
    project.write("cases/x.py", SLOW.format(folder=project.folder))
    process = project.start("run", "--targets", "jax,torch", "--reference", "torch", "--out", "out", *options)
    # One case at a time on each target, so that the quick ones have ended by then.
    assert comes_true(lambda: (project.folder / "waits").exists())
    assert comes_true(lambda: len(judged(project)) == 3), process.communicate(timeout=1)
    return process


def judged(project: Any) -> list[str]:
    try:
        return [case["id"].partition("::")[2] for case in project.result()["cases"]]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_what_was_judged_before_a_signal_is_kept_and_shown(
    project: Any, comes_true: Callable[..., bool], number: signal.Signals
) -> None:
    process = started(project, comes_true, "--jobs", "2", "--no-blame")
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert {case["outcome"] for case in project.result()["cases"]} == {"agree", "differ"}
    assert project.result()["unfinished"]["left"] == 1
    shown = project.harness("show", "out").stdout
    assert "  case    " in shown
    assert "::quick[3]\n" in shown
    if number is signal.SIGKILL:  # nothing can be said any more, but for what is on disk
        assert process.returncode == -number
        return
    assert process.returncode == 128 + number
    assert f"Unfinished, 1 cases were not judged: {number.name} interrupted it." in printed
    assert printed.splitlines()[-1] == "out/result.json"


def test_a_run_that_was_interrupted_is_resumed(project: Any, comes_true: Callable[..., bool]) -> None:
    process = started(project, comes_true, "--jobs", "2", "--no-blame")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    times = {path: path.stat().st_mtime_ns for path in (project.folder / "out/traces").rglob("trace.json")}
    # The case that waits does so in a file of its own, or all would count as changed.
    options = ("--targets", "jax,torch", "--reference", "torch", "--no-blame")
    done = project.harness("run", "-k", "quick", *options, "--resume", "out")
    assert done.returncode == 1, done.stderr
    assert {name: case["outcome"] for name, case in project.cases().items()} == {
        "quick[1]": "agree",
        "quick[2]": "agree",
        "quick[3]": "differ",
    }
    assert project.result()["unfinished"] is None
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())  # nothing ran again
    other = project.harness("run", "-k", "quick", "--targets", "jax", "--resume", "out")
    assert other.returncode == 2
    assert "has reference 'torch', and this call 'jax'" in other.stderr
    none = project.harness("run", "-k", "quick", "--targets", "jax", "--resume", "nothing")
    assert none.returncode == 2
    assert "is not a run" in none.stderr
    assert not (project.folder / "nothing").exists()


def test_what_changed_or_was_not_examined_runs_again_when_a_run_is_resumed(project: Any) -> None:
    project.write("cases/a.py", QUICK)
    project.write("cases/b.py", SLOW.split("@case\ndef waits")[0])
    options = ("run", "--targets", "jax,torch", "--reference", "torch", "--precision", "float32")
    assert project.harness(*options, "--no-blame", "--out", "out").returncode == 1
    project.write("cases/a.py", QUICK.replace("2.0", "3.0"))
    before = {
        path.parent.name: path.stat().st_mtime_ns for path in (project.folder / "out/traces/jax").glob("*/trace.json")
    }
    done = project.harness(*options, "--resume", "out")
    assert done.returncode == 1, done.stderr
    after = {
        path.parent.name: path.stat().st_mtime_ns for path in (project.folder / "out/traces/jax").glob("*/trace.json")
    }
    again = {name.rpartition("-")[0] for name in after if after[name] != before[name]}
    assert again == {"cases-a.py-one", "cases-a.py-two", "cases-b.py-quick-3"}
    assert [case["comparisons"][0]["blame"] is not None for case in project.cases().values()] == [False] * 4 + [True]


def test_an_interrupted_run_is_no_success_in_any_report(project: Any) -> None:
    project.write("cases/x.py", QUICK)
    project.harness("run", "--targets", "jax", "--precision", "float32", "--out", "out")
    result = project.result() | {"unfinished": {"reason": "SIGTERM interrupted it", "left": 4}}
    project.write("out/result.json", json.dumps(result))
    project.harness("report", "out", "--junit", "junit.xml", "--markdown", "summary.md", "--html", "page.html")
    assert 'errors="1"' in (project.folder / "junit.xml").read_text()
    for report in ("junit.xml", "summary.md", "page.html"):
        assert "Unfinished, 4 cases were not judged: SIGTERM" in (project.folder / report).read_text()
    page = (project.folder / "page.html").read_text()
    assert '<p class="total error">' in page


def test_nothing_of_an_earlier_run_is_taken_for_this_one(project: Any) -> None:
    project.write("cases/x.py", QUICK)
    options = ("run", "--targets", "jax", "--precision", "float32", "--out", "out")
    assert project.harness(*options).returncode == 0
    assert project.harness("report", "out").returncode == 0
    project.write(
        "cases/x.py", "import os\nfrom harness import case\n@case\ndef one(record): record('x', 1.0)\nraise OSError\n"
    )
    done = project.harness(*options)
    assert done.returncode == 2, done.stderr
    assert not (project.folder / "out/result.json").exists()
    assert not (project.folder / "out/report.html").exists()
    assert project.harness("show", "out").returncode == 2


def test_a_result_that_is_not_ours_is_not_replaced(project: Any) -> None:
    project.write("cases/x.py", QUICK)
    project.write("out/result.json", '{"mine": 1}')
    project.write("out/plots/mine.svg", "<svg/>")
    done = project.harness("run", "--targets", "jax", "--out", "out")
    assert done.returncode == 2
    assert "name another folder with --out" in done.stderr
    assert (project.folder / "out/result.json").read_text() == '{"mine": 1}'
    assert (project.folder / "out/plots/mine.svg").exists()


def test_what_lies_beside_a_run_stays(project: Any) -> None:
    project.write("cases/x.py", QUICK)
    project.write("plots/mine.svg", "<svg/>")
    assert project.harness("run", "--targets", "jax", "--precision", "float32", "--out", ".").returncode == 0
    assert (project.folder / "plots/mine.svg").exists()
    assert (project.folder / "cases/x.py").exists()


def recorded(project: Any, *arguments: str) -> None:
    done = project.harness("record", *arguments, "--target", "jax", "--precision", "float32", "--out", "out")
    assert done.returncode == 0, done.stderr


def compared(project: Any) -> set[str]:
    """The cases that `compare` counts, of the recording and of one that holds two more files."""
    shutil.copytree(project.folder / "out/traces/jax", project.folder / "other/traces/jax", dirs_exist_ok=True)
    project.harness("compare", "out", "other", "--out", "compared")
    return {case["id"] for case in project.result("compared")["cases"]}


def test_a_recording_holds_no_case_that_is_gone(project: Any) -> None:
    project.write("cases/a.py", QUICK)
    project.write("cases/b.py", QUICK)
    recorded(project)
    project.write("cases/a.py", QUICK.replace("def two", "def three"))
    recorded(project, "cases/a.py")
    assert compared(project) == {f"cases/{name}" for name in ("a.py::one", "a.py::three", "b.py::one", "b.py::two")}
    (project.folder / "cases/b.py").unlink()
    shutil.rmtree(project.folder / "other")
    recorded(project, "-k", "one")  # what is not wanted now is there all the same
    assert compared(project) == {"cases/a.py::one", "cases/a.py::three"}


def test_runs_of_one_second_have_folders_of_their_own(project: Any) -> None:
    project.write("cases/x.py", QUICK)
    processes = [project.start("run", "--targets", "jax", "--precision", "float32") for _ in range(3)]
    last = {process.communicate(timeout=300)[0].splitlines()[-1] for process in processes}
    assert len(last) == 3
    for path in last:
        assert len(json.loads((project.folder / path).read_text())["cases"]) == 2


def test_a_folder_that_is_written_to_is_refused_and_its_holder_named(
    project: Any, comes_true: Callable[..., bool]
) -> None:
    process = started(project, comes_true, "--jobs", "2", "--no-blame")
    try:
        for command in (["run", "--targets", "jax"], ["record", "--target", "torch"], ["run", "--targets", "torch"]):
            done = project.harness(*command, "--out", "out")
            assert done.returncode == 2
            assert f"process {process.pid}" in done.stderr
        assert len(judged(project)) == 3  # nothing was lost
    finally:
        process.kill()
        process.communicate()
    done = project.harness("run", "-k", "quick and 1", "--targets", "jax", "--precision", "float32", "--out", "out")
    assert done.returncode == 0  # a lock ends with its process


BROKEN_TRACE = """
import json, pathlib
from harness import case

@case
def one(record): record("x", 1.0)

@case
def two(record): record("x", 2.0)

@case
def nested(record):
    value = 1
    for _ in range(5000):
        value = [value]
    record("x", value)
"""


def test_what_cannot_be_recorded_fails_its_case_and_no_other(project: Any) -> None:
    project.write("cases/x.py", BROKEN_TRACE)
    done = project.harness("run", "--targets", "jax,torch", "--reference", "torch", "--out", "out", "--no-blame")
    assert done.returncode == 3, done.stderr
    outcomes = {name: case["outcome"] for name, case in project.cases().items()}
    assert outcomes == {"one": "agree", "two": "agree", "nested": "error"}


#: Damages the trace of one case on jax, as the controller begins to judge.
DAMAGED = """
import sys
if "harness.worker" not in sys.orig_argv:
    import harness.session.session as session
    judge = session.judge_case
    def damaged(case, traces, *rest, **options):
        if case.endswith("::one") and traces["jax"] is not None:
            place = traces["jax"].folder
            {how}
            traces["jax"] = type(traces["jax"])(place)
        return judge(case, traces, *rest, **options)
    session.judge_case = damaged
"""
CUT = "path = place / 'trace.json'; path.write_text(path.read_text()[:-30])"
REMOVED = "import shutil; shutil.rmtree(place)"


@pytest.mark.parametrize("how", [CUT, REMOVED])
def test_a_trace_that_cannot_be_read_fails_its_case_and_the_others_are_compared(project: Any, how: str) -> None:
    project.write("cases/x.py", QUICK)
    project.write("site/sitecustomize.py", DAMAGED.format(how=how))
    done = project.harness("run", "--targets", "torch,jax", "--precision", "float32", "--out", "out", "--no-blame")
    assert done.returncode == 3, done.stderr
    cases = project.cases()
    assert {name: case["outcome"] for name, case in cases.items()} == {"one": "error", "two": "agree"}
    (error,) = [run["error"] for run in cases["one"]["runs"] if run["target"] == "jax"]
    assert error.startswith("its trace cannot be read: ")
    assert [run["status"] for run in cases["one"]["runs"]] == ["ok", "error"]


LIMITED = """
import resource, sys
if "harness.worker" not in sys.orig_argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
"""


def test_a_full_disk_is_told_as_one_and_what_was_judged_is_shown(project: Any) -> None:
    """The controller may write 3000 bytes into a file: too few for a result, enough for all else."""
    project.write("cases/x.py", SLOW.split("@case\ndef waits")[0])
    project.write("site/sitecustomize.py", LIMITED)
    done = project.harness("run", "--targets", "torch,jax", "--precision", "float32", "--out", "out", "--no-blame")
    assert done.returncode == 4
    assert "3 cases on torch, jax: 1 differ, 2 agree." in done.stdout
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_has_the_status_of_no_finding(project: Any) -> None:
    project.write("cases/x.py", SLOW.split("@case\ndef waits")[0])
    options = ("--targets", "torch,jax", "--precision", "float32", "--out", "out", "--no-blame")
    with project.start("run", *options) as process:
        assert process.stdout.readline().startswith("[1/3]")
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait(timeout=120) == 4
    assert "BrokenPipeError" not in error
    assert judged(project)


def test_a_file_name_that_is_no_utf8_is_a_name_like_any_other(project: Any) -> None:
    name = os.fsencode(project.folder) + b"/\xff.py"
    Path(os.fsdecode(name)).write_text(QUICK, encoding="utf-8")
    command = [sys.executable, "-m", "harness", "run", os.fsdecode(b"\xff.py"), "--targets", "jax", "--out", "out"]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(project.cases()) == ["one", "two"]
    project.harness("report", "out", "--junit", "junit.xml", "--markdown", "summary.md", "--html", "page.html")
    for name in ("junit.xml", "summary.md", "page.html"):
        assert "dcff.py" in (project.folder / name).read_text(encoding="utf-8")


EXITS = """
import os
from harness import case
import keras

@case
def one(record): record("x", 1.0)

if keras.config.backend() == "jax":
    os._exit(0)
"""


def test_a_file_that_ends_the_process_while_it_is_imported_gives_no_answer(project: Any) -> None:
    project.write("cases/x.py", QUICK)
    options = ("run", "--targets", "torch,jax", "--precision", "float32", "--out", "out", "--no-blame")
    assert project.harness(*options).returncode == 0
    project.write("cases/x.py", EXITS)
    done = project.harness(*options)
    assert done.returncode == 3, done.stdout + done.stderr
    assert list(project.cases()) == ["one"]  # not the two of the earlier run
    (error,) = [run["error"] for run in project.cases()["one"]["runs"] if run["target"] == "jax"]
    assert "ended with status 0 before it had told its cases" in error


VECTOR = """
import keras, numpy as np, pytest
from harness import Fit, case

@case
@pytest.mark.parametrize("name", ["plain", "\u8a9e" * 80])
def scored(rng, name):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score(average=None)])
    y = np.eye(3, dtype="float32")[rng.integers(0, 3, 12)]
    return Fit(model, rng.normal(size=(12, 4)).astype("float32"), y, batch_size=6)
"""


def test_a_vector_in_the_logs_and_a_long_name_end_no_run(project: Any) -> None:
    project.write("cases/x.py", VECTOR)
    done = project.harness("run", "--targets", "torch,jax", "--precision", "float32", "--out", "out", "--no-blame")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {case["outcome"] for case in project.cases().values()} == {"agree"}
    pictures = [picture for case in project.cases().values() for picture in case["plots"]]
    assert len(pictures) == 2
    assert all((project.folder / "out" / picture).exists() for picture in pictures)


UNDRAWN = """
import sys
if "harness.worker" not in sys.orig_argv:
    import harness.report.plots as plots
    def draw(*_): raise ValueError("no ink")
    plots.draw = draw
"""


def test_a_picture_that_cannot_be_drawn_is_a_note(project: Any) -> None:
    project.write("cases/x.py", QUICK)
    project.write("site/sitecustomize.py", UNDRAWN)
    done = project.harness("run", "--targets", "jax", "--precision", "float32", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "pictures: they could not be drawn: ValueError: no ink" in done.stdout


RAISES = """
import sys
if "harness.worker" not in sys.orig_argv:
    import harness.session.targets as targets
    def choose(*_, **__): raise {error}
    targets.choose = choose
"""


@pytest.mark.parametrize(
    ("error", "said"),
    [("ZeroDivisionError('x')", "which is a bug of it: ZeroDivisionError: x"), ("MemoryError", "not enough memory")],
)
def test_a_failure_of_the_harness_is_no_finding(project: Any, error: str, said: str) -> None:
    project.write("cases/x.py", QUICK)
    project.write("site/sitecustomize.py", RAISES.format(error=error))
    done = project.harness("run", "--targets", "jax", "--out", "out")
    assert done.returncode == 4
    assert said in done.stderr
