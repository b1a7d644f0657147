"""keras-rs 0.4.0: on jax, ranking metrics break ties in the same way in every batch of a training.

They shuffle ties by a seed generator of their own (`keras_rs/src/metrics/ranking_metric.py`), which is none of their
variables: a metric of Keras owns variables and metrics only. The compiled step of jax does not carry it on. On torch
and tensorflow it moves with each batch.
"""

import keras
import numpy as np
from keras_rs.metrics import NDCG

metric = NDCG(seed=1)
model = keras.Sequential([keras.layers.Identity()])
model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[metric])
scores, relevance = np.zeros((1, 6), "float32"), np.array([[3.0, 1.0, 0.0, 2.0, 0.0, 1.0]])
values = [round(float(model.train_on_batch(scores, relevance)[1]), 3) for _ in range(4)]
print(f"{keras.backend.backend()}: NDCG of ties, batch by batch: {values}, variables: {len(metric.variables)}")
