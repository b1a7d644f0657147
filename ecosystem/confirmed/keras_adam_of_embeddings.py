"""Keras 3.15.1: on tensorflow, Adam takes another step for a word that is used more than once in a batch.

The gradient of an embedding has one row for each use of a word there (`tf.IndexedSlices`), and Adam squares these rows
before those of one word are added up: a sum of squares, where torch and jax have the square of a sum.
"""

import keras
import numpy as np

for words in ([[0, 1, 2]], [[0, 1, 1]]):
    layers = [keras.Input((3,), dtype="int32"), keras.layers.Embedding(3, 1, "ones"), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("adam", "mse")
    model.train_on_batch(np.array(words), np.zeros((1, 1)))
    velocity = keras.ops.convert_to_numpy(model.optimizer.variables[3])
    print(f"{keras.backend.backend()}: words {words[0]}: their second moments {velocity.ravel()}")
