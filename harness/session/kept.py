"""What backends have compiled, kept from one run to the next: in the user's cache folder, and bounded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
from pathlib import Path

import platformdirs

#: Bytes of compiled programs that are kept. What was used least recently goes first.
MOST = 1 << 29


def folder() -> Path | None:
    """The folder for what is compiled on this machine, or None if there cannot be one. Where it holds too much, the
    oldest files are removed.

    The files in it are executed, so the folder must be the user's own and closed to others.
    """
    everything = platformdirs.user_cache_path("keras-harness")
    ours = everything / "compiled" / _processor()
    try:
        everything.parent.mkdir(parents=True, exist_ok=True)
        for path in (everything, ours.parent, ours):
            path.mkdir(mode=0o700, exist_ok=True)  # whatever the umask is, under which the group may often write
            found = path.stat()
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
        if not os.access(ours, os.R_OK | os.W_OK | os.X_OK):
            return None
        _bound(everything)
    except OSError:
        return None
    return ours


def _processor() -> str:
    """What tells processors apart that do not run each other's programs: a home folder may be on several machines."""
    what = [platform.system(), platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        what += sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return hashlib.sha256("\n".join(what).encode()).hexdigest()[:16]


def _bound(everything: Path) -> None:
    """Remove files, those that were used least recently first, until no more than `MOST` bytes are left."""
    found = []
    for path in everything.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another run may be removing them as well
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime, status.st_size, path))
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= MOST:
            break
        path.unlink(missing_ok=True)
        left -= size
