"""What a `Fit` records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.backends import runtime
from harness.case import Fit
from harness.errors import CaseError
from harness.trace.key import AFTER_FIT, DATA, ROWS
from harness.worker import keras_internals
from harness.worker.capture import agreement, places, python_state, state, trained, unowned
from harness.worker.capture.callbacks import observer, watched
from harness.worker.capture.data import Batches, arrays_given, batch_size, digest, digests, rows_of
from harness.worker.capture.gradients import or_none, value_and_grad_once
from harness.worker.capture.layers import observed_layers, taken
from harness.worker.capture.noise import QUIET, Noise
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import as_tensor, is_float, numpy_of
from harness.worker.randomness import Order

#: What `fit` takes that `evaluate` and `predict` take as well.
_SHARED_OPTIONS = ("batch_size", "verbose")


def record_fit(
    fit: Fit,
    recorder: Recorder,
    folder: Path,
    noise: Noise = QUIET,
    *,
    observed: bool = True,
    order: Order | None = None,
) -> None:
    """Train a model and record everything on the way, in order of execution.

    Args:
        folder: an empty folder, for the saved model.
        noise: what disturbs data and weights.
        order: the order of the rows, unless the backend keeps its own.
        observed: whether the instruments are on. If not, only the epochs' logs and the predictions are recorded, as
            whoever calls `fit` and `predict` sees them.
    """
    import keras

    model = fit.model
    if not isinstance(model, keras.Model):
        raise CaseError(f"Fit takes a keras.Model, and was given {type(model).__name__}.")
    if not model.compiled:
        raise CaseError(f"Fit trains a compiled model: call compile on {model.name!r} before you return it.")
    options = {"verbose": 0, **fit.options}
    if not observed:
        _fit_unobserved(fit, options, recorder)
        return

    _record_data(fit, recorder)
    fit.x = noise.disturbed(fit.x)
    with unowned.watched(lambda: state.model_state(model)) as updated:
        _record_observed(fit, options, recorder, folder, noise, order, updated)


def _record_observed(
    fit: Fit,
    options: dict[str, Any],
    recorder: Recorder,
    folder: Path,
    noise: Noise,
    order: Order | None,
    updated: unowned.Updated,
) -> None:
    model = fit.model
    looked_at = _record_instrumented_pass(fit, recorder, noise, order, updated)
    recorder.places = places.of_fit(fit, callbacks_of(fit), recorder.root)
    # After an exception in here the weights are not those of other targets, so nothing that follows can be compared.
    with recorder.part("fit and all that follows"):
        batches = Batches(recorder)
        watcher = _train(fit, options, recorder, batches, updated)
        if looked_at is not None and looked_at == batches.first:
            agreement.check(model, recorder)
        _record_inference(fit, options, watcher, batches, recorder, folder)


def _fit_unobserved(fit: Fit, options: dict[str, Any], recorder: Recorder) -> None:
    model = fit.model
    if not model.built:
        # The pass that is left out here would have built it, and drawn its initial weights.
        with recorder.part("building before training", optional=True):
            state.build(model, [batch(fit)[0]])
    if fit.as_trained and model.built:
        trained.move_weights(model)
    train(fit, options)
    history = model.history
    for position, epoch in enumerate(history.epoch):
        logs = {name: values[position] for name, values in history.history.items() if len(values) == len(history.epoch)}
        recorder.add("log", f"epoch {epoch}", logs)
    if _why_once(fit) is None:
        shared = {name: options[name] for name in _SHARED_OPTIONS if name in options}
        recorder.add("prediction", "predict", model.predict(fit.x, **taken(model.predict, shared)))


def _record_data(fit: Fit, recorder: Recorder) -> None:
    """Record digests of the data: if the data differ, everything that follows does."""
    for name, array in arrays_given(fit):
        recorder.add("initial", f"{DATA}/{name}", digest(array), step=0)


def _train(fit: Fit, options: dict[str, Any], recorder: Recorder, batches: Batches, updated: unowned.Updated) -> Any:
    model = fit.model

    def record_state(step: int) -> None:
        _record_weights(model, recorder, step)
        updated.record(recorder, step)

    watcher = observer(recorder, record_state, batches)
    callbacks = watched(callbacks_of(fit), model, recorder, watcher, batches)
    with batches.watched():
        train(fit, {**options, "callbacks": callbacks})
    step = max(watcher.step, 0)
    recorder.add("event", "fit", watcher.take_events(), step=step)
    _record_weights(model, recorder, step, prefix=AFTER_FIT)
    recorder.environment["model"] = _resolved_flags(model)
    recorder.python_state = python_state.of(model)
    recorder.places = places.of_fit(fit, callbacks_of(fit), recorder.root)  # some metrics are made in training
    return watcher


def _record_inference(
    fit: Fit, options: dict[str, Any], watcher: Any, batches: Batches, recorder: Recorder, folder: Path
) -> None:
    import keras

    model, step = fit.model, max(watcher.step, 0)
    why = _why_once(fit)
    if why is not None:
        recorder.note("evaluate, predict and save", why)
        return
    shared = {name: options[name] for name in _SHARED_OPTIONS if name in options}
    if has_loss(model) or type(model).test_step is not keras.Model.test_step:
        _record_evaluation(fit, options, watcher, batches, recorder, shared)
    else:
        recorder.note("evaluate", "compile was given no loss, and the model has no test_step of its own")
    with recorder.part("predict"):
        with batches.watched():
            predicted = model.predict(fit.x, **taken(model.predict, {"callbacks": [watcher], **shared}))
        batches.record_pass("predict", step)
        recorder.add("prediction", "predict", predicted, step=step)
        recorder.add("event", "predict", watcher.take_events(), step=step)
    with recorder.part("save to .keras, and load", optional=True), _whole_tracebacks():
        loaded = _saved_and_loaded(model, folder)
        _record_survivors(recorder, model, loaded, step)
        recorder.add("prediction", "after load", loaded.predict(fit.x, **taken(loaded.predict, shared)), step=step)


def _record_evaluation(
    fit: Fit, options: dict[str, Any], watcher: Any, batches: Batches, recorder: Recorder, shared: dict[str, Any]
) -> None:
    with recorder.part("evaluate"):
        weights = {"sample_weight": options["sample_weight"]} if "sample_weight" in options else {}
        given = {"return_dict": True, "callbacks": [watcher], **shared, **weights}
        step = max(watcher.step, 0)
        with batches.watched():
            values = fit.model.evaluate(*_data(fit), **taken(fit.model.evaluate, given))
        batches.record_pass("evaluate", step)
        recorder.add("metric", "evaluate", values, step=step)
        recorder.add("event", "evaluate", watcher.take_events(), step=step)


def has_loss(model: Any) -> bool:
    """Whether a model can compute a loss: from `compile`, or by a `compute_loss` of its own."""
    import keras

    return model.loss is not None or type(model).compute_loss is not keras.Model.compute_loss


def compute_loss(model: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
    """The loss of a training step, by the model's own `compute_loss`, which may take fewer arguments than Keras'."""
    given = {"x": x, "y": y, "y_pred": y_pred, "sample_weight": sample_weight, "training": True}
    return model.compute_loss(**taken(model.compute_loss, given))


def train(fit: Fit, options: dict[str, Any]) -> None:
    """Train as a `Fit` says, with these options for its own. A `fit` of the case's own need not take them all."""
    given = taken(fit.train, options)
    if "callbacks" in options and "callbacks" not in given:
        raise CaseError(
            f"fit of {type(fit.model).__name__} takes no callbacks, so that its steps cannot be recorded. Let it take "
            "callbacks, and pass them on to the fit of keras.Model."
        )
    fit.train(*_data(fit), **given)


