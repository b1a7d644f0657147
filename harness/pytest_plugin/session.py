"""One pytest session: its settings, its folder and its workers, each of which is made when it is first needed.

Under pytest-xdist each process has a `ParitySession` of its own, and all share the folder and the workers. What has to
be done once for all of them is done by the first process that needs it, and kept in the folder for the others.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.pytest_plugin import settings
from harness.pytest_plugin.settings import Settings
from harness.suite import DEFAULT_OUT

if TYPE_CHECKING:
    from harness.session.copies import Copies
    from harness.session.session import Session
    from harness.session.sharing import Host
    from harness.session.suite import Call

SESSION = pytest.StashKey["ParitySession"]()
#: The key of `workerinput` under which the first process of pytest-xdist describes the session to the others.
TOLD = "harness_parity"
#: The file that marks a folder as one of ours. It holds the session's id and the id of its process.
_MARK = "session.json"
#: The file that is locked while a session takes the folder. It lies there, where no other user can make it first.
_LOCK = "session.lock"
_UNITS = "units"
#: Options of pytest itself, by the names of their values, that decide how tests are found and run in the workers too.
#: Those that choose tests are not among them, for they choose among ours.
_PASSED_ON = {
    "override_ini": "-o",
    "plugins": "-p",
    "pythonwarnings": "-W",
    "importmode": "--import-mode",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
    "confcutdir": "--confcutdir",
}


class ParitySession:
    """What the plugin knows of one session, in one process."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.root = config.rootpath
        distributed: Mapping[str, Any] = getattr(config, "workerinput", {})
        told = distributed.get(TOLD, {})
        self._id = told.get("id") or uuid.uuid4().hex
        self._process = told.get("process") or os.getpid()
        self._shared = Path(told["workers"]) if told else None
        self._processes = int(distributed.get("workercount", 1))
        self._host: Host | None = None

    @cached_property
    def settings(self) -> Settings:
        return settings.read(self.config)

    @cached_property
    def is_suite(self) -> bool:
        """Whether every test runs on the targets."""
        return "parity" in settings.given(self.config)

    @cached_property
    def workflow(self) -> Session:
        """The session that runs, judges and blames.

        Raises:
            pytest.UsageError: the settings are wrong, or the table of known differences.
        """
        from harness.blame.search import Blamer
        from harness.errors import HarnessError
        from harness.project import known
        from harness.session.options import Options, cores
        from harness.session.session import Session, Setup

        chosen = self.settings
        try:
            declared = known.read(self.root)
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None
        options = Options(
            precision=chosen.precision, jobs=cores(), timeout=chosen.timeout, blame_seconds=chosen.blame_seconds
        )
        setup = Setup(chosen.targets, chosen.reference, self.root, self.folder, options, chosen.fail_on, declared)
        blame_from = chosen.fail_on if chosen.blame else None
        jobs = max(1, cores() // self._processes)
        return Session(setup, examiner=lambda session: Blamer(session, blame_from), shared=self._shared, jobs=jobs)

    @cached_property
    def call(self) -> Call:
        """How this pytest was called, for the pytest in each worker."""
        from harness.session.suite import Call

        config = self.config
        arguments = [
            *("--rootdir", str(config.rootpath)),
            *(["-c", str(config.inipath)] if config.inipath else []),
            "-q",
            "--no-header",
            *(["-n0"] if config.pluginmanager.hasplugin("xdist") else []),
            *(text for name, option in _PASSED_ON.items() for text in _spelled(option, config.getoption(name, None))),
            *self.settings.arguments,
        ]
        folder, path = config.invocation_params.dir, [path for path in sys.path if path]
        has_cache = config.pluginmanager.hasplugin("cacheprovider")
        return Call(folder, path, arguments, self._copies(folder), has_cache)

    def _copies(self, folder: Path) -> Copies:
        """Copies of pytest's root, or of the folder that it was called in if that is not in the root."""
        from harness.session.copies import Copies

        original = self.root if folder.is_relative_to(self.root) else folder
        first = [folder, *([self.root] if self.root.is_relative_to(original) else [])]
        omitted = [self.folder, Path(tempfile.gettempdir()).resolve()]
        return Copies(original, first, omitted, self._temporary / "copies")

    @cached_property
    def _temporary(self) -> Path:
        """A folder that all processes of the session share, removed at its end."""
        if self._shared is not None:
            return self._shared
        place = tempfile.TemporaryDirectory(prefix="harness-", ignore_cleanup_errors=True)
        self.config.add_cleanup(place.cleanup)
        return Path(place.name).resolve()

    @property
    def place(self) -> Path:
        """The path of the session's folder, which need not exist."""
        return self.root / (settings.given(self.config).get("parity_out") or DEFAULT_OUT)

    @cached_property
    def folder(self) -> Path:
        """The session's folder, emptied of what an earlier session left in it.

        Raises:
            pytest.UsageError: it holds other files, cannot be written, or another session is writing to it.
        """
        from filelock import FileLock

        place = self.place
        try:
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(place / _LOCK):
                _take(place, self._id, self._process)
        except OSError as error:
            raise pytest.UsageError(
                f"The folder {str(place)!r} cannot be written: {error.strerror}. Name another with --parity-out."
            ) from None
        return place

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The plain data that `make` returns. One process of the session calls it, and the others read the result."""
        from filelock import FileLock

        path = self.folder / _UNITS / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                temporary = path.with_suffix(".part")
                temporary.write_text(json.dumps(make()), encoding="utf-8")
                os.replace(temporary, path)
            return json.loads(path.read_text(encoding="utf-8"))

    def made(self, prefix: str) -> Iterator[Any]:
        """The results of `once` under all names with this prefix, from every process of the session."""
        if (self.place / _MARK).exists() and _mark(self.place).get("id") == self._id:
            for path in sorted((self.place / _UNITS).glob(f"{prefix}*.json")):
                yield json.loads(path.read_text(encoding="utf-8"))

    def tell(self) -> dict[str, Any]:
        """What another process needs to take part in this session."""
        from harness.session.sharing import Host

        if self._host is None:
            self._host = Host()
        return {"id": self._id, "process": self._process, "workers": str(self._host.folder)}

    def close(self) -> None:
        """End the workers."""
        if "workflow" in vars(self):
            self.workflow.__exit__()
        if self._host is not None:
            self._host.close()


def _spelled(option: str, values: Any) -> Iterator[str]:
    """An option as it is given on the command line, once for each value."""
    for value in values if isinstance(values, list) else [] if values is None else [values]:
        yield from (option, str(value))


def _take(place: Path, session: str, process: int) -> None:
    """Mark a folder as this session's, and remove what an earlier session left in it."""
    left = sorted((path for path in place.iterdir() if path.name != _LOCK), key=lambda path: path.name == _MARK)
    if left:
        mark = _mark(place)
        if mark.get("id") == session:
            return
        if not mark:
            (place / _LOCK).unlink()
            raise pytest.UsageError(
                f"The folder {str(place)!r} holds other things than a session of ours. Name another with --parity-out."
            )
        if mark["process"] != process and _lives(mark["process"]):
            raise pytest.UsageError(
                f"Another session, process {mark['process']}, is writing to {str(place)!r}. Wait for it, or name "
                "another folder with --parity-out."
            )
        for path in left:  # the mark comes last: what is left after a crash is still ours
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (place / _MARK).write_text(json.dumps({"id": session, "process": process}), encoding="utf-8")
    (place / ".gitignore").write_text("*\n", encoding="utf-8")


def _mark(place: Path) -> dict[str, Any]:
    try:
        mark = json.loads((place / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(mark, dict) and isinstance(mark.get("id"), str) and isinstance(mark.get("process"), int)
    return mark if whole else {}


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
