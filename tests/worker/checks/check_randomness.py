"""Shared randomness: the published generator, its distributions, and the same draws on every backend."""

import hashlib
import random
from collections import Counter
from functools import cache, partial
from statistics import NormalDist

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from keras.src.random.seed_generator import draw_seed
from packaging.version import Version
from scipy import special, stats

from harness import value_and_grad
from harness.worker import randomness

WORD = st.integers(0, 2**32 - 1)
XP = pytest.mark.parametrize("xp", [np, ops], ids=["numpy", "keras.ops"])
#: Key, counter and result of Threefry-2x32-20, from `kat_vectors` of Random123.
PUBLISHED = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)


@cache
def widest_seed():
    """The largest integer that Keras takes as a seed here: before 3.14 it has to fit an int32 on torch."""
    try:
        draw_seed(2**32 - 1)
    except (OverflowError, RuntimeError):
        return 2**31 - 1
    return 2**32 - 1


def threefry_in_integers(key, counter):
    """Threefry-2x32-20 as its paper has it, on Python's own integers."""
    keys = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (counter[0] + keys[0]) % 2**32, (counter[1] + keys[1]) % 2**32
    for number in range(20):
        x = (x + y) % 2**32
        rotation = ROTATIONS[number % 8]
        y = ((y << rotation | y >> (32 - rotation)) % 2**32) ^ x
        if number % 4 == 3:
            block = number // 4 + 1
            x, y = (x + keys[block % 3]) % 2**32, (y + keys[(block + 1) % 3] + block) % 2**32
    return x, y


def threefry(xp, key, counter):
    """The harness' Threefry, of unsigned words."""
    signed = [np.array([word], np.uint32).view(np.int32) for word in (*key, *counter)]
    arguments = signed if xp is np else [ops.convert_to_tensor(word) for word in signed]
    return tuple(int(as_array(word).view(np.uint32)[0]) for word in randomness.threefry(xp, *arguments))


