"""Shared randomness: one counter-based generator under `keras.random`, the same on every backend.

Each backend of Keras draws from a generator of its own, so nothing stochastic could be compared. In a worker these
are replaced by Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011), keyed by the two words of Keras' own seed state. Word i of a draw depends on the key and on i
alone, so that every backend, eagerly or compiled, draws the same.

Where the seed has a value (initial weights, eager code) a draw is computed by NumPy, and is the same to the bit on
every target. Inside a compiled function it is computed with `keras.ops` by the same formulas: words, and with them
uniforms and dropout masks, are still the same to the bit; normals to the last units of float32.

A draw has a float32 value in both precisions, so that initial weights and noise of the float64 twin are the same.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backends import runtime
from harness.worker import keras_internals, own_generator
from harness.worker.patching import FOR_GOOD, patched

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA

# Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988),
# PPND16: numerator and denominator of each rational approximation, highest power first.
_CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
#: Probability between -2 and 2 standard deviations of a normal distribution, where truncated ones end.
_WITHIN_TWO = math.erf(2 / math.sqrt(2))


class Draws:
    """Draws of one seed, computed with `numpy` or with `keras.ops`.

    Args:
        xp: `numpy` or `keras.ops`.
        seed: int32 array of shape (2,).
        iota: `[0, ..., n - 1]` as int32.
        dtype: of floating results.
    """

    def __init__(self, xp: ModuleType, seed: Any, iota: Callable[[Any], Any], dtype: str) -> None:
        self.xp = xp
        self.seed = seed
        self.iota = iota
        self.dtype = dtype

    def words(self, size: Any, stream: int = 0) -> Any:
        """`size` random int32 words: both words of counters 0, 1, 2, ... and `stream`, one after the other."""
        half = (size + 1) // 2
        counters = self.iota(half)
        streams = self.xp.zeros_like(counters) + stream
        first, second = threefry(self.xp, self.seed[0], self.seed[1], counters, streams)
        return self.xp.concatenate([first, second])[:size]

    def uniform(self, shape: Sequence[Any], stream: int = 0) -> Any:
        """Uniform in [0, 1): multiples of 2**-24, exact in float32."""
        return self._reshape(self._float(self._shift(self.words(_size(shape), stream), 8)) * 2.0**-24, shape)

    def below(self, shape: Sequence[Any], probability: float) -> Any:
        """True with a probability, decided on integers and so the same in every precision."""
        words = self._shift(self.words(_size(shape)), 8)
        return self._reshape(words < round(probability * 2**24), shape)

    def integers(self, shape: Sequence[Any], count: Any) -> Any:
        """Integers from 0 to `count - 1`, at most 2**31 - 1 of them: the remainder of 31 random bits."""
        return self._reshape(self.xp.mod(self._shift(self.words(_size(shape)), 1), count), shape)

    def permutation(self, size: Any) -> Any:
        """`[0, ..., size - 1]` in random order: the order of as many random words."""
        return self.xp.argsort(self.words(size))

    def normal(self, shape: Sequence[Any], stream: int = 0) -> Any:
        """Standard normal, by its inverse distribution function."""
        return self._quantile(self._centred(shape, stream))

    def truncated_normal(self, shape: Sequence[Any]) -> Any:
        """Standard normal between -2 and 2, by its inverse distribution function."""
        return self._quantile(self._centred(shape) * _WITHIN_TWO)

    def gamma(self, shape: Sequence[Any], alpha: Any, stream: int = 0) -> Any:
        """Gamma of shape parameter `alpha` and scale 1. Takes four streams.

        Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000). A try is accepted
        with a probability above 0.95, and 16 are made: that none is has a probability below 1e-20.
        """
        xp = self.xp
        tries = (16, *shape)
        small = alpha < 1.0
        d = xp.where(small, alpha + 1.0, alpha) - 1.0 / 3.0
        z, u = self.normal(tries, stream), self._positive(tries, stream + 1)
        v = (1.0 + z / xp.sqrt(9.0 * d)) ** 3
        log_v = xp.log(xp.where(v > 0, v, 1.0))
        accepted = xp.logical_and(v > 0, xp.log(u) < 0.5 * z * z + d * (1.0 - v + log_v))
        first = xp.argmax(self._float(accepted), axis=0)
        sample = d * xp.squeeze(xp.take_along_axis(v, xp.expand_dims(first, 0), axis=0), 0)
        boost = xp.exp(xp.log(self._positive(shape, stream + 2)) / xp.where(small, alpha, 1.0))
        return sample * xp.where(small, boost, 1.0)

    def beta(self, shape: Sequence[Any], alpha: Any, beta: Any) -> Any:
        """Beta, as the share of one gamma variable in the sum of two."""
        first, second = self.gamma(shape, alpha), self.gamma(shape, beta, stream=4)
        return first / (first + second)

    def binomial(self, shape: Sequence[Any], counts: Any, probabilities: Any, largest: int) -> Any:
        """Binomial, as the number of successes among at most `largest` trials."""
        xp = self.xp
        trials = self.uniform((largest, *shape))
        numbers = xp.reshape(self._float(self.iota(largest)), (largest, *(1 for _ in shape)))
        success = xp.logical_and(trials < probabilities, numbers < counts)
        return xp.sum(self._float(success), axis=0)

    def parameter(self, value: Any, dtype: str | None = None) -> Any:
        """A parameter of a distribution, number or tensor, as an array of what draws are computed with."""
        import keras

        if self.xp is np:
            value = keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value
            return np.asarray(value, np.int64 if dtype else np.float64)
        return keras.ops.cast(keras.ops.convert_to_tensor(value), dtype or self.dtype)

    def _positive(self, shape: Sequence[Any], stream: int) -> Any:
        """Uniform in (0, 1)."""
        return self._centred(shape, stream) + 0.5

    def _centred(self, shape: Sequence[Any], stream: int = 0) -> Any:
        """Uniform in (-1/2, 1/2), symmetric and never 0: odd multiples of 2**-24, exact in float32."""
        odd = self._shift(self.words(_size(shape), stream), 9) * 2 + (1 - 2**23)
        return self._reshape(self._float(odd) * 2.0**-24, shape)

    def _quantile(self, q: Any) -> Any:
        """The standard normal's quantile at q + 1/2 (AS 241, for tails down to exp(-25))."""
        xp = self.xp
        centre = 0.180625 - q * q
        in_centre = q * _ratio(_CENTRE, centre)
        tail = xp.sqrt(-xp.log(0.5 - xp.abs(q))) - 1.6
        in_tail = xp.sign(q) * _ratio(_TAIL, tail)
        return xp.where(xp.abs(q) <= 0.425, in_centre, in_tail)

    def _shift(self, words: Any, by: int) -> Any:
        """Logical right shift, which leaves a number that is not negative."""
        return self.xp.bitwise_and(self.xp.right_shift(words, by), (1 << (32 - by)) - 1)

    def _float(self, integers: Any) -> Any:
        return integers.astype(self.dtype) if self.xp is np else self.xp.cast(integers, self.dtype)

    def _reshape(self, values: Any, shape: Sequence[Any]) -> Any:
        return self.xp.reshape(values, tuple(shape))


