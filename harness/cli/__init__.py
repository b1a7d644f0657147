"""The command line."""

from harness.cli.commands import main

__all__ = ["main"]
