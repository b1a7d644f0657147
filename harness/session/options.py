"""How the cases of a session are run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

DEFAULT_TIMEOUT = 300.0
DEFAULT_BLAME_SECONDS = 180.0
#: The longest time limit, in seconds: more than eleven days. The timers of an operating system end somewhere.
LONGEST_TIMEOUT = 1_000_000


@dataclass(frozen=True)
class Options:
    """How cases are run.

    Attributes:
        precision: `both` if every case has a twin, a run in the other precision; `float32` if there are no twins.
        jobs: how many cases run at once.
        timeout: seconds that one case may take on one target, in one precision.
        seed: mixed into the seed of every case. Another seed makes other data, weights and masks.
        native: whether each backend draws from its own generator. Then there are no twins, every case runs several
            times on each target, and distributions are compared.
        noise_runs: how many noise runs each case has on each target. They measure rounding where there is no twin.
        observer_check: whether each case has an unobserved run, to check that the instruments change nothing.
        blame_seconds: seconds for the search for the origin of one difference.
    """

    precision: Literal["float32", "both"] = "both"
    jobs: int = 1
    timeout: float = DEFAULT_TIMEOUT
    seed: int = 0
    native: bool = False
    noise_runs: int = 0
    observer_check: bool = False
    blame_seconds: float = DEFAULT_BLAME_SECONDS


def seconds_of(value: Any) -> float:
    """A time limit, as it is given.

    Raises:
        ValueError: it is not a number of seconds above 0, or is longer than `LONGEST_TIMEOUT`.
    """
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT:  # false for NaN
        raise ValueError(f"{value!r} is not a number of seconds above 0, and of at most {LONGEST_TIMEOUT}.")
    return seconds


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
