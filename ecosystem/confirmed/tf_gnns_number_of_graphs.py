"""tf-gnns 0.3.2: on jax, a graph network with global attributes cannot be compiled where the graph says `n_graphs`.

`GraphNet.eval_tensor_dict` (`tf_gnns/graphnet_utils.py:816`) makes a tensor of it, and `global_block` hands that to
`keras.ops.segment_sum` as the number of segments, which jax must know when it compiles. Without it, the layer counts
the rows of `global_attr`, and compiles everywhere.
"""

import keras
import numpy as np
from tf_gnns.models.graphnet import GNCellMLP

ends, ones = np.array([0, 1], "int32"), np.ones((2, 4), "float32")
graph = {"nodes": ones, "edges": ones, "senders": ends, "receivers": ends, "global_attr": ones[:1]}
graph |= {"global_reps_for_nodes": 0 * ends, "global_reps_for_edges": 0 * ends}
graph |= {"n_nodes": np.array([2], "int32"), "n_edges": np.array([2], "int32")}


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.cell = GNCellMLP([4], 4)

    def call(self, graph):
        return self.cell(graph)["nodes"]


for name, given in ("without", graph), ("with", graph | {"n_graphs": np.array(1, "int32")}):
    net = Net()
    net({key: keras.ops.convert_to_tensor(value) for key, value in given.items()})
    net.compile()
    try:
        print(f"{keras.backend.backend()}: {name} n_graphs: {net.predict_on_batch(given).shape}")
    except Exception as error:
        cause = error.__context__ or error
        print(f"{keras.backend.backend()}: {name} n_graphs: {type(cause).__name__}: {str(cause).splitlines()[0]}")
