"""Which backends, devices and versions are here, and why one is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field

from harness import backends
from harness.pool import STARTUP_TIMEOUT
from harness.target import Target


@dataclass(frozen=True)
class Finding:
    """One backend.

    Attributes:
        name: of the backend.
        installed: whether its packages are here.
        problem: why it cannot be used; None where it can.
        versions: of what it is made of.
        devices: that it sees.
    """

    name: str
    installed: bool
    problem: str | None
    versions: dict[str, str] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)


def examine() -> list[Finding]:
    """Start every installed backend once, each in a process of its own, all at once."""
    started = {
        name: subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.worker.probe"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **backends.get(name).environment_for(Target(name)), "KERAS_BACKEND": name},
        )
        for name in backends.NAMES
        if backends.why_not(name) is None
    }
    return [_finding(name, started.get(name)) for name in backends.NAMES]


def _finding(name: str, process: subprocess.Popen[str] | None) -> Finding:
    if process is None:
        return Finding(name, installed=False, problem=backends.why_not(name))
    try:
        output, errors = process.communicate(timeout=STARTUP_TIMEOUT)
        seen = json.loads(output.splitlines()[-1])
        return Finding(name, True, None, seen["versions"], seen["devices"])
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Finding(name, True, f"it did not start within {STARTUP_TIMEOUT:g} s")
    except (ValueError, IndexError, KeyError):
        last = errors.strip().splitlines()[-1:] or [f"it ended with status {process.returncode}"]
        return Finding(name, True, last[0])
