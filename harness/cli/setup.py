"""Commands about the environment and the project: `init` and `doctor`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from harness.cli.group import main
from harness.version import __version__


@main.command()
@click.argument("folder", default=".", metavar="[DIR]")
def init(folder: str) -> None:
    """Write a first case, and a setup for pytest, tox and GitHub Actions, into a project.

    What is there already stays as it is.
    """
    from harness.project.scaffold import init as write_setup
    from harness.report.console import make_console, text

    done = write_setup(Path(folder))
    console = make_console()
    for title, names, style in (("written", done.written, "green"), ("there already, left", done.left, "yellow")):
        for name in names:
            console.print(text(f"{title}: {os.path.normpath(os.path.join(folder, name))}", style))
    for name, lines in done.by_hand.items():
        console.print(text(f"\nadd to {name} by hand:\n", "bold"))
        console.print(text(lines), soft_wrap=True)
    console.print(text("next: harness run, pytest --parity, tox run -e parity-torch,parity-jax,parity"))


@main.command()
def doctor() -> None:
    """Say which backends, devices and versions are installed, and why a backend cannot be used."""
    from harness.report.console import make_console, text
    from harness.result.outcome import AGREE, FAILED
    from harness.session.doctor import examine

    console = make_console()
    console.print(text(f"harness {__version__}, Python {sys.version.split()[0]}, {sys.executable}"))
    checkups = examine()
    for checkup in checkups:
        if checkup.problem is None:
            versions = ", ".join(f"{name} {version}" for name, version in checkup.versions.items())
            console.print(text(f"  {checkup.name:<12}", "green").append_text(text(f"{versions}")))
            console.print(text(f"  {'':<12}devices: {', '.join(checkup.devices)}"))
        else:
            console.print(text(f"  {checkup.name:<12}", "magenta").append_text(text(checkup.problem)))
    sys.exit(FAILED if any(checkup.installed and checkup.problem for checkup in checkups) else AGREE)
