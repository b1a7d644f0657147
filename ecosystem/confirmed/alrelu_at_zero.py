"""alrelu-keras 0.1.2: the gradient of ALReLU at exactly 0 is another one on each backend.

ALReLU is `maximum(abs(alpha * x), x)`. At 0 both of its arguments are equal and `abs` has its kink, and backends choose
another derivative there, each within what is correct for a kink.
"""

import keras
import numpy as np
from alrelu_keras import ALReLU

layer, x = ALReLU(0.1), np.zeros((1, 1), "float32")
backend = keras.backend.backend()
if backend == "torch":
    x = keras.ops.convert_to_tensor(x).requires_grad_()
    layer(x).sum().backward()
    gradient = x.grad
elif backend == "tensorflow":
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    gradient = tape.gradient(y, x)
else:
    import jax

    gradient = jax.grad(lambda x: layer(x).sum())(x)
print(f"{backend}: {keras.ops.convert_to_numpy(gradient).item()}")
