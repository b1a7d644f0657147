import keras

from harness import case


@case
def tf_order_seeded_op(record):
    import tensorflow as tf

    record("order", [int(v) for v in tf.data.Dataset.range(10).shuffle(10, seed=1)])


@case
def tf_order_unseeded(record):
    import tensorflow as tf

    record("order", [int(v) for v in tf.data.Dataset.range(10).shuffle(10)])


@case
def torch_order(record):
    import torch

    record("order", torch.randperm(10).tolist())


@case
def torch_order_own_seed(record):
    import torch

    torch.manual_seed(3)
    record("order", torch.randperm(10).tolist())


@case
def keras_seed_then_tf(record):
    import tensorflow as tf

    keras.utils.set_random_seed(5)
    record("order", [int(v) for v in tf.data.Dataset.range(10).shuffle(10, seed=1)])
