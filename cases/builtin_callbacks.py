"""G1: the callbacks that come with Keras stop, save, schedule, log and restore alike on every backend."""

import csv

import keras
import numpy as np
import pytest
from callbacks import data, small_model
from keras import ops

from harness import Expected, Fit, case


def noise(rng):
    """Targets that have nothing to do with the inputs: what is learnt about them does not hold for others."""
    return rng.normal(size=(128, 8)).astype("float32"), rng.normal(size=(128, 1)).astype("float32")


@case
@pytest.mark.parametrize("restore_best_weights", [False, True], ids=["last_weights", "best_weights"])
def early_stopping(restore_best_weights, rng, record):
    model, (x, y) = small_model(keras.optimizers.Adam(0.03)), noise(rng)
    # An epoch counts as better by more than rounding could make it.
    stopping = keras.callbacks.EarlyStopping(
        patience=3, min_delta=1e-3, restore_best_weights=restore_best_weights, start_from_epoch=1
    )
    history = model.fit(
        x, y, epochs=60, batch_size=16, validation_split=0.5, callbacks=[stopping], verbose=0, shuffle=False
    )
    assert len(history.epoch) == stopping.stopped_epoch + 1 < 60
    record("stopped epoch", stopping.stopped_epoch)
    record("best epoch", stopping.best_epoch)
    record("best", stopping.best)
    record("validation loss", np.array(history.history["val_loss"]))
    record("weights", model.get_weights())
    loss = model.evaluate(x[64:], y[64:], batch_size=16, verbose=0)[0]
    shown = stopping.best if restore_best_weights else history.history["val_loss"][-1]
    np.testing.assert_allclose(loss, shown, rtol=1e-5)


@case
@pytest.mark.parametrize("mode", ["every_epoch", "every_third_batch", "weights_only", "best_only"])
def model_checkpoint(mode, rng, record, tmp_path):
    """The files that are written, and a model that is read from one of them."""
    name, options = {
        "every_epoch": ("epoch-{epoch:02d}.keras", {}),
        "every_third_batch": ("epoch-{epoch:02d}-batch-{batch:02d}.keras", {"save_freq": 3}),
        "weights_only": ("epoch-{epoch:02d}.weights.h5", {"save_weights_only": True}),
        "best_only": ("best.keras", {"save_best_only": True, "monitor": "val_loss", "mode": "min"}),
    }[mode]
    model, (x, y) = small_model(keras.optimizers.Adam(0.03)), data(rng) if mode != "best_only" else noise(rng)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / name, **options)
    options = {"epochs": 4, "batch_size": 16, "validation_split": 0.25, "shuffle": False, "verbose": 0}
    history = model.fit(x, y, callbacks=[checkpoint], **options).history
    files = sorted(path.name for path in tmp_path.iterdir())
    record("files", files)
    if mode == "weights_only":
        saved = small_model()
        saved.load_weights(tmp_path / files[-1])
    else:
        saved = keras.models.load_model(tmp_path / files[-1])
    record("predictions of the last file", saved.predict(x, verbose=0))
    record("evaluation of the last file", saved.evaluate(x[96:], y[96:], verbose=0))
    if mode == "best_only":
        np.testing.assert_allclose(saved.evaluate(x[96:], y[96:], verbose=0)[0], min(history["val_loss"]), rtol=1e-5)


@case
@pytest.mark.parametrize("arguments", [1, 2], ids=["of_epoch", "of_epoch_and_rate"])
def learning_rate_scheduler(arguments, rng, record):
    """Rates of powers of two times 0.1: exact on every backend."""
    schedule = {
        1: lambda epoch: 0.1 * 0.5**epoch,
        2: lambda epoch, rate: rate if epoch == 0 else rate * 0.5,
    }[arguments]
    model, (x, y) = small_model(), data(rng)
    callback = keras.callbacks.LearningRateScheduler(schedule)
    if arguments == 2:
        model.optimizer.learning_rate = 0.1
    history = model.fit(x, y, epochs=4, batch_size=32, callbacks=[callback], verbose=0).history
    record("history", history)
    record("weights", model.get_weights())
    expected = np.array(0.1, keras.config.floatx()) * np.array([1, 0.5, 0.25, 0.125], keras.config.floatx())
    assert history["learning_rate"] == expected.tolist()


@case
def reduce_lr_on_plateau(rng, record):
    """The rate is divided by four after two epochs that are no better, down to the smallest."""
    model, (x, y) = small_model(keras.optimizers.SGD(0.125)), noise(rng)
    reduce = keras.callbacks.ReduceLROnPlateau(
        monitor="val_loss", factor=0.25, patience=2, min_delta=0.01, cooldown=1, min_lr=2.0**-8
    )
    options = {"epochs": 14, "batch_size": 16, "validation_split": 0.5, "verbose": 0}
    history = model.fit(x, y, callbacks=[reduce], **options).history
    record("learning rates", history["learning_rate"])
    record("validation loss", history["val_loss"])
    record("weights", model.get_weights())
    assert set(history["learning_rate"]) == {2.0**-3, 2.0**-5, 2.0**-7, 2.0**-8}


@case
def csv_logger(rng, record, tmp_path):
    """Two runs into one file, the second appended to the first."""
    model, (x, y), path = small_model(), data(rng), tmp_path / "log.csv"
    histories = [
        model.fit(
            x,
            y,
            epochs=3,
            batch_size=32,
            validation_split=0.25,
            callbacks=[keras.callbacks.CSVLogger(path, separator=";", append=append)],
            verbose=0,
        ).history
        for append in (False, True)
    ]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    record("columns", list(rows[0]))
    record("epochs", [row["epoch"] for row in rows])
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "0", "1", "2"]
    for name in ("loss", "mae", "val_loss", "val_mae"):
        logged = np.array([float(row[name]) for row in rows])
        record(name, logged)
        assert logged.tolist() == histories[0][name] + histories[1][name]


