"""G2: a callback that overrides every hook; the order of events and the logs at each are compared."""

import keras

from harness import Fit, case

HOOKS = [
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_test_end",
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_predict_begin",
    "on_predict_end",
    "on_predict_batch_begin",
    "on_predict_batch_end",
]


class EveryHook(keras.callbacks.Callback):
    """Notes each call with its index, and the names and values of its logs."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.values = []

    def note(self, hook, index, logs):
        logs = logs or {}
        self.calls.append([hook, index, list(logs)])
        self.values += [value for value in logs.values() if isinstance(value, float)]

    def on_train_begin(self, logs=None):
        self.note("on_train_begin", None, logs)

    def on_train_end(self, logs=None):
        self.note("on_train_end", None, logs)

    def on_epoch_begin(self, epoch, logs=None):
        self.note("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self.note("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self.note("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self.note("on_train_batch_end", batch, logs)

    def on_test_begin(self, logs=None):
        self.note("on_test_begin", None, logs)

    def on_test_end(self, logs=None):
        self.note("on_test_end", None, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self.note("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self.note("on_test_batch_end", batch, logs)

    def on_predict_begin(self, logs=None):
        self.note("on_predict_begin", None, logs)

    def on_predict_end(self, logs=None):
        self.note("on_predict_end", None, logs)

    def on_predict_batch_begin(self, batch, logs=None):
        self.note("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self.note("on_predict_batch_end", batch, logs)


def small_model():
    model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    return model


def data(rng):
    x = rng.normal(size=(100, 8)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2]).astype("float32")


@case
def every_hook(rng, record):
    model, watcher, (x, y) = small_model(), EveryHook(), data(rng)
    model.fit(x, y, epochs=2, batch_size=32, validation_split=0.25, callbacks=[watcher], verbose=0)
    model.evaluate(x, y, callbacks=[watcher], verbose=0)
    model.predict(x, callbacks=[watcher], verbose=0)
    assert {hook for hook, _, _ in watcher.calls} == set(HOOKS)
    assert watcher.calls[0][0] == "on_train_begin"
    assert watcher.calls[-1][0] == "on_predict_end"
    record("calls", watcher.calls)
    record("values", watcher.values)


@case
def every_hook_beside_the_harness(rng):
    x, y = data(rng)
    return Fit(small_model(), x, y, epochs=2, batch_size=32, validation_split=0.25, callbacks=[EveryHook()])
