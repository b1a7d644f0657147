"""A script that shows a difference is run before it is handed over, in the time there is."""

from __future__ import annotations

from pathlib import Path

from harness.blame import reproducer


def test_a_script_that_does_not_end_in_its_seconds_is_not_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(100)\n")
    assert reproducer._run(script, 0.5) is None


def test_a_script_that_ends_in_its_seconds_is_told_by_status_and_output(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('shown')\nsys.exit(1)\n")
    ran = reproducer._run(script, 60)
    assert ran is not None
    assert (ran.returncode, ran.stdout) == (1, "shown\n")
