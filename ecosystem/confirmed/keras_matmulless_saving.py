"""keras-matmulless 0.1.2: a DenseMML cannot be saved on jax.

What it saves of its kernel is computed by a function under `jax.jit`, which is given the variable itself and not its
value. jax takes no such object any more.
"""

import tempfile
from pathlib import Path

import keras
from keras_mml.layers import DenseMML

model = keras.Sequential([keras.Input((4,)), DenseMML(3)])
with tempfile.TemporaryDirectory() as folder:
    try:
        model.save(Path(folder) / "model.keras")
        print(f"{keras.backend.backend()}: saved")
    except Exception as error:
        print(f"{keras.backend.backend()}: {type(error).__name__}: {error}")
