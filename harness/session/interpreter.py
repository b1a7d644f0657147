"""The Python interpreter of a target: our own, or that of another environment, which needs only the frameworks.

In another environment a worker finds the rest by path: a folder of links to the worker's side of the harness, and to
the libraries that this imports, comes first on its `PYTHONPATH`. Our own `site-packages` is never on it, because our
frameworks would be imported from there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

from harness import backends
from harness.backends import packages
from harness.target import Target

#: The oldest Python that the worker's side runs on.
OLDEST_PYTHON = (3, 11)
#: Seconds that an interpreter has to tell its versions.
ANSWER_TIMEOUT = 60.0
#: The folders and modules of the package `harness` that the worker's side consists of.
WORKERS_SIDE = (
    *("worker", "backends", "trace"),
    *("__init__.py", "case.py", "errors.py", "files.py", "injected.py", "plain.py", "processes.py", "suite.py"),
    *("target.py", "temporary.py", "verdict.py", "version.py", "wire.py"),
)
#: Modules that the worker's side imports, apart from the frameworks and what Keras itself requires.
LIBRARIES = (
    *("attr", "attrs", "cattrs", "typing_extensions"),
    "safetensors",
    *("pytest", "_pytest", "py", "pluggy", "iniconfig"),
)
#: Environment variables that point into our own environment.
_OURS = ("PYTHONHOME", "VIRTUAL_ENV")
#: The name of the folder of links. Files below it in a traceback are not the user's own.
FOLDER = "carried-by-harness"

# In syntax that any Python understands, so that one that is too old can say so.
_QUESTION = f"""
import json, sys
answer = {{"python": list(sys.version_info[:2])}}
if sys.version_info >= {OLDEST_PYTHON}:
    import runpy
    answer["versions"] = runpy.run_path(sys.argv[1])["versions"](sys.argv[2:])
print(json.dumps(answer))
"""


def path_of(target: Target) -> str:
    """The absolute path of a target's interpreter, which need not exist.

    A path is relative to the current folder, and a name without a slash is looked for on `PATH`. Links are not
    resolved, because the interpreter of a virtual environment is a link.
    """
    if target.python is None:
        return sys.executable
    if os.sep in target.python:
        return os.path.abspath(os.path.expanduser(target.python))
    return os.path.abspath(shutil.which(target.python) or target.python)


def why_not(target: Target) -> str | None:
    """Why a target's interpreter cannot run its backend, with the remedy; None if it can. No framework is imported.

    Each interpreter is asked only once in this process.
    """
    if target.python is None:
        return backends.why_not(target.backend)
    path = path_of(target)
    answer = _why_none(target.python, path) or _ask(path)
    if isinstance(answer, str):
        return answer
    _, *others = backends.modules_of(target.backend)
    install = f"{shlex.quote(target.python)} -m pip install 'keras>={backends.OLDEST_KERAS}' {' '.join(others)}"
    return backends.lacking(target.backend, answer, install)


def environment(target: Target, folder: Path) -> dict[str, str]:
    """The environment variables for a process of a target's interpreter.

    Args:
        folder: where the folder of links is made, if the interpreter is another environment's.
    """
    if target.python is None:
        return dict(os.environ)
    variables = _inherited()
    path = [str(_carried(folder / FOLDER)), variables["PYTHONPATH"]]
    return {**variables, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def _inherited() -> dict[str, str]:
    """Our environment variables, without those that would lead another interpreter into our environment."""
    variables = {name: value for name, value in os.environ.items() if name not in _OURS}
    # In a process of pytest-xdist, PYTHONPATH is the whole `sys.path` of pytest.
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return variables | {"PYTHONPATH": os.pathsep.join(entry for entry in entries if entry and not _is_ours(entry))}


def _is_ours(entry: str) -> bool:
    """Whether an entry of `sys.path` belongs to our interpreter, and not to a project."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    libraries.update(site.getsitepackages())
    zipped = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    return Path(entry).name == zipped or any(Path(entry).is_relative_to(library) for library in libraries)


def _why_none(name: str, path: str) -> str | None:
    """Why the file system has no program at a path; None if it has one."""
    within = os.path.join(name, "bin", "python")
    remedy = f"name {within!r}" if os.path.exists(within) else "name an environment's interpreter, as old/bin/python"
    if os.sep not in name and shutil.which(name) is None:
        return f"there is no command {name!r} on PATH: {remedy}"
    if not os.path.exists(path):
        return f"the interpreter {name!r} does not exist: {remedy}"
    if os.path.isdir(path):
        return f"{name!r} is a folder: {remedy}"
    if not os.access(path, os.X_OK):
        return f"the file {name!r} may not be executed: {remedy}"
    return None


@cache
def _ask(path: str) -> dict[str, str | None] | str:
    """The versions of Keras and of every backend that an interpreter has, or why it is not a Python we can use."""
    modules = {module for name in backends.NAMES for module in backends.modules_of(name)}
    command = [path, "-c", _QUESTION, packages.__file__, *sorted(modules)]
    variables = {**_inherited(), "PYTHONSAFEPATH": "1"}  # as a worker, which is run with -P
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=variables,
            timeout=ANSWER_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{path!r} did not say within {ANSWER_TIMEOUT:g} s which Python it is"
    except OSError as error:
        return f"{path!r} is not a Python: {error.strerror}"
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        python = tuple(answer["python"])
    except (ValueError, IndexError, KeyError, TypeError):
        last = [*done.stdout.splitlines(), *done.stderr.splitlines(), "it said nothing"]
        return f"{path!r} is not a Python: asked for its version it ended with status {done.returncode}: {last[0]}"
    if python < OLDEST_PYTHON:
        return f"{path!r} is Python {_dotted(python)}, and the harness needs {_dotted(OLDEST_PYTHON)} or newer"
    versions: dict[str, str | None] = answer["versions"]
    return versions


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _carried(folder: Path) -> Path:
    """Make the folder of links if it does not exist. Several processes may do so at once."""
    if folder.exists():
        return folder
    made = Path(tempfile.mkdtemp(prefix=f"{FOLDER}-", dir=folder.parent))
    for name in LIBRARIES:
        _link(_source(name), made)
    (made / "harness").mkdir()
    for name in WORKERS_SIDE:
        _link(_source("harness") / name, made / "harness")
    try:
        made.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(made)
    return folder


def _source(module: str) -> Path:
    """The folder or file that a module is imported from."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"{module} is not installed"
    (place,) = spec.submodule_search_locations or [str(spec.origin)]
    return Path(place)


def _link(source: Path, folder: Path) -> None:
    """Link a file or folder into a folder, or copy it if the file system has no links."""
    with contextlib.suppress(OSError):
        (folder / source.name).symlink_to(source)
        return
    if source.is_dir():
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, folder / source.name)
