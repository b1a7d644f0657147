"""kerex 1.1.8: the Fourier layers cannot be made on torch: keras-fft, which they use, is for tensorflow and jax."""

import keras

try:
    from kerex.layers import FNO1D

    FNO1D(2, 3)
    print(f"{keras.backend.backend()}: made")
except ImportError as error:
    print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
