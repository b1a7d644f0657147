"""The bugs of the quality suite: each in one backend of an otherwise healthy Keras, with what should be said of it.

A bug replaces something in the process of its victim alone, before the scenario is built. What it calls of the
backend it takes as it was before (`victim.native`), so that a replaced operation calls no other one that is watched.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scenarios

from harness.worker import keras_internals
from harness.worker.patching import FOR_GOOD

#: What the first call of anything replaced prints. A bug that was never reached proves nothing.
REACHED = "quality: the bug was reached"


@dataclass(frozen=True)
class Bug:
    """A bug and what a person who knows Keras would say of it.

    Attributes:
        kind: the part of Keras that it is in.
        phases: where it starts; more than one where either is right.
        layers: the layer to blame; None where there is none.
        op: the operation to blame; None where it is no single one.
        below: whether its effect is below what float32 rounds here, so that `leak` is enough.
        unseeded: whether its scenario differs from run to run, so that `nondeterministic` is what can be said.
        inject: puts it in place; None where Keras has it already.
    """

    name: str
    kind: str
    victim: str
    scenario: Callable[..., Any]
    phases: tuple[str, ...]
    layers: tuple[str, ...] | None
    op: str | None
    below: bool
    unseeded: bool
    inject: Callable[[Victim], None]


BUGS: list[Bug] = []


def bug(
    kind: str,
    victim: Literal["torch", "tensorflow", "jax"],
    scenario: Callable[..., Any],
    phase: str,
    *,
    layer: str | None = None,
    op: str | None = None,
    below: bool = False,
    unseeded: bool = False,
) -> Callable[[Callable[[Victim], None]], Callable[[Victim], None]]:
    """Declare a bug. `phase` and `layer` may name several, with `|` between them."""

    def declare(inject: Callable[[Victim], None]) -> Callable[[Victim], None]:
        phases, layers = tuple(phase.split("|")), tuple(layer.split("|")) if layer else None
        blamed = f"keras.{op}" if op else None
        BUGS.append(Bug(inject.__name__, kind, victim, scenario, phases, layers, blamed, below, unseeded, inject))
        return inject

    return declare


class Victim:
    """The Keras of this process, in which things can be replaced."""

    def __init__(self, keras: Any) -> None:
        self.keras = keras
        self.backend = keras.backend.backend()

    def native(self, path: str) -> Callable[..., Any]:
        """A function of the backend, such as `numpy.clip`, as it is now."""
        module, name = path.split(".")
        return getattr(importlib.import_module(f"keras.src.backend.{self.backend}.{module}"), name)

    def op(self, path: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace a function of the backend."""
        module, name = path.split(".")
        self.function(f"backend.{self.backend}.{module}", name, wrap)

    def function(self, module: str, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace a function of `keras.src`."""
        replaced = keras_internals.replaced_function(
            f"keras.src.{module}", name, lambda native: _marked(native, wrap(native))
        )
        FOR_GOOD.enter_context(replaced)

    def method(self, owner: type, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace a method."""
        native = getattr(owner, name)
        setattr(owner, name, _marked(native, wrap(native)))

    def attributes(self, owner: type, **values: Any) -> None:
        """Let new instances have other attributes than they were given. A function makes one of the old value."""

        def wrap(native: Callable[..., Any]) -> Callable[..., Any]:
            def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for the method
                native(self, *args, **kwargs)
                for name, value in values.items():
                    setattr(self, name, value(getattr(self, name)) if callable(value) else value)

            return __init__

        self.method(owner, "__init__", wrap)

    def part(self, owner: str, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace a method of one of the scenarios' own classes."""
        self.method(getattr(importlib.import_module("parts"), owner), name, wrap)

    def in_float32(self, wrong: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """What makes of a function's value another one, where that is float32."""

        def wrap(native: Callable[..., Any]) -> Callable[..., Any]:
            def function(*args: Any, **options: Any) -> Any:
                y = native(*args, **options)
                return wrong(y) if self.keras.backend.standardize_dtype(y.dtype) == "float32" else y

            return function

        return wrap

    def src(self, module: str) -> Any:
        """A module of `keras.src`."""
        return importlib.import_module(f"keras.src.{module}")

    def stop(self, x: Any) -> Any:
        return self.native("core.stop_gradient")(x)

    def with_gradient(self, value: Any, other: Any) -> Any:
        """`value` to the bit, with the gradient of `other`."""
        return self.stop(value) + (other - self.stop(other))


def _marked(native: Callable[..., Any], replacement: Callable[..., Any]) -> Callable[..., Any]:
    told: list[bool] = []

    @functools.wraps(native)
    def marked(*args: Any, **kwargs: Any) -> Any:
        if not told:
            told.append(True)
            print(REACHED, flush=True)
        return replacement(*args, **kwargs)

    marked.__signature__ = inspect.signature(native)  # Keras looks at those of layers
    return marked


# Real ones of Keras 3.15.1.


@bug("real", "torch", scenarios.padded_average, "forward", layer="pool", op="ops.average_pool")
def padding_is_averaged(_):
    print(REACHED)


@bug("real", "jax", scenarios.absolute_at_zero, "gradient", layer="absolute", op="ops.absolute")
def absolute_has_a_slope_at_zero(_):
    print(REACHED)


@bug("real", "tensorflow", scenarios.maximum_of_equals, "gradient", layer="larger", op="ops.maximum")
def maximum_gives_one_side_the_gradient(_):
    print(REACHED)


@bug("real", "tensorflow", scenarios.repeated_tokens, "update|optimizer", layer="tokens")
def gradients_of_a_token_are_squared_one_by_one(_):
    print(REACHED)


@bug("real", "tensorflow", scenarios.partial_batch_of_two, "log")
def losses_of_outputs_are_weighed_by_batches(_):
    print(REACHED)


@bug("real", "jax", scenarios.averaged_weights, "prediction")
def averages_cannot_be_saved(_):
    print(REACHED)


@bug("real", "jax", scenarios.shuffled_rows, "event")
def rows_are_shuffled_column_by_column(_):
    print(REACHED)


# Initial weights.


@bug("initial", "tensorflow", scenarios.dense, "initial", layer="hidden")
def fans_count_inputs_twice(victim):
    def wrap(native):
        def compute_fans(*args, **kwargs):
            fan_in, _ = native(*args, **kwargs)
            return fan_in, fan_in

        return compute_fans

    victim.function("initializers.random_initializers", "compute_fans", wrap)


@bug("initial", "jax", scenarios.convolution, "initial", layer="conv")
def fans_leave_out_the_receptive_field(victim):
    def wrap(native):
        return lambda shape, *args, **kwargs: native(shape[-2:], *args, **kwargs)

    victim.function("initializers.random_initializers", "compute_fans", wrap)


@bug("initial", "torch", scenarios.recurrent, "initial", layer="lstm|lstm_cell")
def forget_gate_has_no_bias_of_one(victim):
    victim.attributes(victim.src("layers.rnn.lstm").LSTMCell, unit_forget_bias=False)


# Forward: activations on values that a random input never reaches.


@bug("forward", "jax", scenarios.stress, "forward", layer="tanh", op="ops.tanh")
def tanh_is_clipped_at_four(victim):
    clip = victim.native("numpy.clip")
    victim.op("nn.tanh", lambda tanh: lambda x: tanh(clip(x, -4.0, 4.0)))
    victim.op("numpy.tanh", lambda tanh: lambda x: tanh(clip(x, -4.0, 4.0)))


@bug("forward", "tensorflow", scenarios.stress, "forward", layer="gelu", op="ops.gelu")
def gelu_is_approximate(victim):
    victim.op("nn.gelu", lambda gelu: lambda x, *_, **__: gelu(x, approximate=True))


@bug("forward", "torch", scenarios.stress, "forward", layer="softmax", op="ops.softmax")
def softmax_overflows(victim):
    exp, total = victim.native("numpy.exp"), victim.native("numpy.sum")

    def softmax(x, axis=-1):
        return exp(x) / total(exp(x), axis=axis, keepdims=True)

    victim.op("nn.softmax", lambda _: softmax)


@bug("forward", "jax", scenarios.stress, "forward", layer="softplus", op="ops.softplus")
def softplus_is_linear_too_early(victim):
    where = victim.native("numpy.where")
    victim.op("nn.softplus", lambda softplus: lambda x: where(x > 5.0, x, softplus(x)))


@bug("forward", "tensorflow", scenarios.stress, "forward", layer="leaky", op="ops.leaky_relu")
def slope_of_leaky_relu_is_ignored(victim):
    victim.op("nn.leaky_relu", lambda leaky: lambda x, *_, **__: leaky(x, 0.2))


@bug("forward", "torch", scenarios.stress, "forward", layer="hard_sigmoid", op="ops.hard_sigmoid")
def hard_sigmoid_has_its_old_slope(victim):
    clip = victim.native("numpy.clip")
    victim.op("nn.hard_sigmoid", lambda _: lambda x: clip(0.2 * x + 0.5, 0.0, 1.0))


@bug("forward", "tensorflow", scenarios.stress, "forward", layer="elu", op="ops.elu")
def elu_loses_its_floor(victim):
    where = victim.native("numpy.where")
    victim.op("nn.elu", lambda elu: lambda x, alpha=1.0: where(x < -15.0, x * 0.0 - 0.9999, elu(x, alpha=alpha)))


@bug("dtype", "jax", scenarios.stress, "forward", layer="sigmoid", op="ops.sigmoid")
def sigmoid_passes_through_half_precision(victim):
    cast = victim.native("core.cast")
    victim.op("nn.sigmoid", lambda sigmoid: lambda x: cast(sigmoid(cast(x, "float16")), x.dtype))


# Forward: layers of images.


@bug("forward", "jax", scenarios.convolution, "forward", layer="conv", op="ops.conv")
def same_padding_is_on_the_other_side(victim):
    pad = victim.native("numpy.pad")

    def wrap(native):
        def conv(inputs, kernel, strides=1, _="valid", *options):
            inputs = pad(inputs, [(0, 0), (1, 0), (1, 0), (0, 0)])
            return native(inputs, kernel, strides, "valid", *options)

        return conv

    victim.op("nn.conv", wrap)


@bug("forward", "torch", scenarios.convolution, "forward", layer="norm", op="ops.moments")
def batch_variance_is_unbiased(victim):
    def wrap(native):
        def moments(x, axes, *options, **more):
            mean, variance = native(x, axes, *options, **more)
            count = math.prod(int(x.shape[axis]) for axis in axes)
            return mean, variance * (count / (count - 1))

        return moments

    victim.op("nn.moments", wrap)


@bug("forward", "tensorflow", scenarios.convolution, "forward", layer="norm", op="ops.batch_normalization")
def epsilon_is_outside_the_square_root(victim):
    sqrt = victim.native("numpy.sqrt")

    def wrap(native):
        def batch_normalization(x, mean, variance, axis, offset=None, scale=None, epsilon=1e-3):
            outside = (sqrt(variance) + epsilon) ** 2
            return native(x, mean, outside, axis, offset=offset, scale=scale, epsilon=0.0)

        return batch_normalization

    victim.op("nn.batch_normalization", wrap)


@bug("forward", "tensorflow", scenarios.convolution, "forward", layer="norm", op="ops.moments", below=True)
def mean_is_one_millionth_off(victim):
    def wrap(native):
        def moments(*args, **options):
            mean, variance = native(*args, **options)
            return mean * (1 + 1e-6), variance

        return moments

    victim.op("nn.moments", wrap)


@bug("forward", "torch", scenarios.images, "forward", layer="maximum", op="ops.max_pool")
def max_pool_pads_with_zeros(victim):
    pad = victim.native("numpy.pad")

    def wrap(native):
        def max_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
            if padding == "same":
                inputs = pad(inputs, [(0, 0), (0, 1), (0, 1), (0, 0)], constant_values=0.0)
            return native(inputs, pool_size, strides=strides, padding="valid", data_format=data_format)

        return max_pool

    victim.op("nn.max_pool", wrap)


@bug("forward", "jax", scenarios.images, "forward", layer="depthwise", op="ops.depthwise_conv")
def depthwise_channels_are_in_another_order(victim):
    reshape, transpose = victim.native("numpy.reshape"), victim.native("numpy.transpose")

    def wrap(native):
        def depthwise_conv(inputs, kernel, *args, **options):
            y = native(inputs, kernel, *args, **options)
            split = reshape(y, (*y.shape[:3], kernel.shape[2], kernel.shape[3]))
            return reshape(transpose(split, (0, 1, 2, 4, 3)), y.shape)

        return depthwise_conv

    victim.op("nn.depthwise_conv", wrap)


@bug("forward", "tensorflow", scenarios.images, "forward", layer="transposed", op="ops.conv_transpose")
def transposed_convolution_is_cropped_one_off(victim):
    roll = victim.native("numpy.roll")
    victim.op("nn.conv_transpose", lambda native: lambda *args, **options: roll(native(*args, **options), 1, axis=1))


@bug("forward", "jax", scenarios.images, "forward", layer="padding", op="ops.pad")
def padding_before_and_after_are_swapped(victim):
    def wrap(native):
        def pad(x, pad_width, *args, **options):
            return native(x, [(after, before) for before, after in pad_width], *args, **options)

        return pad

    victim.op("numpy.pad", wrap)


@bug("forward", "torch", scenarios.images, "forward", layer="upsampling", op="ops.image.resize")
def resize_is_half_a_pixel_off(victim):
    roll = victim.native("numpy.roll")

    def wrap(native):
        def resize(*args, **options):
            y = native(*args, **options)
            return 0.5 * (y + roll(y, 1, axis=1))

        return resize

    victim.op("image.resize", wrap)


@bug("forward", "torch", scenarios.images, "forward", layer="dilated", op="ops.conv")
def dilation_is_ignored(victim):
    def wrap(native):
        def conv(inputs, kernel, strides=1, padding="valid", data_format=None, *_, **__):
            return native(inputs, kernel, strides, padding, data_format, dilation_rate=1)

        return conv

    victim.op("nn.conv", wrap)


@bug("forward", "tensorflow", scenarios.images, "forward", layer="groups")
def groups_are_interleaved(victim):
    take = victim.native("numpy.take")

    def wrap(native):
        def call(self, inputs):
            order = [0, 2, 1, 3]
            return take(native(self, take(inputs, order, axis=-1)), order, axis=-1)

        return call

    victim.method(victim.keras.layers.GroupNormalization, "call", wrap)


# Forward: sequences, and the rest.


@bug("forward", "torch", scenarios.recurrent, "forward", layer="tokens")
def token_zero_is_embedded_as_zeros(victim):
    where = victim.native("numpy.where")

    def wrap(native):
        return lambda self, inputs: where(inputs[..., None] == 0, 0.0, native(self, inputs))

    victim.method(victim.keras.layers.Embedding, "call", wrap)


@bug("forward", "tensorflow", scenarios.recurrent, "forward", layer="lstm|lstm_cell")
def gates_are_in_another_order(victim):
    def wrap(native):
        return lambda self, z, c: native(self, (z[1], z[0], z[2], z[3]), c)

    victim.method(victim.src("layers.rnn.lstm").LSTMCell, "_compute_carry_and_output_fused", wrap)


@bug("forward", "jax", scenarios.recurrent, "forward", layer="gru|gru_cell")
def recurrent_activation_is_the_old_one(victim):
    victim.attributes(
        victim.src("layers.rnn.gru").GRUCell, recurrent_activation=lambda _: victim.keras.activations.hard_sigmoid
    )


@bug("forward", "torch", scenarios.recurrent, "forward", layer="lstm")
def recurrent_mask_is_ignored(victim):
    def wrap(native):
        def rnn(*args, **options):
            return native(*args, **{**options, "mask": None})

        return rnn

    victim.function("backend.torch.rnn", "rnn", wrap)


@bug("forward", "tensorflow", scenarios.attention, "forward", layer="average")
def average_counts_what_is_masked(victim):
    def wrap(native):
        return lambda self, inputs, *_, **__: native(self, inputs)

    victim.method(victim.keras.layers.GlobalAveragePooling1D, "call", wrap)


@bug("forward", "jax", scenarios.attention, "forward", layer="attention", op="ops.dot_product_attention")
def attention_is_scaled_by_the_dimension(victim):
    def wrap(native):
        def dot_product_attention(*args, scale=None, **options):
            return native(*args, scale=scale**2, **options)

        return dot_product_attention

    victim.op("nn.dot_product_attention", wrap)


@bug("forward", "torch", scenarios.attention, "forward", layer="norm", op="ops.layer_normalization")
def epsilon_is_that_of_another_library(victim):
    def wrap(native):
        def layer_normalization(*args, **options):
            return native(*args, **{**options, "epsilon": 1e-5})

        return layer_normalization

    victim.function("ops.nn", "_layer_normalization", wrap)


@bug("forward", "torch", scenarios.dense, "forward", layer="hidden", op="ops.matmul", below=True)
def product_is_one_millionth_off(victim):
    victim.op("numpy.matmul", lambda matmul: lambda a, b: matmul(a, b) * (1 + 1e-6))


@bug("forward", "tensorflow", scenarios.dense, "forward", layer="second", op="ops.silu", below=True)
def silu_is_one_millionth_off(victim):
    victim.op("nn.silu", lambda silu: lambda x: silu(x) * (1 - 1e-6))


@bug("forward", "jax", scenarios.two_outputs, "forward", layer="join", op="ops.concatenate")
def inputs_are_joined_in_reverse(victim):
    def wrap(native):
        def concatenate(xs, axis=0):
            xs = list(xs)
            return native(xs[::-1] if axis == -1 else xs, axis=axis)

        return concatenate

    victim.op("numpy.concatenate", wrap)


@bug("dtype", "tensorflow", scenarios.dense, "forward", layer="hidden", op="ops.matmul")
def product_is_computed_in_bfloat16(victim):
    cast = victim.native("core.cast")

    def wrap(native):
        return lambda a, b: cast(native(cast(a, "bfloat16"), cast(b, "bfloat16")), a.dtype)

    victim.op("numpy.matmul", wrap)


# So small that float32 hides them, or nearly.


@bug("forward", "tensorflow", scenarios.convolution, "forward", layer="norm", below=True)
def epsilon_of_the_norm_is_a_thousandth_off(victim):
    victim.attributes(victim.keras.layers.BatchNormalization, epsilon=lambda epsilon: 1.001 * epsilon)


@bug("dtype", "jax", scenarios.dense, "forward", layer="head", op="ops.softmax", below=True)
def softmax_is_always_single_precision(victim):
    cast = victim.native("core.cast")
    victim.op("nn.softmax", lambda softmax: lambda x, axis=-1: cast(softmax(cast(x, "float32"), axis=axis), x.dtype))


@bug("random", "tensorflow", scenarios.noisy, "forward", layer="drop", op="random.dropout")
def dropout_is_scaled_in_half_precision(victim):
    def wrap(native):
        return lambda x, rate, **options: native(x, rate, **options) * (1 + 1e-4)

    victim.op("random.dropout", wrap)


@bug("loss", "torch", scenarios.dense, "loss", op="ops.sparse_categorical_crossentropy", below=True)
def logarithm_is_guarded_by_a_sum(victim):
    log, take = victim.native("numpy.log"), victim.native("numpy.take_along_axis")

    def sparse_categorical_crossentropy(target, output, *_, **__):
        return -log(take(output, target[:, None], axis=-1)[:, 0] + 1e-7)

    victim.op("nn.sparse_categorical_crossentropy", lambda _: sparse_categorical_crossentropy)


@bug("loss", "jax", scenarios.called_back, "loss", below=True)
def mean_of_the_loss_is_guarded(victim):
    def wrap(native):
        def reduce_values(values, *args, **options):
            size = values.shape[0] or 1
            return native(values, *args, **options) * (size / (size + 1e-7))

        return reduce_values

    victim.function("losses.loss", "reduce_values", wrap)


@bug("optimizer", "torch", scenarios.dense, "optimizer|update")
def beta_is_rounded_to_single_precision(victim):
    victim.attributes(victim.keras.optimizers.Adam, beta_2=float(np.float32(0.999)))


@bug("optimizer", "jax", scenarios.dense, "update|optimizer")
def rate_is_rounded_to_half_precision(victim):
    def wrap(native):
        return lambda self, *args: native(self, *args) * (float(np.float16(0.01)) / 0.01)

    victim.method(victim.src("optimizers.base_optimizer").BaseOptimizer, "_get_current_learning_rate", wrap)


# Gradients alone: the forward pass is right to the bit.


@bug("gradient", "jax", scenarios.dense, "gradient", layer="hidden", op="ops.tanh")
def slope_of_tanh_is_one_percent_off(victim):
    for path in ("nn.tanh", "numpy.tanh"):
        victim.op(path, lambda tanh: lambda x: victim.with_gradient(tanh(x), 1.01 * tanh(x)))


@bug("gradient", "torch", scenarios.attention, "gradient", layer="norm", op="ops.layer_normalization")
def layer_statistics_are_taken_for_constants(victim):
    mean_of, var_of, sqrt = (victim.native(f"numpy.{name}") for name in ("mean", "var", "sqrt"))

    def wrap(native):
        def layer_normalization(x, gamma=None, beta=None, axis=-1, epsilon=None, **options):
            y = native(x, gamma=gamma, beta=beta, axis=axis, epsilon=epsilon, **options)
            mean = victim.stop(mean_of(x, axis=-1, keepdims=True))
            spread = victim.stop(sqrt(var_of(x, axis=-1, keepdims=True) + epsilon))
            return victim.with_gradient(y, (x - mean) / spread * gamma + beta)

        return layer_normalization

    victim.function("ops.nn", "_layer_normalization", wrap)


@bug("gradient", "jax", scenarios.convolution, "gradient", layer="norm", op="ops.moments")
def batch_statistics_are_taken_for_constants(victim):
    def wrap(native):
        return lambda *args, **options: tuple(map(victim.stop, native(*args, **options)))

    victim.op("nn.moments", wrap)


@bug("gradient", "tensorflow", scenarios.recurrent, "gradient", layer="tokens")
def gradient_of_an_embedding_is_halved(victim):
    def wrap(native):
        return lambda self, inputs: victim.with_gradient(native(self, inputs), 0.5 * native(self, inputs))

    victim.method(victim.keras.layers.Embedding, "call", wrap)


@bug("gradient", "jax", scenarios.recurrent, "gradient", layer="lstm|lstm_cell")
def carry_passes_no_gradient(victim):
    def wrap(native):
        def call(self, inputs, states, training=False):
            return native(self, inputs, [states[0], victim.stop(states[1])], training=training)

        return call

    victim.method(victim.src("layers.rnn.lstm").LSTMCell, "call", wrap)


@bug("gradient", "torch", scenarios.dense, "gradient", op="ops.sparse_categorical_crossentropy")
def slope_of_the_loss_is_a_hundred_thousandth_off(victim):
    def wrap(native):
        def sparse_categorical_crossentropy(*args, **options):
            y = native(*args, **options)
            return victim.with_gradient(y, (1 + 1e-5) * y)

        return sparse_categorical_crossentropy

    victim.op("nn.sparse_categorical_crossentropy", wrap)


@bug("gradient", "tensorflow", scenarios.stress, "gradient", layer="relu", op="ops.relu")
def slope_of_relu_at_zero_is_one(victim):
    where = victim.native("numpy.where")
    victim.op("nn.relu", lambda relu: lambda x: relu(x) + where(x == 0.0, x - victim.stop(x), 0.0))


@bug("gradient", "torch", scenarios.convolution, "gradient", layer="pool", op="ops.max_pool")
def gradient_of_max_pool_is_spread_too_thin(victim):
    def wrap(native):
        def max_pool(*args, **options):
            y = native(*args, **options)
            return victim.with_gradient(y, 0.9 * y)

        return max_pool

    victim.op("nn.max_pool", wrap)


@bug("gradient", "tensorflow", scenarios.two_outputs, "gradient", layer="value")
def gradient_of_a_linear_bias_is_averaged(victim):
    def wrap(native):
        def call(self, inputs, *args, **options):
            y = native(self, inputs, *args, **options)
            if self.activation is not victim.keras.activations.linear:
                return y
            bias = self.bias / 16.0 - self.bias
            return y + (bias - victim.stop(bias))

        return call

    victim.method(victim.keras.layers.Dense, "call", wrap)


@bug("gradient", "jax", scenarios.two_outputs, "gradient", layer="flag", op="ops.sigmoid", below=True)
def slope_of_sigmoid_is_a_millionth_off(victim):
    victim.op("nn.sigmoid", lambda sigmoid: lambda x: victim.with_gradient(sigmoid(x), (1 + 1e-6) * sigmoid(x)))


# Losses.


@bug("loss", "torch", scenarios.losses, "recorded", op="ops.sparse_categorical_crossentropy")
def small_probabilities_are_clipped_too_high(victim):
    clip = victim.native("numpy.clip")

    def wrap(native):
        def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
            return native(target, clip(output, 1e-4, 1.0), from_logits=from_logits, axis=axis)

        return sparse_categorical_crossentropy

    victim.op("nn.sparse_categorical_crossentropy", wrap)


@bug("loss", "torch", scenarios.dense, "loss|log")
def partial_batch_is_divided_by_the_whole(victim):
    def wrap(native):
        return lambda self, y_true, y_pred, *weights: native(self, y_true, y_pred, *weights) * (len(y_true) / 16)

    victim.method(victim.src("losses.loss").Loss, "__call__", wrap)


@bug("loss", "jax", scenarios.losses, "recorded")
def huber_is_not_continuous(victim):
    ops = victim.keras.ops

    def huber(y_true, y_pred, delta=1.0):
        error = ops.abs(y_true - y_pred)
        return ops.mean(ops.where(error <= delta, 0.5 * error * error, delta * error), axis=-1)

    victim.function("losses.losses", "huber", lambda _: huber)


@bug("loss", "tensorflow", scenarios.two_outputs, "loss")
def labels_are_smoothed_to_one_side(victim):
    def wrap(native):
        def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
            return native(y_true * (1 - label_smoothing) + label_smoothing, y_pred, from_logits, 0.0, axis)

        return binary_crossentropy

    victim.function("losses.losses", "binary_crossentropy", wrap)


@bug("loss", "jax", scenarios.two_outputs, "loss")
def loss_weights_are_ignored(victim):
    def wrap(native):
        def __init__(self, loss, _=None, **options):  # noqa: N807 - stands for the method
            native(self, loss, **{**options, "loss_weights": None})

        return __init__

    victim.method(victim.src("trainers.compile_utils").CompileLoss, "__init__", wrap)


@bug("loss", "tensorflow", scenarios.losses, "recorded")
def cosine_of_a_zero_vector_is_not_guarded(victim):
    ops = victim.keras.ops

    def cosine_similarity(y_true, y_pred, axis=-1):
        norms = ops.sqrt(ops.sum(y_true * y_true, axis=axis) * ops.sum(y_pred * y_pred, axis=axis))
        return -ops.sum(y_true * y_pred, axis=axis) / norms

    victim.function("losses.losses", "cosine_similarity", lambda _: cosine_similarity)


@bug("loss", "torch", scenarios.losses, "recorded")
def divergence_of_zeros_is_not_guarded(victim):
    ops = victim.keras.ops

    def kl_divergence(y_true, y_pred):
        return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)

    victim.function("losses.losses", "kl_divergence", lambda _: kl_divergence)


@bug("regulariser", "torch", scenarios.regularised, "loss")
def penalty_is_halved(victim):
    def wrap(native):
        return lambda self, x: 0.5 * native(self, x)

    victim.method(victim.keras.regularizers.L2, "__call__", wrap)


@bug("regulariser", "jax", scenarios.regularised, "loss")
def penalty_is_a_mean(victim):
    def wrap(native):
        return lambda self, x: native(self, x) / math.prod(x.shape)

    victim.method(victim.keras.regularizers.L1, "__call__", wrap)


# Optimizers, in training.


@bug("optimizer", "tensorflow", scenarios.dense, "update")
def epsilon_of_adam_is_ten_times_smaller(victim):
    victim.attributes(victim.keras.optimizers.Adam, epsilon=1e-8)


@bug("optimizer", "jax", scenarios.dense, "update")
def moments_of_adam_are_not_corrected(victim):
    def wrap(native):
        def update_step(self, gradient, variable, learning_rate):
            step = victim.keras.ops.cast(self.iterations + 1, variable.dtype)
            correction = (1 - self.beta_2**step) ** 0.5 / (1 - self.beta_1**step)
            native(self, gradient, variable, learning_rate / correction)

        return update_step

    victim.method(victim.keras.optimizers.Adam, "update_step", wrap)


@bug("optimizer", "tensorflow", scenarios.dense, "update")
def correction_of_adam_stops_counting_at_three(victim):
    def wrap(native):
        def update_step(self, gradient, variable, learning_rate):
            def correction(step):
                return (1 - self.beta_2**step) ** 0.5 / (1 - self.beta_1**step)

            step = victim.keras.ops.cast(self.iterations + 1, variable.dtype)
            wrong = correction(victim.keras.ops.minimum(step, 3.0)) / correction(step)
            native(self, gradient, variable, learning_rate * wrong)

        return update_step

    victim.method(victim.keras.optimizers.Adam, "update_step", wrap)


@bug("optimizer", "torch", scenarios.convolution, "update")
def nesterov_is_ignored(victim):
    victim.attributes(victim.keras.optimizers.SGD, nesterov=False)


@bug("optimizer", "tensorflow", scenarios.weighted, "update|optimizer")
def squares_are_averaged_over_longer(victim):
    victim.attributes(victim.keras.optimizers.RMSprop, rho=0.99)


@bug("optimizer", "jax", scenarios.attention, "update")
def decay_is_not_scaled_by_the_rate(victim):
    def wrap(_):
        def _apply_weight_decay(self, variables):
            for variable in variables:
                if self._use_weight_decay(variable):
                    variable.assign(variable - variable * self.weight_decay)

        return _apply_weight_decay

    victim.method(victim.src("optimizers.base_optimizer").BaseOptimizer, "_apply_weight_decay", wrap)


@bug("optimizer", "torch", scenarios.attention, "update")
def biases_are_not_decayed(victim):
    def wrap(native):
        return lambda self, variable: len(variable.shape) > 1 and native(self, variable)

    victim.method(victim.src("optimizers.base_optimizer").BaseOptimizer, "_use_weight_decay", wrap)


@bug("optimizer", "torch", scenarios.regularised, "update")
def gradients_are_clipped_one_by_one(victim):
    ops = victim.keras.ops

    def wrap(_):
        def _clip_gradients(self, grads):
            limit = self.global_clipnorm
            return [g * ops.minimum(1.0, limit / ops.sqrt(ops.sum(g * g))) for g in grads]

        return _clip_gradients

    victim.method(victim.src("optimizers.base_optimizer").BaseOptimizer, "_clip_gradients", wrap)


@bug("optimizer", "tensorflow", scenarios.optimizers, "recorded")
def average_of_weights_has_its_momentum_swapped(victim):
    victim.attributes(victim.keras.optimizers.SGD, ema_momentum=0.1)


@bug("schedule", "torch", scenarios.regularised, "update")
def rate_falls_one_step_early(victim):
    def wrap(native):
        return lambda self, step: native(self, step + 1)

    victim.method(victim.keras.optimizers.schedules.PiecewiseConstantDecay, "__call__", wrap)


@bug("constraint", "tensorflow", scenarios.regularised, "update", layer="hidden")
def norm_is_taken_along_the_other_axis(victim):
    victim.attributes(victim.keras.constraints.MaxNorm, axis=1)


@bug("constraint", "jax", scenarios.regularised, "update", layer="second")
def negative_weights_are_mirrored(victim):
    victim.method(victim.keras.constraints.NonNeg, "__call__", lambda _: lambda _, w: victim.keras.ops.abs(w))


# Optimizers and schedules by hand.


@bug("optimizer", "torch", scenarios.optimizers, "recorded")
def largest_square_is_forgotten(victim):
    def wrap(native):
        def _parallel_update_step(self, *args):
            kept, self.amsgrad = self.amsgrad, False
            native(self, *args)
            self.amsgrad = kept

        return _parallel_update_step

    victim.method(victim.src("backend.torch.optimizers.torch_adam").Adam, "_parallel_update_step", wrap)


@bug("optimizer", "jax", scenarios.optimizers, "recorded")
def accumulator_starts_at_zero(victim):
    victim.attributes(victim.keras.optimizers.Adagrad, initial_accumulator_value=0.0)


@bug("optimizer", "tensorflow", scenarios.optimizers, "recorded")
def schedule_of_nadam_stands_still(victim):
    def wrap(native):
        def _backend_update_step(self, *args):
            kept = self._u_product * 1.0
            native(self, *args)
            self._u_product.assign(kept)

        return _backend_update_step

    victim.method(victim.keras.optimizers.Nadam, "_backend_update_step", wrap)


@bug("optimizer", "torch", scenarios.optimizers, "recorded")
def betas_of_lion_are_swapped(victim):
    victim.attributes(victim.keras.optimizers.Lion, beta_1=0.99, beta_2=0.9)


@bug("optimizer", "jax", scenarios.optimizers, "recorded")
def rmsprop_is_not_centred(victim):
    def wrap(native):
        def update_step(self, *args):
            kept, self.centered = self.centered, False
            native(self, *args)
            self.centered = kept

        return update_step

    victim.method(victim.keras.optimizers.RMSprop, "update_step", wrap)


@bug("schedule", "jax", scenarios.schedules, "recorded")
def warm_up_is_one_step_ahead(victim):
    def wrap(native):
        return lambda self, step: native(self, step + 1)

    victim.method(victim.keras.optimizers.schedules.CosineDecay, "__call__", wrap)


@bug("schedule", "tensorflow", scenarios.schedules, "recorded")
def power_of_the_decay_is_ignored(victim):
    victim.attributes(victim.keras.optimizers.schedules.PolynomialDecay, power=1.0)


@bug("schedule", "torch", scenarios.schedules, "recorded")
def staircase_is_a_slope(victim):
    victim.attributes(victim.keras.optimizers.schedules.ExponentialDecay, staircase=False)


# Metrics.


@bug("metric", "torch", scenarios.dense, "log")
def batches_count_and_not_rows(victim):
    ops = victim.keras.ops

    def wrap(_):
        def update_state(self, values, *_, **__):
            self.total.assign_add(ops.mean(ops.cast(values, self.dtype)))
            self.count.assign_add(ops.cast(1.0, self.dtype))

        return update_state

    victim.method(victim.keras.metrics.Mean, "update_state", wrap)


@bug("metric", "jax", scenarios.dense, "metric")
def count_is_not_reset(victim):
    victim.method(victim.keras.metrics.Mean, "reset_state", lambda _: lambda self: self.total.assign(0.0))


@bug("metric", "tensorflow", scenarios.weighted, "log")
def weights_of_metrics_are_ignored(victim):
    def wrap(native):
        return lambda self, y_true, y_pred, *_, **__: native(self, y_true, y_pred)

    victim.method(victim.src("metrics.reduction_metrics").MeanMetricWrapper, "update_state", wrap)


@bug("metric", "jax", scenarios.metrics, "recorded")
def score_at_the_threshold_is_positive(victim):
    def wrap(native):
        return lambda self, y_true, y_pred, **options: native(self, y_true, y_pred + 1e-6, **options)

    victim.method(victim.keras.metrics.Precision, "update_state", wrap)


@bug("metric", "tensorflow", scenarios.metrics, "recorded")
def area_is_not_interpolated(victim):
    method = victim.src("metrics.metrics_utils").AUCSummationMethod.MAJORING
    victim.attributes(victim.keras.metrics.AUC, summation_method=lambda _: method)


@bug("metric", "torch", scenarios.metrics, "recorded")
def similarity_is_along_the_wrong_axis(victim):
    victim.attributes(victim.keras.metrics.CosineSimilarity, _fn_kwargs={"axis": 0})


# Callbacks.


@bug("callback", "tensorflow", scenarios.called_back, "event|log")
def patience_is_one_less(victim):
    victim.attributes(victim.keras.callbacks.EarlyStopping, patience=3)


@bug("callback", "torch", scenarios.called_back, "event|log")
def callbacks_are_called_in_reverse(victim):
    def wrap(native):
        def on_epoch_end(self, epoch, logs=None):
            self.callbacks.reverse()
            native(self, epoch, logs)
            self.callbacks.reverse()

        return on_epoch_end

    victim.method(victim.src("callbacks.callback_list").CallbackList, "on_epoch_end", wrap)


@bug("callback", "jax", scenarios.called_back, "optimizer|log|update|event")
def cooldown_is_ignored(victim):
    victim.method(victim.keras.callbacks.ReduceLROnPlateau, "in_cooldown", lambda _: lambda _: False)


@bug("callback", "jax", scenarios.called_back, "event")
def epochs_begin_twice(victim):
    def wrap(native):
        def on_epoch_begin(self, epoch, logs=None):
            native(self, epoch, logs)
            native(self, epoch, logs)

        return on_epoch_begin

    victim.method(victim.src("callbacks.callback_list").CallbackList, "on_epoch_begin", wrap)


@bug("callback", "torch", scenarios.called_back, "update|event")
def best_weights_are_not_restored(victim):
    def wrap(native):
        def on_train_end(self, logs=None):
            self.best_weights = None
            native(self, logs)

        return on_train_end

    victim.method(victim.keras.callbacks.EarlyStopping, "on_train_end", wrap)


@bug("callback", "tensorflow", scenarios.called_back, "event")
def validation_is_not_announced(victim):
    victim.method(victim.src("callbacks.callback_list").CallbackList, "on_test_begin", lambda _: lambda *_, **__: None)
    victim.method(victim.src("callbacks.callback_list").CallbackList, "on_test_end", lambda _: lambda *_, **__: None)


# Data.


@bug("data", "torch", scenarios.dense, "log|event")
def last_partial_batch_is_dropped(victim):
    adapter = victim.src("trainers.data_adapters.array_data_adapter").ArrayDataAdapter

    def wrap(native):
        def get_torch_dataloader(self):
            loader = native(self)
            loader.batch_sampler.drop_last = True
            return loader

        return get_torch_dataloader

    victim.method(adapter, "get_torch_dataloader", wrap)


@bug("data", "jax", scenarios.called_back, "log|event")
def validation_takes_the_first_rows(victim):
    def wrap(native):
        def train_validation_split(arrays, validation_split):
            ahead = [np.roll(x, len(x) - int(len(x) * validation_split), 0) if x is not None else x for x in arrays]
            return native(ahead, validation_split)

        return train_validation_split

    victim.function("trainers.data_adapters.array_slicing", "train_validation_split", wrap)


@bug("data", "tensorflow", scenarios.dense, "log|event")
def rows_are_not_shuffled(victim):
    def wrap(native):
        return lambda self, *args, **options: native(self, *args, **{**options, "shuffle": False})

    victim.method(victim.keras.Model, "fit", wrap)


@bug("data", "torch", scenarios.convolution, "log|loss|event")
def class_weights_are_one_class_off(victim):
    def wrap(native):
        return lambda y, class_weight: native(y, {label + 1: weight for label, weight in class_weight.items()})

    victim.function("trainers.data_adapters.data_adapter_utils", "class_weight_to_sample_weights", wrap)


@bug("data", "tensorflow", scenarios.weighted, "loss")
def sample_weights_are_ignored(victim):
    def wrap(native):
        return lambda self, y_true, y_pred, *_, **__: native(self, y_true, y_pred)

    victim.method(victim.src("losses.loss").Loss, "__call__", wrap)


@bug("data", "jax", scenarios.weighted, "loss")
def loss_is_divided_by_the_sum_of_weights(victim):
    def wrap(native):
        return lambda values, sample_weight=None, *_, **__: native(values, sample_weight, "mean_with_sample_weight")

    victim.function("losses.loss", "reduce_values", wrap)


# Random numbers.


@bug("random", "torch", scenarios.noisy, "forward", layer="drop", op="random.dropout")
def what_dropout_keeps_is_not_scaled(victim):
    victim.op("random.dropout", lambda native: lambda x, rate, **options: native(x, rate, **options) * (1 - rate))


@bug("random", "jax", scenarios.noisy, "forward", layer="drop", op="random.dropout")
def dropout_keeps_what_it_should_drop(victim):
    victim.op("random.dropout", lambda native: lambda x, rate, **options: native(x, 1 - rate, **options))


@bug("random", "jax", scenarios.noisy, "forward", layer="noise")
def noise_is_given_its_variance(victim):
    victim.attributes(victim.keras.layers.GaussianNoise, stddev=lambda stddev: stddev**2)


@bug("random", "tensorflow", scenarios.noisy, "forward", layer="spatial")
def channels_are_dropped_piece_by_piece(victim):
    victim.method(victim.keras.layers.SpatialDropout1D, "_get_noise_shape", lambda _: lambda *_: None)


# State.


@bug("state", "jax", scenarios.convolution, "update", layer="norm")
def momentum_is_swapped(victim):
    victim.attributes(victim.keras.layers.BatchNormalization, momentum=lambda momentum: 1 - momentum)


@bug("state", "torch", scenarios.convolution, "update", layer="norm")
def moving_variance_is_unbiased(victim):
    def wrap(native):
        def call(self, inputs, training=None, mask=None):
            before = self.moving_variance.value * 1.0
            outputs = native(self, inputs, training=training, mask=mask)
            if training and None not in inputs.shape:
                count = math.prod(inputs.shape[:-1])
                of_batch = (self.moving_variance.value - before * self.momentum) / (1 - self.momentum)
                more = (1 - self.momentum) * of_batch / (count - 1)
                self.moving_variance.assign(self.moving_variance.value + more)
            return outputs

        return call

    victim.method(victim.keras.layers.BatchNormalization, "call", wrap)


@bug("state", "tensorflow", scenarios.noisy, "update", layer="drop")
def seeds_stand_still(victim):
    victim.method(victim.keras.random.SeedGenerator, "next", lambda _: lambda self, *_, **__: self.state.value * 1)


@bug("state", "tensorflow", scenarios.convolution, "prediction", layer="norm")
def moving_mean_is_not_loaded(victim):
    def wrap(native):
        def load_own_variables(self, store):
            native(self, store)
            self.moving_mean.assign(self.moving_mean * 0.0)

        return load_own_variables

    victim.method(victim.keras.layers.BatchNormalization, "load_own_variables", wrap)


# Inference alone.


@bug("prediction", "torch", scenarios.convolution, "metric|prediction", layer="norm")
def epsilon_is_another_at_inference(victim):
    def wrap(native):
        def call(self, inputs, training=None, mask=None):
            kept, self.epsilon = self.epsilon, self.epsilon if training else 1e-5
            outputs = native(self, inputs, training=training, mask=mask)
            self.epsilon = kept
            return outputs

        return call

    victim.method(victim.keras.layers.BatchNormalization, "call", wrap)


@bug("prediction", "jax", scenarios.noisy, "metric|prediction", layer="drop")
def dropout_is_active_at_inference(victim):
    def wrap(native):
        return lambda self, inputs, *_, **__: native(self, inputs, training=True)

    victim.method(victim.keras.layers.Dropout, "call", wrap)


@bug("prediction", "torch", scenarios.dense, "prediction")
def predictions_of_the_last_batch_are_lost(victim):
    def wrap(native):
        def predict(self, *args, batch_size=None, **options):
            y = native(self, *args, batch_size=batch_size, **options)
            return y[: len(y) // batch_size * batch_size]

        return predict

    victim.method(victim.keras.Model, "predict", wrap)


# Operations by hand.


@bug("forward", "tensorflow", scenarios.operations, "recorded", op="ops.round")
def halves_are_rounded_up(victim):
    floor = victim.native("numpy.floor")
    victim.op("numpy.round", lambda _: lambda x, *_, **__: floor(x + 0.5))


@bug("forward", "torch", scenarios.operations, "recorded", op="ops.mod")
def remainder_has_the_sign_of_the_dividend(victim):
    trunc = victim.native("numpy.trunc")
    victim.op("numpy.mod", lambda _: lambda a, b: a - trunc(a / b) * b)


@bug("forward", "jax", scenarios.operations, "recorded", op="ops.floor_divide")
def quotient_is_truncated(victim):
    trunc = victim.native("numpy.trunc")
    victim.op("numpy.floor_divide", lambda _: lambda a, b: trunc(a / b))


@bug("forward", "jax", scenarios.operations, "recorded", op="ops.std")
def deviation_is_unbiased(victim):
    def wrap(native):
        def std(x, axis=None, keepdims=False):
            return native(x, axis=axis, keepdims=keepdims) * math.sqrt(x.shape[axis] / (x.shape[axis] - 1))

        return std

    victim.op("numpy.std", wrap)


@bug("forward", "torch", scenarios.operations, "recorded", op="ops.median")
def median_is_the_lower_of_two(victim):
    sort, take = victim.native("numpy.sort"), victim.native("numpy.take")

    def median(x, axis=None, *_, **__):
        return take(sort(x, axis=axis), (x.shape[axis] - 1) // 2, axis=axis)

    victim.op("numpy.median", lambda _: median)


@bug("forward", "tensorflow", scenarios.operations, "recorded", op="ops.argmax")
def argmax_takes_the_last_of_equals(victim):
    flip = victim.native("numpy.flip")

    def wrap(native):
        def argmax(x, axis=None, keepdims=False):
            return x.shape[axis] - 1 - native(flip(x, axis=axis), axis=axis, keepdims=keepdims)

        return argmax

    victim.op("numpy.argmax", wrap)


@bug("dtype", "jax", scenarios.operations, "recorded", op="ops.mean")
def mean_of_integers_is_an_integer(victim):
    cast = victim.native("core.cast")

    def wrap(native):
        def mean(x, *args, **options):
            y = native(x, *args, **options)
            return cast(y, "int32") if "int" in str(x.dtype) else y

        return mean

    victim.op("numpy.mean", wrap)


@bug("forward", "torch", scenarios.operations, "recorded", op="ops.logsumexp")
def sum_of_exponentials_overflows(victim):
    exp, log, total = (victim.native(f"numpy.{name}") for name in ("exp", "log", "sum"))
    victim.op("math.logsumexp", lambda _: lambda x, axis=None, keepdims=False: log(total(exp(x), axis, keepdims)))


@bug("forward", "tensorflow", scenarios.operations, "recorded", op="ops.cholesky")
def factor_is_the_upper_one(victim):
    transpose = victim.native("numpy.transpose")
    victim.op("linalg.cholesky", lambda native: lambda a, *_, **__: transpose(native(a)))


@bug("forward", "jax", scenarios.operations, "recorded", op="ops.cumsum")
def cumulative_sum_is_exclusive(victim):
    victim.op("numpy.cumsum", lambda native: lambda x, axis=None, dtype=None: native(x, axis=axis, dtype=dtype) - x)


# In float32 alone: the twin is right.


@bug("float32", "jax", scenarios.few_elements, "forward", layer="scaled")
def factor_is_forgotten_in_float32(victim):
    victim.part("Scaled", "multiplied", victim.in_float32(lambda y: y / 1.02))


@bug("float32", "torch", scenarios.many_elements, "forward", layer="scaled")
def factor_is_forgotten_in_float32_of_many(victim):
    victim.part("Scaled", "multiplied", victim.in_float32(lambda y: y / 1.02))


@bug("float32", "tensorflow", scenarios.many_elements, "forward", layer="scaled")
def limit_is_lower_in_float32(victim):
    victim.part("Scaled", "limited", victim.in_float32(lambda y: victim.keras.ops.clip(y, -1.4, 1.4)))


@bug("float32", "tensorflow", scenarios.few_elements, "forward", layer="scaled")
def bias_is_dropped_in_float32(victim):
    victim.part("Scaled", "shift", victim.in_float32(lambda bias: 0.0 * bias))


@bug("float32", "jax", scenarios.many_elements, "forward", layer="norm", op="ops.layer_normalization")
def epsilon_is_another_in_float32(victim):
    def wrap(native):
        def layer_normalization(x, *args, **options):
            single = victim.keras.backend.standardize_dtype(x.dtype) == "float32"
            return native(x, *args, **({**options, "epsilon": 0.02} if single else options))

        return layer_normalization

    victim.function("ops.nn", "_layer_normalization", wrap)


@bug("float32", "torch", scenarios.dense, "forward", layer="second", op="ops.silu")
def silu_is_two_percent_off_in_float32(victim):
    victim.op("nn.silu", victim.in_float32(lambda y: 1.02 * y))


# Behind noise.


@bug("noise", "jax", scenarios.noisy_data, "recorded", op="ops.tanh")
def factor_is_behind_noisy_data(victim):
    for path in ("nn.tanh", "numpy.tanh"):
        victim.op(path, lambda tanh: lambda x: 1.02 * tanh(x))


@bug("noise", "tensorflow", scenarios.seeded_noise, "forward", layer="noisy")
def factor_is_behind_noise(victim):
    victim.part("Noisy", "behind", lambda native: lambda self, x: 1.02 * native(self, x))


@bug("noise", "jax", scenarios.unseeded_record, "recorded", unseeded=True)
def factor_is_behind_noise_that_nobody_seeded(victim):
    for path in ("nn.tanh", "numpy.tanh"):
        victim.op(path, lambda tanh: lambda x: 1.2 * tanh(x))


# Pipelines.


@bug("pipeline", "jax", scenarios.batches_of_a_generator, "event|log")
def generator_gives_another_order(victim):
    victim.part("Batches", "order", lambda native: lambda self: native(self)[::-1])


@bug("pipeline", "tensorflow", scenarios.batches_of_tensorflow, "event|log")
def rows_of_a_dataset_are_not_shuffled(victim):
    victim.part("Batches", "order", lambda native: lambda self: np.sort(native(self)))


@bug("pipeline", "torch", scenarios.batches_of_torch, "event|log")
def a_row_of_the_loader_comes_twice(victim):
    def wrap(native):
        def order(self):
            chosen = native(self)
            chosen[5] = chosen[4]
            return chosen

        return order

    victim.part("Batches", "order", wrap)


# Added losses.


@bug("added loss", "jax", scenarios.added_loss, "loss", layer="penalised")
def added_loss_is_scaled(victim):
    victim.part("Penalised", "penalty", lambda native: lambda self, x: 1.5 * native(self, x))


@bug("added loss", "tensorflow", scenarios.activity, "loss")
def activity_regulariser_is_dropped(victim):
    victim.attributes(victim.keras.layers.Dense, activity_regularizer=lambda _: None)


@bug("added loss", "torch", scenarios.variational, "loss", layer="sampling")
def divergence_of_the_code_is_halved(victim):
    victim.part("Sampling", "divergence", lambda native: lambda self, *args: 0.5 * native(self, *args))


# State of users' own layers, and of recurrent ones.


@bug("state", "tensorflow", scenarios.stateful_windows, "recorded")
def states_are_lost_between_windows(victim):
    def wrap(native):
        def call(self, *args, **options):
            self.reset_state()
            return native(self, *args, **options)

        return call

    victim.method(victim.keras.layers.LSTM, "call", wrap)


@bug("state", "jax", scenarios.running_mean, "update|forward", layer="running")
def counter_counts_double(victim):
    victim.part("RunningMean", "step", lambda native: lambda self: 2.0 * native(self))


@bug("state", "jax", scenarios.running_mean, "gradient", layer="running")
def gradients_pass_through_what_was_assigned(victim):
    victim.part("RunningMean", "centre", lambda _: lambda self: self.mean + 0.0)


# Names of variables.


@bug("names", "tensorflow", scenarios.renamed, "initial", layer="renamed")
def renamed_variable_starts_at_another_value(victim):
    victim.part("Renamed", "start", lambda _: lambda _: victim.keras.initializers.Constant(0.9))


@bug("names", "jax", scenarios.two_scales, "initial", layer="scales")
def variables_are_made_in_another_order(victim):
    victim.part("TwoScales", "order", lambda native: lambda self: native(self)[::-1])


# Islands, and what fails in float64 on one backend.


@bug("island", "torch", scenarios.island, "forward", layer="island")
def quotient_within_an_island_is_off(victim):
    victim.part("Island", "divided", lambda native: lambda self, x, y: 1.01 * native(self, x, y))


@bug("island", "jax", scenarios.buckets, "forward", layer="buckets")
def bucket_is_one_off(victim):
    victim.part("Buckets", "bucket", lambda native: lambda self, whole: native(self, whole + 1))


@bug("one twin", "tensorflow", scenarios.rotation, "forward", layer="conv")
def factor_is_behind_a_rotation(victim):
    victim.method(victim.keras.layers.Conv2D, "call", lambda native: lambda self, x: 1.02 * native(self, x))


@bug("one twin", "torch", scenarios.segments, "forward", layer="head")
def head_is_off_behind_segments(victim):
    def wrap(native):
        def call(self, x, *args, **options):
            y = native(self, x, *args, **options)
            return 1.02 * y if self.activation is victim.keras.activations.linear else y

        return call

    victim.method(victim.keras.layers.Dense, "call", wrap)


@bug("one twin", "tensorflow", scenarios.hits_by_hand, "recorded", op="ops.softmax")
def softmax_is_off_behind_hits(victim):
    victim.op("nn.softmax", lambda softmax: lambda x, axis=-1: 1.02 * softmax(x, axis=axis))


# Callbacks of users' own.


@bug("callback", "jax", scenarios.logging_callbacks, "event|log")
def callbacks_are_given_in_reverse(victim):
    victim.part("Callbacks", "listed", lambda native: lambda self: native(self)[::-1])


@bug("callback", "tensorflow", scenarios.logging_callbacks, "optimizer|update|event|log")
def rate_is_halved_an_epoch_early(victim):
    victim.part("Halve", "on_epoch_end", lambda native: lambda self, epoch, logs=None: native(self, epoch + 1, logs))


# Small values beside large ones.


@bug("sentinel", "jax", scenarios.sentinels, "forward", layer="large|lowest|own")
def scores_beside_a_sentinel_are_off(victim):
    victim.part("Hidden", "score", lambda native: lambda self, x: 1.02 * native(self, x))


@bug("sentinel", "torch", scenarios.outlier, "forward", layer="outlier")
def small_values_beside_a_large_one_are_off(victim):
    victim.part("Outlier", "small", lambda native: lambda self, x: 1.5 * native(self, x))


# What a case makes of numbers that it drew.


@bug("random", "torch", scenarios.own_draws, "recorded")
def noise_is_scaled_otherwise(victim):
    victim.part("Draws", "noise", lambda native: lambda self, normal: native(self, 1.02 * normal))


@bug("random", "jax", scenarios.own_draws, "recorded")
def uniform_numbers_are_taken_from_the_other_end(victim):
    victim.part("Draws", "kept", lambda native: lambda self, uniform: native(self, 1.0 - uniform))


# A layer within that one backend alone calls.


@bug("inner", "jax", scenarios.inner_layer, "forward", layer="inner|within")
def layer_within_is_off(victim):
    def wrap(native):
        return lambda self, x, *args, **options: native(self, x, *args, **options) * (1.02 if not self.use_bias else 1)

    victim.method(victim.keras.layers.Dense, "call", wrap)


@bug("inner", "torch", scenarios.inner_layer, "forward", layer="inner")
def product_by_hand_is_off(victim):
    victim.part("Inner", "by_hand", lambda native: lambda self, x: 1.02 * native(self, x))


# What the weights of a new layer hide: scales of 1, and means, offsets and slopes of 0.


def _normalised(wrong):
    """What makes of scaled normalisation another one, given mean, variance, offset and scale."""

    def wrap(native):
        def batch_normalization(x, mean, variance, axis, offset=None, scale=None, epsilon=1e-3):
            mean, variance, offset, scale = wrong(mean, variance, offset, scale)
            return native(x, mean, variance, axis, offset=offset, scale=scale, epsilon=epsilon)

        return batch_normalization

    return wrap


@bug("new weights", "torch", scenarios.new_layers, "forward", layer="batch", op="ops.batch_normalization")
def moving_mean_is_forgotten(victim):
    victim.op("nn.batch_normalization", _normalised(lambda m, v, offset, scale: (0 * m, v, offset, scale)))


@bug("new weights", "jax", scenarios.new_layers, "forward", layer="batch", op="ops.batch_normalization")
def variance_is_squared(victim):
    victim.op("nn.batch_normalization", _normalised(lambda m, v, offset, scale: (m, v * v, offset, scale)))


@bug("new weights", "tensorflow", scenarios.new_layers, "forward", layer="batch", op="ops.batch_normalization")
def scale_is_applied_twice(victim):
    victim.op("nn.batch_normalization", _normalised(lambda m, v, offset, scale: (m, v, offset, scale * scale)))


@bug("new weights", "jax", scenarios.new_layers, "forward", layer="batch", op="ops.batch_normalization")
def offset_is_forgotten(victim):
    victim.op("nn.batch_normalization", _normalised(lambda m, v, offset, scale: (m, v, 0 * offset, scale)))


@bug("new weights", "torch", scenarios.new_layers, "forward", layer="row")
def offset_of_a_row_is_forgotten(victim):
    layer = victim.keras.layers.LayerNormalization
    victim.method(layer, "call", lambda native: lambda self, x: native(self, x) - self.beta)


@bug("new weights", "tensorflow", scenarios.new_layers, "forward", layer="group")
def scale_of_groups_is_forgotten(victim):
    layer = victim.keras.layers.GroupNormalization
    victim.method(layer, "call", lambda native: lambda self, x: (native(self, x) - self.beta) / self.gamma + self.beta)


@bug("new weights", "jax", scenarios.new_layers, "forward", layer="slope")
def slope_of_prelu_is_doubled(victim):
    def wrap(native):
        return lambda self, x: native(self, x) + self.alpha * victim.keras.ops.minimum(x, 0.0)

    victim.method(victim.keras.layers.PReLU, "call", wrap)


@bug("new weights", "torch", scenarios.new_layers, "forward", layer="dense")
def bias_of_dense_is_forgotten(victim):
    def wrap(native):
        return lambda self, x, **options: native(self, x, **options) - self.bias

    victim.method(victim.keras.layers.Dense, "call", wrap)


# What Python decides or holds while it is traced, and state that no layer owns.


@bug("compiled", "jax", scenarios.ramp, "forward|gradient")
def factor_is_another_where_jax_traces(victim):
    victim.part("Ramp", "factor", lambda native: lambda self, x: native(self, x) * (1.2 if _is_traced(x) else 1.0))


@bug("compiled", "tensorflow", scenarios.ramp, "forward|gradient")
def factor_is_another_where_tensorflow_traces(victim):
    victim.part("Ramp", "factor", lambda native: lambda self, x: native(self, x) * (1.2 if _is_traced(x) else 1.0))


def _is_traced(x):
    try:
        float(x[0, 0])
    except Exception:  # each backend has its own
        return True
    return False


@bug("compiled", "tensorflow", scenarios.annealed, "log|update|optimizer|metric")
def factor_is_read_while_tensorflow_traces(victim):
    victim.part("Annealed", "read", lambda _: lambda self: self.plain)


@bug("compiled", "jax", scenarios.annealed, "log|update|optimizer|metric")
def factor_is_read_while_jax_traces(victim):
    victim.part("Annealed", "read", lambda _: lambda self: self.plain)


@bug("compiled", "jax", scenarios.dropped_rows, "update|gradient|log")
def seeds_are_those_of_nobody(victim):
    of_nobody = functools.cache(lambda: victim.keras.random.SeedGenerator(7))
    victim.part("Dropping", "seeds", lambda _: lambda _: of_nobody())


# Derivatives inside of layers, limits of a dtype, and a gradient that is 0 but for rounding.


@bug("inner derivative", "jax", scenarios.flow, "forward", layer="flow")
def slope_within_is_off(victim):
    victim.part("Flow", "slope", lambda native: lambda self, x: 1.02 * native(self, x))


@bug("inner derivative", "torch", scenarios.flow, "gradient", layer="flow")
def slope_within_has_no_gradient(victim):
    victim.part("Flow", "slope", lambda native: lambda self, x: victim.stop(native(self, x)))


@bug("limit", "tensorflow", scenarios.groups, "forward", layer="summed")
def empty_group_is_not_filled(victim):
    victim.part("Summed", "filled", lambda _: lambda _, largest: largest)


@bug("limit", "torch", scenarios.groups, "forward", layer="summed")
def largest_are_off_beside_a_limit(victim):
    victim.part("Summed", "filled", lambda native: lambda self, largest: native(self, largest * 1.01))


@bug("subnormal", "jax", scenarios.subnormal, "recorded", op="ops.power")
def power_is_off_beside_subnormal_numbers(victim):
    victim.op("numpy.power", lambda power: lambda x1, x2: 1.01 * power(x1, x2))


@bug("zero gradient", "torch", scenarios.bias_before_norm, "forward|gradient", layer="norm")
def variance_is_off_behind_a_bias(victim):
    victim.op("nn.moments", lambda moments: lambda *args, **options: _second(moments(*args, **options), 1.02))


def _second(pair, factor):
    return pair[0], factor * pair[1]


@bug("keyword", "tensorflow", scenarios.by_keyword, "forward", layer="of_b")
def second_of_a_dict_is_off(victim):
    def wrap(native):
        return lambda self, x, **options: native(self, x, **options) * (1.02 if self.name == "of_b" else 1.0)

    victim.method(victim.keras.layers.Dense, "call", wrap)
