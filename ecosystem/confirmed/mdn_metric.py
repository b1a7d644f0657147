"""keras-mdn-layer 1.0.0: the metric of `get_mixture_mse_accuracy` cannot be used on jax.

It draws with `keras.random` and gives no seed, which Keras refuses in a function that jax traces.
"""

import keras
import keras_mdn_layer as mdn
import numpy as np

model = keras.Sequential([mdn.MDN(2, 3)])
model.compile("sgd", loss=mdn.get_mixture_loss_func(2, 3), metrics=[mdn.get_mixture_mse_accuracy(2, 3)])
try:
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    print(f"{keras.backend.backend()}: trains")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {str(error).splitlines()[0]}")
