"""softadapt 0.2.0: with a compiled training step, the weights that AdaptiveLossCallback sets are not used.

The callback replaces the weights in `model._compile_loss._flat_losses`, a Python list. A training step that is compiled
(tensorflow, jax) has read that list when it was traced and does not look again; an eager one (torch) does. Run with
KERAS_BACKEND=torch, tensorflow or jax; each prints the weights after training, and the loss beside what these weights
make of the losses of the two outputs, from the epoch after the callback has set them.
"""

import keras
import numpy as np
from softadapt.callbacks import AdaptiveLossCallback

rng = np.random.default_rng(0)
inputs = keras.Input((2,))
model = keras.Model(inputs, {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")})
model.compile("sgd", loss={"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 1.0})
x, y = rng.normal(size=(8, 2)), {name: rng.normal(size=(8, 1)) for name in ("a", "b")}

weights = []
callback = AdaptiveLossCallback(["a", "b"], frequency=1, beta=2.0)
seen = keras.callbacks.LambdaCallback(
    on_epoch_begin=lambda *_: weights.append([float(item[2]) for item in model._compile_loss._flat_losses or ()])
)
logs = model.fit(x, y, epochs=4, batch_size=8, verbose=0, callbacks=[seen, callback]).history
print(f"{keras.backend.backend()}:")
for epoch, (of_a, of_b) in enumerate(weights[1:], start=1):  # before the first, Keras has no list yet
    expected = of_a * logs["a_loss"][epoch] + of_b * logs["b_loss"][epoch]
    print(f"  epoch {epoch}: weights {of_a:.4f} and {of_b:.4f} make {expected:.4f}; fit says {logs['loss'][epoch]:.4f}")