def threefry(xp: ModuleType, key0: Any, key1: Any, counter0: Any, counter1: Any) -> tuple[Any, Any]:
    """Threefry-2x32-20 on int32 arrays, whose additions wrap: two random words for each pair of counters."""
    keys = (key0, key1, xp.bitwise_xor(xp.bitwise_xor(key0, key1), _PARITY))
    x0, x1 = counter0 + keys[0], counter1 + keys[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            mask = (1 << rotation) - 1
            high = xp.left_shift(x1, rotation)
            x1 = xp.bitwise_xor(xp.bitwise_or(high, xp.bitwise_and(xp.right_shift(x1, 32 - rotation), mask)), x0)
        x0 = x0 + keys[(block + 1) % 3]
        x1 = x1 + keys[(block + 2) % 3] + (block + 1)
    return x0, x1


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    numerator, denominator = (_polynomial(row, x) for row in coefficients)
    return numerator / denominator


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    value = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value


def _size(shape: Sequence[Any]) -> Any:
    size: Any = 1
    for length in shape:
        size = size * length
    return size


def install() -> None:
    """Replace the random functions of the backend as long as this process lives.

    These are all of `keras.random`, and the orthogonal initializer. NumPy computes its factorization, so that weights
    that it makes are equal too.
    """
    import keras

    module = f"keras.src.backend.{keras.config.backend()}.random"
    for name, make in (
        ("uniform", _uniform),
        ("normal", _normal),
        ("truncated_normal", _truncated_normal),
        ("dropout", _dropout),
        ("randint", _randint),
        ("categorical", _categorical),
        ("shuffle", _shuffle),
        ("gamma", _gamma),
        ("beta", _beta),
        ("binomial", _binomial),
    ):
        wrap = functools.partial(_shared, name, make)
        FOR_GOOD.enter_context(keras_internals.replaced_function(module, name, wrap))
    FOR_GOOD.enter_context(patched(keras.initializers.Orthogonal, "__call__", _orthogonal))


def _shared(name: str, make: keras_internals.Wrap, native: Callable[..., Any]) -> Callable[..., Any]:
    return own_generator.looked_at(name, native, make(native))


class Order:
    """The order in which `fit` takes the rows of arrays, or the batches of a `PyDataset`: the same on every backend.

    It depends on which `fit` it is and on how many epochs are behind it, and not on how often it is asked for: some
    backends look at a first batch before they train, and start over.

    Args:
        seed: of the case.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._adapters: list[Any] = []  # of each fit, kept so that no id is used twice
        self._ended: dict[int, int] = {}

    @property
    def fits(self) -> int:
        """How many fits have shuffled so far."""
        return len(self._adapters)

    def of(self, fit: int, epoch: int, size: int) -> NDArray[np.int64]:
        """The order of so many rows in an epoch of a fit, both counted from 0; that of the look before it is -1."""
        return np.random.default_rng([self._seed, fit, epoch + 1]).permutation(size).astype(np.int64)

    def permutation(self, adapter: Any, size: int) -> NDArray[np.int64]:
        """The order of the current epoch of the fit that an `ArrayDataAdapter` belongs to."""
        fit = next((fit for fit, known in enumerate(self._adapters) if known is adapter), self.fits)
        if fit == self.fits:
            self._adapters.append(adapter)
        # Keras ends an epoch, so to speak, before it begins the first.
        return self.of(fit, self._ended.get(id(adapter), 0) - 1, size)

    def end_epoch(self, adapter: Any) -> None:
        """An epoch of an adapter's fit is over."""
        self._ended[id(adapter)] = self._ended.get(id(adapter), 0) + 1


@contextmanager
def shared_order(seed: int) -> Iterator[Order]:
    """Let `fit` shuffle arrays, and batches of a `PyDataset`, in the same order on every backend while this is open."""
    order = Order(seed)

    def counted(original: Callable[[Any], None]) -> Callable[[Any], None]:
        def on_epoch_end(adapter: Any) -> None:
            order.end_epoch(adapter)
            original(adapter)

        return on_epoch_end

    def ordered(original: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
        def _finite_generator(adapter: Any) -> Iterator[Any]:
            def shuffle(batches: list[int]) -> None:
                batches[:] = [batches[position] for position in order.permutation(adapter, len(batches))]

            iterator = original(adapter)
            # It shuffles when its first batch is asked for.
            with keras_internals.dataset_shuffle(shuffle):
                first = list(itertools.islice(iterator, 1))
            yield from first
            yield from iterator

        return _finite_generator

    with (
        keras_internals.array_adapter_method("on_epoch_end", counted),
        keras_internals.dataset_adapter_method("on_epoch_end", counted),
        keras_internals.dataset_adapter_method("_finite_generator", ordered),
        runtime.current().shuffle_with(order.permutation),
    ):
        yield order


def _uniform(native: Callable[..., Any]) -> Callable[..., Any]:
    def uniform(shape: Sequence[Any], minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
        draws = _draws(seed, *shape)
        if draws is None:
            return native(shape, minval=minval, maxval=maxval, dtype=dtype, seed=seed)
        return _deliver(draws.uniform(shape), maxval - minval, minval, dtype)

    return uniform


def _normal(native: Callable[..., Any]) -> Callable[..., Any]:
    def normal(shape: Sequence[Any], mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
        draws = _draws(seed, *shape)
        if draws is None:
            return native(shape, mean=mean, stddev=stddev, dtype=dtype, seed=seed)
        return _deliver(draws.normal(shape), stddev, mean, dtype)

    return normal


def _truncated_normal(native: Callable[..., Any]) -> Callable[..., Any]:
    def truncated_normal(
        shape: Sequence[Any], mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
    ) -> Any:
        draws = _draws(seed, *shape)
        if draws is None:
            return native(shape, mean=mean, stddev=stddev, dtype=dtype, seed=seed)
        return _deliver(draws.truncated_normal(shape), stddev, mean, dtype)

    return truncated_normal


def _dropout(native: Callable[..., Any]) -> Callable[..., Any]:
    def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
        from keras import ops

        shape = list(ops.shape(inputs))
        draws = None if rate in (0.0, 1.0) else _draws(seed, *shape)
        if draws is None:
            return native(inputs, rate, noise_shape=noise_shape, seed=seed)
        if noise_shape is not None:
            shape = [own if wanted is None else wanted for own, wanted in zip(shape, noise_shape, strict=True)]
        dropped = ops.convert_to_tensor(draws.below(shape, rate))
        return ops.where(dropped, ops.zeros_like(inputs), ops.divide(inputs, 1.0 - rate))

    return dropout


def _randint(native: Callable[..., Any]) -> Callable[..., Any]:
    def randint(shape: Sequence[Any], minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
        from keras import ops

        draws = _draws(seed, *shape, minval, maxval)
        if draws is None:
            return native(shape, minval, maxval, dtype=dtype, seed=seed)
        minval, maxval = (draws.parameter(value, "int32") for value in (minval, maxval))
        return ops.cast(ops.convert_to_tensor(draws.integers(shape, maxval - minval) + minval), dtype)

    return randint


def _categorical(native: Callable[..., Any]) -> Callable[..., Any]:
    def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
        from keras import ops

        logits = ops.convert_to_tensor(logits)
        shape = ops.shape(logits)
        draws = _draws(seed, *shape)
        if draws is None:
            return native(logits, num_samples, dtype=dtype, seed=seed)
        u = _deliver(draws.uniform((shape[0], num_samples)), 1.0, 0.0, logits.dtype)
        below = ops.cumsum(ops.softmax(logits, axis=-1), axis=-1)
        # The last class takes what rounding leaves between the sum of all probabilities and 1.
        passed = ops.expand_dims(u, -1) >= ops.expand_dims(below[:, :-1], 1)
        return ops.cast(ops.sum(ops.cast(passed, "int32"), axis=-1), dtype)

    return categorical


def _shuffle(native: Callable[..., Any]) -> Callable[..., Any]:
    def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
        from keras import ops

        x = ops.convert_to_tensor(x)
        draws = _draws(seed, *ops.shape(x))
        if draws is None:
            return native(x, axis=axis, seed=seed)
        return ops.take(x, ops.convert_to_tensor(draws.permutation(ops.shape(x)[axis])), axis=axis)

    return shuffle


def _gamma(native: Callable[..., Any]) -> Callable[..., Any]:
    def gamma(shape: Sequence[Any], alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
        draws = _draws(seed, *shape, alpha)
        if draws is None:
            return native(shape, alpha, dtype=dtype, seed=seed)
        return _deliver(draws.gamma(shape, draws.parameter(alpha)), 1.0, 0.0, dtype)

    return gamma


def _beta(native: Callable[..., Any]) -> Callable[..., Any]:
    def beta(shape: Sequence[Any], alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
        draws = _draws(seed, *shape, alpha, beta)
        if draws is None:
            return native(shape, alpha, beta, dtype=dtype, seed=seed)
        return _deliver(draws.beta(shape, draws.parameter(alpha), draws.parameter(beta)), 1.0, 0.0, dtype)

    return beta


def _binomial(native: Callable[..., Any]) -> Callable[..., Any]:
    def binomial(shape: Sequence[Any], counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None) -> Any:
        draws = _draws(seed, *shape, counts, probabilities)
        if draws is None:
            return native(shape, counts, probabilities, dtype=dtype, seed=seed)
        largest = _largest(counts)
        if largest is None:
            raise ValueError(
                "keras.random.binomial with counts that are known only when a compiled function runs has no shared "
                "randomness. Give it counts as a number or an array."
            )
        counts, probabilities = draws.parameter(counts), draws.parameter(probabilities)
        return _deliver(draws.binomial(shape, counts, probabilities, largest), 1.0, 0.0, dtype)

    return binomial


def _largest(counts: Any) -> int | None:
    """The largest of some counts, where they have values now."""
    import keras

    if keras.ops.is_tensor(counts):
        if not runtime.current().is_concrete(counts):
            return None
        counts = keras.ops.convert_to_numpy(counts)
    return max(1, int(np.max(counts)))


def _orthogonal(native: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(self: Any, shape: Sequence[int], dtype: Any = None) -> Any:  # noqa: N807 - Keras' name
        draws = _draws(self.seed) if len(shape) >= 2 else None
        if draws is None or draws.xp is not np:
            return native(self, shape, dtype=dtype)
        rows, columns = math.prod(shape[:-1]), shape[-1]
        flat = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(draws.normal(flat).astype(np.float32).astype(np.float64))
        q = q * np.sign(np.diag(r))
        if rows < columns:
            q = q.T
        return _deliver(q.reshape(shape), self.gain, 0.0, dtype)

    return __call__


def _draws(seed: Any, *parameters: Any) -> Draws | None:
    """Draws of a seed; None where there is nothing to draw because Keras is only inferring shapes.

    They are computed by NumPy where the seed and all parameters, lengths of axes among them, have values now.
    """
    import keras

    if keras_internals.in_symbolic_scope():
        return None
    backend = runtime.current()
    state = seed if keras.ops.is_tensor(seed) else keras_internals.next_seed(seed)
    tensors = [state, *(value for value in parameters if keras.ops.is_tensor(value))]
    if all(backend.is_concrete(tensor) for tensor in tensors):
        words = np.asarray(keras.ops.convert_to_numpy(state)).astype(np.int64).astype(np.int32)
        return Draws(np, words, lambda size: np.arange(size, dtype=np.int32), "float64")
    return Draws(keras.ops, backend.int32_words(state), backend.iota, keras.config.floatx())


def _deliver(values: Any, scale: Any, offset: Any, dtype: Any) -> Any:
    """`values * scale + offset`, rounded to float32 so that both precisions see the same, as a tensor of `dtype`."""
    import keras

    dtype = keras.backend.standardize_dtype(dtype or keras.config.floatx())
    if isinstance(values, np.ndarray):
        if not (keras.ops.is_tensor(scale) or keras.ops.is_tensor(offset)):
            return keras.ops.convert_to_tensor((values * scale + offset).astype(np.float32), dtype=dtype)
        values = keras.ops.convert_to_tensor(values, dtype=keras.config.floatx())
    return keras.ops.cast(keras.ops.cast(values * scale + offset, "float32"), dtype)
