"""Paths and names in a run's folder, and the seed of each case."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from harness.target import Target

#: The folders of traces and of the workers' own output.
TRACES, LOGS = "traces", "logs"
#: The most bytes of a case's id in the name of its folder. A file system allows 255 for a name.
_READABLE = 80


def trace_folder(folder: Path, target: Target, case: str) -> Path:
    """The folder of a case's trace on a target, in a run's folder."""
    return folder / TRACES / target.slug / slug_of(case)


def slug_of(case: str) -> str:
    """A file name made of a case's id: readable, safe on any file system, and different for every case."""
    safe = re.sub(r"[^\w.-]+", "-", case).strip("-.")
    readable = safe.encode()[-_READABLE:].decode(errors="ignore")
    return f"{readable}-{_digest(case).hex()[:8]}"


def seed_of(case: str, seed: int = 0) -> int:
    """The seed of a case, of 31 bits, from its id and the run's seed: the same on every target and machine."""
    text = case if seed == 0 else f"{case} {seed}"
    return int.from_bytes(_digest(text)[:4], "big") >> 1


def _digest(text: str) -> bytes:
    """The sha256 of a text, in which a file's name that is no UTF-8 may stand."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
