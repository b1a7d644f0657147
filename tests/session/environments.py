"""Virtual environments that hold what a test says and nothing else, made by links to what is installed here."""

from __future__ import annotations

import importlib.metadata
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def environment(folder: Path, *distributions: str) -> Path:
    """The interpreter of a new environment with links to distributions, and to all that they require."""
    venv.create(folder, symlinks=True)
    for name in sorted(_with_requirements(distributions)):
        for path in _top_level(importlib.metadata.distribution(name)):
            if not (site(folder) / path.name).exists():
                (site(folder) / path.name).symlink_to(path)
    return folder / "bin" / "python"


def site(folder: Path) -> Path:
    """The folder that an environment's packages lie in."""
    (found,) = folder.glob("lib/*/site-packages")
    return found


def pretend(folder: Path, distribution: str, version: str, *modules: str) -> None:
    """Install empty modules into an environment's `site-packages`, as a distribution of a version."""
    about = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (about / "top_level.txt").write_text("\n".join(modules))
    for module in modules:
        (folder / module).mkdir(exist_ok=True)
        (folder / module / "__init__.py").write_text("")


def has(python: Path, module: str) -> bool:
    """Whether an interpreter by itself finds a module."""
    text = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-I", "-c", text], check=False).returncode == 0


def _with_requirements(names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            needed = map(Requirement, importlib.metadata.requires(name) or [])
            waiting += [item.name for item in needed if item.marker is None or item.marker.evaluate({"extra": ""})]
    return found


def _top_level(distribution: importlib.metadata.Distribution) -> Iterator[Path]:
    """The files and folders of a distribution right in `site-packages`."""
    parts = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return (Path(str(distribution.locate_file(part))) for part in sorted(parts))
