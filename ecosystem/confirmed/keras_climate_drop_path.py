"""keras-climate 0.1.1: DropPath cannot be trained on jax.

`call` (`keras_climate/utils/layers.py:18`) draws with `keras.random.uniform` and gives no seed, which Keras refuses in
a function that jax traces.
"""

import keras
import numpy as np
from keras_climate.utils.layers import DropPath

model = keras.Sequential([DropPath(0.5), keras.layers.Dense(1)])
model.compile("sgd", "mse")
try:
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    print(f"{keras.backend.backend()}: trains")
except Exception as error:
    text = " ".join(str(error).split())
    print(f"{keras.backend.backend()}: {type(error).__name__}: {text[:160]}")
