"""Numbers that nobody seeded: nothing can be said of them, least of all that they agree."""

import numpy as np

from harness import case


@case
def one(record):
    record("x", np.random.default_rng().normal())


@case
def many(record):
    record("x", np.random.default_rng().normal(size=(100,)))