def _data(fit: Fit) -> list[Any]:
    """x and y, without those at the end that are None: a `fit` of the case's own may take no y."""
    return [fit.x, fit.y] if fit.y is not None else [fit.x] if fit.x is not None else []


def callbacks_of(fit: Fit) -> list[Any]:
    """The callbacks that `fit` is given: several, one by itself, or none."""
    callbacks = fit.options.get("callbacks") or []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _record_instrumented_pass(
    fit: Fit, recorder: Recorder, noise: Noise, order: Order | None, updated: unowned.Updated
) -> dict[str, Any] | None:
    """Initial weights, then an eager forward and backward pass over the first batch. The model is left as it was.

    That batch is the one that training begins with where this is known, and the first rows of the data elsewhere.

    Returns:
        Digests of the batch; None if there was none.
    """
    model = fit.model
    first: tuple[Any, Any, Any] | None = None
    with recorder.part("forward, layer by layer, and gradients", optional=True):
        rows = None
        if order is not None:
            rows = rows_of(fit, 0, fit.options.get("initial_epoch") or 0, order.fits, order)
        first = batch(fit, rows)
        if rows is not None:
            recorder.add("initial", ROWS, rows, step=0)
        if not model.built:
            state.build(model, [first[0]])
    if not model.built:
        recorder.note("initial weights", "the model could not be built before training")
        return None
    if fit.as_trained:
        trained.move_weights(model)
    noise.disturb(model.variables)
    state.record_variables(recorder, "initial", state.variables_of(model), 0, owner=model)
    if first is None:
        return None
    x, y, sample_weight = first
    looked_at = digests(tuple(part for part in first if part is not None))
    training = taken(model.call, {"training": True})
    before = state.model_state(model)
    with (
        recorder.part("forward, layer by layer", optional=True),
        updated.preserved(before),
        observed_layers(recorder),
    ):
        model(x, **training)

    def loss(_: Any) -> Any:
        return compute_loss(model, x, y, model(x, **training), sample_weight)

    if not has_loss(model):
        recorder.note("gradients", "compile was given no loss")
        return looked_at
    if not runtime.current().backend.trains:
        with recorder.part("loss", optional=True), updated.preserved(before):
            recorder.add("loss", "loss", loss(None), step=0)
        return looked_at
    with recorder.part("gradients", optional=True), updated.preserved(before):
        weights = model.trainable_variables
        value, gradients = value_and_grad_once(loss, weights)
        _reset_new_metrics(model, before)
        recorder.add("loss", "loss", value, step=0)
        named = list(state.named(weights))
        for (name, layer, _), gradient in reversed(list(zip(named, gradients, strict=True))):
            recorder.add("gradient", name, or_none(gradient), step=0, layer=layer)
    return looked_at


