"""k3-node 1.0.0: the norms of each graph cannot be compiled on jax unless they are told how many graphs there are.

`GraphNorm` and its like take that number from the values of `batch`, where they are not given it, and hand it to
`segment_sum`, for which jax must know it when it compiles.
"""

import keras
import numpy as np
from k3_node import layers


class Normed(keras.Model):
    def __init__(self, norm, given):
        super().__init__()
        self.norm, self.given = norm, given

    def call(self, inputs):
        return self.norm(*inputs, **self.given)


inputs = [np.ones((6, 4), "float32"), np.array([0, 0, 0, 1, 1, 1], "int32")]
norms = {
    "GraphNorm": (lambda: layers.GraphNorm(4), "batch_size"),
    "GraphSizeNorm": (lambda: layers.GraphSizeNorm(), "batch_size"),
    "LayerNorm": (lambda: layers.LayerNorm(4), "batch_size"),
    "MeanSubtractionNorm": (lambda: layers.MeanSubtractionNorm(), "dim_size"),
    "PairNorm": (lambda: layers.PairNorm(), "batch_size"),
}
for name, (make, option) in norms.items():
    for given in ({}, {option: 2}):
        model = Normed(make(), given)
        model([keras.ops.convert_to_tensor(array) for array in inputs])
        model.compile()
        try:
            model.predict_on_batch(inputs)
            print(f"{keras.backend.backend()}: {name}, {given}: compiles")
        except Exception as error:
            print(f"{keras.backend.backend()}: {name}, {given}: {type(error.__context__ or error).__name__}")
