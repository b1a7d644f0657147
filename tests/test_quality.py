"""A part of the quality suite: bugs of several kinds are found, and it is said where they are. The whole, with healthy
code that must raise no alarm, is `python tests/quality/score.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCORE = Path(__file__).parent / "quality" / "score.py"
BUGS = (
    "padding_is_averaged",
    "tanh_is_clipped_at_four",
    "what_dropout_keeps_is_not_scaled",
    "penalty_is_halved",
)


@pytest.mark.slow
def test_bugs_of_several_kinds_are_found_where_they_are(tmp_path: Path) -> None:
    command = [sys.executable, SCORE, "-k", " or ".join(BUGS), "--healthy", "0", "--out", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))["scores"]
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert scores["bugs"] == len(BUGS)
    assert scores["never reached"] == []
    assert scores["detected"]["right"] == len(BUGS), done.stdout
    assert scores["phase"]["right"] == len(BUGS), done.stdout
    for what in ("layer", "op"):
        assert scores[what]["right"] == scores[what]["of"] > 0, done.stdout
