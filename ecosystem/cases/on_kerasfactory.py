"""kerasfactory: layers for tables and time series, and two metrics."""

import keras
import pytest
from kerasfactory import layers, metrics

from harness import Fit, Forward, case

OF_ROWS = {
    "AdvancedNumericalEmbedding": lambda: layers.AdvancedNumericalEmbedding(4, mlp_hidden_units=5, num_bins=4),
    "BoostingBlock": lambda: layers.BoostingBlock(5),
    "BoostingEnsembleLayer": lambda: layers.BoostingEnsembleLayer(2, 5),
    "ColumnAttention": lambda: layers.ColumnAttention(6),
    "RowAttention": lambda: layers.RowAttention(6),
    "DifferentiableTabularPreprocessor": lambda: layers.DifferentiableTabularPreprocessor(6),
    "DifferentialPreprocessingLayer": lambda: layers.DifferentialPreprocessingLayer(6),
    "DistributionTransformLayer_box_cox": lambda: layers.DistributionTransformLayer("box-cox", 0.5),
    "DistributionTransformLayer_logit": lambda: layers.DistributionTransformLayer("logit"),
    "DistributionTransformLayer_yeo_johnson": lambda: layers.DistributionTransformLayer("yeo-johnson", 0.5),
    "FeatureCutout": lambda: layers.FeatureCutout(0.4, seed=3),
    "GatedFeatureSelection": lambda: layers.GatedFeatureSelection(6, 2),
    "GatedLinearUnit": lambda: layers.GatedLinearUnit(4),
    "GatedResidualNetwork": lambda: layers.GatedResidualNetwork(4),
    "GraphFeatureAggregation": lambda: layers.GraphFeatureAggregation(4),
    "MultiHeadGraphFeaturePreprocessor": lambda: layers.MultiHeadGraphFeaturePreprocessor(4, 2),
    "AdvancedGraphFeatureLayer": lambda: layers.AdvancedGraphFeatureLayer(4, 2),
    "NumericalAnomalyDetection": lambda: layers.NumericalAnomalyDetection([4]),
    "SlowNetwork": lambda: layers.SlowNetwork(6, 2, 5),
    "TabularMoELayer": lambda: layers.TabularMoELayer(2, 4),
}

OF_SERIES = {
    "DFTSeriesDecomposition": lambda: layers.DFTSeriesDecomposition(2),
    "FeatureMixing": lambda: layers.FeatureMixing(6, 8, 0.1, 5),
    "MixingLayer": lambda: layers.MixingLayer(6, 8, 0.1, 5),
    "TemporalMixing": lambda: layers.TemporalMixing(6, 8, 0.1),
    "MovingAverage": lambda: layers.MovingAverage(3),
    "PositionalEmbedding": lambda: layers.PositionalEmbedding(6, 20),
    "SeriesDecomposition": lambda: layers.SeriesDecomposition(3),
    "TabularAttention": lambda: layers.TabularAttention(2, 6),
    "TokenEmbedding": lambda: layers.TokenEmbedding(6, 4),
    "TransformerBlock": lambda: layers.TransformerBlock(6, 2, 5),
}


@case
@pytest.mark.parametrize("layer", OF_ROWS)
def layer_of_rows(rng, layer):
    return Forward(OF_ROWS[layer](), rng.uniform(0.1, 0.9, size=(5, 6)), training=True)


@case
@pytest.mark.parametrize("layer", OF_SERIES)
def layer_of_series(rng, layer):
    return Forward(OF_SERIES[layer](), rng.normal(size=(2, 8, 6)), training=True)


@case
def instance_norm(rng):
    return Forward(layers.ReversibleInstanceNorm(6, affine=True), rng.normal(size=(2, 8, 6)), mode="norm")


@case
def gated_feature_fusion(rng):
    return Forward(layers.GatedFeatureFusion(), [rng.normal(size=(4, 3)), rng.normal(size=(4, 3))])


@case
def zzw_operator(rng):
    return Forward(layers.HyperZZWOperator(4), [rng.normal(size=(3, 4)), rng.normal(size=(3, 5))])


@case
def sparse_attention_weighting(rng):
    return Forward(layers.SparseAttentionWeighting(2, 0.5), [rng.normal(size=(4, 3)), rng.normal(size=(4, 3))])


@case
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def stochastic_depth(rng, training):
    layer = layers.StochasticDepth(0.5, seed=3)
    return Forward(layer, [rng.normal(size=(6, 3)), rng.normal(size=(6, 3))], training=training)


@case
@pytest.mark.parametrize("metric", ["Median", "StandardDeviation"])
def metric_of_two_batches(record, rng, metric):
    metric = getattr(metrics, metric)()
    for batch in range(2):
        metric.update_state(rng.normal(size=9).astype("float32"))
        record(f"after batch {batch}", metric.result())


@case
def in_training(rng):
    inputs = keras.Input((6,))
    hidden = layers.DifferentialPreprocessingLayer(6)(inputs)
    hidden = layers.GatedResidualNetwork(5)(hidden)
    outputs = keras.layers.Dense(1)(layers.BoostingBlock(4)(hidden))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(32, 6)), rng.normal(size=(32, 1)), epochs=2, batch_size=16)


@case
def stochastic_depth_in_training(rng):
    inputs = keras.Input((4,))
    outputs = layers.StochasticDepth(0.5, seed=3)([inputs, keras.layers.Dense(4)(inputs)])
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(32, 4)), rng.normal(size=(32, 1)), epochs=2, batch_size=8)


@case
def no_seed_in_training(rng):
    model = keras.Sequential([layers.FeatureCutout(0.4), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(32, 4)), rng.normal(size=(32, 1)), epochs=1, batch_size=8)
