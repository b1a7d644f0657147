"""The largest of each segment, and 0 where there is none.

tensorflow gives the smallest float for an empty segment, which is finite, so it is kept: -3.4e38 against 0. A real
difference, in both precisions; torch cannot compute `segment_max` in float64.
"""

import keras
import numpy as np
from keras import ops

from harness import Forward, case


def largest(x):
    found = ops.segment_max(x, ops.convert_to_tensor(np.array([0, 2, 2, 3], "int32")), num_segments=4)
    return ops.where(ops.isinf(found), 0 * ops.ones_like(found), found)


@case
def in_a_function(rng):
    return Forward(largest, rng.normal(size=(4, 3)).astype("float32"))


@case
def by_hand(rng, record):
    record("largest", largest(ops.convert_to_tensor(rng.normal(size=(4, 3)), dtype=keras.config.floatx())))
