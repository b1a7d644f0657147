"""Keras 3.15.1: the derivative of `keras.ops.leaky_relu` at 0 is 1 on jax, and its slope on torch and tensorflow.

Met through qkeras-v3 1.2.1, whose `quantized_relu` takes its gradient from `leaky_relu` with a slope of 0. Each is
within what is correct.
"""

import keras
import numpy as np

backend, x = keras.backend.backend(), np.zeros(1, "float32")
if backend == "torch":
    x = keras.ops.convert_to_tensor(x).requires_grad_()
    keras.ops.leaky_relu(x, 0.0).sum().backward()
    gradient = x.grad
elif backend == "tensorflow":
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = keras.ops.leaky_relu(x, 0.0)
    gradient = tape.gradient(y, x)
else:
    import jax

    gradient = jax.grad(lambda x: keras.ops.leaky_relu(x, 0.0).sum())(x)
print(f"{backend}: {keras.ops.convert_to_numpy(gradient).item()}")
