"""E2: every optimizer, loss and metric that Keras has, on what one small model makes of one batch after another."""

import keras
import numpy as np
from keras import layers, losses, metrics, ops, optimizers

from harness import Expected, Fit, case, value_and_grad


def names_in(module, base):
    """The public classes of a module of Keras."""
    found = {name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)}
    return found - {base.__name__}


def small_model(outputs=3):
    model = keras.Sequential([layers.Dense(8, activation="tanh"), layers.Dense(outputs)])
    model.build((None, 6))
    return model


# Optimizers: three steps with the same three gradients.

OPTIMIZERS = {
    "Adadelta": [{}],
    "Adafactor": [{}, {"relative_step": False, "beta_2_decay": -0.5}],
    "Adagrad": [{}],
    "Adam": [{}, {"amsgrad": True}],
    "AdamW": [{}, {"weight_decay": 0.1}],
    "Adamax": [{}],
    "Ftrl": [{}, {"l1_regularization_strength": 0.01, "l2_regularization_strength": 0.01, "beta": 0.1}],
    "Lamb": [{}],
    "Lion": [{}],
    "Muon": [{}],
    "Nadam": [{}],
    "RMSprop": [{}, {"centered": True, "momentum": 0.9}],
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "ScheduleFreeAdamW": [{}, {"warmup_steps": 2}],
}


def optimizer_variants():
    for name, variants in OPTIMIZERS.items():
        for options in variants if hasattr(optimizers, name) else []:
            yield " ".join([name, *options]), getattr(optimizers, name)(learning_rate=0.05, **options)


@case(
    expect={
        "jax": Expected(
            "divergent",
            reason="ScheduleFreeAdamW keeps `momentum.value` for later and then updates the momentum "
            "(schedule_free_adamw.py, update_step): on jax it is the old array, as it should be; on torch and "
            "tensorflow it is the variable's own storage, which holds the new value by then",
            where="recorded/ScheduleFreeAdamW*: weights/*",
            keras=">=3.14",  # which has the first ScheduleFreeAdamW
        )
    },
    tags=["slow"],
)
def every_optimizer(rng, record):
    """By hand. `LossScaleOptimizer` cannot be used so on jax, and `MultiOptimizer` is in `beyond_supervised.py`."""
    assert names_in(optimizers, optimizers.Optimizer) <= {*OPTIMIZERS, "LossScaleOptimizer", "MultiOptimizer"}
    model = small_model()
    weights = model.trainable_variables
    initial = model.get_weights()
    x, y = rng.normal(size=(3, 16, 6)).astype("float32"), rng.normal(size=(3, 16, 3)).astype("float32")
    gradients = [
        value_and_grad(lambda _, x=x, y=y: ops.mean(losses.mean_squared_error(y, model(x))), weights)[1]
        for x, y in zip(x, y, strict=True)
    ]
    record("gradients", gradients)
    for name, optimizer in optimizer_variants():
        model.set_weights(initial)
        for gradient in gradients:
            optimizer.apply(gradient, weights)
        record(f"{name}: weights", weights)
        slots = [v for v in optimizer.variables if keras.backend.is_float_dtype(v.dtype)]
        record(f"{name}: state", slots)
        for before, after in zip(initial, weights, strict=True):
            assert not np.array_equal(before, ops.convert_to_numpy(after)), name


# Losses and metrics: targets, and what a model's outputs are made into, by kind of task.


def numbers(rng, outputs):
    return rng.normal(size=outputs.shape).astype("float32"), outputs


def positive_numbers(rng, outputs):
    return rng.uniform(0.1, 3.0, size=outputs.shape).astype("float32"), ops.softplus(outputs)


def coin_flips(rng, outputs):
    return rng.integers(0, 2, size=outputs.shape).astype("float32"), ops.sigmoid(outputs)


def one_coin_flip(rng, outputs):
    return coin_flips(rng, outputs[:, :1])


def signs(rng, outputs):
    return (2 * rng.integers(0, 2, size=outputs.shape) - 1).astype("float32"), outputs


def one_hot(rng, outputs):
    labels = rng.integers(0, outputs.shape[-1], size=len(outputs))
    return np.eye(outputs.shape[-1], dtype="float32")[labels], ops.softmax(outputs)


def class_numbers(rng, outputs):
    return rng.integers(0, outputs.shape[-1], size=len(outputs)).astype("int32"), ops.softmax(outputs)


def class_numbers_of_scores(rng, outputs):
    return rng.integers(0, outputs.shape[-1], size=len(outputs)).astype("int32"), outputs


def predicted_classes(rng, outputs):
    return rng.integers(0, outputs.shape[-1], size=len(outputs)).astype("int32"), ops.argmax(outputs, axis=-1)


def embeddings(rng, outputs):
    return rng.integers(0, 3, size=len(outputs)).astype("int32"), ops.normalize(outputs, axis=-1)


