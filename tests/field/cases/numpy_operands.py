"""segment_max where the ids leave gaps, and the number of segments is left to Keras."""

import keras
import numpy as np

from harness import case


@case
def gaps(record):
    data = np.array([1.0, 5.0, -3.0, 2.0], "float32")
    ids = np.array([0, 3, 3, 1], "int32")
    record("max", keras.ops.segment_max(data, ids))
    record("sum", keras.ops.segment_sum(data, ids))


@case
def gaps_with_count(record):
    data = np.array([1.0, 5.0, -3.0, 2.0], "float32")
    ids = np.array([0, 3, 3, 1], "int32")
    record("max", keras.ops.segment_max(data, ids, num_segments=5))
    record("sum", keras.ops.segment_sum(data, ids, num_segments=5))


@case
def negative_id(record):
    data = np.array([1.0, 5.0, -3.0, 2.0], "float32")
    ids = np.array([0, -1, 3, 1], "int32")
    record("sum", keras.ops.segment_sum(data, ids, num_segments=4))
