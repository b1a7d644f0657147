"""Where processes of one pytest session meet: nowhere that another user could be first."""

from __future__ import annotations

from typing import Any

CASE = "from harness import case\n@case\ndef it(record): record('x', 1)\n"
QUICK = ("--parity-targets", "jax", "-p", "no:cacheprovider")


def test_a_session_leaves_no_lock_in_the_folder_that_all_users_share(project: Any) -> None:
    project.write("cases/x.py", CASE)
    done = project.python("-m", "pytest", "cases", *QUICK)
    assert done.returncode == 0, done.stdout
    assert list(project.temporary.glob("*.lock")) == []
    assert (project.folder / "runs/pytest/session.json").exists()


def test_what_an_earlier_session_left_is_removed(project: Any) -> None:
    project.write("cases/x.py", CASE)
    project.write("runs/pytest/session.json", '{"id": "earlier", "process": 4194304999}')
    left = project.write("runs/pytest/traces/left.txt", "")
    assert project.python("-m", "pytest", "cases", *QUICK).returncode == 0
    assert not left.exists()


def test_a_folder_that_is_somebody_elses_is_left_as_it_was(project: Any) -> None:
    project.write("cases/x.py", CASE)
    kept = project.write("precious/data.txt", "all I have")
    assert project.python("-m", "pytest", "cases", *QUICK, "--parity-out", "precious").returncode != 0
    assert list(kept.parent.iterdir()) == [kept]