def sequences(rng, outputs):
    """The rows as two sequences of symbols, of which 0 is the blank."""
    outputs = ops.reshape(outputs, (2, -1, outputs.shape[-1]))
    return rng.integers(1, outputs.shape[-1], size=(2, 3)).astype("int32"), outputs


LOSSES = {
    "BinaryCrossentropy": (coin_flips, [{}, {"label_smoothing": 0.1}]),
    "BinaryFocalCrossentropy": (coin_flips, [{}, {"apply_class_balancing": True}]),
    "CTC": (sequences, [{}]),
    "CategoricalCrossentropy": (one_hot, [{}, {"label_smoothing": 0.1}, {"reduction": "sum"}]),
    "CategoricalFocalCrossentropy": (one_hot, [{}]),
    "CategoricalGeneralizedCrossEntropy": (class_numbers, [{}]),
    "CategoricalHinge": (one_hot, [{}]),
    "Circle": (embeddings, [{}]),
    "CosineSimilarity": (numbers, [{}]),
    "Dice": (coin_flips, [{}]),
    "Hinge": (signs, [{}]),
    "Huber": (numbers, [{}, {"delta": 0.5}]),
    "KLDivergence": (one_hot, [{}]),
    "LogCosh": (numbers, [{}]),
    "MeanAbsoluteError": (numbers, [{}]),
    "MeanAbsolutePercentageError": (positive_numbers, [{}]),
    "MeanSquaredError": (numbers, [{}, {"reduction": "sum"}, {"reduction": "mean_with_sample_weight"}]),
    "MeanSquaredLogarithmicError": (positive_numbers, [{}]),
    "Poisson": (positive_numbers, [{}]),
    "SparseCategoricalCrossentropy": (class_numbers, [{}]),
    "SparseCategoricalCrossentropy of scores": (class_numbers_of_scores, [{"from_logits": True}]),
    "SquaredHinge": (signs, [{}]),
    "Tversky": (coin_flips, [{}, {"alpha": 0.3, "beta": 0.7}]),
}


@case(tags=["slow"])
def every_loss(rng, record):
    """The value of each loss, its gradient with respect to the model's outputs, and its value with sample weights."""
    assert names_in(losses, losses.Loss) <= {name.split()[0] for name in LOSSES}
    outputs = small_model()(rng.normal(size=(12, 6)).astype("float32"))
    for name, (kind, variants) in LOSSES.items():
        for options in variants if hasattr(losses, name.split()[0]) else []:
            loss = getattr(losses, name.split()[0])(**options)
            state = rng.bit_generator.state

            def value(outputs, weights=None, kind=kind, loss=loss, state=state):
                rng.bit_generator.state = state
                y_true, y_pred = kind(rng, outputs)
                return loss(y_true, y_pred, sample_weight=weights)

            label = " ".join([name, *map(str, options.values())])
            record(label, value_and_grad(value, outputs))
            if name not in ("CTC", "Dice", "Tversky"):  # these have one value for all rows
                record(f"{label}, weighted", value(outputs, weights=np.linspace(0, 2, 12).astype("float32")))


METRICS = {
    "AUC": (coin_flips, [{}, {"curve": "PR", "num_thresholds": 20}]),
    "Accuracy": (predicted_classes, [{}]),
    "BinaryAccuracy": (coin_flips, [{}]),
    "BinaryCrossentropy": (coin_flips, [{}]),
    "BinaryIoU": (one_coin_flip, [{}]),
    "CategoricalAccuracy": (one_hot, [{}]),
    "CategoricalCrossentropy": (one_hot, [{}]),
    "CategoricalHinge": (one_hot, [{}]),
    "ConcordanceCorrelation": (numbers, [{}]),
    "CosineSimilarity": (numbers, [{}]),
    "F1Score": (one_hot, [{}, {"average": "macro"}]),
    "FBetaScore": (one_hot, [{"beta": 0.5, "average": "weighted"}]),
    "FalseNegatives": (coin_flips, [{}]),
    "FalsePositives": (coin_flips, [{"thresholds": [0.3, 0.6]}]),
    "Hinge": (signs, [{}]),
    "IoU": (predicted_classes, [{"num_classes": 3, "target_class_ids": [0, 2]}]),
    "KLDivergence": (one_hot, [{}]),
    "LogCoshError": (numbers, [{}]),
    "MeanAbsoluteError": (numbers, [{}]),
    "MeanAbsolutePercentageError": (positive_numbers, [{}]),
    "MeanIoU": (predicted_classes, [{"num_classes": 3}]),
    "MeanMetricWrapper": (numbers, [{"fn": losses.mean_squared_error}]),
    "MeanSquaredError": (numbers, [{}]),
    "MeanSquaredLogarithmicError": (positive_numbers, [{}]),
    "OneHotIoU": (one_hot, [{"num_classes": 3, "target_class_ids": [1]}]),
    "OneHotMeanIoU": (one_hot, [{"num_classes": 3}]),
    "PearsonCorrelation": (numbers, [{}]),
    "Poisson": (positive_numbers, [{}]),
    "Precision": (coin_flips, [{}, {"top_k": 2}]),
    "PrecisionAtRecall": (coin_flips, [{"recall": 0.5}]),
    "R2Score": (numbers, [{}]),
    "Recall": (coin_flips, [{}, {"thresholds": 0.4}]),
    "RecallAtPrecision": (coin_flips, [{"precision": 0.5}]),
    "RootMeanSquaredError": (numbers, [{}]),
    "SensitivityAtSpecificity": (coin_flips, [{"specificity": 0.5}]),
    "SparseCategoricalAccuracy": (class_numbers, [{}]),
    "SparseCategoricalCrossentropy": (class_numbers, [{}]),
    "SparseTopKCategoricalAccuracy": (class_numbers, [{"k": 2}]),
    "SpecificityAtSensitivity": (coin_flips, [{"sensitivity": 0.5}]),
    "SquaredHinge": (signs, [{}]),
    "TopKCategoricalAccuracy": (one_hot, [{"k": 2}]),
    "TrueNegatives": (coin_flips, [{}]),
    "TruePositives": (coin_flips, [{}]),
}


