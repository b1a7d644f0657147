"""qkeras-v3 1.2.1: on jax, quantizers that clip give half a gradient to what rounds to the first or last step.

They clip what was already rounded, so that numbers lie exactly at a bound, and not by chance: at -1 and 0.875 for
`quantized_tanh(4)`. There the derivative of `keras.ops.clip` is 0.5 on jax and 1 on torch and tensorflow, each within
what is correct. Where a number rounds to a bound of both of its clips, a quarter is left.
"""

import keras
import numpy as np
import qkeras

backend = keras.backend.backend()


def gradient(function, x):
    if backend == "torch":
        x = keras.ops.convert_to_tensor(x).requires_grad_()
        function(x).sum().backward()
        return x.grad
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x)
    import jax

    return jax.grad(lambda x: function(x).sum())(x)


for name in ("quantized_tanh(4)", "quantized_sigmoid(4)", "quantized_ulaw(4,1)"):
    quantizer, x = qkeras.QActivation(name), np.array([-1.0, -0.97, 0.0, 0.9], "float32") * (2 if "ulaw" in name else 1)
    y, slope = (keras.ops.convert_to_numpy(value) for value in (quantizer(x), gradient(quantizer, x)))
    print(f"{backend}: {name} of {x} is {y}, its gradient {slope}")
