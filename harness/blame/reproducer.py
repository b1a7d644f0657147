"""Makes a script that shows a difference: as small as possible, and kept only if a run of it shows the difference."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness import backends, files, processes
from harness.blame.replays import Replays
from harness.blame.script import Script, Side, distances, issue_text, script_of
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
    replayed: Trace,
    traces: Mapping[Target, Trace],
    deadline: float,
) -> Path | None:
    """The path of a script that was run and shows a difference, with an issue's text beside it; None if there is none.

    Args:
        target: the one that differs from the reference.
        finding: what differs, in a replay.
        part: the part of the case that it belongs to.
        replayed: the reference's trace of that replay.
        traces: of the case itself, by target.
        deadline: when to stop trying scripts, on the clock of `Replays.now`.
    """
    reference = replays.reference
    sides = _side(reference), _side(target)
    if sides[0] == sides[1]:
        return None  # they differ only in their options, which a script cannot set
    script = script_of(finding, part, replayed, sides)
    if script is None:
        return None
    folder = replays.folder / target.slug
    folder.mkdir(parents=True, exist_ok=True)
    index = finding.judgement.index or ()

    def shows(candidate: Script) -> bool:
        return _shows(replays, target, candidate, folder, deadline)

    candidates = [*script.smaller(index[0] if index else None, index), script]
    best = next(filter(shows, candidates), None)
    if best is None:
        return None
    if shows(best.rounded()):
        best = best.rounded()
    path = folder / "repro.py"
    files.write(path, best.text().encode())
    # As a reader would run it, in processes of its own.
    ran = _run(path, max(deadline - replays.now(), LEAST), replays.is_stopped)
    if ran is None or ran.returncode != 1:
        path.unlink()
        return None
    environments = {str(side): traces[side].header.environment for side in (reference, target)}
    issue = issue_text(best.text(), ran.stdout, best.title, environments)
    files.write(folder / "issue.md", issue.encode())
    return path


def _shows(replays: Replays, target: Target, script: Script, folder: Path, deadline: float) -> bool:
    """Whether a script shows the difference in the workers, which is quicker than in new processes."""
    seconds = deadline - replays.now()
    if seconds <= 1:
        return False
    path = folder / "candidate.py"
    files.write(path, script.text().encode())
    values = replays.compute(path, [replays.reference, target], seconds)
    for file in folder.glob("candidate*"):
        file.unlink()
    if len(values) < 2:
        return False
    ours, theirs = values[target], values[replays.reference]
    if ours.shape != theirs.shape:
        return True
    return ours.size > 0 and bool(np.max(distances(ours, theirs)) > script.bound)


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
