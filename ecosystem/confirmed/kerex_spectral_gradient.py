"""kerex 1.1.8: on tensorflow, the Fourier layers give gradients to the wrong variables.

`BaseSpectralConv.call` has a gradient of its own there, which returns those of bias, real and imaginary kernel, in
this order. TensorFlow asks for them in the order of its argument `variables`, which is another in each process, and
which the gradient does not look at. Run it a few times: often a gradient has another shape than its variable.
"""

import keras
import numpy as np
from kerex.layers import FNO1D

if keras.backend.backend() != "tensorflow":
    raise SystemExit(f"{keras.backend.backend()}: the gradient in question is that of tensorflow")

import tensorflow as tf

layer = FNO1D(2, 3)
x = tf.constant(np.random.default_rng(0).normal(size=(2, 8, 2)), tf.float32)
layer(x)
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(layer(x) ** 2)
weights = layer.trainable_variables
gradients = tape.gradient(loss, [weight.value for weight in weights])
for weight, gradient in zip(weights, gradients, strict=True):
    print(f"tensorflow: {weight.path}: {weight.shape}, its gradient: {gradient.shape}")
