"""keras-proba 0.1.0: on jax, SpectralNormalization in its default mode does not keep the kernel that it normalized.

Its documentation says so, and it warns of it: in `fit`, Keras discards what a layer assigns to a trainable variable on
jax. With `mode="reparameterization"` backends do the same. Nothing is trained here, so only the layer moves the kernel.
"""

import warnings

import keras
import numpy as np
from keras_proba.layers import SpectralNormalization

for mode in ("projection", "reparameterization"):
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        layer = SpectralNormalization(keras.layers.Dense(1, kernel_initializer="ones"), mode=mode)
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.ones((2, 4))
    model.train_on_batch(x, x[:, :1])
    layer.layer.kernel.assign(np.full((4, 1), 5.0))
    model.train_on_batch(x, x[:, :1])
    kernel = keras.ops.convert_to_numpy(layer.layer.kernel).ravel()
    print(f"{keras.backend.backend()}: {mode}: {kernel}, warnings: {len(told)}")
