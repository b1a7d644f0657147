"""qkeras-v3 1.2.1: QBatchNormalization can be called on tensorflow only.

`qkeras/qnormalization.py` asks the shape of its input for `.dims`, which only a shape of tensorflow has (torch raises
there), and hands Keras variables to functions that want a dtype (jax raises there).
"""

import keras
import numpy as np
import qkeras

try:
    qkeras.QBatchNormalization()(np.ones((2, 3), "float32"), training=True)
    print(f"{keras.backend.backend()}: runs")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
