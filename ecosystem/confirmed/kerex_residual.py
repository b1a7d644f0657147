"""kerex 1.1.8: Residual cannot be made on torch.

It sets a layer as an attribute before it calls `super().__init__()`, which a torch module refuses.
"""

import keras
from kerex.layers import Residual

try:
    Residual(keras.layers.Dense(2))
    print(f"{keras.backend.backend()}: made")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
