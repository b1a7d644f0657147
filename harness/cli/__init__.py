"""The command line: the group `harness` with its commands."""

from harness.cli import run, setup, tell
from harness.cli.group import main

__all__ = ["main", "run", "setup", "tell"]
