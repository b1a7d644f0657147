"""Layers, callbacks and pipelines of users' own, of which the scenarios are made. They need Keras: `scenarios` imports
them where it builds, and `bugs` where it replaces a method of one."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

registered = keras.saving.register_keras_serializable("quality")


@registered
class Scaled(keras.layers.Layer):
    """A fixed factor, a clip and a bias: each can be forgotten."""

    def build(self, shape):
        self.bias = self.add_weight(shape=(shape[-1],), initializer="ones", name="bias")

    def call(self, x):
        return self.limited(self.multiplied(x)) + self.shift()

    def multiplied(self, x):
        return x * 1.02

    def limited(self, x):
        return ops.clip(x, -1.5, 1.5)

    def shift(self):
        return self.bias


@registered
class Noisy(keras.layers.Layer):
    """Seeded noise, and a factor behind it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x, training=False):
        if training:
            x = x + 0.1 * keras.random.normal(ops.shape(x), seed=self.seeds)
        return self.behind(x)

    def behind(self, x):
        return 1.5 * x


@registered
class Penalised(keras.layers.Layer):
    """A loss that the layer adds by itself."""

    def call(self, x):
        self.add_loss(self.penalty(x))
        return x

    def penalty(self, x):
        return 0.1 * ops.mean(ops.square(x))


@registered
class Sampling(keras.layers.Layer):
    """A sample around a mean, and the divergence from a normal distribution as an added loss."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(5)

    def call(self, inputs):
        mean, log_variance = inputs
        self.add_loss(self.divergence(mean, log_variance))
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)

    def divergence(self, mean, log_variance):
        return -0.05 * ops.mean(1 + log_variance - ops.square(mean) - ops.exp(log_variance))


@registered
class RunningMean(keras.layers.Layer):
    """Counts its batches, and takes off the mean of all that it saw in training."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.mean = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False, name="mean")

    def call(self, x, training=False):
        if training:
            self.count.assign(self.count + self.step())
            self.mean.assign(self.mean + (ops.mean(x, axis=0) - self.mean) / self.count)
        return x - self.centre()

    def centre(self):
        # Gradients pass through what was assigned on jax, and not elsewhere.
        return ops.stop_gradient(self.mean)

    def step(self):
        return 1.0


@registered
class Renamed(keras.layers.Layer):
    """One variable is called otherwise on tensorflow, as Keras does in places. The rest is the same."""

    def build(self, shape):
        name = "gamma" if keras.backend.backend() == "tensorflow" else "scale"
        self.scale = self.add_weight(shape=(shape[-1],), initializer=self.start(), name=name)
        self.offset = self.add_weight(shape=(shape[-1],), initializer="zeros", name="offset")

    def call(self, x):
        return x * self.scale + self.offset

    def start(self):
        return keras.initializers.Constant(0.8)


@registered
class TwoScales(keras.layers.Layer):
    """Two variables alike, which can be made in either order."""

    def build(self, shape):
        for name in self.order():
            setattr(self, name, self.add_weight(shape=(shape[-1],), initializer="random_normal", name=name))

    def call(self, x):
        return x * (1 + self.inner) + self.outer

    def order(self):
        return ["inner", "outer"]


@registered
class Island(keras.layers.Layer):
    """Computes in float32 whatever floatx is."""

    def call(self, x):
        y = ops.cast(x, "float32")
        y = self.divided(y, ops.mean(y, axis=-1, keepdims=True) + 3.0)
        return ops.cast(ops.mod(y + 7.0, 1.0), keras.config.floatx())

    def divided(self, x, y):
        return x / y


@registered
class Buckets(keras.layers.Layer):
    """Counts in whole numbers, which are exact in any precision."""

    def call(self, x):
        bucket = self.bucket(ops.cast(ops.floor(x * 4.0), "int32"))
        return ops.cast(bucket, keras.config.floatx()) / 5.0

    def bucket(self, whole):
        return ops.mod(whole, 5)


@registered
class Largest(keras.layers.Layer):
    """The largest row of each segment, which torch has in float32 alone."""

    def call(self, x):
        return ops.segment_max(x, np.array([0, 1, 0, 2, 1, 2], "int32"), num_segments=3)


@registered
class Hidden(keras.layers.Layer):
    """Scores with a sentinel in place of every third."""

    def __init__(self, sentinel="large", **options):
        super().__init__(**options)
        self.sentinel = sentinel

    def call(self, x):
        dtype = keras.backend.standardize_dtype(x.dtype)
        values = {"large": -1e9, "lowest": float(np.finfo("float32").min), "own": float(np.finfo(dtype).min)}
        hidden = ops.arange(x.shape[-1]) % 3 == 0
        return ops.where(hidden, ops.cast(values[self.sentinel], dtype), self.score(x))

    def score(self, x):
        return 0.5 * x

    def get_config(self):
        return {**super().get_config(), "sentinel": self.sentinel}


@registered
class Outlier(keras.layers.Layer):
    """One large value beside small ones."""

    def call(self, x):
        return ops.concatenate([ops.ones_like(x[:, :1]) * 1e8, self.small(x)], axis=-1)

    def small(self, x):
        return 0.001 * x


