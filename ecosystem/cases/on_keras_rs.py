"""keras-rs: recommender systems: interactions of features, retrieval, ranking losses and metrics."""

import keras
import numpy as np
import pytest
from keras_rs import layers, losses, metrics

from harness import Expected, Fit, Forward, case

LOSSES = {
    "ListMLELoss": lambda: losses.ListMLELoss(),
    "PairwiseHingeLoss": lambda: losses.PairwiseHingeLoss(),
    "PairwiseLogisticLoss": lambda: losses.PairwiseLogisticLoss(temperature=0.7),
    "PairwiseMeanSquaredError": lambda: losses.PairwiseMeanSquaredError(),
    "PairwiseSoftZeroOneLoss": lambda: losses.PairwiseSoftZeroOneLoss(),
}

METRICS = {
    "DCG": lambda: metrics.DCG(),
    "NDCG": lambda: metrics.NDCG(k=3),
    "MeanAveragePrecision": lambda: metrics.MeanAveragePrecision(),
    "MeanReciprocalRank": lambda: metrics.MeanReciprocalRank(),
    "PrecisionAtK": lambda: metrics.PrecisionAtK(k=2),
    "RecallAtK": lambda: metrics.RecallAtK(k=2),
}


@case
@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
def embed_reduce(rng, combiner):
    weights = rng.uniform(0.5, 2, size=(3, 4)).astype("float32")
    return Forward(layers.EmbedReduce(7, 5, combiner=combiner), rng.integers(0, 7, size=(3, 4)), weights=weights)


@case
@pytest.mark.parametrize("options", [{}, {"projection_dim": 2}, {"diag_scale": 0.5}], ids=["full", "low_rank", "diag"])
def feature_cross(rng, options):
    return Forward(layers.FeatureCross(**options), rng.normal(size=(4, 6)), rng.normal(size=(4, 6)))


@case
@pytest.mark.parametrize("self_interaction", [False, True])
@pytest.mark.parametrize("skip_gather", [False, True])
def dot_interaction(rng, self_interaction, skip_gather):
    layer = layers.DotInteraction(self_interaction=self_interaction, skip_gather=skip_gather)
    return Forward(layer, [rng.normal(size=(4, 3)) for _ in range(3)])


INDEXES = Expected("mismatch", reason="Keras' top_k gives int64 on torch, and int32 elsewhere", where="*/output/1")


@case(expect={"torch": INDEXES})
def brute_force_retrieval(rng):
    candidates = rng.normal(size=(9, 3)).astype("float32")
    return Forward(layers.BruteForceRetrieval(candidates, k=4), rng.normal(size=(2, 3)))


#: `keras.ops.top_k(sorted=False)` promises no order, so that the layer promises none.
UNSORTED = Expected("divergent", reason="the negatives are the same, in another order")


@case(expect={"tensorflow": UNSORTED, "jax": UNSORTED})
def hard_negative_mining(rng):
    return Forward(layers.HardNegativeMining(3), rng.normal(size=(4, 6)), np.eye(6, dtype="float32")[[0, 2, 5, 1]])


#: What the layer inside gives, before it is sorted.
INSIDE = Expected("divergent", reason=UNSORTED.reason, where="forward/0/hard_negative_mining/output/*")


@case(expect={"tensorflow": INSIDE, "jax": INSIDE})
def hard_negatives_in_order(rng):
    layer, labels = layers.HardNegativeMining(3), np.eye(6, dtype="float32")[[0, 2, 5, 1]]
    return Forward(lambda logits: keras.ops.sort(layer(logits, labels)[0], axis=-1), rng.normal(size=(4, 6)))


@case
def remove_accidental_hits(rng):
    labels = np.eye(6, dtype="float32")[[0, 2, 5, 1]]
    return Forward(layers.RemoveAccidentalHits(), rng.normal(size=(4, 6)), labels, np.array([3, 1, 3, 4, 1, 0]))


@case
def sampling_probability_correction(rng):
    layer = layers.SamplingProbabilityCorrection()
    return Forward(layer, rng.normal(size=(4, 6)), rng.uniform(0.01, 1, size=6))


@case
@pytest.mark.parametrize("loss", LOSSES)
def loss_of_lists(rng, loss):
    relevance = rng.integers(0, 4, size=(3, 6)).astype("float32")
    return Forward(LOSSES[loss](), relevance, rng.normal(size=(3, 6)))


@case
@pytest.mark.parametrize("metric", METRICS)
def metric_of_two_batches(record, rng, metric):
    metric = METRICS[metric]()
    for batch in range(2):
        metric.update_state(
            rng.integers(0, 2, size=(3, 6)).astype("float32"), rng.normal(size=(3, 6)).astype("float32")
        )
        record(f"after batch {batch}", metric.result())


SHUFFLED = Expected("divergent", reason="ties are shuffled there, though `shuffle_ties` is False")


@case(expect={"tensorflow": SHUFFLED, "jax": SHUFFLED})
def metric_of_ties(record):
    for i in range(8):
        metric = metrics.DCG(shuffle_ties=False, seed=i)
        metric.update_state(np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([[0.5, 0.5, 0.5, 0.1]]))
        record(f"result {i}", metric.result())


@case
def in_training(rng):
    inputs = [keras.Input((3,), dtype="int32"), keras.Input((4,))]
    embedded = layers.EmbedReduce(10, 4)(inputs[0])
    crossed = layers.FeatureCross(projection_dim=2)(inputs[1])
    both = layers.DotInteraction()([embedded, crossed])
    outputs = keras.layers.Dense(5)(keras.layers.Concatenate()([both, embedded, crossed]))
    model = keras.Model(inputs, outputs)
    model.compile("adagrad", losses.PairwiseLogisticLoss(), metrics=[metrics.NDCG()])
    x = [rng.integers(0, 10, size=(32, 3)), rng.normal(size=(32, 4))]
    return Fit(model, x, rng.integers(0, 3, size=(32, 5)).astype("float32"), epochs=2, batch_size=16)
