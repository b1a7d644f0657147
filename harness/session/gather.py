"""Brings the traces that a comparison names into its folder, which is whole then, wherever it is read.

Reports read no trace outside of the folder of a run, because the folder may be a stranger's.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.result.schema import ResultJson
from harness.session.layout import TRACES, slug_of


def gather(result: ResultJson, folder: Path) -> None:
    """Copy traces that lie elsewhere into the folder of a result, and name the copies in it.

    Args:
        folder: what the result's paths are relative to. It exists.
    """
    root = os.path.realpath(folder)
    for case in result["cases"]:
        for run in case["runs"]:
            place = run["trace"]
            if place is None or Path(os.path.realpath(folder / place)).is_relative_to(root):
                continue
            copy = f"{TRACES}/{slug_of(run['target'])}/{slug_of(case['id'])}"
            shutil.rmtree(folder / copy, ignore_errors=True)  # of an earlier comparison
            shutil.copytree(folder / place, folder / copy, copy_function=_linked, ignore=_no_files)
            run["trace"] = copy
            run["pictures"] = [picture.replace(place, copy, 1) for picture in run["pictures"]]


def _linked(source: str, place: str) -> None:
    """A second name of a file, which takes no room, or a copy where there cannot be one."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def _no_files(folder: str, names: list[str]) -> list[str]:
    """What is neither a file nor a folder, such as a pipe, or a link that leads nowhere."""
    paths = {name: Path(folder, name) for name in names}
    return [name for name, path in paths.items() if not (path.is_file() or path.is_dir())]
