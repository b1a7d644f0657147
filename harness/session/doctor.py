"""Which backends, devices and versions are installed, and why a backend cannot be used."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import backends
from harness.errors import TargetError
from harness.session import interpreter
from harness.session.pool import STARTUP_TIMEOUT
from harness.target import Target


@dataclass(frozen=True)
class Checkup:
    """The result of starting one backend.

    Attributes:
        name: of the backend.
        installed: whether its packages are installed.
        problem: why the backend cannot be used; None if it can.
        versions: of the backend's packages.
        devices: those that the backend sees, such as `cpu:0`.
    """

    name: str
    installed: bool
    problem: str | None
    versions: dict[str, str] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)


def examine() -> list[Checkup]:
    """Check every known backend. Those that are installed are started, all at once, each in a process of its own."""
    started = _started([Target(name) for name in backends.NAMES if backends.why_not(name) is None])
    here = {target.backend: checkup for target, checkup in started.items()}
    return [here.get(name) or Checkup(name, installed=False, problem=backends.why_not(name)) for name in backends.NAMES]


def devices_of(targets: Sequence[Target]) -> dict[Target, list[str]]:
    """By target, the devices that its backend sees, such as `cpu:0`. Each backend is started in a process of its own.

    Raises:
        TargetError: one of them does not start.
    """
    started = _started(targets)
    for target, checkup in started.items():
        if checkup.problem is not None:
            raise TargetError(f"Target {str(target)!r} cannot run here: {checkup.problem}.")
    return {target: checkup.devices for target, checkup in started.items()}


def _started(targets: Sequence[Target]) -> dict[Target, Checkup]:
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        processes = {target: _start(target, Path(folder)) for target in targets}
        return {target: _checkup(target.backend, process) for target, process in processes.items()}


def _start(target: Target, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [interpreter.path_of(target), "-P", "-m", "harness.worker.probe"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **interpreter.environment(target, folder),
            **backends.get(target.backend).environment_for(target),
            "KERAS_BACKEND": target.backend,
        },
    )


def _checkup(name: str, process: subprocess.Popen[str]) -> Checkup:
    try:
        output, errors = process.communicate(timeout=STARTUP_TIMEOUT)
        seen = json.loads(output.splitlines()[-1])
        return Checkup(name, True, None, seen["versions"], seen["devices"])
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Checkup(name, True, f"it did not start within {STARTUP_TIMEOUT:g} s")
    except (ValueError, IndexError, KeyError):
        last = errors.strip().splitlines()[-1:] or [f"it ended with status {process.returncode}"]
        return Checkup(name, True, last[0])
