"""Is what two targets drew at random drawn from one distribution?

With `--randomness native` every backend keeps its own generator, so values cannot be compared. Each target runs a case
`REPEATS` times with other seeds, and an observation that varies is judged by its repeats. They may depend on one
another in any way within a run, so the run is the unit: every run's array is reduced to a few numbers, and for each of
these the runs of both targets are held against each other by the two-sample Kolmogorov-Smirnov test, with its exact
distribution (Gnedenko and Korolyuk, 1951). The levels of all tests of a comparison add up to `LEVEL`, so a comparison
of equal distributions raises an alarm with at most that probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

from harness.result.judgement import Drawn, Judgement
from harness.trace import Array, Observation
from harness.verdict import Verdict

#: Runs of a case on each target, with as many seeds.
REPEATS = 16
#: Probability that a comparison of equal distributions raises an alarm, at most.
LEVEL = 1e-3

#: The numbers that a run's array is reduced to. The projections differ if values are right in sum and in wrong places.
STATISTICS = ("mean", "root mean square", "smallest", "largest", "share of zeros", "projection 1", "projection 2")

#: What stands for infinity and NaN: larger than any value that is drawn.
_HUGE = 1e100


def judge_distribution(target: Sequence[Observation], reference: Sequence[Observation], tests: int) -> Judgement:
    """Judge the repeats of one observation, at least one side of which varies from run to run.

    Args:
        target, reference: the observation in each of the runs: arrays of one dtype and shape.
        tests: how many observations of the whole comparison are judged in this way.
    """
    ours, theirs = (np.stack([_statistics(item.array) for item in side]) for side in (target, reference))
    p_values = [ks_p_value(ours[:, i], theirs[:, i]) for i in range(len(STATISTICS))]
    worst = int(np.argmin(p_values))
    level = LEVEL / (tests * len(STATISTICS))
    verdict = Verdict.DIVERGENT if p_values[worst] < level else Verdict.ROUNDING
    return Judgement(verdict, "distribution", bound=level, cause=Drawn(STATISTICS[worst], len(ours), p_values[worst]))


def ks_p_value(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Exact p-value of the two-sided two-sample Kolmogorov-Smirnov test for samples of one size.

    P(D >= k/n) = 2 sum over j >= 1 of (-1)**(j + 1) C(2n, n - jk) / C(2n, n). Ties make it err on the safe side.

    Args:
        x, y: samples of shape (n,).
    """
    n = len(x)
    values = np.sort(np.concatenate([x, y]))
    below_x, below_y = (np.searchsorted(np.sort(sample), values, side="right") for sample in (x, y))
    k = int(np.max(np.abs(below_x - below_y)))
    if k == 0:
        return 1.0
    terms: int = sum((-1) ** (j + 1) * comb(2 * n, n - j * k) for j in range(1, n // k + 1))
    return min(1.0, float(2 * terms / comb(2 * n, n)))


def varies(runs: Sequence[Observation]) -> bool:
    """Whether an observation is not the same in every run."""
    first = runs[0]
    if first.is_array:
        return any(not run.is_array or run.array.tobytes() != first.array.tobytes() for run in runs[1:])
    return any(run.value != first.value for run in runs[1:])


def _statistics(array: Array) -> NDArray[np.float64]:
    wide = np.abs(array) if array.dtype.kind == "c" else array.astype(np.float64)
    flat = np.clip(np.nan_to_num(wide.ravel(), nan=_HUGE, posinf=_HUGE, neginf=-_HUGE), -_HUGE, _HUGE)
    weights = np.random.default_rng(0).standard_normal((2, flat.size))
    summary = [flat.mean(), np.sqrt(np.mean(flat**2)), flat.min(), flat.max(), np.mean(flat == 0)]
    return np.array([*summary, *(weights @ flat)])