# Torch sorts values into buckets, and tensorflow looks for the top k, in float32 alone: these have no float64 twin.
IN_FLOAT32 = [
    "AUC",
    "PrecisionAtRecall",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
]


@case(
    expect={
        "tensorflow": Expected(
            "mismatch",
            reason="the confusion matrix of the IoU metrics has the dtype int, which is int64 on tensorflow and int32 "
            "elsewhere (keras/src/backend/common/dtypes.py)",
            where="recorded/*IoU*: state/*",
        )
    },
    tags=["slow"],
)
def every_metric(rng, record):
    assert names_in(metrics, metrics.Metric) <= {*METRICS, "Mean", "Sum"}
    record_metrics([name for name in METRICS if name not in IN_FLOAT32], rng, record)


@case
def metrics_in_float32(rng, record):
    record_metrics(IN_FLOAT32, rng, record)


def record_metrics(names, rng, record):
    """Two batches, the second not full; then a reset, and a weighted one."""
    outputs = small_model()(rng.normal(size=(20, 6)).astype("float32"))
    for name in names:
        kind, variants = METRICS[name]
        for options in variants if hasattr(metrics, name) else []:
            label = " ".join([name, *(f"{key}={value}" for key, value in options.items() if key != "fn")])
            metric = getattr(metrics, name)(**options)
            for rows in (outputs[:12], outputs[12:]):
                metric.update_state(*kind(rng, rows))
            record(label, metric.result())
            record(f"{label}: state", metric.variables)
            metric.reset_state()
            assert all(not ops.convert_to_numpy(variable).any() for variable in metric.variables), name
            # Weights whose sums are exact: some metrics ask whether a share of them is at least a half.
            metric.update_state(*kind(rng, outputs[:12]), sample_weight=np.arange(12, dtype="float32") / 8)
            record(f"{label}: weighted", metric.result())


@case(
    expect={
        "openvino": Expected(
            "mismatch",
            reason="Keras makes no tensor of a range on openvino: get_ov_output (core.py) raises a ValueError",
            where="recorded/*_of_a_range",
        )
    }
)
def mean_and_sum(rng, record):
    values, weights = rng.normal(size=(2, 3, 10)).astype("float32")
    for metric in (metrics.Mean(), metrics.Sum()):
        for row, weight in zip(values, np.abs(weights), strict=True):
            metric.update_state(row, sample_weight=weight)
        record(metric.name, metric.result())
    for metric, expected in ((metrics.Mean(), 2.0), (metrics.Sum(), 10.0)):
        try:
            of_range = float(metric(range(5)))
            assert of_range == expected
        except ValueError:
            of_range = "refused"
        record(f"{metric.name}_of_a_range", of_range)


# Those that are special in `fit`. Adam, RMSprop and SGD are in many other cases.


def fit_with(optimizer, rng):
    model = small_model()
    model.compile(optimizer=optimizer, loss="mse")
    x, y = rng.normal(size=(96, 6)).astype("float32"), rng.normal(size=(96, 3)).astype("float32")
    return Fit(model, x, y, epochs=2, batch_size=32)


@case
def loss_scale_optimizer_in_fit(rng):
    """The loss is multiplied by a scale and the gradients divided by it, which doubles after two good steps."""
    scaled = optimizers.LossScaleOptimizer(optimizers.SGD(0.05), initial_scale=8.0, dynamic_growth_steps=2)
    return fit_with(scaled, rng)


@case
def nadam_in_fit(rng):
    return fit_with("nadam", rng)
