"""kerasfactory 0.1.1: DFTSeriesDecomposition runs eagerly on jax, and cannot be compiled there.

`call` (`kerasfactory/layers/DFTSeriesDecomposition.py:101`) slices with tensors, such as
`inputs[:, ops.maximum(0, t - 1) :]`, where the numbers are known without Keras: `max(0, t - 1)`.
"""

import keras
import numpy as np
from kerasfactory.layers import DFTSeriesDecomposition
from loguru import logger

logger.remove()


class Decomposed(keras.Model):
    def __init__(self):
        super().__init__()
        self.decomposition = DFTSeriesDecomposition(2)

    def call(self, x):
        return self.decomposition(x)


model, x = Decomposed(), np.ones((2, 6, 3), "float32")
print(f"{keras.backend.backend()}: called: {[tuple(part.shape) for part in model(keras.ops.convert_to_tensor(x))]}")
model.compile()
try:
    print(f"{keras.backend.backend()}: predicted: {[part.shape for part in model.predict_on_batch(x)]}")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {str(error).splitlines()[2]}")
