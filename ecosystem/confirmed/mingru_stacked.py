"""mingru-keras 0.1.3: two MinGRU layers in a row cannot be trained on tensorflow.

In a compiled function on tensorflow, what the first one gets from `keras.ops.associative_scan` has no known shape, and
the next layer asks for it.
"""

import keras
import numpy as np
from mingru_keras import MinGRU

model = keras.Sequential([MinGRU(3), MinGRU(2), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)])
model.compile("sgd", loss="mse")
try:
    model.fit(np.ones((4, 5, 2)), np.ones((4, 1)), verbose=0)
    print(f"{keras.backend.backend()}: trains")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
