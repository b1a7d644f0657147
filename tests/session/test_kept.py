"""What is kept of compiled programs from one run to the next, and when it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.session import kept

CASE = """
import keras
from harness import Forward, case

@case
def dense(rng):
    return Forward(keras.layers.Dense(3), rng.normal(size=(2, 4)).astype("float32"))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(home: Path) -> list[Path]:
    """Every file that is kept. Libraries keep files of their own beside them."""
    return [path for path in (home / "keras-harness").rglob("*") if path.is_file()]


def programs(home: Path) -> dict[str, int]:
    """When each file that is kept was written or used, by its name."""
    return {path.name: path.stat().st_mtime_ns for path in files(home)}


def test_the_folder_is_the_users_own_and_the_same_each_time(home: Path) -> None:
    folder = kept.folder()
    assert folder is not None
    assert folder.is_relative_to(home)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert kept.folder() == folder


def test_it_is_closed_to_others_whatever_files_are_by_default(home: Path) -> None:
    before = os.umask(0o002)
    try:
        folder = kept.folder()
    finally:
        os.umask(before)
    assert folder is not None
    assert {place.stat().st_mode & 0o777 for place in (folder, *folder.parents) if place.is_relative_to(home)} == {
        0o700,
        home.stat().st_mode & 0o777,
    }


def test_machines_that_share_a_home_but_no_processor_share_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    here = kept.folder()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    there = kept.folder()
    assert None not in (here, there)
    assert here != there


def test_what_was_used_least_recently_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = kept.folder()
    assert folder is not None
    for age, name in enumerate(["new", "used", "old", "oldest"]):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1000 - age, 1000 - age))
    monkeypatch.setattr(kept, "MOST", 250)
    assert kept.folder() == folder
    assert {path.name for path in folder.iterdir()} == {"new", "used"}


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_may_write_to_is_not_used(mode: int) -> None:
    folder = kept.folder()
    assert folder is not None
    folder.chmod(mode)
    assert kept.folder() is None


def test_a_folder_of_somebody_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept.folder() is not None
    monkeypatch.setattr("os.getuid", lambda: os.geteuid() + 1)
    assert kept.folder() is None


def test_where_there_can_be_no_folder_a_run_does_without(home: Path, project: Any) -> None:
    home.write_text("a file in the place of the folder")
    assert kept.folder() is None
    project.write("cases/x.py", CASE)
    done = project.harness("run", "--targets", "jax", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 ran" in done.stdout
    assert home.read_text() == "a file in the place of the folder"


def test_a_second_run_uses_what_the_first_one_compiled(home: Path, make_project: Callable[[], Any]) -> None:
    project = make_project()
    project.write("cases/x.py", CASE)
    project.harness("run", "--targets", "jax", "--out", "first")
    first = programs(home)
    assert len(first) > 5
    for path in files(home):
        os.utime(path, (1000, 1000))
    project.harness("run", "--targets", "jax", "--out", "second")
    second = programs(home)
    assert set(second) == set(first)  # nothing was compiled anew
    assert all(used > 1000 * 10**9 for used in second.values())
    arrays = {
        out: {
            path.relative_to(project.folder / out): path.read_bytes()
            for path in (project.folder / out).rglob("arrays.safetensors")
        }
        for out in ("first", "second")
    }
    assert arrays["first"] == arrays["second"] != {}