def words(seed, size):
    """The unsigned words of a draw: first words of all counters, then second words."""
    pairs = [threefry_in_integers((seed, 0), (counter, 0)) for counter in range((size + 1) // 2)]
    return np.array([first for first, _ in pairs] + [second for _, second in pairs], np.uint32)[:size]


def as_array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def digest(tensor):
    return hashlib.sha256(np.ascontiguousarray(as_array(tensor)).tobytes()).hexdigest()[:16]


def units_apart(one, other):
    """How many units in the last place of float32 two arrays are apart, at most."""
    return float(np.max(np.abs(one.astype(np.float64) - other) / np.spacing(np.abs(other).astype(np.float32))))


class FixedWords(randomness.Draws):
    """Draws from words that are given."""

    def __init__(self, xp, given, dtype):
        super().__init__(xp, seed=None, iota=None, dtype=dtype)
        self.given = np.array(given, np.uint32).view(np.int32)

    def words(self, size, stream=0):
        assert (size, stream) == (len(self.given), 0)
        return self.given if self.xp is np else ops.convert_to_tensor(self.given)


# The generator.


@XP
@pytest.mark.parametrize(("key", "counter", "expected"), PUBLISHED)
def test_threefry_gives_the_published_words(xp, key, counter, expected):
    assert threefry(xp, key, counter) == expected


@pytest.mark.parametrize(("key", "counter", "expected"), PUBLISHED)
def test_the_integers_compared_with_are_the_published_words_too(key, counter, expected):
    assert threefry_in_integers(key, counter) == expected


@XP
@settings(max_examples=25, deadline=None, database=None)
@given(key=st.tuples(WORD, WORD), counter=st.tuples(WORD, WORD))
def test_threefry_wraps_as_unsigned_integers_do(xp, key, counter):
    assert threefry(xp, key, counter) == threefry_in_integers(key, counter)


@pytest.mark.parametrize("size", [1, 2, 5, 64])
@pytest.mark.parametrize("seed", [0, 42, 2**31 + 5, 2**32 - 1])
def test_uniforms_are_the_upper_24_bits_of_the_words_of_their_seed(seed, size):
    if seed > widest_seed():
        pytest.skip(f"Keras {keras.version()} takes no integer seed above {widest_seed()} on this backend")
    drawn = as_array(keras.random.uniform((size,), seed=seed))
    np.testing.assert_array_equal(drawn, (words(seed, size) >> 8).astype(np.float32) / np.float32(2**24))


def test_a_seed_generator_counts_its_draws_in_the_second_word_of_the_key():
    generator = keras.random.SeedGenerator(42)
    drawn = [float(as_array(keras.random.uniform((1,), seed=generator))[0]) for _ in range(3)]
    assert drawn == [(threefry_in_integers((42, count), (0, 0))[0] >> 8) / 2**24 for count in range(3)]


def test_a_draw_of_no_values_is_empty():
    assert as_array(keras.random.normal((0, 3), seed=1)).shape == (0, 3)


def test_a_draw_of_shape_none_at_all_is_a_scalar():
    assert as_array(keras.random.normal((), seed=1)).shape == ()


# The same on every backend: these constants are what each of them has to give.


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda: keras.random.uniform((7, 11), seed=42), "9da8c5e4e27cfe72"),
        (lambda: keras.random.uniform((7, 11), -3, 5, seed=42), "58170fbe89d2a445"),
        (lambda: keras.random.uniform((7, 11), dtype="float16", seed=42), "6d3a3b06d915e183"),
        (
            lambda: keras.random.uniform((7, 2), ops.array([0.0, 1.0]), ops.array([1.0, 3.0]), seed=42),
            "f77cba662030fd30",
        ),
        (lambda: keras.random.normal((7, 11), seed=42), "bf3b9d45b4b85b29"),
        (lambda: keras.random.normal((7, 11), 2.0, 3.0, seed=42), "52091b06bd50039b"),
        (lambda: keras.random.truncated_normal((7, 11), seed=42), "dc758f68e85d943b"),
        (lambda: keras.random.dropout(ops.ones((7, 11)), 0.3, seed=42), "7ee28b176a445f2e"),
        (lambda: keras.initializers.GlorotUniform(seed=42)((7, 11)), "dbd1c7f2d9a5a5b0"),
        (lambda: keras.initializers.HeNormal(seed=42)((7, 11)), "39861c1abf87efef"),
        (lambda: keras.initializers.RandomNormal(seed=42)((7, 11)), "f256cf5694d36c19"),
        (
            lambda: keras.layers.GaussianNoise(0.5, seed=42)(ops.zeros((7, 11)), training=True),
            "63f411f1e575b441",
        ),
        (lambda: keras.random.randint((7, 11), -5, 20, seed=42), "2fcbce7aabc8a52b"),
        (lambda: keras.random.randint((7, 11), 0, 200, dtype="uint8", seed=42), "bbcc9cdaf86e7fda"),
        (lambda: keras.random.shuffle(ops.reshape(ops.arange(60), (20, 3)), seed=42), "918770e995bb6e9b"),
        (lambda: keras.random.shuffle(ops.reshape(ops.arange(60), (3, 20)), axis=1, seed=42), "43e39f61599d3def"),
        (
            lambda: keras.random.categorical(ops.log(ops.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]])), 40, seed=42),
            "a7456b3e93f3f0c8",
        ),
        (lambda: keras.random.gamma((7, 11), 2.5, seed=42), "a94e0b6a25934e48"),
        (lambda: keras.random.gamma((7, 2), ops.array([0.3, 2.0]), seed=42), "aef9ef229f1b1e57"),
        (lambda: keras.random.beta((7, 11), 2.0, 0.5, seed=42), "c36b44b82e7963fb"),
        (
            lambda: keras.random.binomial((7, 2), ops.array([3.0, 20.0]), ops.array([0.3, 0.9]), seed=42),
            "de6c659f177cb333",
        ),
    ],
    ids=[
        "uniform",
        "uniform between bounds",
        "uniform in float16",
        "uniform between tensors",
        "normal",
        "normal with mean and deviation",
        "truncated normal",
        "dropout",
        "Glorot uniform",
        "He normal",
        "random normal",
        "Gaussian noise",
        "integers",
        "small integers",
        "shuffle",
        "shuffle along an axis",
        "categorical",
        "gamma",
        "gamma of a tensor",
        "beta",
        "binomial",
    ],
)
def test_draws_are_the_same_on_every_backend(draw, expected):
    assert digest(draw()) == expected


