"""k3im 0.1.1: on jax, StochasticDepth of `cct_1d` and `cct_3d` drops the same rows in every training step.

Its seed generator belongs to the module and not to the layer, so the compiled step of jax does not carry it on. (The
layer of `k3im.cct` has a generator of its own, and is right.) Nothing is trained here, so only the mask can change the
loss: on torch and tensorflow it is another one in each step.
"""

import keras
import numpy as np
from k3im.cct_1d import StochasticDepth

model = keras.Sequential([StochasticDepth(0.5)])
model.compile(keras.optimizers.SGD(0.0), "mse")
x = np.arange(1.0, 9.0).reshape(8, 1)
losses = [model.train_on_batch(x, 0 * x) for _ in range(4)]
print(f"{keras.backend.backend()}: {[round(float(loss), 3) for loss in losses]}")
