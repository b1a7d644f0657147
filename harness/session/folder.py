"""The folder of a run: held by one process at a time, and cleared of what an earlier run left in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from harness import files
from harness.errors import HarnessError, TraceError
from harness.result.file import FILE, PAGE, PLOTS, read
from harness.session.layout import TRACES
from harness.session.selection import Selection
from harness.target import Target
from harness.trace import REPLAYS, Trace

#: The folder of the locks, in that of a run.
LOCKS = ".locks"
#: What holds the result of a run, beside `FILE`.
_OF_A_RESULT = (PAGE, PLOTS, REPLAYS)


def new_folder(runs: Path) -> Path:
    """Make a folder for a run among others, which git ignores. Its name is the time, with a number behind it if that is
    taken.

    Raises:
        HarnessError: it cannot be made.
    """
    name = time.strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        folder = runs / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        except FileExistsError:
            number += 1
        except OSError as error:
            raise HarnessError(
                f"The output folder {str(folder)!r} cannot be written: {error.strerror}. Name another with --out."
            ) from None
        else:
            return folder


@contextlib.contextmanager
def held(folder: Path, parts: Sequence[str]) -> Iterator[None]:
    """Hold parts of a run's folder, such as its result and the traces of a target, while the context is open.

    Raises:
        HarnessError: another process holds one of them.
    """
    locks = folder / LOCKS
    files.check_inside(folder, locks)
    locks.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        for part in sorted(parts):
            note = locks / f"{part}.json"
            lock = FileLock(locks / f"{part}.lock", timeout=0)
            try:
                stack.enter_context(lock)
            except Timeout:
                raise HarnessError(
                    f"Another run is writing to {str(folder)!r}: {_holder(note)}. Wait for it, or name another folder "
                    "with --out."
                ) from None
            told = {"process": os.getpid(), "since": time.strftime("%H:%M:%S")}
            files.write(note, json.dumps(told).encode())
        yield


def _holder(note: Path) -> str:
    try:
        told = json.loads(files.read_text(note))
        return f"process {told['process']}, since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process is not known"


def clear_result(folder: Path) -> None:
    """Remove the result, the pages and the scripts of an earlier run, so that none is taken for this one's.

    Raises:
        HarnessError: the folder has a `result.json` that is none of the harness.
    """
    if not (folder / FILE).exists():
        return
    try:
        read(folder / FILE)
    except TraceError as error:
        raise HarnessError(f"{error} A run would replace it: name another folder with --out.") from None
    for name in (FILE, *_OF_A_RESULT):
        _remove(folder / name)


def clear_traces(
    folder: Path, selections: Sequence[Selection], root: Path, declared: Container[str], targets: Sequence[Target]
) -> None:
    """Remove the traces on these targets of cases that were in the selected files, and that none declares any longer.

    Args:
        root: the folder that the ids of cases are relative to.
        declared: the ids of all cases that the selected files declare.
    """
    for target in targets:
        for trace in sorted((folder / TRACES / target.slug).glob("*")):
            case = _case_of(trace)
            if case is None or case in declared:
                continue
            file = root / case.partition("::")[0]
            if any(selection.path in (file, *file.parents) for selection in selections):
                _remove(trace)


def _case_of(folder: Path) -> str | None:
    try:
        return Trace(folder).header.case
    except TraceError:
        return None


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
