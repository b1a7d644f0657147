"""The command `harness`. It imports no framework, and each of its commands imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import Any

import click

from harness.errors import HarnessError, printable
from harness.version import __version__

#: Exit status after Ctrl-C, as a shell gives it.
INTERRUPTED = 130


class _Group(click.Group):
    """Prints an error of the harness as one paragraph, without a traceback, and ends with exit status 2."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except HarnessError as error:
            raise click.UsageError(printable(error)) from None
        except BrokenPipeError:
            raise  # whoever reads our output has stopped, which click handles quietly
        except OSError as error:
            message = f"{error.filename or 'A file'}: {error.strerror}. Nothing was judged."
            raise click.UsageError(printable(message)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted. Traces of cases that had ended are kept; no result was written.", err=True)
            sys.exit(INTERRUPTED)


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
    """
