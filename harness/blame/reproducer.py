"""Makes a script that shows a difference: as small as possible, and kept only if a run of it shows the difference.

Where there is none, it is said why.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from harness import backends, files, processes
from harness.blame.replays import Replays
from harness.blame.script import NoScriptError, Script, Side, is_whole, issue_text, scripts_of
from harness.result import words
from harness.result.model import Finding
from harness.session import interpreter
from harness.session.pool import Abandoned
from harness.target import Target
from harness.trace import Trace
from harness.trace.parts import Part

#: Seconds that the last run of a script is given, even if fewer are left.
LEAST = 30.0
#: Seconds after which it is looked whether the search is to end.
_LOOK = 0.2


def reproducer_of(
    replays: Replays,
    target: Target,
    finding: Finding,
    part: Part,
    own: Trace,
    traces: Mapping[Target, Trace],
    deadline: float,
) -> Path:
    """The path of a script that was run and shows a difference, with an issue's text beside it.

    Args:
        target: the one that differs from the reference.
        finding: what differs, in a replay.
        part: the part of the case that it belongs to.
        own: what the reference alone recorded in that replay.
        traces: of the case itself, by target.
        deadline: when to stop trying scripts, on the clock of `Replays.now`.

    Raises:
        NoScriptError: there is none.
    """
    reference = replays.reference
    sides = _side(reference), _side(target)
    if differ_in_options(reference, target):
        raise NoScriptError(words.OPTIONS_ALONE)
    scripts = scripts_of(finding, part, own, sides)
    folder = replays.folder / target.slug
    folder.mkdir(parents=True, exist_ok=True)
    index = finding.judgement.index or ()
    candidates = [script for whole in scripts for script in (*whole.smaller(index[0] if index else None, index), whole)]
    trial = _Trial(replays, target, folder, deadline)
    best = next(filter(trial.shows, candidates), None)
    if best is None:
        raise NoScriptError(trial.why or words.SHOWS_NOTHING)
    if trial.shows(best.rounded()):
        best = best.rounded()
    path = folder / "repro.py"
    files.write(path, best.text().encode())
    # As a reader would run it, in processes of its own.
    ran = _run(path, max(deadline - replays.now(), LEAST), replays.is_stopped)
    if ran is None or ran.returncode != 1 or not is_whole(ran.stdout):
        path.unlink()
        raise NoScriptError(words.NO_TIME_FOR_A_SCRIPT if ran is None else words.SHOWS_NOTHING)
    environments = {str(side): traces[side].header.environment for side in (reference, target)}
    issue = issue_text(best.text(), ran.stdout, best.title, environments)
    files.write(folder / "issue.md", issue.encode())
    return path


def differ_in_options(target: Target, other: Target) -> bool:
    """Whether two targets differ in nothing but options, which a script cannot set."""
    return _side(target) == _side(other)


class _Trial:
    """Tries scripts in the workers, which is quicker than in new processes.

    Attributes:
        why: why the last script that was tried gave nothing to compare; None if it did.
    """

    def __init__(self, replays: Replays, target: Target, folder: Path, deadline: float) -> None:
        self._replays, self._target, self._folder, self._deadline = replays, target, folder, deadline
        self.why: str | None = None

    def shows(self, script: Script) -> bool:
        """Whether a script shows the difference."""
        seconds = self._deadline - self._replays.now()
        if seconds <= 1:
            self.why = words.NO_TIME_FOR_A_SCRIPT
            return False
        path = self._folder / "candidate.py"
        files.write(path, script.text().encode())
        targets = [self._replays.reference, self._target]
        found = self._replays.compute(path, targets, seconds)
        for file in self._folder.glob("candidate*"):
            file.unlink()
        raising = [str(target) for target in targets if target not in found]
        self.why = words.script_raises(raising) if raising else None
        return not raising and script.is_shown([found[self._target], found[self._replays.reference]])


def _side(target: Target) -> Side:
    """The side of a script for a target: without options, and with the environment variables that choose its device."""
    backend = backends.get(target.backend)
    usual, placed = (backend.environment_for(at) for at in (Target(target.backend), replace(target, options=())))
    variables = {name: value for name, value in placed.items() if usual.get(name) != value}
    name = f"{target.backend}{f':{target.device}' if target.device else ''}"
    name += "" if target.python is None else " of another environment"
    python = None if target.python is None else interpreter.path_of(target)
    return Side(name, {"KERAS_BACKEND": target.backend, **variables}, python)


def _run(script: Path, seconds: float, is_stopped: Callable[[], bool]) -> subprocess.CompletedProcess[str] | None:
    """Run a script. None where it does not end in time. It starts processes itself, and none of them is left behind."""
    command = [sys.executable, script.name]
    deadline = time.monotonic() + seconds
    with subprocess.Popen(
        command,
        cwd=script.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            while time.monotonic() < deadline:
                if is_stopped():
                    raise Abandoned
                with contextlib.suppress(subprocess.TimeoutExpired):
                    output, errors = process.communicate(timeout=_LOOK)
                    return subprocess.CompletedProcess(command, process.returncode, output, errors)
            return None
        finally:
            if process.poll() is None:
                processes.end(process.pid)
