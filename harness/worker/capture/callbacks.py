"""Callbacks that observe: events, logs, the state that training leaves behind, and what other callbacks change."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.trace import Changed, Key
from harness.trace.key import BATCH, BEGINS, CALLBACK, CALLBACKS
from harness.worker import keras_internals
from harness.worker.capture import metrics, python_state, state
from harness.worker.capture.data import Batches
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import is_float, numpy_of

HOOKS = (
    *(f"on_{mode}_{end}" for mode in ("train", "test", "predict") for end in ("begin", "end")),
    *(f"on_{mode}_batch_{end}" for mode in ("train", "test", "predict") for end in ("begin", "end")),
    "on_epoch_begin",
    "on_epoch_end",
)

#: The hooks in which it is looked at what a callback changes, as people say when they are.
_WHEN = {
    "on_train_begin": "before training",
    "on_epoch_begin": "before epoch",
    "on_train_batch_begin": "before batch",
    "on_train_batch_end": "after batch",
    "on_epoch_end": "after epoch",
    "on_train_end": "after training",
}
#: Other names of hooks, which Keras calls unless the newer ones are overridden.
_OLDER = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}
#: What a callback is said to change if it changes nothing.
NOTHING = "nothing"
#: The most elements of a model whose weights and optimizer are looked at around each batch.
_MOST_PER_BATCH = 1_000_000


def observer(recorder: Recorder, record_state: Callable[[int], None], batches: Batches) -> Any:
    """A callback that records batches and logs of each step, logs of each epoch, and keeps the sequence of events.

    The state of metrics is recorded when something begins that they were reset for: each epoch after the first, each
    validation, and `evaluate`. What is left in it then goes into all that follows.

    It reads the model only after the first step and after each epoch (through `record_state`), because reading it
    makes jax synchronise. Metrics hold their values when they have been reset. It is not safe to run in a thread, so no
    event of another callback is either.

    Args:
        recorder: where logs go.
        record_state: called with the index of the step that has just ended.
        batches: those that the steps of training take.

    Returns:
        A `keras.callbacks.Callback` with `events` (each `[hook, index or None, names of the logs]`) and `step`, the
        index of the last training step.
    """
    import keras

    class Observer(keras.callbacks.Callback):  # type: ignore[misc]
        async_safe = False

        def __init__(self) -> None:
            super().__init__()
            self.events: list[list[Any]] = []
            self.step = -1
            self._state_at: int | None = None
            self._before = 0
            self._epoch: int | None = None
            self._begun: set[tuple[str, int]] = set()

        def take_events(self) -> list[list[Any]]:
            """The events so far, which are forgotten."""
            events, self.events = self.events, []
            return events

        def _on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            # With several steps in one execution it is called after the last of them. There may be fewer in the last.
            most = (self.params or {}).get("steps")
            self.step = self._before + (batch if most is None else min(batch, most - 1))
            batches.record_steps()
            recorder.add("log", BATCH, dict(logs), step=self.step)
            if self.step == 0:
                self._record_state()

        def _on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            recorder.add("log", f"epoch {epoch}", dict(logs), step=max(self.step, 0))
            if self._state_at != self.step:
                self._record_state()

        def _on_epoch_begin(self, epoch: int) -> None:
            self._before, self._epoch = self.step + 1, epoch
            if self.step >= 0:
                self._record_metrics(f"epoch {epoch}")

        def _on_test_batch_begin(self, batch: int) -> None:
            if batch == 0:  # when a test as a whole begins, its metrics have yet to be reset
                self._record_metrics("evaluate" if self._epoch is None else f"validation of epoch {self._epoch}")

        def _record_metrics(self, what: str) -> None:
            begun = what, max(self.step, 0)
            if begun not in self._begun:
                self._begun.add(begun)
                metrics.record_state(recorder, "metric", f"{what}{BEGINS}", self._model, begun[1])

        def _record_state(self) -> None:
            self._state_at = self.step
            _ = self.model  # on jax, brings the model's variables up to date
            record_state(max(self.step, 0))

    def hook(name: str) -> Callable[..., None]:
        indexed = "batch" in name or "epoch" in name

        def method(self: Any, *args: Any, logs: dict[str, Any] | None = None) -> None:
            index = int(args[0]) if indexed else None
            logs = logs if logs is not None else (args[indexed] if len(args) > indexed else None) or {}
            self.events.append([name, index, list(logs)])
            if name in ("on_train_begin", "on_test_begin", "on_predict_begin"):
                batches.forget()
            elif name == "on_epoch_begin":
                self._on_epoch_begin(index)
            elif name == "on_train_end":
                self._epoch = None
            elif name == "on_test_batch_begin":
                self._on_test_batch_begin(index)
            elif name == "on_train_batch_end":
                self._on_train_batch_end(index, logs)
            elif name == "on_epoch_end":
                self._on_epoch_end(index, logs)

        return method

    for name in HOOKS:
        setattr(Observer, name, hook(name))
    return Observer()


def watched(callbacks: Sequence[Any], model: Any, recorder: Recorder, watcher: Any, batches: Batches) -> list[Any]:
    """What `fit` is given instead of a case's callbacks: those, what looks at the model between them, and the observer.

    Which callbacks there are is recorded at once, and of each of their hooks, when it is called, what it changed:
    learning rate, weights, optimizer, names of the logs, and whether training goes on. Hooks that a callback inherits
    from Keras are passed by.

    Args:
        watcher: the observer.
        batches: those that the steps of training take, which are recorded before what callbacks make of the step.
    """
    import keras

    flat = keras.tree.flatten(callbacks)
    classes: Counter[str] = Counter()
    names = []
    for callback in flat:
        name = type(callback).__name__
        classes[name] += 1
        names.append(name if classes[name] == 1 else f"{name}#{classes[name]}")
    recorder.add("event", CALLBACKS, [type(callback).__name__ for callback in flat], step=0)
    last: dict[str, Any] = {}  # what the gap before the callback saw

    class Gap(keras.callbacks.Callback):  # type: ignore[misc]
        async_safe = False

        def __init__(self, position: int) -> None:
            super().__init__()
            self.position = position

        def look(self, hook: str, index: int | None, logs: dict[str, Any] | None) -> None:
            if self.position == 0 and hook == "on_train_batch_end":
                batches.record_steps()
            own = None if self.position == 0 else own_hook(flat[self.position - 1], hook)
            is_before = self.position < len(flat) and own_hook(flat[self.position], hook) is not None
            if own is None and not is_before:
                return
            now = _looked_at(model, logs, is_batch="batch" in hook)
            if own is not None and last:  # it is empty where somebody calls the callbacks in another order
                step = watcher.step + 1 if "batch" in hook else max(watcher.step, 0)
                when = _WHEN[hook] if index is None else f"{_WHEN[hook]} {index}"
                name = f"{CALLBACK}/{names[self.position - 1]}/{when}"
                changes = _changes(last, now)
                recorder.add("event", name, changes, step=step)
                if changes != NOTHING:
                    rates = last["rate"], now["rate"]
                    recorder.changes[str(Key("event", step, name))] = Changed(own, rates if len({*rates}) > 1 else None)
            last.clear()
            last.update(now)

    def looking(hook: str) -> Callable[..., None]:
        indexed = "batch" in hook or "epoch" in hook

        def method(self: Any, *args: Any, logs: dict[str, Any] | None = None) -> None:
            given = logs if logs is not None else (args[indexed] if len(args) > indexed else None)
            self.look(hook, int(args[0]) if indexed else None, given)

        return method

    for hook in _WHEN:
        setattr(Gap, hook, looking(hook))
    gaps = [Gap(position) for position in range(len(flat) + 1)]
    between = [item for pair in zip(gaps, flat, strict=False) for item in pair]
    return [*between, gaps[-1], watcher]


def own_hook(callback: Any, hook: str) -> str | None:
    """The name by which a callback has a hook of its own, in its class or in itself; None if it has none."""
    import keras

    base = keras.callbacks.Callback
    for name in (hook, _OLDER.get(hook)):
        if name and (name in vars(callback) or getattr(type(callback), name) is not getattr(base, name)):
            return name
    return None


def _looked_at(model: Any, logs: dict[str, Any] | None, *, is_batch: bool) -> dict[str, Any]:
    """What a callback may change, each as something that is equal as long as it is not changed."""
    found: dict[str, Any] = {"logs": list(logs or {}), "stop_training": bool(model.stop_training)}
    found["python"] = python_state.of(model)
    weights = [variable for variable in state.variables_of(model) if is_float(variable)]
    optimizer = list(getattr(model.optimizer, "variables", []))
    rates = [variable for variable in optimizer if variable.path.rpartition("/")[2] == "learning_rate"]
    others = [variable for variable in optimizer if not any(variable is rate for rate in rates)]
    held = keras_internals.values_in_training(model)
    found["learning rate"] = _digest(rates, held)
    found["rate"] = ", ".join(f"{_value(rate, held).item():.6g}" for rate in rates)
    if not is_batch or sum(math.prod(variable.shape) for variable in (*weights, *others)) <= _MOST_PER_BATCH:
        found |= {"weights": _digest(weights, held), "optimizer": _digest(others, held)}
    return found


def _digest(variables: Sequence[Any], held: dict[int, Any]) -> str:
    hashed = hashlib.sha256()
    for variable in variables:
        hashed.update(np.ascontiguousarray(_value(variable, held)).tobytes())
    return hashed.hexdigest()


def _value(variable: Any, held: dict[int, Any]) -> np.ndarray[Any, Any]:
    import keras

    value = held.get(id(variable))
    return np.asarray(numpy_of(variable) if value is None else keras.ops.convert_to_numpy(value))


def _changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What differs between two looks, in words."""
    changed = [what for what in ("learning rate", "weights", "optimizer") if before.get(what) != after.get(what)]
    ours, theirs = before["python"], after["python"]
    changed += [f"`{name}`" for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    names = [*(name for name in after["logs"] if name not in before["logs"])]
    names += [name for name in before["logs"] if name not in after["logs"]]
    changed += [f"logs ({', '.join(names)})"] if names else []
    changed += ["whether training goes on"] if before["stop_training"] != after["stop_training"] else []
    return ", ".join(changed) or NOTHING
