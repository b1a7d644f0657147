"""A case once more, part by part: each on the values that the reference had there, so that nothing is inherited."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import itertools
import json
import math
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.backends import runtime
from harness.case import Fit, Forward
from harness.errors import message_of
from harness.trace import Key, Trace
from harness.trace.key import DATA, numbered
from harness.trace.parts import (
    CASE,
    DIFFERENCE,
    GIVEN,
    LOSS,
    METRICS,
    MOST_EMBEDDED,
    OPTIMIZER,
    PREDICT_STEP,
    RAISED,
    TAKEN,
    TEST_STEP,
    What,
    name_in,
    operation,
)
from harness.wire import Replay, Start
from harness.worker import collect, keras_internals
from harness.worker.capture import account, metrics, places, state, training
from harness.worker.capture.data import OneBatch, arrays_given
from harness.worker.capture.forward import prepared
from harness.worker.capture.gradients import (
    or_none,
    projected,
    projected_gradients,
    value_and_grad,
    value_and_grad_once,
)
from harness.worker.capture.layers import Visit, record_tensors, taken, visited_layers
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import (
    all_have_values,
    floating_leaves,
    has_value,
    in_order,
    is_float,
    is_float_tensor,
    numpy_of,
)
from harness.worker.patching import patched

#: Operations of one part that are observed. A loop by hand may run any number of them.
MOST_OPERATIONS = 500
#: Why an operation of a part was not observed, as a note on that part.
TOO_MANY = f"operations after the first {MOST_OPERATIONS} were not observed"
TRACED = "operations on tensors without values, such as those of a compiled call, were not observed"
#: The most bytes of an array of the data that is recorded, to tell which of its rows differ.
MOST_BYTES = 256_000_000
#: Characters of why a script cannot make something.
_MOST_TOLD = 200
#: By how much an element is moved for a finite difference, relative to it: the cube root of float64's roundoff.
_STEP = 5e-6


class Parts:
    """Runs parts and records them. Gradients come last, in reverse order: `finish` takes them."""

    def __init__(self, recorder: Recorder, replay: Replay) -> None:
        self._recorder = recorder
        self._given = None if replay.given is None else Trace(replay.given)
        self._inside = replay.inside
        self._held, self._free = replay.held, replay.free
        self._probed, self._index = replay.probed, tuple(replay.index)
        self._later: list[Callable[[], None]] = []
        self._start: list[tuple[Any, Any]] = []
        self._observing = False
        #: The floating tensors that each part returned.
        self._returned: dict[str, list[Any]] = {}
        #: What is added to them while upstream gradients are taken: zeros.
        self._added: Mapping[str, Sequence[Any]] | None = None
        self._upstream: dict[str, list[Any]] = {}
        #: The part that runs now, within those whose parts it is.
        self._part: str | None = None
        self.layer: str | None = None

    def starting_from(self, variables: Sequence[Any]) -> None:
        """Keep the values that variables have now: `restore` puts them back, and gradients are taken with them."""

        self._start = [(variable, numpy_of(variable)) for variable in variables]

    def restore(self) -> None:
        """Give the variables the values that `starting_from` kept."""
        for variable, value in self._start:
            variable.assign(value)

    def visit_layer(self) -> Visit:
        """What `visited_layers` calls in place of a layer: it runs the layer as a part."""

        def visit(part: str, layer: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
            outer = self._part, self.layer
            self._part, self.layer = part, layer.name
            try:
                is_leaf = not keras_internals.has_inner_layers(layer) and self._added is None
                if is_leaf or (self._is_for_scripts and self._added is None and _is_small(layer)):
                    self._describe(part, layer, (args, kwargs))
                # A layer that is made of others has gradients of its own too, for what it does between them.
                outputs = self.run(part, call, args, kwargs, weights=layer.trainable_variables, layer=layer.name)
            finally:
                self._part, self.layer = outer
            if is_leaf:
                for name, _, variable in state.named(layer.non_trainable_variables):
                    if is_float(variable):
                        self._recorder.add("update", name_in(part, "state", name), variable, step=0, layer=layer.name)
            return outputs

        return visit

    def _describe(self, part: str, layer: Any, arguments: Any) -> None:
        """Record what it takes to make a layer and to call it: its config, the arguments, and its weights."""
        described = _described(layer)
        if keras_internals.has_inner_layers(layer):
            described["composed"] = True
        if not self._is_for_scripts:
            described.pop("why", None)  # in words of the backend's own, and not compared
        config = json.dumps(described, sort_keys=True)
        self._recorder.add("initial", name_in(part, "config"), config, step=0, layer=layer.name)
        self._recorder.add("initial", name_in(part, "arguments"), _template(arguments), step=0, layer=layer.name)
        for name, _, variable in state.named(layer.weights):
            if is_float(variable) or self._is_for_scripts:
                self._recorder.add("initial", name_in(part, "weight", name), variable, step=0, layer=layer.name)

    @property
    def _is_for_scripts(self) -> bool:
        """Whether what only scripts need is recorded: by the reference, in the replay whose values all are given."""
        return self._given is None and self._inside is None

    def keep(self, part: str, described: Callable[[], Any], *arguments: Any) -> None:
        """Record what it takes to run a part that is no layer elsewhere: how it is made, and what it is called with.

        Nothing is recorded of what cannot be.
        """
        if not self._is_for_scripts:
            return
        with contextlib.suppress(Exception):
            record_tensors(self._recorder, name_in(part, GIVEN), list(arguments), 0, None)
            self._recorder.add("initial", name_in(part, "config"), json.dumps(described(), sort_keys=True), step=0)
            self._recorder.add("initial", name_in(part, "arguments"), _template((arguments, {})), step=0)

    def keep_step(self, optimizer: Any, weights: Sequence[Any]) -> None:
        """Record what it takes to run an optimizer's step elsewhere: how it is made, its state and the weights."""
        if not self._is_for_scripts:
            return
        config = json.dumps(_described(optimizer), sort_keys=True)
        self._recorder.add("initial", name_in(OPTIMIZER, "config"), config, step=0)
        kept: tuple[tuple[What, Sequence[Any]], ...] = ("weight", weights), ("state", optimizer.variables)
        for what, variables in kept:
            for name, _, variable in state.named(variables):
                self._recorder.add("initial", name_in(OPTIMIZER, what, name), variable, step=0)

    def run(
        self,
        part: str,
        call: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        *,
        weights: Sequence[Any] | None = (),
        layer: str | None = None,
    ) -> Any:
        """Call one part on what it is given, and record inputs and outputs.

        Args:
            weights: variables to take gradients with respect to, beside the inputs; None to take no gradients.
        """
        import keras

        if self._added is not None:
            return self._with_zeros(part, self.observed(part, lambda: call(*args, **kwargs)))
        args, kwargs = in_order(self.given((tuple(args), kwargs), name_in(part, "input"), is_passed=True))
        record_tensors(self._recorder, name_in(part, "input"), [args, kwargs], 0, layer)
        before = len(self._later)
        outputs = self.observed(part, lambda: call(*args, **kwargs))
        record_tensors(self._recorder, name_in(part, "output"), outputs, 0, layer)
        floating = [leaf for leaf in keras.tree.flatten(in_order(outputs)) if is_float_tensor(leaf)]
        if weights is not None and runtime.current().backend.trains and floating:
            self._returned[part] = floating
            # Gradients are taken last part first, and so this part's after those of the parts inside it.
            self._later.insert(before, functools.partial(self._gradients, part, call, args, kwargs, weights, layer))
        return outputs

    def given(self, structure: Any, name: str, *, is_passed: bool = False) -> Any:
        """A structure of tensors, with the reference's values in place of its own.

        Args:
            is_passed: whether gradients still pass to where its own values came from, as a layer needs that takes a
                derivative of another one.
        """
        import keras

        if self._given is None:
            return structure
        structure = in_order(structure)
        leaves = keras.tree.flatten(structure)
        places = [position for position, leaf in enumerate(leaves) if has_value(leaf)]
        keys = [str(Key("forward", 0, key)) for key in numbered(name, len(places))]
        if not all(key in self._given for key in keys):
            self._recorder.note(name, "the reference has no such values, or another number of them")
            return structure
        for position, key in zip(places, keys, strict=True):
            own, leaves[position] = leaves[position], _like(self._given[key].value, leaves[position])
            if is_passed and is_float_tensor(own):
                leaves[position] = _passing_to(own, leaves[position])
        return keras.tree.pack_sequence_as(structure, leaves)

    def observed(self, part: str, call: Callable[[], Any]) -> Any:
        """Call a part, with its operations as parts of their own if they are asked for.

        Those of a layer in it are that layer's.
        """
        if part != self._inside or self._observing:
            return call()
        outer, self._part = self._part, part
        self._observing = True
        try:
            noted = _noted_gradients(part, self._recorder) if self._added is None else contextlib.nullcontext()
            with keras_internals.wrapped_operations(self._wrapper(part)), noted:
                return call()
        finally:
            self._part, self._observing = outer, False

    def _wrapper(self, part: str) -> Callable[[str, Callable[..., Any]], Callable[..., Any]]:
        """What wraps the operations of a part. An operation that another one calls is not observed."""
        calls: Counter[str] = Counter()
        is_in_operation = False

        def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call_operation(*args: Any, **kwargs: Any) -> Any:
                nonlocal is_in_operation
                if is_in_operation or not self._observing or self._part != part:
                    return function(*args, **kwargs)
                is_in_operation = True
                try:
                    if keras_internals.in_symbolic_scope():
                        return function(*args, **kwargs)
                    if self._added is not None:
                        where = operation(part, calls[name], name)
                        calls[name] += 1
                        return self._with_zeros(where, function(*args, **kwargs))
                    if not all_have_values((args, kwargs)):
                        self._not_observed(part, TRACED)
                        return function(*args, **kwargs)
                    if calls.total() == MOST_OPERATIONS:
                        self._observing = False
                        self._not_observed(part, TOO_MANY)
                        return function(*args, **kwargs)
                    where = operation(part, calls[name], name)
                    calls[name] += 1
                    called = _template((args, kwargs))
                    self._recorder.add("initial", name_in(where, "arguments"), called, step=0, layer=self.layer)
                    return self._operation(where, function, args, kwargs)
                finally:
                    is_in_operation = False

            return call_operation

        return wrap

    def _operation(self, where: str, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call an operation, and return what the replay wants the part to go on with."""
        if where == self._free:
            return function(*args, **kwargs)
        record_tensors(self._recorder, name_in(where, "own"), [args, kwargs], 0, self.layer)
        outputs = self.run(where, function, args, kwargs, layer=self.layer)
        return self.given(outputs, name_in(where, "output")) if self._held else outputs

    def take_upstream(self, total: Callable[[], Any]) -> None:
        """Take the gradients of a total with respect to what each part returned, once on the reference, for all.

        A gradient of a part is then taken with what really comes to it from behind. At a tie or a root backends have
        other gradients by themselves, which do not matter where 0 comes from behind.

        Args:
            total: calls the parts again, in the same way, and returns a scalar tensor.
        """
        import keras

        if self._given is not None or not self._returned:
            return
        zeros = {part: [keras.ops.zeros_like(leaf) for leaf in leaves] for part, leaves in self._returned.items()}

        def with_zeros(added: Mapping[str, Sequence[Any]]) -> Any:
            self._added = added
            with visited_layers(self.visit_layer()):
                return total()

        self.restore()
        try:
            _, found = value_and_grad(with_zeros, zeros)
        except Exception as error:
            reason = f"random numbers stand for what comes from behind: {type(error).__name__}: {message_of(error)}"
            self._recorder.note("upstream gradients", reason)
        else:
            self._upstream = {
                part: [_or_zeros(g, like) for g, like in zip(gradients, zeros[part], strict=True)]
                for part, gradients in found.items()
            }
        finally:
            self._added = None
            self.restore()

    def _with_zeros(self, part: str, outputs: Any) -> Any:
        """What a part returned, with zeros added that gradients are taken with respect to."""
        import keras

        assert self._added is not None
        outputs = in_order(outputs)
        leaves = keras.tree.flatten(outputs)
        floating = [position for position, leaf in enumerate(leaves) if is_float_tensor(leaf)]
        added = self._added.get(part, ())
        if [tuple(leaves[position].shape) for position in floating] != [tuple(zero.shape) for zero in added]:
            return outputs
        for position, zero in zip(floating, added, strict=True):
            leaves[position] = _masked_as(leaves[position], leaves[position] + zero)
        return keras.tree.pack_sequence_as(outputs, leaves)

    def _upstream_of(self, part: str) -> list[Any] | None:
        """What comes from behind to each floating tensor that a part returned, on the reference; None if unknown."""
        if self._given is None:
            return self._upstream.get(part)
        names = numbered(name_in(part, "upstream"), len(self._returned[part]))
        keys = [str(Key("gradient", 0, name)) for name in names]
        return [self._given[key].value for key in keys] if all(key in self._given for key in keys) else None

    def _not_observed(self, part: str, reason: str) -> None:
        if not any((note.part, note.reason) == (part, reason) for note in self._recorder.notes):
            self._recorder.note(part, reason)

    def finish(self) -> None:
        """Take the gradients of the parts, last part first."""
        for take in reversed(self._later):
            take()
        self._later.clear()
        self.restore()

    def _gradients(
        self,
        part: str,
        call: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        weights: Sequence[Any],
        layer: str | None,
    ) -> None:
        import keras

        self.restore()
        arguments = _tensors(args), _tensors(kwargs)
        leaves = keras.tree.flatten(arguments)
        floating = floating_leaves(arguments)
        named = list(state.named(weights))
        names = [
            *numbered(name_in(part, "input"), len(floating)),
            *(name_in(part, "weight", name) for name, _, _ in named),
        ]
        if not names:
            return
        upstream = self._upstream_of(part)
        for name, value in zip(numbered(name_in(part, "upstream"), len(upstream or ())), upstream or (), strict=True):
            self._recorder.add("gradient", name, value, step=0, layer=layer)
        likes = [*(leaves[position] for position in floating), *(weight.value for _, _, weight in named)]
        try:
            of_inputs, of_weights = projected_gradients(call, arguments, weights, upstream)
        except Exception as error:
            # Told where the gradients would be: where another target has them, that differs.
            self._recorder.note(f"gradients of {part}", f"{type(error).__name__}: {message_of(error)}")
            gradients = [RAISED] * len(names)
        else:
            gradients = [_or_zeros(g, like) for g, like in zip([*of_inputs.values(), *of_weights], likes, strict=True)]
        for name, gradient in zip(names, gradients, strict=True):
            self._recorder.add("gradient", name, gradient, step=0, layer=layer)
        if self._probed in names and keras.config.floatx() == "float64":
            place = names.index(self._probed)
            leaf = floating[place] if place < len(floating) else weights[place - len(floating)]
            slope = self._slope(call, arguments, leaf, upstream)
            self._recorder.add("gradient", name_in(part, "value", DIFFERENCE), slope, step=0, layer=layer)

    def _slope(self, call: Callable[..., Any], arguments: Any, of: Any, upstream: Sequence[Any] | None) -> float:
        """The central difference of a part's projected outputs, at one element of a weight or of an argument.

        Args:
            of: the weight, or the position of the argument among all leaves.
        """
        import keras

        arguments = in_order(arguments)
        leaves = keras.tree.flatten(arguments)
        own = numpy_of(of) if isinstance(of, keras.Variable) else np.array(keras.ops.convert_to_numpy(leaves[of]))
        step = _STEP * max(abs(float(own[self._index])), 1.0)
        values = []
        for shift in (step, -step):
            self.restore()
            moved, given = own.copy(), list(leaves)
            moved[self._index] += shift
            if isinstance(of, keras.Variable):
                of.assign(moved)
            else:
                given[of] = _like(moved, leaves[of])
            args, kwargs = keras.tree.pack_sequence_as(arguments, given)
            values.append(float(keras.ops.convert_to_numpy(projected(call(*args, **kwargs), upstream))))
        self.restore()
        return (values[0] - values[1]) / (2 * step)


def replay_case(call: Callable[[], Any], recorder: Recorder, replay: Replay) -> None:
    """Replay a case: the parts of what it returns, the operations of its own, or one array of its data."""
    if replay.inside == CASE:
        _observed(call, recorder, replay)
        return
    result = call()
    if replay.data is not None:
        _record_array(result, recorder, replay.data, replay.batch)
    elif isinstance(result, Fit):
        _replay_fit(result, recorder, replay)
    elif isinstance(result, Forward):
        _replay_forward(result, recorder, replay)


def _record_array(fit: Fit, recorder: Recorder, name: str, step: int | None) -> None:
    """Record one array of the data of a training, or of the batch of one of its steps, for which it trains up to it."""
    import keras

    if step is None:
        array = dict(arrays_given(fit))[name]
        if array.nbytes > MOST_BYTES:
            recorder.note(name, f"it has {array.nbytes} bytes, and was not looked at row by row")
        else:
            recorder.add("initial", f"{DATA}/{name}", array, step=0)
        return
    batches = OneBatch(recorder, name, step)

    class Ending(keras.callbacks.Callback):  # type: ignore[misc]
        async_safe = False

        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
            batches.forget()

        def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
            batches.forget()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
            batches.record_steps()
            if batches.is_recorded:
                self.model.stop_training = True

    with batches.watched():
        training.train(fit, {"verbose": 0, **fit.options, "callbacks": [*training.callbacks_of(fit), Ending()]})


def _observed(call: Callable[[], Any], recorder: Recorder, replay: Replay) -> None:
    """The operations of a case as a whole, up to where its model is built or its function returns."""
    import keras

    parts = Parts(recorder, replay)

    def visit(part: str, layer: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001 - the signature of a visit
        outer, parts.layer = parts.layer, layer.name
        try:
            return call(*args, **kwargs)
        finally:
            parts.layer = outer

    def whole() -> None:
        result = call()
        if isinstance(result, Fit) and not result.model.built:
            state.build(result.model, [training.batch(result)[0]])
        elif isinstance(result, Forward) and not isinstance(result.function, keras.Layer):
            inputs, options = prepared(result)
            recorder.add("forward", "output", result.function(*inputs, **options), step=0)

    with visited_layers(visit):
        parts.observed(CASE, whole)
    parts.finish()


@contextlib.contextmanager
def _noted_gradients(part: str, recorder: Recorder) -> Iterator[None]:
    """Record that a part takes a gradient, the first time that it does while the context is open."""
    is_noted = False

    def noted(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def differentiate(*args: Any, **kwargs: Any) -> Any:
            nonlocal is_noted
            if not is_noted:
                is_noted = True
                recorder.add("gradient", name_in(part, "value", TAKEN), True, step=0)
            return original(*args, **kwargs)

        return differentiate

    with contextlib.ExitStack() as stack:
        for owner, name in runtime.current().differentiators():
            stack.enter_context(patched(owner, name, noted))
        yield


def _replay_fit(fit: Fit, recorder: Recorder, replay: Replay) -> None:
    """The parts of one training step, or of one call for predictions."""
    import keras

    model, parts, trains = fit.model, Parts(recorder, replay), runtime.current().backend.trains
    x, y, sample_weight = training.batch(fit, replay.rows)
    if not model.built:
        state.build(model, [x])
    weights, optimizer = model.trainable_variables, model.optimizer
    if not optimizer.built:
        optimizer.build(weights)
    if replay.state is not None:
        _assign(replay.state, state.model_state(model))
    if replay.inside in (TEST_STEP, PREDICT_STEP):
        account.record_inference(model, recorder, replay.inside, (x, y, sample_weight))
        return
    parts.starting_from(state.model_state(model))
    training_mode = taken(model.call, {"training": replay.training})
    with visited_layers(parts.visit_layer()):
        y_pred = model(x, **training_mode)

    if training.has_loss(model) and replay.training:

        def compute_loss(y_pred: Any) -> Any:
            return training.compute_loss(model, x, y, y_pred, sample_weight)

        for name, layer, weight in state.named(weights):
            if getattr(weight, "regularizer", None) is not None:
                regularizer = name_in(name, "regularizer")
                parts.keep(regularizer, functools.partial(_described, weight.regularizer), weight.value)
                value = parts.observed(regularizer, functools.partial(weight.regularizer, weight))
                recorder.add("loss", regularizer, value, step=0, layer=layer)
        y_pred = parts.run(LOSS, lambda y_pred: y_pred, (y_pred,), {}, weights=None)
        parts.keep(LOSS, lambda: _described_loss(model), y_pred, y, sample_weight)
        loss = parts.observed(LOSS, lambda: compute_loss(y_pred))
        losses, trackers = keras_internals.losses_of(model), keras_internals.loss_trackers_of(model)
        for name, tracker in zip(losses, trackers, strict=False):
            recorder.add("loss", name_in(LOSS, "value", name), tracker.result(), step=0)
        recorder.add("loss", name_in(LOSS, "value"), loss, step=0)
        if trains:
            _, of_outputs = value_and_grad_once(compute_loss, y_pred)
            for position, gradient in enumerate(keras.tree.flatten(in_order(of_outputs))):
                recorder.add("gradient", name_in(LOSS, "input", position), or_none(gradient), step=0)
        model.reset_metrics()
    if replay.training:
        if training.has_loss(model) and trains:
            parts.take_upstream(lambda: compute_loss(model(x, **training_mode)))
            model.reset_metrics()
        parts.finish()
    parts.restore()
    if training.has_loss(model) and replay.training and trains:
        _replay_update(model, parts, recorder, compute_loss, x)
    with recorder.part(METRICS, optional=True):
        model.reset_metrics()
        y_pred = parts.given(y_pred, name_in(METRICS, "input"))
        record_tensors(recorder, name_in(METRICS, "input"), y_pred, 0, None)
        results = parts.observed(METRICS, lambda: model.compute_metrics(x, y, y_pred, sample_weight))
        metrics.record_state(recorder, "metric", name_in(METRICS, "state"), model, 0)
        for name, value in results.items():
            recorder.add("metric", name_in(METRICS, "value", name), value, step=0)
    _keep_metrics(parts, model, y, y_pred, sample_weight)


def _keep_metrics(parts: Parts, model: Any, y: Any, y_pred: Any, sample_weight: Any) -> None:
    """Record what it takes to run each metric elsewhere that is updated with the batch."""
    import keras

    is_weighted = sample_weight is not None and not _compiled_with(model, "metrics")
    batch = (y, y_pred, sample_weight) if is_weighted else (y, y_pred)
    for metric in keras_internals.metrics_of(model):
        if type(metric) is not keras.metrics.Mean:  # which is told values, and no batch
            described = functools.partial(_described, _own_code_of(metric))
            parts.keep(name_in(METRICS, "value", metric.name), described, *batch)


def _replay_update(model: Any, parts: Parts, recorder: Recorder, compute_loss: Callable[[Any], Any], x: Any) -> None:
    """The constraints, the rate, and the optimizer's step with the reference's gradients."""
    weights, optimizer = model.trainable_variables, model.optimizer
    training_mode = taken(model.call, {"training": True})
    _, gradients = value_and_grad_once(lambda _: compute_loss(model(x, **training_mode)), weights)
    present = [(weight, gradient) for weight, gradient in zip(weights, gradients, strict=True) if gradient is not None]
    parts.restore()
    recorder.add("update", name_in(OPTIMIZER, "value", "learning rate"), float(optimizer.learning_rate), step=0)

    def step(gradients: list[Any]) -> None:
        optimizer.apply(gradients, [weight for weight, _ in present])

    for name, layer, weight in state.named(weights):
        if getattr(weight, "constraint", None) is not None:
            parts.keep(name_in(name, "constraint"), functools.partial(_described, weight.constraint), weight.value)
            recorder.add("update", name_in(name, "constraint"), weight.constraint(weight.value), step=0, layer=layer)
    parts.keep_step(optimizer, [weight for weight, _ in present])
    parts.run(OPTIMIZER, step, ([gradient for _, gradient in present],), {}, weights=None)
    for name, _, variable in state.named(optimizer.variables):
        if is_float(variable):
            recorder.add("optimizer", name_in(OPTIMIZER, "state", name), variable, step=0)
    for name, layer, weight in state.named(weights):
        recorder.add("update", name_in(OPTIMIZER, "weight", name), weight, step=0, layer=layer)
    parts.restore()


def _replay_forward(forward: Forward, recorder: Recorder, replay: Replay) -> None:
    """The layers that are called, and of a function's own operations those that `inside` asks for."""
    import keras

    parts, function = Parts(recorder, replay), forward.function
    inputs, options = prepared(forward)
    if isinstance(function, keras.Layer):
        if replay.state is not None:
            _assign(replay.state, function.variables)
        parts.starting_from(state.model_state(function))
    with visited_layers(parts.visit_layer()):
        function(*inputs, **options)
    if runtime.current().backend.trains:
        parts.take_upstream(lambda: projected(function(*inputs, **options)))
    parts.finish()


def _assign(start: Start, variables: Sequence[Any]) -> None:
    """Give variables the values that a replay starts from."""
    state.assign(variables, Trace(start.trace), start.phase, start.step, start.prefix)


def _or_zeros(gradient: Any, like: Any) -> Any:
    """A gradient, or zeros where there is none. Backends disagree on which of the two a constant function has."""
    import keras

    return keras.ops.zeros_like(like) if gradient is None else gradient


def _like(value: Any, leaf: Any) -> Any:
    """An array in the form of the tensor or array that it replaces: with the same dtype and the same mask."""
    import keras

    if not keras.ops.is_tensor(leaf) and not isinstance(leaf, keras.Variable):
        return np.asarray(value, leaf.dtype)
    tensor = keras.ops.convert_to_tensor(value, dtype=keras.backend.standardize_dtype(leaf.dtype))
    return tensor if isinstance(leaf, keras.Variable) else _masked_as(leaf, tensor)


def _masked_as(leaf: Any, tensor: Any) -> Any:
    """A tensor that carries the mask of another one."""
    mask = keras_internals.mask_of(leaf)
    return tensor if mask is None else keras_internals.carry_mask(tensor, mask)


def _passing_to(own: Any, tensor: Any) -> Any:
    """A tensor of the same values as it has, whose gradient passes to another one of its shape."""
    import keras

    if own.shape != tensor.shape or not bool(keras.ops.all(keras.ops.isfinite(own))):
        return tensor
    return _masked_as(tensor, tensor + (own - keras.ops.stop_gradient(own)))


def _tensors(structure: Any) -> Any:
    import keras

    def tensor(leaf: Any) -> Any:
        return keras.ops.convert_to_tensor(leaf) if isinstance(leaf, keras.Variable) else leaf

    return keras.tree.map_structure(tensor, structure)


def _is_small(layer: Any) -> bool:
    """Whether a script can hold a layer's weights."""
    return sum(math.prod(map(int, weight.shape)) for weight in layer.weights) <= MOST_EMBEDDED


def _described(item: Any) -> dict[str, Any]:
    """A layer, loss or the like: its class and, as far as they can be had, its config, and the source if it needs that.

    Of a function it is the function itself, and of what Keras has a name for, the name. Where something cannot be had
    it is said why.
    """
    import keras

    if isinstance(item, str):
        return {"text": item}
    is_function = inspect.isroutine(item)
    code = item if is_function else type(item)
    described: dict[str, Any] = {"module": code.__module__, "class": code.__qualname__, "config": None}
    described |= {"is_function": True} if is_function else {}
    try:
        is_there = hasattr(sys.modules[code.__module__], code.__qualname__.partition(".")[0])
        if not is_there or not collect.is_importable(code.__module__):
            described["source"] = _source_of(code)
        if not is_function:
            config = item.get_config()
            described["config"] = json.loads(
                json.dumps({k: keras.saving.serialize_keras_object(v) for k, v in config.items()})
            )
    except OSError:
        described["why"] = "it was made while the program ran, and has no source"
    except NotImplementedError:  # whose message is a page of advice
        described["why"] = "it has no get_config that gives what its __init__ takes"
    except Exception as error:
        described["why"] = " ".join(re.sub(" at 0x[0-9a-fA-F]+", "", message_of(error)).split())[:_MOST_TOLD]
    return described


def _described_loss(model: Any) -> dict[str, Any]:
    """The losses that a model was compiled with, in their structure, and their weights."""
    import keras

    def described(loss: Any) -> Any:
        if isinstance(loss, dict):
            return {"dict": {str(key): described(item) for key, item in loss.items()}}
        if isinstance(loss, (list, tuple)):
            return {"list": [described(item) for item in loss]}
        return None if loss is None else _described(loss)

    own = type(model).compute_loss
    if own is not keras.Model.compute_loss:
        why = "the model computes it itself, in compute_loss"
        return {"loss": {"module": own.__module__, "class": own.__qualname__, "why": why}, "weights": None}
    return {"loss": described(model.loss), "weights": _compiled_with(model, "loss_weights")}


def _own_code_of(metric: Any) -> Any:
    """A metric, or the user's function that a metric of Keras is made of."""
    code = places.code_of(metric)
    return code if inspect.isroutine(code) and type(metric).__module__.startswith("keras.") else metric


def _compiled_with(model: Any, name: str) -> Any:
    """What `compile` was given by that name, as plain data; None where nothing was, or it cannot be had as that."""
    with contextlib.suppress(Exception):
        return (model.get_compile_config() or {}).get(name)
    return None


def _source_of(code: Any) -> str:
    """The source of a class or function, with what it uses of its module: imports, functions, classes and constants.

    Raises:
        OSError: there is no source, as of what was made while the program ran.
        ValueError: the source cannot stand by itself.
    """
    module, own = sys.modules[code.__module__], textwrap.dedent(inspect.getsource(code))
    if code.__name__ == "<lambda>":
        raise ValueError("it is a lambda, whose source is a part of a statement")
    lines, used = inspect.getsource(module).splitlines(), _names_in(ast.parse(own))
    needed: dict[int, str] = {}
    statements = [node for node in ast.parse("\n".join(lines)).body if not isinstance(node, _IMPORTS)]
    found = True
    while found:  # what is needed may itself need more
        found = False
        for node in statements:
            defined = _defined_by(node) - {code.__name__}
            if node.lineno not in needed and defined & used:
                first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", ()))])
                needed[node.lineno] = "\n".join(lines[first - 1 : node.end_lineno])
                used |= _names_in(node)
                found = True
    return _imports_of(module) + "\n\n\n".join([*(needed[line] for line in sorted(needed)), own])


_IMPORTS = ast.Import, ast.ImportFrom


def _names_in(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _defined_by(node: ast.stmt) -> set[str]:
    """The names that a statement at the top of a module defines, if it is a function, a class or an assignment."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {name for target in targets for name in _names_in(target)}


def _imports_of(module: Any) -> str:
    """The import statements at the top of a module, without those of the harness, which a script does not need."""
    lines = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import):
            node.names = [alias for alias in node.names if alias.name.partition(".")[0] != "harness"]
        elif not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] in ("harness", "__future__"):
            continue
        if node.names:
            lines.append(ast.unparse(node))
    return "\n".join(lines) + "\n\n\n"


def _template(arguments: Any) -> str:
    """The arguments of an operation as JSON, in which `{"tensor": 0}` stands for its first tensor, and so on."""
    count = itertools.count()

    def described(value: Any) -> Any:
        if has_value(value):
            return {"tensor": next(count)}
        if isinstance(value, dict):
            return {"dict": {str(key): described(value[key]) for key in sorted(value, key=str)}}
        if isinstance(value, (list, tuple)):
            return {"tuple" if isinstance(value, tuple) else "list": [described(item) for item in value]}
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": str(value)}
        return (
            value if value is None or isinstance(value, (str, bool, int, float)) else {"object": type(value).__name__}
        )

    args, kwargs = arguments
    return json.dumps({"args": [described(value) for value in args], "kwargs": described(kwargs)["dict"]})
