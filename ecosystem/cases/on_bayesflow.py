"""bayesflow: normalizing flows, networks that summarize, links, distributions and metrics.

PositiveDefinite is left out: it calls a function of its own with an argument that this has not, on every backend alike.
"""

import keras
import pytest
from bayesflow import distributions, links, metrics, networks
from bayesflow.networks.inference.coupling.permutations.random import RandomPermutation

from harness import Fit, Forward, case

if keras.backend.backend() == "torch":  # the package switches gradients off when it is imported, and says so
    import torch

    torch.set_grad_enabled(True)

FLOWS = {
    "CouplingFlow_affine": lambda: networks.CouplingFlow(depth=2, transform="affine"),
    "CouplingFlow_spline": lambda: networks.CouplingFlow(depth=1, transform="spline"),
}

SUMMARIES = {
    "DeepSet": lambda: networks.DeepSet(summary_dim=3, depth=1),
    "SetTransformer": lambda: networks.SetTransformer(summary_dim=3, embed_dims=(4,), num_heads=(2,), mlp_depths=(1,)),
    "TimeSeriesNetwork": lambda: networks.TimeSeriesNetwork(summary_dim=3, filters=4, recurrent_dim=4),
}

LINKS = {
    "Ordered": lambda: links.Ordered(axis=-1, anchor_index=1),
    "OrderedQuantiles": lambda: links.OrderedQuantiles(q=[0.1, 0.5, 0.9], axis=-1),
}

DISTRIBUTIONS = {
    "DiagonalNormal": lambda: distributions.DiagonalNormal(0.5, 2.0),
    "DiagonalStudentT": lambda: distributions.DiagonalStudentT(5),
}


@case
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def flow(rng, flow, inverse):
    conditions = rng.normal(size=(6, 3))
    return Forward(FLOWS[flow](), rng.normal(size=(6, 4)), conditions, inverse=inverse, density=True)


@case
@pytest.mark.parametrize("network", SUMMARIES)
def summary(rng, network):
    return Forward(SUMMARIES[network](), rng.normal(size=(2, 8, 3)))


@case
@pytest.mark.parametrize("link", LINKS)
def link(rng, link):
    return Forward(LINKS[link](), rng.normal(size=(4, 3)))


@case
def link_to_a_matrix(rng):
    return Forward(links.CholeskyFactor(), rng.normal(size=(4, 6)))


@case
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def log_density(rng, distribution):
    distribution = DISTRIBUTIONS[distribution]()
    distribution.build((6, 3))
    return Forward(distribution.log_prob, rng.normal(size=(6, 3)))


@case
def subnet(rng):
    return Forward(networks.MLP((5, 4), dropout=0.2), rng.normal(size=(6, 3)), training=True)


@case
@pytest.mark.parametrize("metric", ["MaximumMeanDiscrepancy", "RootMeanSquaredError"])
def metric_of_two_batches(record, rng, metric):
    metric = getattr(metrics, metric)()
    for batch in range(2):
        metric.update_state(rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 3)).astype("float32"))
        record(f"after batch {batch}", metric.result())


class Permuted(keras.layers.Layer):
    """A layer whose permutation Keras builds while it infers shapes."""

    def __init__(self):
        super().__init__()
        self.permutation = RandomPermutation()

    def call(self, x):
        return self.permutation(x)


@case
def permutation(record):
    layer = Permuted()
    layer(keras.Input((4,)))
    record("indices in order", keras.ops.sort(layer.permutation.forward_indices))


class Density(keras.Model):
    """The log density of 2 numbers, given 3, under a flow."""

    def __init__(self):
        super().__init__()
        self.flow = networks.CouplingFlow(depth=1)
        self.flow.build((None, 2), conditions_shape=(None, 3))  # see `permutation`

    def call(self, inputs):
        _, density = self.flow(inputs[0], conditions=inputs[1], density=True)
        return density


def negative(_, density):
    return -density


@case
def in_training(rng):
    model = Density()
    model.compile("adam", negative)
    x = [rng.normal(size=(16, 2)), rng.normal(size=(16, 3))]
    return Fit(model, x, rng.normal(size=16), epochs=2, batch_size=8)
