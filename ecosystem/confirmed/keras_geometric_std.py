"""keras-geometric 0.0.2: the gradient of the std aggregator is NaN on torch and jax where a node receives one message.

The variance is 0 there, and `StdAggregator` takes its square root before it puts 0 in its place: the derivative of the
root is infinite, and times 0 it is NaN. TensorFlow's square root has 0 in that case. To put 1 in the place of variances
of 0 before the root is taken helps everywhere.
"""

import keras
import numpy as np
from keras_geometric.layers import MessagePassing

layer = MessagePassing("std")
nodes, edges = np.array([[1.0], [2.0]], "float32"), keras.ops.convert_to_tensor(np.array([[0], [1]], "int32"))
backend = keras.backend.backend()
if backend == "torch":
    x = keras.ops.convert_to_tensor(nodes).requires_grad_()
    layer([x, edges]).sum().backward()
    gradient = x.grad
elif backend == "tensorflow":
    import tensorflow as tf

    x = tf.constant(nodes)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer([x, edges])
    gradient = tape.gradient(y, x)
else:
    import jax

    gradient = jax.grad(lambda x: layer([x, edges]).sum())(keras.ops.convert_to_tensor(nodes))
print(f"{backend}: {keras.ops.convert_to_numpy(gradient).ravel()}")
