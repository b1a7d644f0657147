"""k3-node: convolutions, aggregations, norms, attention and knowledge graphs on a small graph."""

import keras
import numpy as np
import pytest
from k3_node import layers

from harness import Fit, Forward, case

EDGES = np.array([[0, 1, 1, 2, 3, 4, 5, 0, 2, 4], [1, 0, 2, 1, 4, 3, 4, 2, 5, 0]], dtype="int32")
#: Which graph each of the six nodes belongs to, in order; the third graph is empty.
GRAPHS = np.array([0, 0, 1, 1, 1, 3], dtype="int32")

CONVOLUTIONS = {
    "AGNNConv": lambda: layers.AGNNConv(),
    "AntiSymmetricConv": lambda: layers.AntiSymmetricConv(4, num_iters=2),
    "APPNP": lambda: layers.APPNP(K=3, alpha=0.2),
    "ARMAConv": lambda: layers.ARMAConv(4, 3, num_stacks=2),
    "ChebConv": lambda: layers.ChebConv(4, 3, K=3),
    "ClusterGCNConv": lambda: layers.ClusterGCNConv(4, 3, diag_lambda=0.1),
    "EGConv": lambda: layers.EGConv(4, 8, num_heads=2),
    "FeaStConv": lambda: layers.FeaStConv(4, 3, heads=2),
    "GATConv": lambda: layers.GATConv(4, 3, heads=2),
    "GATv2Conv": lambda: layers.GATv2Conv(4, 3, heads=2),
    "GCNConv": lambda: layers.GCNConv(4, 3),
    "GraphConv": lambda: layers.GraphConv(4, 3),
    "GraphConv_max": lambda: layers.GraphConv(4, 3, aggr="max"),
    "LEConv": lambda: layers.LEConv(4, 3),
    "LGConv": lambda: layers.LGConv(),
    "MFConv": lambda: layers.MFConv(4, 3, max_degree=4),
    "MixHopConv": lambda: layers.MixHopConv(4, 3),
    "ResGatedGraphConv": lambda: layers.ResGatedGraphConv(4, 3),
    "SAGEConv": lambda: layers.SAGEConv(4, 3),
    "SAGEConv_max": lambda: layers.SAGEConv(4, 3, aggr="max"),
    "SAGEConv_normalize": lambda: layers.SAGEConv(4, 3, normalize=True),
    "SGConv": lambda: layers.SGConv(4, 3, K=2),
    "SimpleConv": lambda: layers.SimpleConv(),
    "SSGConv": lambda: layers.SSGConv(4, 3, alpha=0.2, K=2),
    "SuperGATConv": lambda: layers.SuperGATConv(4, 3, heads=2),
    "TAGConv": lambda: layers.TAGConv(4, 3),
    "TransformerConv": lambda: layers.TransformerConv(4, 3, heads=2),
}

AGGREGATIONS = {
    "sum": lambda: layers.SumAggregation(),
    "mean": lambda: layers.MeanAggregation(),
    "max": lambda: layers.MaxAggregation(),
    "min": lambda: layers.MinAggregation(),
    "mul": lambda: layers.MulAggregation(),
    "var": lambda: layers.VarAggregation(),
    "std": lambda: layers.StdAggregation(),
    "softmax": lambda: layers.SoftmaxAggregation(learn=True),
    "power_mean": lambda: layers.PowerMeanAggregation(p=2.0, learn=True),
    "median": lambda: layers.MedianAggregation(),
    "quantile": lambda: layers.QuantileAggregation([0.25, 0.5]),
    "sort": lambda: layers.SortAggregation(k=2),
    "set2set": lambda: layers.Set2Set(4, processing_steps=2),
    "lstm": lambda: layers.LSTMAggregation(4, 3),
    "gru": lambda: layers.GRUAggregation(4, 3),
    "variance_preserving": lambda: layers.VariancePreservingAggregation(),
    "attentional": lambda: layers.AttentionalAggregation(keras.layers.Dense(1)),
}

NORMS = {
    "BatchNorm": lambda: layers.BatchNorm(4),
    "DiffGroupNorm": lambda: layers.DiffGroupNorm(4, groups=2),
    "GraphNorm": lambda: layers.GraphNorm(4),
    "GraphSizeNorm": lambda: layers.GraphSizeNorm(),
    "InstanceNorm": lambda: layers.InstanceNorm(4),
    "LayerNorm": lambda: layers.LayerNorm(4),
    "MeanSubtractionNorm": lambda: layers.MeanSubtractionNorm(),
    "PairNorm": lambda: layers.PairNorm(),
}

