"""The scenarios of the quality suite: small uses of Keras that are healthy until a bug is put into one backend.

Each takes the module `keras`, so that this file can be read where Keras is not installed, and `rng` and `record` as a
case does; it returns a `Fit`, a `Forward` or nothing.
"""

from __future__ import annotations

import numpy as np

from harness import Fit, Forward


def dense(keras, rng, _record):
    """A classifier; 70 rows in batches of 16 leave a partial batch of 6."""
    model = keras.Sequential(
        [
            keras.layers.Dense(16, activation="tanh", name="hidden"),
            keras.layers.Dense(12, activation="silu", name="second"),
            keras.layers.Dense(4, activation="softmax", name="head"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Fit(model, normal(rng, 70, 6), rng.integers(0, 4, 70), batch_size=16, epochs=2)


def convolution(keras, rng, _record):
    model = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool"),
            keras.layers.ReLU(name="relu"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    class_weight = {0: 0.5, 1: 1.0, 2: 2.0}
    images, labels = normal(rng, 40, 8, 8, 2), rng.integers(0, 3, 40)
    return Fit(model, images, labels, batch_size=16, epochs=2, class_weight=class_weight)


def recurrent(keras, rng, _record):
    """Sequences of unequal length, padded with zeros that are masked."""
    model = keras.Sequential(
        [
            keras.layers.Embedding(20, 6, mask_zero=True, name="tokens"),
            keras.layers.LSTM(6, return_sequences=True, name="lstm"),
            keras.layers.GRU(5, name="gru"),
            keras.layers.Dense(1, name="head"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return Fit(model, sentences(rng, 36, 7), normal(rng, 36, 1), batch_size=16, epochs=2)


def attention(keras, rng, _record):
    tokens = keras.Input((7,), dtype="int32", name="text")
    # Not trained, for with repeated tokens adaptive optimizers have another idea of it on tensorflow.
    x = keras.layers.Embedding(20, 8, mask_zero=True, trainable=False, name="tokens")(tokens)
    attended = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = keras.layers.Add(name="residual")([x, attended])
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling1D(name="average")(x)
    model = keras.Model(tokens, keras.layers.Dense(1, name="head")(x))
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.05), "mse")
    return Fit(model, sentences(rng, 24, 7), normal(rng, 24, 1), batch_size=8, epochs=2)


def two_outputs(keras, rng, _record):
    first, second = keras.Input((5,), name="first"), keras.Input((3,), name="second")
    left = keras.layers.Dense(4, activation="relu", name="left")(first)
    right = keras.layers.Dense(4, activation="tanh", name="right")(second)
    joined = keras.layers.Concatenate(name="join")([left, right])
    value = keras.layers.Dense(1, name="value")(joined)
    flag = keras.layers.Dense(1, activation="sigmoid", name="flag")(joined)
    model = keras.Model([first, second], [value, flag])
    model.compile(
        "sgd",
        ["mse", keras.losses.BinaryCrossentropy(label_smoothing=0.1)],
        loss_weights=[0.3, 2.0],
    )
    # No partial batch, of which tensorflow weighs the losses of single outputs as a whole one.
    labels = [normal(rng, 48, 1), rng.integers(0, 2, (48, 1)).astype("float32")]
    return Fit(model, [normal(rng, 48, 5), normal(rng, 48, 3)], labels, batch_size=16, epochs=2)


def regularised(keras, rng, _record):
    """Regularisers, constraints, clipping and a schedule whose rate falls after step 3."""
    model = keras.Sequential(
        [
            keras.layers.Dense(
                8, "tanh", kernel_regularizer=keras.regularizers.L2(0.01), kernel_constraint="max_norm", name="hidden"
            ),
            keras.layers.Dense(
                6, "tanh", kernel_regularizer=keras.regularizers.L2(0.01), kernel_constraint="non_neg", name="second"
            ),
            keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L1(0.01), name="head"),
        ]
    )
    model.layers[0].kernel_constraint.max_value = 0.8
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 0.02])
    model.compile(keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=0.5), "mse")
    return Fit(model, normal(rng, 48, 5), normal(rng, 48, 1), batch_size=16, epochs=3)


def noisy(keras, rng, _record):
    model = keras.Sequential(
        [
            keras.layers.Dense(8, "tanh", name="hidden"),
            keras.layers.Dropout(0.3, name="drop"),
            keras.layers.SpatialDropout1D(0.25, name="spatial"),
            keras.layers.GaussianNoise(0.2, name="noise"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(1, name="head"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return Fit(model, normal(rng, 32, 5, 4), normal(rng, 32, 1), batch_size=16, epochs=2)


def called_back(keras, rng, _record):
    """Nothing improves by 0.5 after the first epoch: the rate falls, and training stops early and goes back."""
    model = keras.Sequential([keras.layers.Dense(8, "tanh", name="hidden"), keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", min_delta=0.5, patience=4, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.5, cooldown=2, min_lr=1e-6),
    ]
    data = normal(rng, 40, 4), 0.5 * normal(rng, 40, 1)
    return Fit(model, *data, batch_size=15, epochs=8, validation_split=0.25, callbacks=callbacks)


def weighted(keras, rng, _record):
    model = keras.Sequential([keras.layers.Dense(8, "tanh", name="hidden"), keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.RMSprop(0.005, momentum=0.5), "mse", weighted_metrics=["mae"])
    weights = rng.uniform(0, 2, 44).astype("float32")
    return Fit(model, normal(rng, 44, 4), normal(rng, 44, 1), batch_size=16, epochs=2, sample_weight=weights)


def stress(keras, rng, _record):
    """Activations at zeros, ties and large values, each on a branch of its own."""
    x = normal(rng, 6, 12)
    x[0, :8] = [0.0, -0.0, 0.5, -0.5, 20.0, -20.0, 90.0, -90.0]
    x[1, :] = 2.0
    x[2, :6] = [5.5, -5.5, 7.0, -7.0, 100.0, 99.0]
    names = ["tanh", "sigmoid", "softplus", "gelu", "elu", "relu", "hard_sigmoid", "softmax", "silu"]
    inputs = keras.Input((12,))
    outputs = [keras.layers.Activation(name, name=name)(inputs) for name in names]
    without_zeros = keras.Input((12,))
    outputs.append(keras.layers.LeakyReLU(0.1, name="leaky")(without_zeros))
    return Forward(keras.Model([inputs, without_zeros], outputs), [x, x + 0.25])


def images(keras, rng, _record):
    """Layers of images, each on a branch of its own."""
    inputs = keras.Input((6, 6, 4))
    layers = [
        keras.layers.AveragePooling2D(2, name="average"),
        keras.layers.MaxPooling2D(3, strides=2, padding="same", name="maximum"),
        keras.layers.UpSampling2D(2, interpolation="bilinear", name="upsampling"),
        keras.layers.ZeroPadding2D(((1, 2), (0, 1)), name="padding"),
        keras.layers.Conv2DTranspose(2, 3, strides=2, padding="same", name="transposed"),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
        keras.layers.Conv2D(3, 2, dilation_rate=2, padding="same", name="dilated"),
        keras.layers.GroupNormalization(2, name="groups"),
    ]
    x = normal(rng, 2, 6, 6, 4)
    x[0] = -np.abs(x[0])
    return Forward(keras.Model(inputs, [layer(inputs) for layer in layers]), x)


def metrics(keras, rng, record):
    """Metrics by hand, over two batches, with predictions at the threshold and ties."""
    hits = rng.integers(0, 2, (2, 20, 1)).astype("float32")
    scores = np.round(rng.uniform(size=(2, 20, 1)) * 8).astype("float32") / 8
    weights = rng.uniform(0, 2, (2, 20, 1)).astype("float32")
    truth, guess = normal(rng, 2, 10, 3), normal(rng, 2, 10, 3)
    for metric, y_true, y_pred, sample_weight in [
        (keras.metrics.MeanAbsoluteError(name="mae"), hits, scores, weights),
        (keras.metrics.BinaryAccuracy(name="accuracy"), hits, scores, weights),
        (keras.metrics.CosineSimilarity(name="cosine"), truth, guess, [None, None]),
        (keras.metrics.R2Score(name="r2"), truth, guess, [None, None]),
        (keras.metrics.RootMeanSquaredError(name="rmse"), truth, guess, [None, None]),
        (keras.metrics.Precision(name="precision"), hits, scores, weights),
        (keras.metrics.Recall(name="recall"), hits, scores, weights),
        # Last, for on torch it cannot be had in float64.
        (keras.metrics.AUC(num_thresholds=9, name="auc"), hits, scores, weights),
    ]:
        for batch in range(2):
            metric.update_state(y_true[batch], y_pred[batch], sample_weight=sample_weight[batch])
            record(f"{metric.name}/{batch}", metric.result())


def losses(keras, rng, record):
    """Losses by hand, with probabilities near 0, zero vectors and large errors."""
    truth, guess = normal(rng, 6, 4), normal(rng, 6, 4)
    truth[0], guess[1], guess[2] = 0.0, 0.0, truth[2] + 8.0
    of_classes = np.abs(normal(rng, 6, 4)) + 0.1
    of_classes[0, 0], of_classes[1, 1] = 1e-5, 2e-4
    of_classes /= of_classes.sum(axis=-1, keepdims=True)
    given = np.eye(4, dtype="float32")[[0, 1, 2, 3, 0, 1]]
    tensors = [keras.ops.convert_to_tensor(x, keras.config.floatx()) for x in (truth, guess, of_classes, given)]
    truth, guess, of_classes, given = tensors
    for name in ("Huber", "CosineSimilarity", "LogCosh", "MeanSquaredError"):
        record(name, getattr(keras.losses, name)(reduction=None)(truth, guess))
    for name in ("KLDivergence", "CategoricalCrossentropy", "Poisson", "CategoricalFocalCrossentropy"):
        record(name, getattr(keras.losses, name)(reduction=None)(given, of_classes))
    sparse = keras.losses.SparseCategoricalCrossentropy(reduction=None)
    record("SparseCategoricalCrossentropy", sparse(np.arange(6, dtype="int32") % 4, of_classes))


def operations(keras, rng, record):
    """Operations by hand, at ties, on negative numbers, integers and large values."""
    ops = keras.ops
    x = ops.convert_to_tensor(normal(rng, 5, 6), keras.config.floatx())
    halves = ops.convert_to_tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.3], keras.config.floatx())
    record("round", ops.round(halves))
    record("mod", ops.mod(halves * 2, 3.0))
    record("floor_divide", ops.floor_divide(halves * 2, 3.0))
    record("std", ops.std(x, axis=1))
    record("median", ops.median(x, axis=1))
    record("argmax", ops.argmax(ops.convert_to_tensor([[1, 3, 3, 2], [0, 0, 0, 0]]), axis=1))
    record("mean of integers", ops.mean(ops.convert_to_tensor([1, 2, 2], "int32")))
    record("logsumexp", ops.logsumexp(x * 9.0 + 100.0, axis=1))
    record("cholesky", ops.cholesky(ops.matmul(x, ops.transpose(x)) + ops.eye(5, dtype=x.dtype)))
    record("cumsum", ops.cumsum(x, axis=1))
    record("one_hot", ops.one_hot(ops.convert_to_tensor([0, 2, 1]), 3))
    record("segment_sum", ops.segment_sum(x, ops.convert_to_tensor([0, 1, 0, 2, 1], "int32"), num_segments=4))


def optimizers(keras, rng, record):
    """Optimizers by hand: six given gradients, and all that each step leaves behind."""
    gradients = normal(rng, 6, 7) * np.array([1, 0.01, 3, 0.1, 1, 5], "float32")[:, None]
    gradients[:, 0] = 0.0
    start = normal(rng, 7)
    make = keras.optimizers
    for optimizer in [
        make.SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.9, name="sgd"),
        make.Adam(0.05, amsgrad=True, name="amsgrad"),
        make.RMSprop(0.05, momentum=0.5, centered=True, name="rmsprop"),
        make.Adagrad(0.05, name="adagrad"),
        make.Adadelta(0.5, name="adadelta"),
        make.Adamax(0.05, name="adamax"),
        make.Nadam(0.05, name="nadam"),
        make.Ftrl(0.05, l1_regularization_strength=0.01, name="ftrl"),
        make.Lion(0.05, name="lion"),
    ]:
        weights = keras.Variable(start, dtype=keras.config.floatx(), name="weights")
        optimizer.build([weights])
        slots = [slot for slot in optimizer.variables if keras.backend.is_float_dtype(slot.dtype)]
        for step, gradient in enumerate(gradients):
            optimizer.apply([keras.ops.convert_to_tensor(gradient, keras.config.floatx())], [weights])
            record(f"{optimizer.name}/{step}", [weights, *slots])


def schedules(keras, _rng, record):
    """Learning rates at every step, boundaries among them."""
    make = keras.optimizers.schedules
    for name, schedule in {
        "cosine": make.CosineDecay(0.0, 12, alpha=0.1, warmup_target=0.1, warmup_steps=4),
        "exponential": make.ExponentialDecay(0.1, 4, 0.5, staircase=True),
        "polynomial": make.PolynomialDecay(0.1, 10, end_learning_rate=0.01, power=2.0),
        "inverse time": make.InverseTimeDecay(0.1, 4, 0.5),
        "piecewise": make.PiecewiseConstantDecay([3, 8], [0.1, 0.05, 0.01]),
        "restarts": make.CosineDecayRestarts(0.1, 5),
    }.items():
        record(name, keras.ops.stack([keras.ops.cast(schedule(step), keras.config.floatx()) for step in range(20)]))


def few_elements(keras, rng, _record):
    """A layer of one's own on three numbers."""
    import parts

    return Forward(keras.Sequential([keras.Input((3,)), parts.Scaled(name="scaled")]), 1.6 * normal(rng, 1, 3) + 0.1)


def many_elements(keras, rng, _record):
    import parts

    layers = [keras.Input((24,)), keras.layers.LayerNormalization(name="norm"), parts.Scaled(name="scaled")]
    layers += [keras.layers.Dense(9, "softplus", bias_initializer="ones", name="dense")]
    return Forward(keras.Sequential(layers), normal(rng, 32, 24))


def seeded_noise(keras, rng, _record):
    """Noise of seeds that the layer owns."""
    import parts

    layers = [keras.Input((6,)), keras.layers.Dense(5, name="hidden"), parts.Noisy(name="noisy")]
    return trained(keras, rng, layers, (6,))


def noisy_data(keras, rng, record):
    """Noise that the case draws of the generator that it was given."""
    x = keras.ops.convert_to_tensor(1.0 + 0.1 * rng.normal(size=(32,)), keras.config.floatx())
    record("y", keras.ops.tanh(x))


def unseeded_record(keras, _rng, record):
    """Nobody seeded the noise, so nothing can be said."""
    x = 1.0 + 0.1 * np.random.default_rng().normal(size=(32,))
    record("y", keras.ops.tanh(keras.ops.convert_to_tensor(x, keras.config.floatx())))


def unseeded_training(keras, _rng, _record):
    layers = [keras.Input((4,)), keras.layers.Dense(3, "tanh", name="hidden")]
    return trained(keras, np.random.default_rng(), layers, (4,))


def batches_of_a_generator(keras, rng, _record):
    return fed(keras, rng, "generator")


def batches_of_tensorflow(keras, rng, _record):
    return fed(keras, rng, "dataset")


def batches_of_torch(keras, rng, _record):
    return fed(keras, rng, "loader")


def batches_of_keras(keras, rng, _record):
    return fed(keras, rng, "sequence")


def added_loss(keras, rng, _record):
    import parts

    layers = [keras.Input((5,)), keras.layers.Dense(4, name="hidden"), parts.Penalised(name="penalised")]
    return trained(keras, rng, layers, (5,))


def activity(keras, rng, _record):
    """Activity regularisers of two layers."""
    hidden = keras.layers.Dense(4, "tanh", activity_regularizer=keras.regularizers.L2(0.05), name="hidden")
    second = keras.layers.Dense(3, "relu", activity_regularizer=keras.regularizers.L1(0.05), name="second")
    return trained(keras, rng, [keras.Input((5,)), hidden, second], (5,))


def variational(keras, rng, _record):
    """An autoencoder that samples its code, and adds a divergence to its loss."""
    import parts

    inputs = keras.Input((6,))
    x = keras.layers.Dense(5, "tanh", name="encoder")(inputs)
    mean = keras.layers.Dense(2, name="mean")(x)
    log_variance = keras.layers.Dense(2, name="log_variance")(x)
    code = parts.Sampling(name="sampling")([mean, log_variance])
    model = keras.Model(inputs, keras.layers.Dense(6, name="decoder")(code))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = normal(rng, 32, 6)
    return Fit(model, x, x, batch_size=8)


def stateful_windows(keras, rng, record):
    """States that are carried from one window to the next, and reset by hand before the last."""
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(4, 5, 3)),
            keras.layers.LSTM(6, return_sequences=True, stateful=True, name="lstm"),
            keras.layers.GRU(5, stateful=True, name="gru"),
            keras.layers.Dense(1, name="head"),
        ]
    )
    for window in range(4):
        if window == 3:
            for layer in model.layers[:2]:
                layer.reset_state()
        x = keras.ops.convert_to_tensor(normal(rng, 4, 5, 3), keras.config.floatx())
        record(f"window/{window}", model(x))


def running_mean(keras, rng, _record):
    """A layer with a counter and a mean of its own."""
    import parts

    layers = [keras.Input((5,)), keras.layers.Dense(4, name="hidden"), parts.RunningMean(name="running")]
    return trained(keras, rng, layers, (5,))


def renamed(keras, rng, _record):
    """A variable of another name on tensorflow."""
    import parts

    layers = [keras.Input((5,)), keras.layers.Dense(4, name="hidden"), parts.Renamed(name="renamed")]
    return trained(keras, rng, layers, (5,))


def two_scales(keras, rng, _record):
    import parts

    return trained(keras, rng, [keras.Input((5,)), parts.TwoScales(name="scales")], (5,))


def island(keras, rng, _record):
    """A layer that computes in float32 whatever it is asked for, and one behind it that does not."""
    import parts

    layers = [keras.Input((12,)), parts.Island(name="island"), keras.layers.Dense(3, name="head")]
    return Forward(keras.Sequential(layers), rng.uniform(size=(16, 12)))


def buckets(keras, rng, _record):
    import parts

    layers = [keras.Input((6,)), parts.Buckets(name="buckets"), keras.layers.Dense(4, "tanh", name="hidden")]
    return trained(keras, rng, layers, (6,))


def rotation(keras, rng, _record):
    """`RandomRotation` fails in float64 on tensorflow: what is behind it has no twin there."""
    model = keras.Sequential(
        [
            keras.layers.RandomRotation(0.1, name="rotation"),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.GlobalAveragePooling2D(name="average"),
            keras.layers.Dense(2, name="head"),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Fit(model, rng.uniform(size=(16, 12, 12, 3)).astype("float32"), rng.integers(0, 2, 16), batch_size=8)


def segments(keras, rng, _record):
    """`segment_max` fails in float64 on torch."""
    import parts

    inputs = keras.Input(batch_shape=(6, 5))
    x = keras.layers.Dense(4, "tanh", name="hidden")(inputs)
    x = parts.Largest(name="largest")(x)
    return Forward(keras.Model(inputs, keras.layers.Dense(2, name="head")(x)), normal(rng, 6, 5))


def hits_by_hand(keras, rng, record):
    """Whether the label is among the largest two, which is not to be had in float64 everywhere."""
    scores = keras.ops.convert_to_tensor(normal(rng, 12, 5), keras.config.floatx())
    labels = keras.ops.convert_to_tensor(rng.integers(0, 5, 12), "int32")
    record("hits", keras.ops.in_top_k(labels, scores, 2))
    record("accuracy", keras.metrics.sparse_top_k_categorical_accuracy(labels, scores, 2))
    record("softmax", keras.ops.softmax(scores))


def logging_callbacks(keras, rng, _record):
    """Callbacks that log, read what others logged, and change the rate."""
    import parts

    layers = [keras.Input((5,)), keras.layers.Dense(4, "tanh", name="hidden")]
    callbacks = [*parts.Callbacks().listed(), keras.callbacks.TerminateOnNaN()]
    return trained(keras, rng, layers, (5,), epochs=4, callbacks=callbacks)


def scheduled_by_hand(keras, rng, _record):
    """A rate for each epoch, and a callback made of functions."""
    seen = []
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate if epoch < 2 else 0.3 * rate),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["loss"]))),
    ]
    layers = [keras.Input((5,)), keras.layers.Dense(4, "tanh", name="hidden")]
    return trained(keras, rng, layers, (5,), epochs=4, callbacks=callbacks)


