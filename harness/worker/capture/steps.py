"""Training once more, step by step: each step from the state that the reference had before it.

So no step inherits a difference from an earlier one, and none grows: what differs after a step was made in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from harness.case import Fit
from harness.trace import Key, Trace
from harness.trace.key import BATCH, ROWS
from harness.wire import Steps
from harness.worker.capture import account, state, trained, training
from harness.worker.capture.data import rows_of
from harness.worker.capture.record import Recorder
from harness.worker.randomness import Order


def follow_fit(fit: Fit, recorder: Recorder, steps: Steps, order: Order | None) -> None:
    """Train up to the last step, and record state before and after each of the steps, and its logs.

    Args:
        order: the order of the rows, unless the backend keeps its own.
    """
    import keras

    model = fit.model
    given = None if steps.given is None else Trace(steps.given)
    number = order.fits if order is not None else 0

    class Follower(keras.callbacks.Callback):  # type: ignore[misc]
        async_safe = False

        def __init__(self) -> None:
            super().__init__()
            self.step = -1
            self.epoch = 0

        @property
        def followed(self) -> bool:
            return steps.first <= self.step <= steps.last

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
            self.epoch = epoch

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
            self.step += 1
            if not self.followed:
                return
            variables = state.model_state(self.model)
            if given is not None:
                state.assign(variables, given, "initial", self.step)
                variables = self._as_given(variables, given)
            state.record_variables(recorder, "initial", variables, self.step)
            recorder.add("initial", ROWS, rows_of(fit, batch, self.epoch, number, order), step=self.step)

        def _as_given(self, variables: Iterable[Any], given: Trace) -> list[Any]:
            """The variables that the reference had before the step too.

            Backends build metrics and an optimizer's slots at other times, some of them in the first step. What is
            built there begins as it is built, so that it makes no difference before the step.
            """
            keys = {str(Key("initial", self.step, name)): variable for name, _, variable in state.named(variables)}
            for entry in given.select("initial", step=self.step):
                if entry.key not in keys and entry.name != ROWS:
                    recorder.lack(entry.key, "it is built in the step itself on this backend")
            return [variable for key, variable in keys.items() if key in given]

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
            if self.followed:
                recorder.add("log", BATCH, dict(logs or {}), step=self.step)
                state.record_variables(recorder, "update", state.variables_of(self.model), self.step, owner=self.model)
                state.record_variables(recorder, "optimizer", self.model.optimizer.variables, self.step)
            if self.step >= steps.last:
                self.model.stop_training = True

    if not model.built:
        state.build(model, [training.batch(fit)[0]])
    if fit.as_trained:
        trained.move_weights(model)
    follower = Follower()
    with contextlib.ExitStack() as stack:
        if steps.account:
            model.run_eagerly = True
            stack.enter_context(
                account.training_told(model, recorder, lambda: follower.step if follower.followed else None)
            )
        training.train(fit, {"verbose": 0, **fit.options, "callbacks": [*training.callbacks_of(fit), follower]})
