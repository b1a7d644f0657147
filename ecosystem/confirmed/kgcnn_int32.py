"""kgcnn 4.0.2: with indexes of 32 bits, layers raise on tensorflow: `tf.scatter_nd` wants a shape of the same dtype.

`kgcnn/backend/_tensorflow.py` casts the shape to int64, whatever the indexes are.
"""

import keras
import numpy as np
from kgcnn.layers.pooling import PoolingNodes

arrays = [np.array([2], "int32"), np.ones((2, 1), "float32"), np.array([0, 0], "int32")]
try:
    y = PoolingNodes("scatter_sum")([keras.ops.convert_to_tensor(array) for array in arrays])
    print(f"{keras.backend.backend()}: {keras.ops.convert_to_numpy(y).tolist()}")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
