"""Keras 3.15.1: where both arguments of `keras.ops.maximum` are equal, its derivative goes to one of them or to both.

By the first argument it is 0.5 on torch and jax, and 1 on tensorflow. Each is within what is correct.
"""

import keras
import numpy as np

backend, x = keras.backend.backend(), np.array([0.5, 1.0, 1.5], "float32")
if backend == "torch":
    x = keras.ops.convert_to_tensor(x).requires_grad_()
    keras.ops.maximum(x, 1.0).sum().backward()
    gradient = x.grad
elif backend == "tensorflow":
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = keras.ops.maximum(x, 1.0)
    gradient = tape.gradient(y, x)
else:
    import jax

    gradient = jax.grad(lambda x: keras.ops.maximum(x, 1.0).sum())(x)
print(f"{backend}: {keras.ops.convert_to_numpy(gradient)}")
