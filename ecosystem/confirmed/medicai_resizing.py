"""medicai 0.0.4: ResizingND with a scale cannot be compiled on tensorflow, and on jax it rounds where others cut off.

`call` (`medicai/layers/resize.py:272`) makes the new size of tensors. `keras.ops.image.resize` looks whether they are
positive, which tensors of a compiled function on tensorflow do not tell. On jax the layer uses the size that it
computed in `build` instead, and rounds it, while a cast to int32 cuts off: 1.25 times 6 is 8 on jax and 7 elsewhere.
"""

import keras
import numpy as np
from medicai.layers import ResizingND

x = np.ones((1, 6, 6, 1), "float32")
layer = ResizingND(scale_factor=(1.25, 1.25))
print(f"{keras.backend.backend()}: called: {tuple(layer(x).shape)}")
model = keras.Sequential([layer])
model.compile()
try:
    print(f"{keras.backend.backend()}: predicted: {model.predict(x, verbose=0).shape}")
except Exception as error:
    text = " ".join(str(error).split())
    print(f"{keras.backend.backend()}: {type(error).__name__}: {text[:160]}")
