"""keras-geometric 0.0.2: on tensorflow, a node that receives nothing gets -3.4e38 from the max and 3.4e38 from the min.

The aggregators replace infinities by 0. `keras.ops.segment_max` fills a segment that is empty with an infinity on jax,
and with the smallest number of the dtype on tensorflow.
"""

import keras
import numpy as np
from keras_geometric.layers import MessagePassing

nodes, edges = np.ones((2, 1), "float32"), np.array([[0], [1]], "int32")  # node 0 receives nothing
for aggregator in ("max", "min"):
    received = MessagePassing(aggregator)([keras.ops.convert_to_tensor(nodes), keras.ops.convert_to_tensor(edges)])
    print(f"{keras.backend.backend()}: {aggregator}: {keras.ops.convert_to_numpy(received).ravel()}")
