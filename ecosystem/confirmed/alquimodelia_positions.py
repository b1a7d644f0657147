"""alquimodelia 0.0.7: PositionEmbedding makes another embedding in each call, which is none of its weights.

`call` (`alquimodelia/builders/transformer.py:80`) makes a `keras.layers.Embedding` and calls it. Nothing keeps it, so
it is not trained and not saved, and eagerly each call gives other positions. In a compiled function, jax keeps the
numbers of the first call, and tensorflow refuses to make variables.
"""

import keras
import numpy as np
from alquimodelia.builders.transformer import PositionEmbedding

layer, x = PositionEmbedding(), np.ones((1, 2, 1), "float32")
backend = keras.backend.backend()
calls = [keras.ops.convert_to_numpy(layer(x)).ravel() for _ in range(2)]
print(f"{backend}: called twice: {calls[0]} and {calls[1]}, weights: {len(layer.weights)}")
try:
    model = keras.Sequential([PositionEmbedding()])
    model.compile()
    predicted = [model.predict_on_batch(x).ravel() for _ in range(2)]
    print(f"{backend}: predicted twice: {predicted[0]} and {predicted[1]}")
except Exception as error:
    line = next(line for line in str(error).splitlines() if "tf.function" in line)
    print(f"{backend}: {type(error).__name__}: {line}")
