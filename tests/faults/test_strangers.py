"""What strangers made is read only if it is a file of bearable size, and what is written goes where it was meant."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import CASE, WRONG, X, judged, recorded

from harness import files
from harness.case import matches
from harness.errors import HarnessError, TraceError
from harness.project.scaffold import init
from harness.result import file
from harness.result.model import Result
from harness.result.run_folder import RunFolder
from harness.trace import Header, Observation, Trace, compact, write
from harness.verdict import Verdict

#: Seconds and bytes of memory after which a command that reads a stranger's file has failed.
PATIENCE, MEMORY = 20, 6 << 30


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, in a folder, with the memory that it may take."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )


def write_run(folder: Path) -> Path:
    """A run with a difference: a result and two traces."""
    traces = {"torch": recorded(folder, "torch", X), "jax": recorded(folder, "jax", WRONG)}
    cases = [judged(folder, **traces)]
    file.write(folder / file.FILE, Result("torch", ["torch", "jax"], "both", Verdict.DIVERGENT, cases=cases).to_json())
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def edited(path: Path, change: Callable[[Any], object]) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []


# What is read


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_loop(path: Path) -> None:
    path.symlink_to(path)


NO_FILES = [a_pipe, a_device, a_folder, a_loop]


@pytest.mark.parametrize("make", NO_FILES)
@pytest.mark.parametrize(
    "name", ["result.json", "torch/trace.json", "torch/arrays.safetensors", "torch/twin/trace.json"]
)
def test_what_is_no_file_is_not_read(run: Path, name: str, make: Callable[[Path], None]) -> None:
    (run / name).unlink()
    make(run / name)
    command = ["show", "run/result.json"] if name == "result.json" else ["compare", "run/torch", "run/jax"]
    refused(harness(run.parent, *command), "run")


@pytest.mark.parametrize("make", NO_FILES)
def test_a_recording_that_is_no_file_is_not_read(run: Path, make: Callable[[Path], None]) -> None:
    make(run / "golden.trace")
    refused(harness(run, "compare", "golden.trace", "jax"))


@pytest.mark.parametrize("make", NO_FILES)
def test_a_configuration_that_is_no_file_is_not_read(run: Path, make: Callable[[Path], None]) -> None:
    make(run / "pyproject.toml")
    refused(harness(run, "compare", "torch", "jax"), "pyproject.toml")
    refused(harness(run, "init"), "pyproject.toml")


def test_a_file_beyond_what_may_be_read_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        files.read(tmp_path / "large", 1000)


def tensors(path: Path, entries: dict[str, Any], size: int) -> None:
    """A file of arrays with this header, whose elements are a hole."""
    header = json.dumps(entries).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        stream.truncate(8 + len(header) + size)


def test_arrays_that_are_a_hole_in_a_file_are_not_read(run: Path) -> None:
    size = 5 << 30
    tensors(
        run / "torch/arrays.safetensors",
        {"t0": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}},
        size,
    )
    edited(run / "torch/trace.json", lambda index: index["observations"][0].update(shape=[size // 4]))
    assert os.stat(run / "torch/arrays.safetensors").st_blocks * 512 < 100_000
    refused(harness(run.parent, "compare", "run/torch", "run/jax"), "arrays demand 5368709120 bytes")


def test_arrays_that_many_observations_share_are_not_read_for_ever(tmp_path: Path) -> None:
    value = np.zeros(1 << 20, np.float32)
    items = [Observation(f"recorded/{n}", "recorded", 0, f"{n}", None, "float32", value) for n in range(3)]
    write(tmp_path, Header(CASE, "torch", "float32"), items)

    def many(index: Any) -> None:
        (first, *_) = index["observations"]
        named = ({"key": f"recorded/x{n}", "name": f"x{n}"} for n in range(5000))
        index["observations"] = [{**first, **names} for names in named]

    edited(tmp_path / "trace.json", many)
    os.truncate(tmp_path / "arrays.safetensors", 1000)
    os.truncate(tmp_path / "arrays.safetensors", 1000 + (4 << 20))
    with pytest.raises(TraceError, match="lie on the disk"):
        next(iter(Trace(tmp_path)))


def test_frozen_weights_of_a_long_training_are_read(tmp_path: Path) -> None:
    """What many observations have in common is kept once, and is no reason to distrust a trace."""
    value = np.ones(1 << 20, np.float32)
    items = [Observation(f"update/{n}/w", "update", n, "w", None, "float32", value) for n in range(300)]
    write(tmp_path, Header(CASE, "torch", "float32"), items)
    assert sum(1 for _ in Trace(tmp_path)) == 300


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"a":' * 100_000, b"[" + b"[]," * (9 << 20) + b"[]]", b" " * (1 << 28) + b"  "],
    ids=["lists in lists", "objects in objects", "many lists", "long"],
)
def test_a_small_recording_that_is_large_inside_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "bomb").write_bytes(gzip.compress(text, 1))
    with pytest.raises(TraceError, match=r"nested too deeply|more than \d+ (values|bytes)"):
        compact.read(tmp_path / "bomb")


@pytest.mark.parametrize("kind", ["absolute", "above", "link", "null"])
def test_a_trace_outside_of_the_folder_of_a_run_is_told_as_not_there(run: Path, kind: str) -> None:
    outside = recorded(run.parent / "outside", "torch", X).folder
    (run / "link").symlink_to(outside)
    path = {"absolute": str(outside), "above": "../outside/torch", "link": "link", "null": "a\0b"}[kind]
    edited(run / file.FILE, lambda result: result["cases"][0]["runs"][0].update(trace=path))
    opened = RunFolder.open(run)
    traces, reasons = opened.traces(opened.result["cases"][0])
    assert list(traces) == ["jax"]
    assert "inside of the run's folder" in reasons["torch"]
    done = harness(run.parent, "report", "run")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_comparison_with_a_folder_of_its_own_holds_the_traces(run: Path) -> None:
    """So its reports find them, where they may not leave the folder."""
    done = harness(run.parent, "compare", "run/torch", "run/jax", "--out", "compared")
    assert done.returncode == 1, done.stderr
    (run / "torch/trace.json").unlink()
    opened = RunFolder.open(run.parent / "compared")
    traces, reasons = opened.traces(opened.result["cases"][0])
    assert (sorted(traces), reasons) == (["jax", "torch"], {})
    assert traces["jax"].twin is not None
    assert harness(run.parent, "compare", "compared/traces", "--out", "compared").returncode == 1


# Patterns


def by_expression(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


@given(st.text("ab*[?\n", max_size=9), st.text("ab*[?\n", max_size=9))
@settings(max_examples=2000, deadline=None)
def test_a_pattern_means_what_it_means_as_a_regular_expression(pattern: str, text: str) -> None:
    assert matches(pattern, text) == by_expression(pattern, text)


def test_a_pattern_of_many_stars_takes_no_time(run: Path) -> None:
    pattern, key = "*a" * 30 + "*b", "a" * 60
    assert not matches(pattern, key)

    def name(index: Any) -> None:
        index["lacks"] = [{"where": pattern, "reason": "it is so"}]
        index["observations"][0].update(key=key, name=key)

    for target in ("torch", "jax"):
        edited(run / target / "trace.json", name)
    assert harness(run.parent, "compare", "run/torch", "run/jax").returncode in (1, 3)


# What is written

WRITERS = {
    "result.json": ["compare", "run/torch", "run/jax", "--out", "run"],
    "report.html": ["report", "run"],
    "summary.md": ["report", "run", "--markdown", "run/summary.md"],
    "junit.xml": ["report", "run", "--junit", "run/junit.xml"],
    "copy.json": ["compare", "run/torch", "run/jax", "--json", "run/copy.json"],
    "table.csv": ["export", "run", "--csv", "run/table.csv"],
    "table.parquet": ["export", "run", "--parquet", "run/table.parquet"],
    "torch/events.out.tfevents.0000000000.harness": ["report", "run", "--tensorboard", "run"],
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_in_the_place_of_a_file_is_replaced_and_its_goal_is_not_touched(run: Path, name: str) -> None:
    goal = run.parent / "mine"
    goal.write_text("mine", encoding="utf-8")
    (run / name).unlink(missing_ok=True)
    for link in {run / name, (run / name).with_name(f"{(run / name).name}.part")}:
        link.symlink_to(goal)
    if name == "result.json":
        (run / name).unlink()
        (run / name).symlink_to(goal)
    before = set(run.rglob("*"))
    done = harness(run.parent, *WRITERS[name])
    assert "Traceback" not in done.stderr
    assert goal.read_text(encoding="utf-8") == "mine"
    assert not (run / name).is_symlink()
    assert (run / name).stat().st_size > 10
    left = {path.name for path in set(run.rglob("*")) - before}
    assert [name for name in left if name.startswith(".")] == []


@pytest.mark.parametrize("make", [a_pipe, a_folder])
@pytest.mark.parametrize("name", ["report.html", "table.csv"])
def test_what_is_no_file_is_not_replaced_by_one(run: Path, name: str, make: Callable[[Path], None]) -> None:
    make(run / name)
    refused(harness(run.parent, *WRITERS[name]), name)
    assert not (run / name).is_file()


def test_what_is_written_to_standard_output_by_its_name_gets_there(run: Path) -> None:
    done = harness(run.parent, "compare", "run/torch", "run/jax", "--json", "/dev/stdout")
    assert done.returncode == 1, done.stderr
    assert '"schema": 1' in done.stdout
    assert Path("/dev/stdout").is_symlink()


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.write_text("before", encoding="utf-8")
    place.chmod(0o640)
    with contextlib.suppress(KeyError), files.made(place) as new:
        new.write_text("half", encoding="utf-8")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert place.read_text(encoding="utf-8") == "before"
    files.write(place, b"after")
    assert (place.read_bytes(), place.stat().st_mode & 0o777) == (b"after", 0o640)


@pytest.mark.parametrize("name", ["traces", "logs", "blame", "plots", "traces/jax"])
def test_a_run_does_not_write_through_a_folder_that_leads_outside(tmp_path: Path, name: str) -> None:
    outside, link = tmp_path / "outside", tmp_path / "out" / name
    (outside / "x").mkdir(parents=True)
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    (tmp_path / "x.py").write_text(
        "from harness import case\n@case\ndef it(record): record('x', 1)\n", encoding="utf-8"
    )
    refused(harness(tmp_path, "run", "x.py", "--targets", "jax", "--out", "out"), str(Path("out", name)), "by a link")
    assert [path.name for path in outside.iterdir()] == ["x"]


def test_events_are_not_written_through_a_folder_that_leads_outside(run: Path) -> None:
    (run.parent / "outside").mkdir()
    (run.parent / "events").mkdir()
    (run.parent / "events/jax").symlink_to(run.parent / "outside")
    refused(harness(run.parent, "report", "run", "--tensorboard", "events"), "events/jax", "by a link")
    assert list((run.parent / "outside").iterdir()) == []


# harness init

PROJECT = b'[project]\r\nname = "x"\r\nversion = "1"\r\n'


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_init_keeps_line_ends_and_every_byte(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(PROJECT)
    (tmp_path / ".gitignore").write_bytes(b"caf\xe9\r\n*.pyc")
    init(tmp_path)
    text = (tmp_path / "pyproject.toml").read_bytes()
    assert text.startswith(PROJECT)
    assert text.count(b"\n") == text.count(b"\r\n") > PROJECT.count(b"\n")
    assert (tmp_path / ".gitignore").read_bytes() == b"caf\xe9\r\n*.pyc\r\n/runs/\r\n"


@pytest.mark.parametrize(
    "text",
    [
        "tool = {black = {line-length = 100}}\n",
        "tool.black = {line-length = 100}\n",
        "[tool]\nharness = {targets = {ci = ['torch']}}\n",
        "[tool]\npytest.x = 1\n",
        "x = nan\n",
        "[[tool.harness.known]]\ncase = 'x'\n",
        "# a comment at the end",
    ],
)
def test_init_leaves_valid_toml_that_means_what_it_meant(tmp_path: Path, text: str) -> None:
    import tomllib

    place = tmp_path / "pyproject.toml"
    place.write_text(text, encoding="utf-8")
    report = init(tmp_path)
    found, before = tomllib.loads(place.read_text(encoding="utf-8")), tomllib.loads(text)
    if "the configuration of pytest" in report.by_hand:
        assert place.read_text(encoding="utf-8") == text
    else:
        assert found["tool"].pop("pytest") == {"ini_options": {"parity_targets": "torch,tensorflow,jax"}}
        assert found == {"tool": {}, **before}


def a_file_in_the_way(folder: Path) -> None:
    (folder / ".github").write_text("mine", encoding="utf-8")


def a_link_that_leads_outside(folder: Path) -> None:
    (folder / "cases").symlink_to(folder.parent)


def a_pipe_to_add_to(folder: Path) -> None:
    os.mkfifo(folder / ".gitignore")


@pytest.mark.parametrize("spoil", [a_file_in_the_way, a_link_that_leads_outside, a_pipe_to_add_to])
def test_init_writes_all_or_nothing(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_bytes(PROJECT)
    spoil(project)
    before, places = contents(project), sorted(project.rglob("*"))
    with pytest.raises(HarnessError):
        init(project)
    assert (contents(project), sorted(project.rglob("*"))) == (before, places)
    assert not (tmp_path / "first_case.py").exists()


def test_init_does_not_write_through_links(tmp_path: Path) -> None:
    project, mine = tmp_path / "project", tmp_path / "mine"
    project.mkdir()
    mine.write_bytes(PROJECT)
    for name in ("pyproject.toml", ".gitignore", "tox.ini"):
        (project / name).symlink_to(mine)
    (project / "cases").mkdir()
    (project / "cases/first_case.py").symlink_to(tmp_path / "nowhere")
    report = init(project)
    assert mine.read_bytes() == PROJECT
    assert not (tmp_path / "nowhere").exists()
    assert sorted(report.by_hand) == [".gitignore", "the configuration of pytest", "the configuration of tox"]


# Calls and cases


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300", "1e400", "9" * 5000, "", "x", "0", "-0.0"])
def test_a_time_limit_that_no_clock_has_is_refused(tmp_path: Path, value: str) -> None:
    refused(harness(tmp_path, "run", "--timeout", value), "--timeout")


@pytest.mark.parametrize("expression", ["(" * 100_000, "not " * 30_000, "a and"])
def test_an_expression_that_is_none_is_refused(tmp_path: Path, expression: str) -> None:
    (tmp_path / "cases").mkdir()
    refused(harness(tmp_path, "run", "-k", expression), "is not an expression")


@pytest.fixture(scope="module")
def odd(make_warm_project: Callable[[], Any]) -> Iterator[Any]:
    """A run of cases that do odd things, beside what is named like a case file and is none."""
    project = make_warm_project()
    project.write(
        "cases/odd.py",
        """
        import os
        import keras, numpy as np
        from harness import Forward, HarnessError, case

        class Mute(Exception):
            def __str__(self): raise RuntimeError("no")
            def __eq__(self, other): raise RuntimeError("no")

        class MuteOfOurs(HarnessError):
            def __str__(self): raise SystemExit(7)

        @case
        def mute(record): raise Mute
        @case
        def mute_of_ours(record): raise MuteOfOurs
        @case
        def mute_within(record):
            try: raise Mute
            except Mute: raise Mute
        @case
        def large_number(record): record("x", 10**400)
        @case
        def larger_number(record): record("x", 10**5000)
        @case
        def deep(record):
            value = []
            for _ in range(150): value = [value]
            record("x", value)
        @case
        def surrogates(record): record("x\\ud800", "\\udfff")
        @case
        def largest(record): record("x", 1.7976931348623157e308)
        @case
        def pictures(record, tmp_path):
            os.mkfifo(tmp_path / "pipe.png")
            (tmp_path / "endless.png").symlink_to("/dev/zero")
            (tmp_path / "own.png").write_bytes(b"picture")
            record("x", 1)
        """,
    )
    cases = project.folder / "cases"
    (cases / "folder.py").mkdir()
    (cases / "folder.py/data.txt").write_text("harness", encoding="utf-8")
    (cases / "dangling.py").symlink_to("nowhere.py")
    (cases / "loop.py").symlink_to("loop.py")
    os.mkfifo(cases / "pipe.py")
    project.ran = project.harness("run", "--targets", "jax", "--out", "out", "--precision", "float32")
    return project


def test_what_is_named_like_a_case_file_and_is_none_is_passed_over(odd: Any) -> None:
    assert odd.ran.returncode == 3, odd.ran.stderr
    assert "Traceback" not in odd.ran.stderr
    assert len(odd.cases()) == 9


def error_of(odd: Any, name: str) -> str:
    (run,) = odd.cases()[name]["runs"]
    assert run["status"] == "error", run
    return str(run["error"])


@pytest.mark.parametrize("name", ["mute", "mute_of_ours", "mute_within"])
def test_an_exception_that_does_not_say_what_is_wrong_is_an_error_of_its_case(odd: Any, name: str) -> None:
    assert "it does not say what is wrong: its __str__ raises" in error_of(odd, name)


def test_what_no_trace_can_hold_is_an_error_of_its_case(odd: Any) -> None:
    assert "bits" in error_of(odd, "larger_number")
    assert "levels" in error_of(odd, "deep")


@pytest.mark.parametrize("name", ["large_number", "surrogates", "largest", "pictures"])
def test_what_a_trace_can_hold_is_recorded_and_told(odd: Any, name: str) -> None:
    (run,) = odd.cases()[name]["runs"]
    assert (run["status"], odd.cases()[name]["outcome"]) == ("ok", "agree")
    assert [path.rpartition("/")[2] for path in run["pictures"]] == (["own.png"] if name == "pictures" else [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "out", "--html", "x.html", "--junit", "x.xml", "--markdown", "x.md", "--tensorboard", "events"],
        ["show", "out"],
        ["compare", "out", "out", "--json", "x.json"],
    ],
)
def test_such_a_run_is_told_in_every_way(odd: Any, arguments: list[str]) -> None:
    done = odd.harness(*arguments)
    assert "Traceback" not in done.stderr, done.stderr


def test_a_target_with_a_name_that_no_folder_can_have_is_told(run: Path) -> None:
    def rename(result: Any) -> None:
        result["targets"] = ["torch", "9" * 5000]

    edited(run / file.FILE, rename)
    done = harness(run.parent, "report", "run", "--tensorboard", "events")
    assert (done.returncode, done.stderr) == (0, "")
