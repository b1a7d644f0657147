"""The command `harness`. It imports no framework, and each of its commands imports what it needs when it runs."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, NoReturn

import click

from harness.errors import HarnessError, printable
from harness.result.outcome import BROKEN
from harness.version import __version__

#: Signals that end a command as Ctrl-C does: what there is by then is written and shown.
STOPPING = (signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def said_of(error: BaseException) -> str:
    """What ended a command, in words: a signal, or a failure of the harness or of the machine."""
    if isinstance(error, KeyboardInterrupt):
        return f"{error if isinstance(error, Stopped) else signal.SIGINT.name} interrupted it"
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There was not enough memory."
    if isinstance(error, UnicodeError):
        return f"A name or a text is no UTF-8: {error}. Rename the file, or correct the text."
    if isinstance(error, BrokenPipeError):
        return "whatever read its output has closed the pipe"
    if isinstance(error, OSError):
        return f"{error.filename or 'A file'}: {error.strerror or error}."
    return f"The harness failed, which is a bug of it: {type(error).__name__}: {error}"


class _Group(click.Group):
    """Ends with status 2, and a paragraph, where the call is wrong, and with 4 where the harness or the machine fails.

    Status 1 is left to differences.
    """

    def invoke(self, context: click.Context) -> Any:
        for number in STOPPING:
            if signal.getsignal(number) is signal.SIG_DFL:  # under nohup, SIGHUP is ignored
                signal.signal(number, _stop)
        try:
            return super().invoke(context)
        except HarnessError as error:
            raise click.UsageError(printable(error)) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            # Whoever read our output has stopped. What is still in the buffer goes nowhere, or Python would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(BROKEN)
        except KeyboardInterrupt as stop:
            click.echo("Interrupted. What had been judged or recorded by then is kept.", err=True)
            sys.exit(128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT))  # as a shell gives it
        except Exception as error:
            if not isinstance(error, (OSError, UnicodeError, MemoryError)):
                traceback.print_exc()
            click.echo(f"Error: {printable(said_of(error))}", err=True)
            sys.exit(BROKEN)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped(number)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="harness")
def main() -> None:
    """Tell whether Keras 3 code does the same thing on TensorFlow, PyTorch and JAX.

    \b
    Exit status:
      0  everything agrees
      1  a real difference (divergent, mismatch, or what --fail-on names)
      2  the call is wrong
      3  a target failed to run a case (crash, exception, time limit), and nothing differs
      4  the harness or the machine failed (a full disk, no memory, a closed pipe): no finding
    128+n  signal n ended it; what had been judged is written and shown
    """
