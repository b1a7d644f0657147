"""keras-neural-processes 0.1.0: DeterministicEncoder and Decoder cannot be made on torch.

They set a layer as an attribute before they call `super().__init__()`, which a torch module refuses.
"""

import keras
from knp.models import Decoder

try:
    Decoder(keras.layers.Dense(2))
    print(f"{keras.backend.backend()}: made")
except Exception as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
