"""A script that shows a difference is run before it is handed over, in the time there is."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.blame import reproducer
from harness.session.pool import Abandoned


def test_a_script_that_does_not_end_in_its_seconds_is_not_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(100)\n")
    assert reproducer._run(script, 0.5, lambda: False) is None


def test_a_script_that_ends_in_its_seconds_is_told_by_status_and_output(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('shown')\nsys.exit(1)\n")
    ran = reproducer._run(script, 60, lambda: False)
    assert ran is not None
    assert (ran.returncode, ran.stdout) == (1, "shown\n")


#: Starts another process, as a script does for each backend, which holds a lock for as long as it lives.
HOLDS = """
import fcntl, subprocess, sys
lock = open("alive.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
open("started", "w").close()
subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
"""


def is_held(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_script_ends_with_all_that_it_started_when_the_search_is_to_end(
    tmp_path: Path, comes_true: Callable[..., bool]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(HOLDS)
    with pytest.raises(Abandoned):
        reproducer._run(script, 60, (tmp_path / "started").exists)
    assert comes_true(lambda: not is_held(tmp_path / "alive.lock"))
