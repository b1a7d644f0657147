"""Keras 3.15.1: on tensorflow, optimizers that square gradients see others for a word that a batch has more than once.

The gradient of an embedding has one row for each use of a word there (`tf.IndexedSlices`), and Adam and Adagrad square
these rows before those of one word are added up: a sum of squares, where torch and jax have the square of a sum.
"""

import keras
import numpy as np

for optimizer, squares in (("adam", 3), ("adagrad", 2)):
    for words in ([[0, 1, 2]], [[0, 1, 1]]):
        layers = [keras.Input((3,), dtype="int32"), keras.layers.Embedding(3, 1, "ones"), keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(optimizer, "mse")
        model.train_on_batch(np.array(words), np.zeros((1, 1)))
        kept = model.optimizer.variables[squares]
        numbers = keras.ops.convert_to_numpy(kept).ravel()
        print(f"{keras.backend.backend()}: {optimizer}, words {words[0]}: {kept.name.rpartition('_')[2]} {numbers}")