def test_draws_without_a_seed_are_the_same_on_every_backend():
    keras.utils.set_random_seed(3)
    drawn = [digest(keras.random.uniform((99,)))[:8] for _ in range(4)]
    # The global generator counts, like any other: its rule in Keras overflows in another way on each backend.
    states = [[random.Random(3).randint(1, 10**9), counter] for counter in range(4)]
    expected = []
    for key in states:
        pairs = [threefry_in_integers(key, (counter, 0)) for counter in range(50)]
        both = np.array([x for x, _ in pairs] + [y for _, y in pairs], np.uint32)[:99]
        expected.append(digest((both >> 8).astype(np.float32) / np.float32(2**24))[:8])
    assert drawn == expected


def test_the_mask_of_an_unseeded_dropout_layer_is_the_same_on_every_backend():
    random.seed(3)
    layer = keras.layers.Dropout(0.5)
    masks = [digest(layer(ops.ones((99,)), training=True))[:12] for _ in range(3)]
    assert masks == ["72e99c478f40", "acde18c571a5", "6d036d95d732"]


def test_the_twin_draws_the_same_values(in_float64):
    for name, found in in_float64["draws"].items():
        assert found["dtype"] == "float64", name
        assert found["is float32"], name
        assert found["digest"] == found["expected"], name


def test_the_twin_draws_the_same_masks_and_uniforms_in_compiled_code(in_float64):
    assert in_float64["compiled"] == {"uniform": True, "mask": True}


# Compiled.


class AllDraws(keras.Layer):
    """Draws one of each in its call: what `model.predict` compiles."""

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(7)

    def call(self, x):
        shape = ops.shape(x)
        return {
            "uniform": keras.random.uniform(shape, seed=self.generator),
            "mask": keras.random.dropout(x, 0.3, seed=self.generator),
            "normal": keras.random.normal(shape, seed=self.generator),
            "truncated": keras.random.truncated_normal(shape, seed=self.generator),
            "fixed seed": keras.random.uniform(shape, seed=widest_seed()),
            "integers": keras.random.randint(shape, -3, 9, seed=self.generator),
            "shuffled": keras.random.shuffle(ops.cumsum(x, axis=0), seed=self.generator),
            "gamma": keras.random.gamma(shape, 0.7, seed=self.generator),
            "binomial": keras.random.binomial(shape, 9, 0.3, seed=self.generator),
        }

    def compute_output_shape(self, shape):
        """Without it Keras before 3.14 calls the layer on torch without values, and fails to draw gammas from none."""
        names = ("uniform", "mask", "normal", "truncated", "fixed seed", "integers", "shuffled", "gamma", "binomial")
        return dict.fromkeys(names, shape)


@pytest.fixture(scope="module")
def eager_and_compiled():
    """Draws of three batches, the last a partial one, eagerly and in `model.predict`."""
    # On openvino a compiled model holds the values that its seeds had, and so draws the same for every batch.
    rows = 400 if keras.config.backend() == "openvino" else 1000
    x = np.ones((rows, 7), np.float32)
    layer = AllDraws()
    batches = [layer(ops.convert_to_tensor(x[start : start + 400])) for start in range(0, rows, 400)]
    eager = {name: np.concatenate([as_array(batch[name]) for batch in batches]) for name in batches[0]}
    return eager, keras.Sequential([AllDraws()]).predict(x, batch_size=400, verbose=0)


