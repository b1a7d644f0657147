"""What a process leaves behind: processes that it started, however far they went from it.

A process that leaves its group, or whose parent ends, is found by who its parent is. On Linux a process may adopt every
descendant whose parent has ended, so that all of them stay below it. Elsewhere only its process group is found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

#: From <linux/prctl.h>.
_PR_SET_CHILD_SUBREAPER = 36
_PROCESSES = Path("/proc")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(process: int) -> set[int]:
    """The children of a process, those that ended and were not waited for among them; none where that is unknown."""
    return {child for child, parent in _parents() if parent == process}


def end(process: int) -> None:
    """Kill a process, its group, and everything below it."""
    _signal(process, signal.SIGSTOP)  # it starts no more, and what is below it stays there
    killed: set[int] = set()
    while new := _below(process) - killed:
        for descendant in new:
            _signal(descendant, signal.SIGKILL)
        killed |= new
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    _signal(process, signal.SIGKILL)


def _below(process: int) -> set[int]:
    """Every descendant of a process."""
    parents = dict(_parents())
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def _parents() -> Iterator[tuple[int, int]]:
    """Every process with its parent, as far as the system tells."""
    for place in _PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # What follows the name, which is in parentheses and may hold any character: the state, and the parent.
            yield int(place.name), int((place / "stat").read_bytes().rpartition(b")")[2].split()[1])


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)