@registered
class Inner(keras.layers.Layer):
    """The same product by a layer within on jax, and by hand elsewhere."""

    def __init__(self, **options):
        super().__init__(**options)
        self.within = keras.layers.Dense(4, use_bias=False, name="within")

    def build(self, shape):
        self.within.build(shape)

    def call(self, x):
        if keras.backend.backend() == "jax":
            return self.within(x)
        return self.by_hand(x)

    def by_hand(self, x):
        return ops.matmul(x, self.within.kernel)


class Smooth(keras.callbacks.Callback):
    """Logs an average of the loss."""

    def on_epoch_begin(self, epoch, _logs=None):
        self.average = None if epoch == 0 else self.average

    def on_epoch_end(self, _epoch, logs=None):
        self.average = logs["loss"] if self.average is None else 0.5 * self.average + 0.5 * logs["loss"]
        logs["smooth"] = self.average


class Reader(keras.callbacks.Callback):
    """Keeps what callbacks before it logged."""

    def on_train_begin(self, _logs=None):
        self.seen = []

    def on_epoch_end(self, _epoch, logs=None):
        self.seen.append(logs.get("smooth"))


class Halve(keras.callbacks.Callback):
    """Halves the learning rate behind the second epoch."""

    def on_epoch_end(self, epoch, _logs=None):
        if epoch == 1:
            rate = self.model.optimizer.learning_rate
            rate.assign(0.5 * float(ops.convert_to_numpy(rate)))


class Callbacks:
    """The callbacks of a training, in the order in which they are called."""

    def listed(self):
        return [Smooth(), Reader(), Halve()]


class Batches:
    """Batches of eight rows in an order of their own, as a pipeline of each kind."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def order(self):
        return np.random.default_rng(7).permutation(len(self.x))

    def rows(self, batch):
        chosen = self.order()[8 * batch : 8 * batch + 8]
        return self.x[chosen], self.y[chosen]

    def generator(self):
        return (self.rows(batch) for batch in range(len(self.x) // 8))

    def dataset(self):
        import tensorflow as tf

        x, y = (np.concatenate(part) for part in zip(*self.generator(), strict=True))
        # In one order for good: Keras begins to read a dataset more often on tensorflow, and would meet other orders.
        rows = tf.data.Dataset.from_tensor_slices((x, y))
        return rows.shuffle(16, seed=4, reshuffle_each_iteration=False).batch(8)

    def loader(self):
        import torch

        x, y = (np.concatenate(part) for part in zip(*self.generator(), strict=True))
        rows = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
        # A list of rows, for a generator would move on each time that Keras begins to read.
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2)).tolist()
        return torch.utils.data.DataLoader(rows, 8, sampler=order)

    def sequence(self):
        batches = self

        class Sequence(keras.utils.PyDataset):
            def __len__(self):
                return len(batches.x) // 8

            def __getitem__(self, index):
                return batches.rows(index)

        return Sequence()


class Draws:
    """What a case makes of numbers that it drew."""

    def noise(self, normal):
        return 1.0 + 0.1 * normal

    def kept(self, uniform):
        return uniform < 0.25

    def drawn(self, table, index):
        return ops.take(table, index, axis=0)


@registered
class Ramp(keras.layers.Layer):
    """A factor that is the same wherever the call runs, traced or not."""

    def call(self, x):
        return x * self.factor(x)

    def factor(self, _x):
        return 1.5


@registered
class Annealed(keras.layers.Layer):
    """A factor in a variable, which a callback changes between epochs."""

    def build(self, _shape):
        self.plain = 1.0
        self.factor = self.add_weight(shape=(), initializer="ones", trainable=False, name="factor")

    def call(self, x):
        return x * self.read()

    def read(self):
        return self.factor

    def grow(self):
        self.plain *= 1.5
        self.factor.assign(self.plain)


class Grow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - the signature of the hook
        self.model.get_layer("annealed").grow()


@registered
class Dropping(keras.layers.Layer):
    """Drops rows, by seeds that the layer owns."""

    def __init__(self, **options):
        super().__init__(**options)
        self.own = keras.random.SeedGenerator(7)

    def call(self, x, training=False):
        if not training:
            return x
        kept = ops.floor(0.5 + keras.random.uniform((ops.shape(x)[0], 1), seed=self.seeds()))
        return x * ops.cast(kept, x.dtype)

    def seeds(self):
        return self.own


@registered
class Flow(keras.layers.Layer):
    """A value and its derivative by the input, which the backend's own means take inside of the call."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        return ops.tanh(x * self.scale) + 0.1 * self.slope(x)

    def slope(self, x):
        from harness import value_and_grad

        _, slope = value_and_grad(lambda x: ops.sum(ops.sin(x * self.scale)), x)
        return slope


@registered
class Summed(keras.layers.Layer):
    """Sums of the rows of each group, of which one is empty."""

    def call(self, x):
        groups = ops.convert_to_tensor(np.array([0, 0, 1, 1, 3, 3], "int32"))
        return self.filled(ops.segment_max(x, groups, num_segments=4))

    def filled(self, largest):
        """What is the lowest number of its dtype is of no row, and becomes 0."""
        return ops.where(largest < -1e30, ops.zeros_like(largest), largest)
