"""A stateful recurrent net, trained over consecutive windows."""

import keras

from harness import Fit, case


@case
def stateful_lstm(rng):
    model = keras.Sequential(
        [
            keras.layers.Input(batch_shape=(4, 10, 3)),
            keras.layers.LSTM(6, return_sequences=True, stateful=True, name="one"),
            keras.layers.GRU(5, stateful=True, name="two"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return Fit(
        model,
        rng.normal(size=(16, 10, 3)).astype("float32"),
        rng.normal(size=(16, 1)).astype("float32"),
        epochs=2,
        batch_size=4,
        shuffle=False,
    )


class Reset(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        for layer in self.model.layers:
            if hasattr(layer, "reset_states"):
                layer.reset_states()


@case
def stateful_lstm_that_is_reset(rng):
    model = keras.Sequential(
        [
            keras.layers.Input(batch_shape=(4, 10, 3)),
            keras.layers.LSTM(6, stateful=True, name="one"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return Fit(
        model,
        rng.normal(size=(16, 10, 3)).astype("float32"),
        rng.normal(size=(16, 1)).astype("float32"),
        epochs=2,
        batch_size=4,
        shuffle=False,
        callbacks=[Reset()],
    )
