"""Files that commands write, and paths as the caller would type them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.result.run_folder import RunFolder


def writable(folder: Path) -> Path:
    """Make a folder for a run if it does not exist. Returns its absolute path.

    Raises:
        HarnessError: it cannot be made, nothing can be written in it, or a folder that a run writes to is a link that
            leads outside.
    """
    from harness.files import check_inside
    from harness.result.file import PLOTS
    from harness.session.layout import LOGS, TRACES
    from harness.trace import REPLAYS

    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HarnessError(
            f"The output folder {str(folder)!r} cannot be written: {error.strerror}. Name another with --out."
        ) from None
    for inner in map(folder.joinpath, (TRACES, LOGS, REPLAYS, PLOTS)):
        check_inside(folder, inner)
        for place, folders, others in os.walk(inner):
            check_inside(folder, *(Path(place, name) for name in folders))
            if inner.name == LOGS:  # of an earlier run; the output of this one does not go where links lead
                for path in (Path(place, name) for name in others):
                    if path.is_symlink():
                        path.unlink()
    return Path(os.path.realpath(folder))


def shown(path: Path) -> str:
    """A path as the caller would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def write_reports(run: RunFolder, files: Mapping[str, str | None]) -> None:
    """Write the reports that were asked for: `files` has the path of a file, or None, by option, such as `--html`.

    Raises:
        HarnessError: a file cannot be written.
    """
    from harness import files as disk
    from harness.report import html, junit, markdown
    from harness.result.file import as_json

    make: dict[str, Callable[[RunFolder], bytes]] = {
        "--json": lambda run: as_json(run.result),
        "--junit": junit.document,
        "--html": html.page,
        "--markdown": lambda run: markdown.summary(run).encode(),
    }
    for option, file in files.items():
        if file is None:
            continue
        try:
            disk.write(Path(file), make[option](run))
        except OSError as error:
            raise HarnessError(
                f"The result cannot be written to {file!r}: {error.strerror}. Name another with {option}."
            ) from None
