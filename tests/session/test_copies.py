"""Copies of a suite's folder: what is a file of its own in them, what is a link, and what they cost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.session import copies
from harness.session.copies import Copies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them: a suite, its data, and what tools have made."""
    for name in (
        *("tests/test_x.py", "tests/data/x.csv", "tests/data/deep/y.csv", "saved.keras", "run.sh"),
        *(".git/HEAD", "node_modules/a/b.js", "build/x.o", "envs/old/pyvenv.cfg", "runs/pytest/result.json"),
        *("tests/__pycache__/test_x.cpython-311-pytest-9.pyc", "tests/__pycache__/helper.cpython-311.pyc"),
    ):
        path = tmp_path / "suite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "suite" / "run.sh").chmod(0o755)
    return tmp_path / "suite"


def copied(folder: Path, first: list[Path] | None = None, omitted: list[Path] | None = None) -> Path:
    return Copies(folder, first or [folder], omitted or [], folder.parent / "copies").of("torch-float32")


def links(copy: Path) -> set[str]:
    """What is a link in a copy, as paths in it."""
    found = set()
    for at, folders, files in os.walk(copy):
        found |= {
            Path(at, name).relative_to(copy).as_posix() for name in (*folders, *files) if Path(at, name).is_symlink()
        }
    return found


def test_a_copy_holds_all_and_what_tests_write_to_is_its_own(folder: Path) -> None:
    copy = copied(folder, omitted=[folder / "runs/pytest"])
    assert copy.name == folder.name
    assert links(copy) == {
        *(".git", "node_modules", "build", "envs/old"),
        *("tests/test_x.py", "tests/__pycache__/helper.cpython-311.pyc"),
    }
    for name in ("tests/data/deep/y.csv", "saved.keras", ".git/HEAD", "tests/test_x.py"):
        assert (copy / name).read_text() == name
    assert os.access(copy / "run.sh", os.X_OK)
    assert list((copy / "runs").iterdir()) == []
    (copy / "saved.keras").write_text("mine")
    (copy / "tests/data/deep/new").write_text("mine")
    assert (folder / "saved.keras").read_text() == "saved.keras"
    assert not (folder / "tests/data/deep/new").exists()


def test_a_copy_is_made_once(folder: Path) -> None:
    (copied(folder) / "written").write_text("by a test")
    assert (copied(folder) / "written").read_text() == "by a test"


def test_what_is_large_is_a_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "LARGEST", len("tests/data/deep/y.csv") - 1)
    copy = copied(folder)
    assert "tests/data/deep/y.csv" in links(copy)
    assert "tests/data/x.csv" not in links(copy)


def test_what_is_too_much_together_is_a_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_BYTES", len("run.sh") + len("saved.keras"))
    assert {"tests/data/x.csv", "tests/data/deep/y.csv"} <= links(copied(folder))


def test_a_folder_of_more_files_than_a_copy_may_hold_is_a_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_ENTRIES", 40)
    for number in range(50):
        (folder / "tests" / "data" / f"{number}.csv").touch()
    copy = copied(folder)
    assert "tests/data" in links(copy)
    assert (copy / "tests/data/deep/y.csv").exists()
    assert "saved.keras" not in links(copy)


def test_the_folders_that_pytest_is_called_in_and_has_as_root_come_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_ENTRIES", 4)
    copy = copied(folder, first=[folder / "tests" / "data"])
    assert "tests/data/x.csv" not in links(copy)
    assert "tests/data/deep" not in links(copy)
    assert "envs" in links(copy)


def test_copies_in_the_folder_itself_are_not_copied(folder: Path) -> None:
    place = Copies(folder, [folder], [], folder / "tests" / "tmp")
    place.of("torch-float32")
    assert not (place.of("jax-float32") / "tests" / "tmp").exists()


def test_links_stay_links_and_their_folders_are_not_walked(folder: Path) -> None:
    (folder / "tests" / "again").symlink_to(folder)
    (folder / "tests" / "nowhere").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")
    copy = copied(folder)
    assert {"tests/again", "tests/nowhere", "pipe"} <= links(copy)
    assert (copy / "tests/again/saved.keras").exists()