def sentinels(keras, rng, _record):
    """Masked scores: -1e9, the lowest float32 and the lowest of the dtype, beside values of a usual size."""
    import parts

    inputs = keras.Input((7,))
    hidden = [parts.Hidden(sentinel, name=sentinel) for sentinel in ("large", "lowest", "own")]
    outputs = [layer(inputs) for layer in hidden]
    outputs += [keras.layers.Softmax(name=f"softmax_of_{layer.name}")(layer.output) for layer in hidden]
    return Forward(keras.Model(inputs, outputs), normal(rng, 5, 7))


def outlier(keras, rng, _record):
    import parts

    return Forward(keras.Sequential([keras.Input((6,)), parts.Outlier(name="outlier")]), normal(rng, 5, 6))


def own_draws(keras, rng, record):
    """Numbers that the case draws by itself, with seeds of its own."""
    import parts

    draws, table = parts.Draws(), keras.ops.convert_to_tensor(normal(rng, 9, 3), keras.config.floatx())
    seeds = keras.random.SeedGenerator(11)
    record("noise", draws.noise(keras.random.normal((600,), seed=seeds)))
    record("kept", draws.kept(keras.random.uniform((600,), seed=seeds)))
    record("drawn", draws.drawn(table, keras.random.randint((20,), 0, 9, seed=seeds)))
    record("shuffled", keras.random.shuffle(table[:, 0], seed=seeds))
    record("truncated", keras.random.truncated_normal((20,), seed=3))
    record("dropped", keras.random.dropout(table, 0.4, seed=5))


