"""keras-mdn-layer 1.0.0: the metric of `get_mixture_mse_accuracy` and the samples of `get_mixture_sampling_fun` on jax.

Both draw with `keras.random` and give no seed (`keras_mdn_layer/__init__.py:171`), which Keras refuses in a function
that jax traces: a model that has one of them can be called, and neither trained nor asked for predictions.
"""

import keras
import keras_mdn_layer as mdn
import numpy as np

trained = keras.Sequential([mdn.MDN(2, 3)])
trained.compile("sgd", loss=mdn.get_mixture_loss_func(2, 3), metrics=[mdn.get_mixture_mse_accuracy(2, 3)])
sampled = keras.Sequential([mdn.MDN(2, 3), keras.layers.Lambda(mdn.get_mixture_sampling_fun(2, 3), output_shape=(2,))])
x, y = np.ones((4, 3)), np.ones((4, 2))
sampled.build(x.shape)
for does, call in (
    ("trains with the metric", lambda: trained.fit(x, y, verbose=0)),
    ("predicts samples", lambda: sampled.predict(x, verbose=0)),
):
    try:
        call()
        print(f"{keras.backend.backend()}: {does}")
    except Exception as error:
        text = " ".join(str(error).split())
        print(f"{keras.backend.backend()}: {does}, no: {type(error).__name__}: {text[:160]}")
