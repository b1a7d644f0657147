"""keras-rs 0.4.0: with `shuffle_ties=False`, ranking metrics break ties at random on tensorflow and jax.

`sort_by_scores` (`ranking_metrics_utils.py`) shuffles where there is a mask, which metrics always have, with
`shuffle_ties=True` in place of its own argument. On torch, what it adds to scores to make `top_k` stable undoes that.
"""

import keras
import numpy as np
from keras_rs.metrics import DCG

keras.utils.set_random_seed(0)
found = set()
for _ in range(20):
    metric = DCG(shuffle_ties=False)
    metric.update_state(np.array([[1.0, 0.0, 1.0]]), np.array([[0.5, 0.5, 0.5]]))
    found.add(round(float(metric.result()), 3))
print(f"{keras.backend.backend()}: DCG of one list of ties, 20 times: {sorted(found)}")
