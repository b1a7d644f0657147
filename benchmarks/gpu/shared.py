"""Many processes on one GPU: each case takes 256 MB of it for a while."""

import time

import keras
import numpy as np
import pytest
from keras import ops

from harness import case


@case
@pytest.mark.parametrize("number", range(6))
def takes_memory(number, record, rng):
    values = ops.convert_to_tensor(rng.normal(size=(256, 256)).astype("float32"))
    large = ops.ones((256, 1024, 256), dtype="float32") * (number + 1)
    product = ops.matmul(large[:4, :64], values)
    record("product", product)
    record("sum", ops.sum(large[::16, ::16, ::16]))
    time.sleep(1.0)
    assert np.asarray(ops.convert_to_numpy(large[-1, -1, -1])) == number + 1, keras.config.backend()
