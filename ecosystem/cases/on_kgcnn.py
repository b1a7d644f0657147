"""kgcnn: layers of graph networks for molecules.

LeakyRelu and GraphNormalization are left out: they raise with Keras 3.15, on every backend alike.
"""

import keras
import numpy as np
import pytest
from kgcnn.layers import activ, aggr, attention, conv, geom, mlp, norm, pooling, relational, update

from harness import Expected, Fit, Forward, case

#: Pairs of a receiving and a sending node; the last node neither receives nor sends.
EDGES = np.array([[0, 1, 1, 2, 3, 0], [1, 0, 2, 1, 0, 3]], dtype="int64")

#: Indexes are handed over as tensors, which keep their 64 bits: see `indexes_of_32_bits`.
NARROW = Expected("mismatch", reason="jax has no integers of 64 bits", where="forward/*/input/*")

POOLINGS = ["scatter_sum", "scatter_mean", "scatter_max", "scatter_min"]

OF_ROWS = {
    "LeakySoftplus": lambda: activ.LeakySoftplus(trainable=True),
    "Swish": lambda: activ.Swish(trainable=True),
    "MLP": lambda: mlp.MLP([5, 3], activation="swish"),
    "ResidualLayer": lambda: update.ResidualLayer(4),
    "EuclideanNorm": lambda: geom.EuclideanNorm(),
    "EuclideanNorm_inverse": lambda: geom.EuclideanNorm(invert_norm=True),
}

OF_DISTANCES = {
    "GaussBasisLayer": lambda: geom.GaussBasisLayer(5),
    "BesselBasisLayer": lambda: geom.BesselBasisLayer(4, 3.0),
    "CosCutOff": lambda: geom.CosCutOff(1.5),
    "CosCutOffEnvelope": lambda: geom.CosCutOffEnvelope(1.5),
    "PositionEncodingBasisLayer": lambda: geom.PositionEncodingBasisLayer(3),
}


def tensor(indexes):
    return keras.ops.convert_to_tensor(indexes)


@case
@pytest.mark.parametrize("layer", OF_ROWS)
def layer_of_rows(rng, layer):
    return Forward(OF_ROWS[layer](), rng.normal(size=(5, 4)), training=True)


@case
@pytest.mark.parametrize("layer", OF_DISTANCES)
def layer_of_distances(rng, layer):
    return Forward(OF_DISTANCES[layer](), rng.uniform(0.3, 2.5, size=(6, 1)))


@case(expect={"jax": NARROW})
@pytest.mark.parametrize("method", POOLINGS)
def aggregated_edges(rng, method):
    layer = aggr.AggregateLocalEdges(pooling_method=method)
    return Forward(layer, [rng.normal(size=(5, 4)), rng.normal(size=(6, 3)), tensor(EDGES)])


@case
def indexes_of_32_bits(rng):
    layer = aggr.AggregateLocalEdges(pooling_method="scatter_sum")
    return Forward(layer, [rng.normal(size=(5, 4)), rng.normal(size=(6, 3)), EDGES.astype("int32")])


@case(expect={"jax": NARROW})
@pytest.mark.parametrize("normalize", [False, True])
def weighted_edges(rng, normalize):
    layer = aggr.AggregateWeightedLocalEdges(normalize_by_weights=normalize)
    nodes, edges, weights = rng.normal(size=(5, 4)), rng.normal(size=(6, 3)), rng.uniform(0.1, 1, size=(6, 1))
    return Forward(layer, [nodes, edges, tensor(EDGES), weights])


@case(expect={"jax": NARROW})
@pytest.mark.parametrize("layer", ["AttentionHeadGAT", "AttentionHeadGATV2", "AttentiveHeadFP"])
def attention_head(rng, layer):
    layer = getattr(attention, layer)(3)
    return Forward(layer, [rng.normal(size=(5, 4)), rng.normal(size=(6, 2)), tensor(EDGES)])


@case(expect={"jax": NARROW})
@pytest.mark.parametrize("layer", ["GCN", "SchNetCFconv"])
def convolution(rng, layer):
    return Forward(getattr(conv, layer)(4), [rng.normal(size=(5, 4)), rng.normal(size=(6, 4)), tensor(EDGES)])


@case(expect={"jax": NARROW})
def gine(rng):
    return Forward(conv.GINE(), [rng.normal(size=(5, 4)), tensor(EDGES), rng.normal(size=(6, 4))])


@case(expect={"jax": NARROW})
def gin(rng):
    return Forward(conv.GIN(epsilon_learnable=True), [rng.normal(size=(5, 4)), tensor(EDGES)])


@case
@pytest.mark.parametrize("layer", ["NodeDistanceEuclidean", "EdgeDirectionNormalized", "ScalarProduct"])
def geometry(rng, layer):
    return Forward(getattr(geom, layer)(), [rng.normal(size=(6, 3)), rng.normal(size=(6, 3))])


@case
def distance_of_a_point_from_itself():
    return Forward(geom.NodeDistanceEuclidean(), [np.ones((2, 3)), np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])])


@case(expect={"jax": NARROW})
@pytest.mark.parametrize("method", POOLINGS)
def pooled_nodes(rng, method):
    sizes, graphs = np.array([3, 0, 2], dtype="int64"), np.array([0, 0, 0, 2, 2], dtype="int64")
    return Forward(
        pooling.PoolingNodes(pooling_method=method), [tensor(sizes), rng.normal(size=(5, 4)), tensor(graphs)]
    )


@case
@pytest.mark.parametrize("layer", ["GraphBatchNormalization", "GraphLayerNormalization"])
def norm_of_graphs(rng, layer):
    sizes, graphs = np.array([3, 2], dtype="int64"), np.array([0, 0, 0, 1, 1], dtype="int64")
    return Forward(getattr(norm, layer)(), [rng.normal(size=(5, 4)), graphs, sizes], training=True)


@case
def relations(rng):
    return Forward(relational.RelationalDense(3, 2), [rng.normal(size=(5, 4)), np.array([0, 1, 1, 0, 1], "int64")])


@case
def gru_update(rng):
    return Forward(update.GRUUpdate(4), [rng.normal(size=(5, 4)), rng.normal(size=(5, 4))])


class Molecule(keras.Model):
    """Atoms of one fixed molecule, each with a value."""

    def __init__(self):
        super().__init__()
        self.embed = keras.layers.Dense(6)
        self.first = conv.SchNetCFconv(6)
        self.last = mlp.MLP([4, 1], activation=["swish", "linear"])

    def call(self, x):
        edges = tensor(EDGES)
        nodes = self.embed(x)
        near = keras.ops.take(nodes, edges[0], axis=0) * keras.ops.take(nodes, edges[1], axis=0)
        return self.last(nodes + self.first([nodes, near, edges]))


@case(expect={"jax": NARROW})
def in_training(rng):
    model = Molecule()
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(5, 4)), rng.normal(size=(5, 1)), epochs=3, batch_size=5, shuffle=False)