DENSE = {
    "DenseGATConv": lambda: layers.DenseGATConv(4, 3, heads=2),
    "DenseGCNConv": lambda: layers.DenseGCNConv(4, 3),
    "DenseGINConv": lambda: layers.DenseGINConv(keras.layers.Dense(3)),
    "DenseGraphConv": lambda: layers.DenseGraphConv(4, 3),
    "DenseSAGEConv": lambda: layers.DenseSAGEConv(4, 3, normalize=True),
}

ATTENTION = {
    "PerformerAttention": lambda: layers.PerformerAttention(4, heads=2, head_channels=4),
    "PolynormerAttention": lambda: layers.PolynormerAttention(4, heads=2, head_channels=4),
    "SGFormerAttention": lambda: layers.SGFormerAttention(4, heads=2, head_channels=4),
    "QFormer": lambda: layers.QFormer(4, 8, 3, num_heads=2, num_layers=1),
}

KNOWLEDGE_GRAPHS = {
    "ComplEx": lambda: layers.ComplEx(6, 3, 4),
    "DistMult": lambda: layers.DistMult(6, 3, 4),
    "RotatE": lambda: layers.RotatE(6, 3, 4),
    "TransE": lambda: layers.TransE(6, 3, 4),
}


@case
@pytest.mark.parametrize("layer", CONVOLUTIONS)
def convolution(rng, layer):
    return Forward(CONVOLUTIONS[layer](), rng.normal(size=(6, 4)), edge_index=EDGES)


@case
@pytest.mark.parametrize("layer", AGGREGATIONS)
def aggregation(rng, layer):
    return Forward(AGGREGATIONS[layer](), rng.normal(size=(6, 4)), np.array([0, 0, 1, 1, 1, 2], dtype="int32"))


@case
@pytest.mark.parametrize("layer", ["sum", "mean", "max", "min", "mul", "std", "softmax"])
def aggregation_with_an_empty_graph(rng, layer):
    return Forward(AGGREGATIONS[layer](), rng.normal(size=(6, 4)), GRAPHS, dim_size=4)


@case
@pytest.mark.parametrize("layer", NORMS)
def norm(rng, layer):
    return Forward(NORMS[layer](), rng.normal(size=(6, 4)), training=True)


@case
@pytest.mark.parametrize("layer", ["GraphNorm", "GraphSizeNorm", "LayerNorm", "MeanSubtractionNorm", "PairNorm"])
def norm_of_each_graph(rng, layer):
    return Forward(NORMS[layer](), rng.normal(size=(6, 4)), np.array([0, 0, 0, 1, 1, 1], dtype="int32"))


@case
@pytest.mark.parametrize("layer", DENSE)
def dense_convolution(rng, layer):
    adjacency = (rng.uniform(size=(2, 5, 5)) < 0.5).astype("float32")
    return Forward(DENSE[layer](), rng.normal(size=(2, 5, 4)), adjacency)


@case
@pytest.mark.parametrize("layer", ATTENTION)
def attention(rng, layer):
    return Forward(ATTENTION[layer](), rng.normal(size=(2, 5, 4)))


@case
@pytest.mark.parametrize("layer", KNOWLEDGE_GRAPHS)
def knowledge_graph(layer):
    head, relation, tail = (np.array(rows, dtype="int32") for rows in ([0, 1, 5], [0, 2, 1], [3, 4, 0]))
    return Forward(KNOWLEDGE_GRAPHS[layer](), head, relation, tail)


@case
def edges_with_attributes(rng):
    edges = rng.normal(size=(10, 2))
    return Forward(layers.CGConv(4, dim=2), rng.normal(size=(6, 4)), edge_index=EDGES, edge_attr=edges)


class Graphs(keras.Model):
    """Nodes of one fixed graph, classified."""

    def __init__(self):
        super().__init__()
        self.first = layers.GCNConv(4, 8)
        self.second = layers.GATConv(8, 3, heads=2, concat=False)

    def call(self, x):
        return self.second(keras.ops.relu(self.first(x, edge_index=EDGES)), edge_index=EDGES)


@case
def in_training(rng):
    model = Graphs()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return Fit(model, rng.normal(size=(6, 4)), rng.integers(0, 3, size=6), epochs=3, batch_size=6, shuffle=False)
