"""tf-gnns: graph networks on a dict of tensors."""

import keras
import numpy as np
import pytest
from tf_gnns.models.gcn import GCNv2, SparseGCN, SparseGCNConv
from tf_gnns.models.graphnet import GNCellMLP, GraphNetMLP, GraphNetMPNN_MLP

from harness import Fit, Forward, case

SENDERS = np.array([0, 1, 1, 2, 3, 4], dtype="int32")
RECEIVERS = np.array([1, 0, 2, 1, 4, 3], dtype="int32")

CONVOLUTIONS = {
    "SparseGCNConv": lambda: SparseGCNConv(3),
    "SparseGCNConv_layernorm": lambda: SparseGCNConv(3, batchnorm=False, layernorm=True),
    "SparseGCN": lambda: SparseGCN([5], 3),
    "GCNv2": lambda: GCNv2(4, 3, num_layers=2),
}

GRAPH_NETS = {
    "GNCellMLP": lambda how: GNCellMLP([4], 4, aggregation_function=how),
    "GraphNetMLP": lambda how: GraphNetMLP(4, core_steps=1, aggregation_function=how),
    "GraphNetMPNN_MLP": lambda how: GraphNetMPNN_MLP(4, core_steps=1, aggregation_function=how),
}


def graph(rng):
    return {
        "nodes": rng.normal(size=(5, 4)),
        "edges": rng.normal(size=(6, 4)),
        "senders": SENDERS,
        "receivers": RECEIVERS,
        "n_nodes": np.array([3, 2], dtype="int32"),
        "n_edges": np.array([4, 2], dtype="int32"),
        "global_attr": rng.normal(size=(2, 4)),
        "global_reps_for_nodes": np.array([0, 0, 0, 1, 1], dtype="int32"),
        "global_reps_for_edges": np.array([0, 0, 0, 0, 1, 1], dtype="int32"),
    }


@case
@pytest.mark.parametrize("layer", CONVOLUTIONS)
def convolution(rng, layer):
    return Forward(CONVOLUTIONS[layer](), graph(rng), training=True)


@case
@pytest.mark.parametrize("how", ["mean", "max", "min", "sum"])
@pytest.mark.parametrize("layer", GRAPH_NETS)
def graph_net(rng, layer, how):
    return Forward(GRAPH_NETS[layer](how), graph(rng))


@case
def number_of_graphs(rng):
    return Forward(GNCellMLP([4], 4), graph(rng) | {"n_graphs": np.array(2, dtype="int32")})


class Graphs(keras.Model):
    """Nodes of one fixed graph, classified."""

    def __init__(self):
        super().__init__()
        self.net = GCNv2(4, 3, num_layers=2)

    def call(self, x, training=False):
        senders, receivers = keras.ops.convert_to_tensor(SENDERS), keras.ops.convert_to_tensor(RECEIVERS)
        return self.net({"nodes": x, "senders": senders, "receivers": receivers}, training=training)["nodes"]


@case
def in_training(rng):
    model = Graphs()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return Fit(model, rng.normal(size=(5, 4)), rng.integers(0, 3, size=5), epochs=3, batch_size=5, shuffle=False)
