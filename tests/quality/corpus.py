"""The corpus of the quality suite, as cases: every bug in its scenario, and every scenario without one.

`python tests/quality/score.py` runs it and prints how much of it the harness finds.
"""

import keras
import pytest
from bugs import BUGS, Victim
from scenarios import HEALTHY

from harness import case


@case
@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def injected(bug, rng, record, target):
    if target.backend == bug.victim:
        bug.inject(Victim(keras))
    return bug.scenario(keras, rng, record)


@case
@pytest.mark.parametrize("scenario", HEALTHY.values(), ids=list(HEALTHY))
def healthy(scenario, rng, record):
    return scenario(keras, rng, record)