@pytest.mark.parametrize("name", ["uniform", "mask", "fixed seed", "integers", "shuffled", "binomial"])
def test_compiled_code_draws_the_same_to_the_bit(eager_and_compiled, name):
    eager, compiled = eager_and_compiled
    if name == "integers" and keras.config.backend() == "openvino":
        pytest.skip("OpenVINO computes the remainder of integers in float32 where it compiles")
    np.testing.assert_array_equal(compiled[name], eager[name])


@pytest.mark.parametrize("name", ["normal", "truncated"])
def test_compiled_code_draws_the_same_normals_to_the_last_units(eager_and_compiled, name):
    eager, compiled = eager_and_compiled
    assert units_apart(compiled[name], eager[name]) <= 8


def test_compiled_code_draws_nearly_the_same_gammas(eager_and_compiled):
    eager, compiled = eager_and_compiled
    np.testing.assert_allclose(compiled["gamma"], eager["gamma"], rtol=2e-4, atol=1e-6)


class KeptDropout(keras.Layer):
    """Dropout that keeps its last two outputs, which can be read after training."""

    def __init__(self):
        super().__init__()
        self.dropout = keras.layers.Dropout(0.5, seed=7)

    def build(self, shape):
        self.kept = self.add_weight(shape=(8, shape[-1]), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        y = self.dropout(x, training=training)
        if training:
            self.kept.assign(ops.concatenate([self.kept.value, y])[-8:])
        return y


def test_a_training_step_drops_what_eager_code_drops():
    layer = KeptDropout()
    model = keras.Sequential([keras.Input((6,)), layer, keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    x = np.ones((8, 6), np.float32)
    model.fit(x, x[:, :1], batch_size=4, shuffle=False, verbose=0)
    alone = keras.layers.Dropout(0.5, seed=7)
    expected = [as_array(alone(ops.convert_to_tensor(x[:4]), training=True)) for _ in range(2)]
    np.testing.assert_array_equal(as_array(layer.kept.value), np.concatenate(expected))


def test_inferring_shapes_draws_nothing():
    layer = keras.layers.GaussianNoise(0.5, seed=7)
    output = layer(keras.Input((6,)), training=True)
    assert output.shape == (None, 6)
    assert as_array(layer.seed_generator.state.value).tolist() == [7, 0]


# Distributions.


@pytest.mark.parametrize(
    ("xp", "dtype", "tolerance"), [(np, "float64", 1e-14), (ops, "float32", 2e-6)], ids=["numpy", "keras.ops"]
)
def test_normals_are_quantiles_of_the_normal_distribution(xp, dtype, tolerance):
    given_words = np.linspace(0, 2**32 - 1, 4001).astype(np.uint32)
    drawn = as_array(FixedWords(xp, given_words, dtype).normal((4001,))).astype(np.float64)
    probability = ((given_words >> 9).astype(np.float64) * 2 + 1) / 2**24
    np.testing.assert_allclose(drawn, [NormalDist().inv_cdf(p) for p in probability], rtol=tolerance)
    np.testing.assert_allclose(drawn, special.ndtri(probability), rtol=max(tolerance, 1e-13))


@pytest.mark.parametrize(
    ("xp", "dtype", "tolerance"), [(np, "float64", 1e-13), (ops, "float32", 4e-6)], ids=["numpy", "keras.ops"]
)
def test_truncated_normals_are_quantiles_between_two_deviations(xp, dtype, tolerance):
    given_words = np.linspace(0, 2**32 - 1, 4001).astype(np.uint32)
    drawn = as_array(FixedWords(xp, given_words, dtype).truncated_normal((4001,))).astype(np.float64)
    probability = ((given_words >> 9).astype(np.float64) * 2 + 1) / 2**24
    np.testing.assert_allclose(drawn, stats.truncnorm(-2, 2).ppf(probability), rtol=tolerance, atol=1e-15)
    assert np.abs(drawn).max() <= 2


@XP
def test_the_most_extreme_words_give_finite_normals_that_mirror_each_other(xp):
    low, high = as_array(FixedWords(xp, [0, 2**32 - 1], "float64" if xp is np else "float32").normal((2,)))
    assert low == -high
    assert high == pytest.approx(NormalDist().inv_cdf(1 - 2**-24), rel=1e-6)


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (keras.random.uniform, stats.uniform()),
        (keras.random.normal, stats.norm()),
        (keras.random.truncated_normal, stats.truncnorm(-2, 2)),
        (partial(keras.random.gamma, alpha=3.5), stats.gamma(3.5)),
        (partial(keras.random.gamma, alpha=0.4), stats.gamma(0.4)),
        (partial(keras.random.beta, alpha=2.0, beta=0.5), stats.beta(2.0, 0.5)),
    ],
    ids=["uniform", "normal", "truncated normal", "gamma", "gamma of less than one", "beta"],
)
class TestDistributions:
    SIZE = 20_000

    def test_passes_the_test_of_kolmogorov_and_smirnov(self, draw, distribution):
        drawn = as_array(draw((self.SIZE,), seed=1)).astype(np.float64)
        assert stats.kstest(drawn, distribution.cdf).pvalue > 0.01

    def test_has_the_first_four_moments(self, draw, distribution):
        drawn = as_array(draw((self.SIZE,), seed=2)).astype(np.float64)
        for order in range(1, 5):
            error = np.sqrt((distribution.moment(2 * order) - distribution.moment(order) ** 2) / self.SIZE)
            assert abs(np.mean(drawn**order) - distribution.moment(order)) < 4 * error

    def test_draws_of_neighbouring_seeds_are_uncorrelated(self, draw, distribution):  # noqa: ARG002 - the class is parametrised over it
        one, other = (as_array(draw((self.SIZE,), seed=seed)).astype(np.float64) for seed in (1, 2))
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(self.SIZE)

    def test_neighbouring_draws_are_uncorrelated(self, draw, distribution):  # noqa: ARG002 - the class is parametrised over it
        drawn = as_array(draw((self.SIZE,), seed=3)).astype(np.float64)
        assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 4 / np.sqrt(self.SIZE)

    def test_keeps_the_dtype_asked_for(self, draw, distribution):  # noqa: ARG002 - the class is parametrised over it
        assert keras.backend.standardize_dtype(draw((2,), dtype="float16", seed=1).dtype) == "float16"


def test_integers_are_all_there_and_equally_often():
    drawn = as_array(keras.random.randint((20_000,), -3, 9, seed=1))
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == list(range(-3, 9))
    assert stats.chisquare(counts).pvalue > 0.01


def test_categories_have_the_probabilities_of_their_logits():
    probabilities = np.array([[0.2, 0.3, 0.5], [0.7, 0.25, 0.05]])
    drawn = as_array(keras.random.categorical(np.log(probabilities).astype(np.float32), 20_000, seed=1))
    for row, expected in zip(drawn, probabilities, strict=True):
        assert stats.chisquare(np.bincount(row, minlength=3), expected * 20_000).pvalue > 0.01


def test_binomials_count_successes():
    drawn = as_array(keras.random.binomial((20_000,), 5, 0.3, seed=1)).astype(int)
    expected = stats.binom(5, 0.3).pmf(np.arange(6)) * 20_000
    assert stats.chisquare(np.bincount(drawn, minlength=6), expected).pvalue > 0.01


def test_a_shuffle_moves_whole_rows_and_every_order_is_as_likely():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    orders = Counter()
    for seed in range(300):
        rows = as_array(keras.random.shuffle(ops.convert_to_tensor(x), seed=seed))
        assert np.all(rows[:, 1] == rows[:, 0] + 1)
        orders[tuple(rows[:, 0])] += 1
    assert len(orders) == 6
    assert stats.chisquare(list(orders.values())).pvalue > 0.01


# Dropout.


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_scales_the_rest(rate):
    size = 40_000
    x = np.random.default_rng(0).uniform(1, 2, size).astype(np.float32)
    kept = as_array(keras.random.dropout(ops.convert_to_tensor(x), rate, seed=1))
    assert abs(np.mean(kept == 0) - rate) < 4 * np.sqrt(rate * (1 - rate) / size)
    np.testing.assert_allclose(kept[kept != 0], (x / (1 - rate))[kept != 0], rtol=1e-6)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 3.0), (1.0, 0.0)])
