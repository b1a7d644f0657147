"""Attention with a row in which everything is masked: torch has another gradient there."""

import keras
import numpy as np

from harness import Forward, case


@case
def attention_with_a_row_all_masked(rng):
    layer = keras.layers.MultiHeadAttention(2, 4)
    x = rng.normal(size=(2, 5, 8)).astype("float32")
    mask = np.ones((2, 5, 5), "bool")
    mask[1, 2] = False
    return Forward(layer, x, x, attention_mask=mask)
