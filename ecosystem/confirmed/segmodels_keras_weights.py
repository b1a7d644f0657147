"""segmodels-keras 0.1.0.dev13: on torch, losses with weights of classes give no gradient.

Weights are an array of NumPy, as their documentation says, and `average` (`segmodels_keras/base/functional.py:79`)
multiplies a tensor by it. On torch that turns the tensor into an array, which it refuses where a gradient is asked for.
"""

import keras
import numpy as np
from segmodels_keras.losses import DiceLoss

model = keras.Sequential([keras.layers.Conv2D(2, 1, activation="softmax")])
model.compile("sgd", DiceLoss(class_weights=np.array([1.0, 2.0], "float32")))
try:
    model.fit(np.ones((1, 2, 2, 1)), np.ones((1, 2, 2, 2)), verbose=0)
    print(f"{keras.backend.backend()}: trains")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
