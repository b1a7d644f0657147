"""A callback that observes: events, logs, and the state that training leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.trace.key import BATCH
from harness.worker.capture.record import Recorder

HOOKS = (
    *(f"on_{mode}_{end}" for mode in ("train", "test", "predict") for end in ("begin", "end")),
    *(f"on_{mode}_batch_{end}" for mode in ("train", "test", "predict") for end in ("begin", "end")),
    "on_epoch_begin",
    "on_epoch_end",
)


def observer(recorder: Recorder, record_state: Callable[[int], None]) -> Any:
    """A callback that records logs of each step and epoch, and keeps the sequence of events.

    It reads the model only after the first step and after each epoch (through `record_state`), because reading it
    makes jax synchronise. It is not safe to run in a thread, so no event of another callback is either.

    Args:
        recorder: where logs go.
        record_state: called with the index of the step that has just ended.

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

        def take_events(self) -> list[list[Any]]:
            """The events so far, which are forgotten."""
            events, self.events = self.events, []
            return events

        def _on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            # With several steps in one execution it is called after the last of them. There may be fewer in the last.
            most = (self.params or {}).get("steps")
            self.step = self._before + (batch if most is None else min(batch, most - 1))
            recorder.add("log", BATCH, dict(logs), step=self.step)
            if self.step == 0:
                self._record_state()

        def _on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            recorder.add("log", f"epoch {epoch}", dict(logs), step=max(self.step, 0))
            if self._state_at != self.step:
                self._record_state()

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
            if name == "on_epoch_begin":
                self._before = self.step + 1
            elif name == "on_train_batch_end":
                self._on_train_batch_end(index, logs)
            elif name == "on_epoch_end":
                self._on_epoch_end(index, logs)

        return method

    for name in HOOKS:
        setattr(Observer, name, hook(name))
    return Observer()