@case
def history(rng, record):
    """What `fit` returns: epochs and logs, with validation at every other epoch."""
    model, (x, y) = small_model(), data(rng)
    kept = model.fit(x, y, epochs=4, batch_size=32, validation_split=0.25, validation_freq=2, verbose=0)
    assert kept is model.history
    record("epochs", kept.epoch)
    record("parameters", {name: kept.params[name] for name in sorted(kept.params)})
    record("counts", {name: len(values) for name, values in kept.history.items()})
    record("history", kept.history)


@case
@pytest.mark.parametrize("raise_error", [False, True], ids=["stop", "raise"])
def terminate_on_nan(raise_error, rng, record):
    """One target of the third batch is NaN."""
    model, (x, y) = small_model(), data(rng)
    y[40] = np.nan
    batches = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append([batch, logs["loss"]]))
    seen, error = [], None
    callbacks = [batches, keras.callbacks.TerminateOnNaN(raise_error=raise_error)]
    try:
        model.fit(x, y, epochs=3, batch_size=16, shuffle=False, callbacks=callbacks, verbose=0)
    except RuntimeError as raised:
        error = str(raised)
    assert [batch for batch, _ in seen] == [0, 1, 2]
    assert (error is not None) == raise_error
    record("error", error)
    record("losses", np.array([loss for _, loss in seen]))
    record("stopped", model.stop_training)


class Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002 - Keras' signature
        if epoch == 2:
            raise KeyboardInterrupt("the power is off")


@case
def backup_and_restore(rng, record, tmp_path):
    """Training that was interrupted ends as if it had not been."""
    x, y = data(rng)
    options = {"epochs": 4, "batch_size": 32, "shuffle": False, "verbose": 0}
    whole, interrupted = small_model("adam"), small_model("adam")
    interrupted.set_weights(whole.get_weights())
    record("history of the whole", whole.fit(x, y, **options).history)

    folder = tmp_path / "backup"
    try:
        callbacks = [keras.callbacks.BackupAndRestore(folder), Interruption()]
        interrupted.fit(x, y, callbacks=callbacks, **options)
    except KeyboardInterrupt:
        record("files after the interruption", sorted(path.name for path in folder.iterdir()))
    restarted = small_model("adam")
    rest = restarted.fit(x, y, callbacks=[keras.callbacks.BackupAndRestore(folder)], **options)
    assert rest.epoch == [2, 3]
    assert not folder.exists()
    record("history of the rest", rest.history)
    record("weights", restarted.get_weights())
    for left, right in zip(whole.get_weights(), restarted.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-7)


@case
def lambda_callback(rng, record):
    """Functions for some of the hooks, in the order they are called."""
    calls = []
    callback = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: calls.append("train begins"),  # noqa: ARG005 - Keras' signature
        on_epoch_begin=lambda epoch, logs: calls.append(f"epoch {epoch} begins"),  # noqa: ARG005 - Keras' signature
        on_train_batch_begin=lambda batch, logs: calls.append(f"batch {batch} begins"),  # noqa: ARG005 - Keras' signature
        on_train_batch_end=lambda batch, logs: calls.append(f"batch {batch} ends with {', '.join(logs)}"),
        on_epoch_end=lambda epoch, logs: calls.append(f"epoch {epoch} ends with {', '.join(logs)}"),
        on_train_end=lambda logs: calls.append(f"train ends with {', '.join(logs)}"),
    )
    model, (x, y) = small_model(), data(rng)
    model.fit(x, y, epochs=2, batch_size=48, validation_split=0.25, callbacks=[callback], verbose=0)
    record("calls", calls)
    assert calls[1:4] == ["epoch 0 begins", "batch 0 begins", "batch 0 ends with loss, mae"]


@case(
    expect={
        "jax": Expected(
            "mismatch",
            reason="At the end of fit Keras assigns the averages to the weights, and on jax both then are one buffer. "
            "evaluate and predict donate the weights to their compiled step, which deletes the averages with them, so "
            "that the optimizer cannot be saved any more.",
            where="prediction/*/after load*",
        )
    }
)
@pytest.mark.parametrize("swap_on_epoch", [False, True], ids=["for_evaluation", "for_the_end_of_an_epoch"])
def swap_ema_weights(swap_on_epoch, rng):
    """Validation sees the moving average of the weights."""
    model, (x, y) = small_model(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75)), data(rng)
    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch)]
    return Fit(model, x, y, epochs=3, batch_size=32, validation_split=0.25, callbacks=callbacks)


@case
def swapped_weights_are_the_moving_average(rng, record):
    """By hand: the average of the weights after each step, and what validation makes of it."""
    model, (x, y) = small_model(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75)), data(rng)
    during, after = [], []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002 - Keras' signature
            after.append(self.model.get_weights())

        def on_test_begin(self, logs=None):  # noqa: ARG002 - Keras' signature
            during.append(self.model.get_weights())

    callbacks = [keras.callbacks.SwapEMAWeights(), Watch()]
    model.fit(x[:64], y[:64], epochs=2, batch_size=32, validation_data=(x[64:], y[64:]), callbacks=callbacks, verbose=0)
    average = after[0]
    averages = []
    for weights in after:
        average = [0.75 * mean + 0.25 * weight for mean, weight in zip(average, weights, strict=True)]
        averages.append(average)
    for mine, theirs in ((averages[1], during[0]), (averages[3], during[1]), (averages[3], model.get_weights())):
        for left, right in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
    record("during validation", during)
    record("after training", [ops.convert_to_numpy(weight) for weight in model.weights])
