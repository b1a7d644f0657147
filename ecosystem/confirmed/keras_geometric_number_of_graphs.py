"""keras-geometric 0.0.2: BatchGlobalPooling cannot be compiled on jax.

`call` (`keras_geometric/layers/pooling/global_pooling.py:225`) takes the number of graphs from the values of its second
input, and hands it to `keras.ops.segment_sum` and `segment_max` as the number of segments, which jax must know when it
compiles.
"""

import keras
import numpy as np
from keras_geometric.layers import BatchGlobalPooling


class Pooled(keras.Model):
    def __init__(self):
        super().__init__()
        self.pooling = BatchGlobalPooling("sum")

    def call(self, x):
        return self.pooling(x)


model, x = Pooled(), [np.ones((3, 2), "float32"), np.array([0, 0, 1], "int32")]
print(f"{keras.backend.backend()}: called: {tuple(model([keras.ops.convert_to_tensor(array) for array in x]).shape)}")
model.compile()
try:
    print(f"{keras.backend.backend()}: predicted: {model.predict_on_batch(x).shape}")
except Exception as error:
    cause = error.__context__ or error
    print(f"{keras.backend.backend()}: {type(cause).__name__}: {str(cause).splitlines()[0]}")
