"""keras-rs 0.4.0: HardNegativeMining gives the same negatives in another order on each backend.

It asks for `keras.ops.top_k(sorted=False)`, which promises no order.
"""

import keras
import numpy as np
from keras_rs.layers import HardNegativeMining

logits, labels = np.random.default_rng(0).normal(size=(1, 6)).astype("float32"), np.eye(6, dtype="float32")[:1]
found = keras.ops.convert_to_numpy(HardNegativeMining(3)(logits, labels)[0])[0]
print(f"{keras.backend.backend()}: {found}, in order {np.sort(found)}")
