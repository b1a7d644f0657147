"""keras-bio 0.1.0: on jax, HyenaOperator can be called, and not be put into a model or trained.

`call` (`keras_bio/dna/hyena/layers.py:342`) takes the smaller of two lengths with `keras.ops.minimum`, which returns a
tensor, and slices with it. While jax compiles, a tensor has no value. Both lengths are known there: Python's `min`
would do.
"""

import keras
import numpy as np
from keras_bio.dna.hyena.config import HyenaDNAConfig
from keras_bio.dna.hyena.layers import HyenaOperator

config = HyenaDNAConfig(d_model=6, n_layer=1, d_inner=12, max_seq_len=20, filter_order=8)
layer, x = HyenaOperator(config), np.ones((2, 7, 6), "float32")
print(f"{keras.backend.backend()}: called: {tuple(layer(x).shape)}")
try:
    model = keras.Sequential([keras.Input((7, 6)), layer])
    model.compile("sgd", "mse")
    model.fit(x, x, verbose=0)
    print(f"{keras.backend.backend()}: trains")
except Exception as error:
    text = next(line for line in str(error).splitlines() if "Slice" in line)
    print(f"{keras.backend.backend()}: {type(error).__name__}: {text}")