def test_dropout_of_nothing_and_of_everything(rate, expected):
    if rate == 1.0 and keras.config.backend() == "tensorflow" and Version(keras.version()) < Version("3.14"):
        pytest.skip(f"Keras {keras.version()} cannot drop everything on tensorflow")
    assert np.all(as_array(keras.random.dropout(ops.full((50,), 3.0), rate, seed=1)) == expected)


@pytest.mark.parametrize("noise_shape", [(50, 1), (None, 1)])
def test_dropout_shares_its_mask_along_the_noise_shape(noise_shape):
    kept = as_array(keras.random.dropout(ops.ones((50, 4)), 0.5, noise_shape=noise_shape, seed=1))
    assert np.all(kept == kept[:, :1])
    assert set(np.unique(kept)) == {0.0, 2.0}


def test_dropout_drops_other_values_each_time():
    layer = keras.layers.Dropout(0.5)
    one, other = (as_array(layer(ops.ones((99,)), training=True)) for _ in range(2))
    assert not np.array_equal(one, other)


# Orthogonal weights.


@pytest.mark.parametrize("shape", [(6, 6), (8, 3), (3, 8), (2, 3, 4, 5)])
def test_orthogonal_weights_are_orthogonal(shape):
    matrix = as_array(keras.initializers.Orthogonal(gain=1.5, seed=1)(shape)).reshape(-1, shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, 1.5**2 * np.eye(len(gram)), atol=1e-6)


