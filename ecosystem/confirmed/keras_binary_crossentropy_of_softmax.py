"""Keras 3.15.1: on tensorflow, the binary cross-entropy of what a softmax returns is another one.

Activations leave their input on their output, as `_keras_logits`. On tensorflow, `binary_crossentropy` takes it for the
input of a sigmoid, whichever activation left it (`_get_logits`, `keras/src/backend/tensorflow/nn.py:1267`).
"""

import keras
import numpy as np

logits, target = np.array([[1.0, 2.0, 3.0]], "float32"), np.array([[0.0, 0.0, 1.0]], "float32")
p = keras.activations.softmax(keras.ops.convert_to_tensor(logits))
copy = keras.ops.convert_to_tensor(keras.ops.convert_to_numpy(p))
of_softmax, of_copy = (float(keras.ops.mean(keras.losses.binary_crossentropy(target, value))) for value in (p, copy))
print(f"{keras.backend.backend()}: of the softmax {of_softmax:.4f}, of a copy of its numbers {of_copy:.4f}")
