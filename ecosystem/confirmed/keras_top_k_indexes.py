"""Keras 3.15.1: the indexes of `keras.ops.top_k` are int64 on torch, and int32 on tensorflow and jax."""

import keras
import numpy as np

_, indexes = keras.ops.top_k(np.array([1.0, 3.0, 2.0], "float32"), 2)
print(f"{keras.backend.backend()}: {keras.backend.standardize_dtype(indexes.dtype)}")
