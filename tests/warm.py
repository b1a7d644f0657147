"""The command line, with workers that are shared by all calls that name the same folder in `TESTS_WORKERS`.

Their imports take most of the time of a small run, and many tests make one.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from harness.cli import main
from harness.session.session import Session

if __name__ == "__main__":
    shared = functools.partialmethod(Session.__init__, shared=Path(os.environ["TESTS_WORKERS"]))
    setattr(Session, "__init__", shared)  # noqa: B010 - as an attribute its type would be that of one call
    main(prog_name="harness")
