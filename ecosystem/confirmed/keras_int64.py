"""Keras 3.15.1: integers of 64 bits are of 32 bits on jax, which has no others unless they are switched on."""

import keras
import numpy as np

tensor = keras.ops.convert_to_tensor(np.array([1], "int64"))
print(f"{keras.backend.backend()}: {keras.backend.standardize_dtype(tensor.dtype)}")
