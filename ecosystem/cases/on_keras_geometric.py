"""keras-geometric: convolutions and pooling of graphs."""

import keras
import numpy as np
import pytest
from keras_geometric import layers

from harness import Expected, Fit, Forward, case

EDGES = np.array([[0, 1, 1, 2, 3, 4, 5, 0, 2, 4], [1, 0, 2, 1, 4, 3, 4, 2, 5, 0]], dtype="int32")
#: Nobody sends to the nodes 4 and 5.
EDGES_TO_SOME = np.array([[0, 1, 2, 4, 5], [1, 0, 3, 2, 2]], dtype="int32")

LAYERS = {
    "GCNConv": lambda: layers.GCNConv(3),
    "GATv2Conv": lambda: layers.GATv2Conv(3, heads=2),
    "GINConv_sum": lambda: layers.GINConv(3, mlp_hidden=[5], train_eps=True),
    "SAGEConv_mean": lambda: layers.SAGEConv(3),
    "MessagePassing": lambda: layers.MessagePassing(aggregator="mean"),
}

EXTREMES = {
    "GINConv_max": lambda: layers.GINConv(3, mlp_hidden=[5], aggregator="max"),
    "SAGEConv_max": lambda: layers.SAGEConv(3, aggregator="max"),
    "SAGEConv_min": lambda: layers.SAGEConv(3, aggregator="min"),
    "SAGEConv_pooling": lambda: layers.SAGEConv(3, aggregator="pooling", normalize=True),
}

POOLINGS = {
    "mean": lambda: layers.GlobalPooling("mean"),
    "max": lambda: layers.GlobalPooling("max"),
    "sum": lambda: layers.GlobalPooling("sum"),
    "set2set": lambda: layers.Set2Set(4, processing_steps=2),
    "attention": lambda: layers.AttentionPooling(5),
}


EXTREME = Expected("mismatch", reason="a node that receives nothing gets -3.4e38 from max, and 3.4e38 from min")
ROOT = Expected("mismatch", reason="the derivative of a root at 0, times 0, is 0 there and NaN elsewhere")


@case
@pytest.mark.parametrize("layer", LAYERS)
def convolution(rng, layer):
    return Forward(LAYERS[layer](), [rng.normal(size=(6, 4)), EDGES])


@case
@pytest.mark.parametrize("layer", LAYERS)
def convolution_with_lonely_nodes(rng, layer):
    return Forward(LAYERS[layer](), [rng.normal(size=(6, 4)), EDGES_TO_SOME])


@case(expect={"tensorflow": EXTREME})
@pytest.mark.parametrize("layer", EXTREMES)
def extreme_of_lonely_nodes(rng, layer):
    return Forward(EXTREMES[layer](), [rng.normal(size=(6, 4)), EDGES_TO_SOME])


@case
@pytest.mark.parametrize("layer", EXTREMES)
def extreme(rng, layer):
    return Forward(EXTREMES[layer](), [rng.normal(size=(6, 4)), EDGES])


@case(expect={"tensorflow": ROOT})
@pytest.mark.parametrize("edges", [EDGES, EDGES_TO_SOME], ids=["edges", "edges_to_some"])
def deviation(rng, edges):
    return Forward(layers.SAGEConv(3, aggregator="std"), [rng.normal(size=(6, 4)), edges])


@case
@pytest.mark.parametrize("layer", POOLINGS)
def pooling(rng, layer):
    return Forward(POOLINGS[layer](), rng.normal(size=(6, 4)))


@case
@pytest.mark.parametrize("how", ["mean", "max", "sum"])
def pooling_of_each_graph(rng, how):
    return Forward(layers.BatchGlobalPooling(how), [rng.normal(size=(6, 4)), np.array([0, 0, 1, 1, 1, 2], "int32")])


class Graphs(keras.Model):
    """Nodes of one fixed graph, classified."""

    def __init__(self):
        super().__init__()
        self.first = layers.GCNConv(8)
        self.second = layers.GATv2Conv(3, heads=2, concat=False)

    def call(self, x):
        edges = keras.ops.convert_to_tensor(EDGES)
        return self.second([keras.ops.relu(self.first([x, edges])), edges])


@case
def in_training(rng):
    model = Graphs()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return Fit(model, rng.normal(size=(6, 4)), rng.integers(0, 3, size=6), epochs=3, batch_size=6, shuffle=False)
