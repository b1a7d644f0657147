"""bayesflow 2.0.12: a RandomPermutation cannot be built while Keras infers shapes, and torch does not say so.

It draws its indices in `build`, as a tensor, and hands them to `add_weight`. While Keras infers shapes on torch,
tensors have no values (device `meta`), so the weight is filled with what lies in memory. On tensorflow and jax Keras
raises there. To build the layer by hand before, with `layer.build`, helps everywhere.
"""

import keras
from bayesflow.networks.inference.coupling.permutations.random import RandomPermutation


class Permuted(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.permutation = RandomPermutation()

    def call(self, x):
        return self.permutation(x)


layer = Permuted()
try:
    layer(keras.Input((4,)))
    print(f"{keras.backend.backend()}: {keras.ops.convert_to_numpy(layer.permutation.forward_indices)}")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
