"""kerasfactory 0.1.1: StochasticDepth and FeatureCutout cannot be trained on jax without a seed, as by default.

They draw with `keras.random` and `seed=None` then, which Keras refuses in a function that jax traces. A seed of 0
counts as none: `random.SeedGenerator(seed) if seed else None`.
"""

import keras
import numpy as np
from kerasfactory.layers import FeatureCutout
from loguru import logger

logger.remove()
for options in ({}, {"seed": 0}, {"seed": 1}):
    model = keras.Sequential([FeatureCutout(**options), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    try:
        model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
        print(f"{keras.backend.backend()}: {options}: trains")
    except Exception as error:
        print(f"{keras.backend.backend()}: {options}: {type(error).__name__}: {str(error)[:80]}")
