"""keras-climate: forecasts of time series, weather on a globe, and the losses for them."""

import keras
import numpy as np
import pytest
from keras_climate import forecasting, losses
from keras_climate.forecasting import autoformer, informer, patchtst, tft, timesnet
from keras_climate.operators import afno
from keras_climate.remote_sensing import satclip
from keras_climate.utils import layers
from keras_climate.weather import climax, earthformer, metnet

from harness import Fit, Forward, case

OF_SERIES = {
    "SeriesDecomposition": lambda: forecasting.SeriesDecomposition(5),
    "AutoCorrelation": lambda: autoformer.AutoformerEncoderLayer(4, 2, 8, moving_avg=3),
    "InformerEncoderLayer": lambda: informer.InformerEncoderLayer(4, 2, 8),
    "DataEmbedding": lambda: informer.DataEmbedding(6, max_len=20),
    "DistillConv": lambda: informer.DistillConv(4),
    "InceptionBlock": lambda: timesnet.FFTPeriodBlock(4, 6, num_kernels=2, top_k=2),
    "InterpretableMultiHeadAttention": lambda: tft.InterpretableMultiHeadAttention(4, 2),
    "GatedResidualNetwork": lambda: layers.GatedResidualNetwork(5),
    "TransformerEncoderBlock": lambda: layers.TransformerEncoderBlock(4, 2, drop_path=0.2),
    "MultiHeadSelfAttention": lambda: layers.MultiHeadSelfAttention(4, 2),
}

OF_MAPS = {
    "AFNOBlock": lambda: afno.AFNOBlock(8, num_blocks=2),
    "AxialAttention2D": lambda: metnet.AxialAttention2D(8, 2),
    "PatchEmbed2D": lambda: layers.PatchEmbed2D(2, 6),
    "OverlapPatchEmbed": lambda: layers.OverlapPatchEmbed(3, 2, 6),
    "DoubleConv": lambda: layers.DoubleConv(4),
    "ASPP": lambda: layers.ASPP(4, rates=(1, 2)),
    "MultiVariablePatchEmbed": lambda: climax.MultiVariablePatchEmbed(8, 2, 4),
}


@case
@pytest.mark.parametrize("layer", OF_SERIES)
def layer_of_series(rng, layer):
    options = {"seq_len": 12} if layer == "InceptionBlock" else {}
    return Forward(OF_SERIES[layer](), rng.normal(size=(2, 12, 4)), **options)


@case
@pytest.mark.parametrize("layer", OF_MAPS)
def layer_of_maps(rng, layer):
    return Forward(OF_MAPS[layer](), rng.normal(size=(2, 8, 8, 8)), training=True)


@case
@pytest.mark.parametrize("strategy", ["local", "dilated"])
def cuboids(rng, strategy):
    layer = earthformer.CuboidAttention(4, 2, cuboid_size=(2, 2, 2), strategy=strategy)
    return Forward(layer, rng.normal(size=(1, 2, 4, 4, 4)))


@case
def instance_norm_of_series(rng):
    return Forward(patchtst.RevIN(), rng.normal(size=(2, 12, 3)), mode="norm")


@case
@pytest.mark.parametrize("rate", [0.5])
def dropped_paths(rng, rate):
    return Forward(layers.DropPath(rate), rng.normal(size=(8, 3)), training=True)


@case
def dropped_paths_in_training(rng):
    model = keras.Sequential([layers.DropPath(0.5), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return Fit(model, rng.normal(size=(8, 3)), rng.normal(size=(8, 1)), epochs=1, batch_size=4)


@case
def spherical_harmonics(rng):
    return Forward(satclip.SphericalHarmonics(legendre_polys=4), rng.uniform(-80, 80, size=(5, 2)))


@case
@pytest.mark.parametrize("loss", ["QRLoss", "RQLoss"])
def loss_of_probabilities(rng, loss):
    probabilities, targets = (rng.dirichlet(np.ones(3), size=(2, 4, 4)).transpose(0, 3, 1, 2) for _ in range(2))
    return Forward(getattr(losses, loss)(), probabilities, targets)


@case
def early_reward_loss(rng):
    logits = np.log(rng.dirichlet(np.ones(3), size=(4, 6)))
    return Forward(losses.EarlyRewardLoss(), logits, rng.uniform(size=(4, 6)), rng.integers(0, 3, size=4))


@case
def dlinear_in_training(rng):
    model = forecasting.DLinear(seq_len=12, pred_len=4, num_channels=2, kernel_size=5)
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(16, 12, 2)), rng.normal(size=(16, 4, 2)), epochs=2, batch_size=8)


@case
def patchtst_in_training(rng):
    sizes = {"patch_len": 4, "stride": 4, "d_model": 8, "depth": 1, "num_heads": 2}
    model = forecasting.PatchTST(seq_len=12, pred_len=4, num_channels=2, **sizes)
    model.compile("adam", "mse")
    return Fit(model, rng.normal(size=(16, 12, 2)), rng.normal(size=(16, 4, 2)), epochs=2, batch_size=8)


@case
def nbeats_in_training(rng):
    model = forecasting.NBeats(seq_len=12, pred_len=4, num_blocks_per_stack=1, hidden_dim=8, num_fc_layers=2)
    model.compile(keras.optimizers.SGD(0.01), "mae")
    return Fit(model, rng.normal(size=(16, 12)), rng.normal(size=(16, 4)), epochs=2, batch_size=8)