def inner_layer(keras, rng, _record):
    """A layer within is called on jax alone, for the same product."""
    import parts

    return trained(keras, rng, [keras.Input((5,)), parts.Inner(name="inner")], (5,))


def large_offset(keras, rng, _record):
    """Rounding is amplified in the first step already, for the data are far from zero."""

    def spread(y, p):
        return keras.ops.mean(keras.ops.square(p - keras.ops.mean(p) - y))

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.SGD(0.5), spread, metrics=["mae"])
    x = (1e5 + rng.normal(size=(32, 4))).astype("float32")
    return Fit(model, x, normal(rng, 32, 1), batch_size=8, shuffle=False)


def offset_without_a_loss_of_ones_own(keras, rng, _record):
    """The rate is far too large for data of this size, so that training grows beyond all bounds."""
    layers = [keras.Input((4,)), keras.layers.Dense(3, "tanh", name="hidden")]
    model = keras.Sequential([*layers, keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    return Fit(model, 300.0 + normal(rng, 32, 4), 40.0 * normal(rng, 32, 1), batch_size=8)


#: Healthy on every backend. What follows them here is not.
def new_layers(keras, rng, _record):
    """New layers, whose scales are 1, and whose offsets, means and slopes are 0."""
    inputs = keras.Input((8,))
    layers = [
        keras.layers.BatchNormalization(name="batch"),
        keras.layers.LayerNormalization(name="row"),
        keras.layers.GroupNormalization(4, name="group"),
        keras.layers.PReLU(name="slope"),
        keras.layers.Dense(3, name="dense"),
    ]
    return Forward(keras.Model(inputs, [layer(inputs) for layer in layers]), normal(rng, 6, 8))


def ramp(keras, rng, _record):
    import parts

    layers = [keras.Input((5,)), keras.layers.Dense(4, name="dense"), parts.Ramp(name="ramp")]
    return Forward(keras.Sequential(layers), normal(rng, 6, 5))


def normalised_twice(keras, rng, _record):
    """State that each of two calls moves."""
    layers = [keras.Input((5,)), keras.layers.BatchNormalization(name="norm"), keras.layers.Dropout(0.5, seed=3)]
    return Forward(keras.Sequential(layers), normal(rng, 12, 5), training=True)


def annealed(keras, rng, _record):
    """A callback changes a factor between epochs."""
    import parts

    layers = [keras.Input((5,)), keras.layers.Dense(4, "tanh", name="hidden"), parts.Annealed(name="annealed")]
    return trained(keras, rng, layers, (5,), epochs=3, callbacks=[parts.Grow()])


def dropped_rows(keras, rng, _record):
    import parts

    return trained(keras, rng, [keras.Input((5,)), parts.Dropping(name="dropping")], (5,))


def flow(keras, rng, _record):
    """A derivative inside of a layer."""
    import parts

    return trained(keras, rng, [keras.Input((5,)), parts.Flow(name="flow")], (5,))


def groups(_keras, rng, _record):
    """The largest of each group, one of which is empty: a limit of the dtype, which float64 has otherwise."""
    import parts

    return Forward(parts.Summed(name="summed"), normal(rng, 6, 3))


def subnormal(keras, rng, record):
    """Numbers below the smallest normal float32, which some backends flush to 0."""
    x = keras.ops.convert_to_tensor(np.abs(normal(rng, 8)) + 0.5, keras.config.floatx())
    record("small", x * 1e-30 * 1e-9)
    record("power", keras.ops.power(x, -2.0))


def bias_before_norm(keras, rng, _record):
    """The gradient of the bias is 0 but for rounding, of which Adam makes whole steps."""
    layers = [keras.Input((6,)), keras.layers.Dense(5, name="dense"), keras.layers.BatchNormalization(name="norm")]
    model = keras.Sequential([*layers, keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return Fit(model, normal(rng, 32, 6), normal(rng, 32, 1), batch_size=8, epochs=2)


def by_keyword(keras, rng, _record):
    """A dict of inputs, given by its keyword."""
    inputs = {"b": keras.Input((3,), name="b"), "a": keras.Input((4,), name="a")}
    left, right = (keras.layers.Dense(2, name=f"of_{name}")(inputs[name]) for name in "ab")
    model = keras.Model(inputs, left - 2.0 * right)
    return Forward(model, inputs={"b": normal(rng, 5, 3), "a": normal(rng, 5, 4)})


HEALTHY = {
    scenario.__name__: scenario
    for scenario in (
        dense,
        convolution,
        recurrent,
        attention,
        two_outputs,
        regularised,
        noisy,
        called_back,
        weighted,
        stress,
        images,
        metrics,
        losses,
        operations,
        optimizers,
        schedules,
        few_elements,
        many_elements,
        seeded_noise,
        noisy_data,
        unseeded_record,
        unseeded_training,
        batches_of_a_generator,
        batches_of_tensorflow,
        batches_of_torch,
        batches_of_keras,
        added_loss,
        activity,
        variational,
        stateful_windows,
        running_mean,
        renamed,
        two_scales,
        island,
        buckets,
        rotation,
        segments,
        hits_by_hand,
        logging_callbacks,
        scheduled_by_hand,
        sentinels,
        outlier,
        own_draws,
        inner_layer,
        large_offset,
        offset_without_a_loss_of_ones_own,
        new_layers,
        ramp,
        normalised_twice,
        annealed,
        dropped_rows,
        flow,
        groups,
        subnormal,
        bias_before_norm,
        by_keyword,
    )
}

#: Of these nothing can be said, for what is in them differs from run to run: they must come out `nondeterministic`.
UNSEEDED = frozenset({"unseeded_record", "unseeded_training"})


def padded_average(keras, rng, _record):
    """Keras 3.15.1 counts the padding on torch."""
    inputs = keras.Input((6, 6, 2))
    pool = keras.layers.AveragePooling2D(3, strides=2, padding="same", name="pool")
    return Forward(keras.Model(inputs, pool(inputs)), normal(rng, 2, 6, 6, 2))


def absolute_at_zero(keras, _rng, _record):
    """Keras has a gradient of 1 on jax, and 0 elsewhere."""
    return Forward(keras.layers.Lambda(keras.ops.abs, name="absolute"), np.array([[-1.5, 0.0, 2.5]], "float32"))


def maximum_of_equals(keras, _rng, _record):
    """Keras gives the whole gradient to one side on tensorflow, and half of it to each elsewhere."""
    x = np.array([[1.0, 2.0, 3.0]], "float32"), np.array([[1.0, 5.0, 3.0]], "float32")
    return Forward(keras.layers.Maximum(name="larger"), list(x))


def repeated_tokens(keras, rng, _record):
    """Keras squares the gradient of every use of a token on tensorflow, and the sum of them elsewhere."""
    layers = [keras.layers.Embedding(5, 3, name="tokens"), keras.layers.Flatten(), keras.layers.Dense(1, name="head")]
    model = keras.Sequential(layers)
    model.compile("rmsprop", "mse")
    return Fit(model, rng.integers(0, 5, (24, 4)).astype("int32"), normal(rng, 24, 1), batch_size=8)


def partial_batch_of_two(keras, rng, _record):
    """Keras weighs the losses of single outputs on tensorflow by batches, and elsewhere by rows."""
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("left", "right")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mae"])
    return Fit(model, normal(rng, 40, 4), [normal(rng, 40, 1), normal(rng, 40, 1)], batch_size=16)


def averaged_weights(keras, rng, _record):
    """Keras cannot save the optimizer's averages on jax: their buffers went with the model's."""
    model = keras.Sequential([keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.SGD(0.05, use_ema=True), "mse")
    return Fit(model, normal(rng, 32, 4), normal(rng, 32, 1), batch_size=16)


def trained(keras, rng, layers, shape, **options):
    """These layers and a head, trained on 32 random rows in batches of eight."""
    model = keras.Sequential([*layers, keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    return Fit(model, normal(rng, 32, *shape), normal(rng, 32, 1), batch_size=8, **options)


def fed(keras, rng, kind):
    """A model that is trained on batches of a pipeline, which has shuffled them by itself."""
    import parts

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh", name="hidden")])
    model.add(keras.layers.Dense(1, name="head"))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    batches = getattr(parts.Batches(normal(rng, 32, 4), normal(rng, 32, 1)), kind)()
    # Their number is given, for of a generator that just ends Keras announces one batch more on tensorflow and jax.
    return Fit(model, batches, shuffle=False, steps_per_epoch=4)


def shuffled_rows(keras, rng, record):
    """Keras shuffles every column by itself on jax, and rows elsewhere."""
    record("rows", keras.random.shuffle(keras.ops.convert_to_tensor(normal(rng, 9, 3)), seed=3))


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def sentences(rng, rows, length):
    """Tokens 1 to 19, and zeros behind each sentence's end."""
    tokens = rng.integers(1, 20, (rows, length)).astype("int32")
    tokens[np.arange(length) >= rng.integers(2, length + 1, (rows, 1))] = 0
    return tokens