def test_orthogonal_weights_factor_the_shared_normals():
    weights = as_array(keras.initializers.Orthogonal(seed=1)((8, 3)))
    normals = as_array(keras.random.normal((8, 3), seed=1))
    triangle = weights.T @ normals
    np.testing.assert_allclose(triangle, np.triu(triangle), atol=1e-5)
    assert np.all(np.diag(triangle) > 0)


def test_a_recurrent_layer_may_be_built_by_the_call_that_is_differentiated():
    layer = keras.layers.LSTM(3, seed=1)
    value, gradient = value_and_grad(lambda x: ops.sum(layer(x) ** 2), np.ones((1, 3, 4), np.float32))
    assert float(as_array(value)) == pytest.approx(float(as_array(ops.sum(layer(np.ones((1, 3, 4))) ** 2))))
    assert as_array(gradient).shape == (1, 3, 4)


def test_a_recurrent_layer_starts_from_orthogonal_weights():
    layer = keras.layers.GRU(4, seed=1)
    layer.build((None, 5, 3))
    kernel = as_array(layer.cell.recurrent_kernel.value)
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(4), atol=1e-6)


# The order of training data.


class Seen(keras.Layer):
    """Keeps the first column of all that it sees in training."""

    def build(self, shape):  # noqa: ARG002 - Keras' signature
        self.rows = self.add_weight(shape=(100,), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if training:
            self.rows.assign(ops.concatenate([self.rows.value, x[:, 0]])[-100:])
        return x

    def last(self, count):
        return as_array(self.rows.value)[-count:].astype(int).tolist()


def trainable(*, built=True):
    seen = Seen()
    model = keras.Sequential(([keras.Input((1,))] if built else []) + [seen, keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    return model, seen


def order(seed, fit, epoch, rows):
    """The documented order. Keras ends an epoch, so to speak, before it begins the first."""
    return np.random.default_rng([seed, fit, epoch + 1]).permutation(rows).tolist()


ROWS = np.arange(10, dtype=np.float32)[:, None]


@pytest.mark.parametrize("built", [True, False], ids=["built", "not built"])
@pytest.mark.parametrize("batch_size", [5, 4], ids=["whole batches", "a partial last batch"])
def test_every_fit_and_epoch_has_an_order_of_its_own(built, batch_size):
    model, seen = trainable(built=built)
    orders = []
    with randomness.shared_order(5):
        for fit in range(2):
            model.fit(ROWS, ROWS, epochs=3, batch_size=batch_size, verbose=0)
            rows = seen.last(30)
            assert rows == [row for epoch in range(3) for row in order(5, fit, epoch, 10)]
            orders += [tuple(rows[start : start + 10]) for start in (0, 10, 20)]
    assert len(set(orders)) == 6
    assert all(sorted(rows) == list(range(10)) for rows in orders)


def test_the_order_depends_on_the_seed():
    model, seen = trainable()
    for seed in (5, 6):
        with randomness.shared_order(seed):
            model.fit(ROWS, ROWS, batch_size=5, verbose=0)
        assert seen.last(10) == order(seed, 0, 0, 10)


def test_validation_changes_no_order():
    model, seen = trainable()
    with randomness.shared_order(5):
        for fit in range(2):
            model.fit(ROWS, ROWS, epochs=2, batch_size=4, validation_split=0.2, verbose=0)
            assert seen.last(16) == order(5, fit, 0, 8) + order(5, fit, 1, 8)


def test_a_pass_that_takes_several_epochs_keeps_its_order():
    model, seen = trainable()
    with randomness.shared_order(5):
        model.fit(ROWS, ROWS, epochs=4, steps_per_epoch=2, batch_size=3, verbose=0)
    assert seen.last(20) == order(5, 0, 0, 10) + order(5, 0, 2, 10)


def test_data_that_is_not_shuffled_stays_in_order():
    model, seen = trainable()
    with randomness.shared_order(5):
        model.fit(ROWS, ROWS, epochs=2, batch_size=4, shuffle=False, verbose=0)
    assert seen.last(20) == 2 * list(range(10))


def test_shuffling_within_batches_is_left_to_keras():
    model, seen = trainable()
    with randomness.shared_order(5):
        model.fit(ROWS, ROWS, batch_size=5, shuffle="batch", verbose=0)
    rows = seen.last(10)
    assert [set(rows[:5]), set(rows[5:])] == [set(range(5)), set(range(5, 10))]


def test_the_order_is_keras_own_once_the_context_is_closed():
    model, seen = trainable()
    with randomness.shared_order(5):
        model.fit(ROWS, ROWS, batch_size=5, verbose=0)
    model.fit(ROWS, ROWS, batch_size=5, verbose=0)
    assert sorted(seen.last(10)) == list(range(10))
    assert seen.last(10) not in (order(5, 0, 0, 10), order(5, 1, 0, 10))


class Batches(keras.utils.PyDataset):
    """Five batches of two rows."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return ROWS[2 * index : 2 * index + 2], ROWS[2 * index : 2 * index + 2]


def test_the_batches_of_a_dataset_have_an_order_of_each_fit_and_epoch():
    model, seen = trainable()
    with randomness.shared_order(5):
        for fit in range(2):
            model.fit(Batches(), epochs=2, verbose=0)
            batches = [order(5, fit, epoch, 5) for epoch in range(2)]
            rows = [row for epoch in batches for batch in epoch for row in (2 * batch, 2 * batch + 1)]
            assert seen.last(20) == rows