def _reset_new_metrics(model: Any, before: list[Any]) -> None:
    """Reset metrics that the first loss made, such as a tracker for each output, since `before` does not have them."""
    known = {id(variable) for variable in before}
    for metric in model.metrics:
        if any(id(variable) not in known for variable in metric.variables):
            metric.reset_state()


def batch(fit: Fit, rows: Sequence[int] | None = None) -> tuple[Any, Any, Any]:
    """Some rows of the data as tensors: x, y and sample weights. Without rows, the first batch, unshuffled.

    Raises:
        ValueError: rows cannot be taken from data of this kind.
    """
    import keras

    if isinstance(fit.x, keras.utils.PyDataset) and rows is None:
        first = fit.x[0]
        x, y, sample_weight, *_ = (*(first if isinstance(first, tuple) else (first,)), None, None)
        return _as_tensors(x), _as_tensors(y), _as_tensors(sample_weight)
    leaves = keras.tree.flatten(fit.x)
    if not leaves or not all(hasattr(leaf, "shape") and len(leaf.shape) for leaf in leaves):
        raise ValueError(f"the first batch of {type(fit.x).__name__} cannot be looked at before training")
    chosen = slice(0, batch_size(fit)) if rows is None else list(rows)
    x, y, sample_weight = (_rows(part, chosen) for part in (fit.x, fit.y, fit.options.get("sample_weight")))
    return _as_tensors(x), _as_tensors(y), _as_tensors(sample_weight)


def _rows(structure: Any, chosen: slice | list[int]) -> Any:
    import keras

    def rows_of_leaf(leaf: Any) -> Any:
        if isinstance(chosen, slice):
            return leaf[chosen]
        # A tensor of tensorflow takes no list of rows, and a DataFrame takes it for columns.
        return np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)[chosen]

    return None if structure is None else keras.tree.map_structure(rows_of_leaf, structure)


def _as_tensors(structure: Any) -> Any:
    import keras

    return None if structure is None else keras.tree.map_structure(as_tensor, structure)


def _record_weights(model: Any, recorder: Recorder, step: int, *, prefix: str = "") -> None:
    state.record_variables(recorder, "update", state.variables_of(model), step, prefix=prefix, owner=model)
    state.record_variables(recorder, "optimizer", model.optimizer.variables, step, prefix=prefix)


def _resolved_flags(model: Any) -> dict[str, Any]:
    """What `jit_compile="auto"` and the like became, which differs by backend: a part of the proof of what ran."""
    return {
        "jit_compile": model.jit_compile,
        "run_eagerly": model.run_eagerly,
        "compiled": runtime.current().backend.compiles is not None and not model.run_eagerly,
        "dtype": model.dtype_policy.name,
    }


@contextlib.contextmanager
def _whole_tracebacks() -> Iterator[None]:
    """Let Keras keep its own frames in tracebacks while the context is open: they hold the layer that it failed at."""
    import keras

    if not keras.config.is_traceback_filtering_enabled():
        yield
        return
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        keras.config.enable_traceback_filtering()


def _saved_and_loaded(model: Any, folder: Path) -> Any:
    import keras

    path = folder / "model.keras"
    model.save(path)
    return keras.models.load_model(path)


def _record_survivors(recorder: Recorder, model: Any, loaded: Any, step: int) -> None:
    """Record which variables are bit for bit the same in the loaded model. Seeds are not saved, and left out."""

    owners = keras_internals.owners(model)
    kept = [variable for variable in [*loaded.variables, *loaded.optimizer.variables] if is_float(variable)]
    ours = [item for item in state.named([*model.variables, *model.optimizer.variables]) if is_float(item[2])]
    recorder.add("prediction", "after load/as many variables", len(kept) == len(ours), step=step)
    for position, (name, layer, variable) in enumerate(ours):
        value = numpy_of(variable)
        same = position < len(kept) and np.array_equal(value, numpy_of(kept[position]), equal_nan=True)
        owner = owners.get(id(variable), layer)
        recorder.add("prediction", f"after load/{name} survived", bool(same), step=step, layer=owner)


def _why_once(fit: Fit) -> str | None:
    """Why the data cannot be read once more after training; None if they can."""
    if fit.x is None:
        return "the Fit has no x: what its fit takes by other names was not looked at"
    return "x is an iterator, which can be read only once" if hasattr(fit.x, "__next__") else None
