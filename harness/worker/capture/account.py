"""What a step of a model's own does: its `train_step`, `test_step` or `predict_step`, in words.

Before the step runs, the model, its loss and the gradients of that are computed from the same state on the same batch.
The step is held against them, on its own backend: whether its forward pass trains, whose gradients the optimizer is
given, and how often. Two backends on which a step does the same have the same words for it, whatever rounding does.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backends import runtime
from harness.trace.key import numbered
from harness.trace.parts import (
    INFERS,
    LEAVES_OUT_NONE,
    OF_ITS_LOSS,
    TEST_STEP,
    TRAIN_STEP,
    TRAINS,
    name_in,
)
from harness.worker import keras_internals
from harness.worker.capture import state
from harness.worker.capture.gradients import value_and_grad_once
from harness.worker.capture.layers import taken
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import in_order
from harness.worker.capture.training import compute_loss
from harness.worker.patching import patched, where_defined

Arrays = list[NDArray[Any]]
#: Arrays by the names of weights.
Named = dict[str, NDArray[Any]]

#: How far apart two computations of one thing on one backend may be, relative to the largest: in float64, and else.
_SAME_IN_DOUBLE, _SAME = 1e-9, 1e-4
_DOES_NOT_TRAIN = "its forward pass does not train"


@dataclass
class _Seen:
    """What a step did.

    Attributes:
        outputs: what each call of the model returned.
        handed: the gradients that the optimizer was given each time, by the names of their weights.
    """

    outputs: list[Arrays] = field(default_factory=list)
    handed: list[Named] = field(default_factory=list)


@dataclass(frozen=True)
class _Plain:
    """What the model and its loss give by themselves, from the state and on the batch that a step is given.

    Attributes:
        trains, infers: what the model returns where it trains, and where it does not.
        gradients: of the loss, by whether the model trains.
        without_added: the gradients where the losses that layers add are left out; None where there are none.
        draws: whether the model has anything that draws random numbers.
    """

    trains: Arrays
    infers: Arrays
    gradients: Mapping[bool, Named]
    without_added: Named | None
    draws: bool


@contextlib.contextmanager
def training_told(model: Any, recorder: Recorder, step: Callable[[], int | None]) -> Iterator[None]:
    """Record what the model's `train_step` does, while the context is open.

    Args:
        step: the number of the step that is to come; None if it is not to be recorded.
    """
    before: Named | None = None

    def observed(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def train_step(model: Any, *arguments: Any) -> Any:
            nonlocal before
            number = step()
            if number is None:
                return original(model, *arguments)
            plain: _Plain | None = None
            with recorder.part("the training step's own model, loss and gradients", optional=True):
                scope, data = runtime.current().given_to_step(model, arguments)
                with scope:
                    plain = _plain(model, data)
            with _watched(model) as seen:
                result = original(model, *arguments)
            _record_training(recorder, number, plain, seen, before)
            before = _merged(seen.handed)
            return result

        return train_step

    with patched(where_defined(type(model), "train_step"), "train_step", observed):
        yield


def record_inference(model: Any, recorder: Recorder, part: str, batch: tuple[Any, Any, Any]) -> None:
    """Record what the model's `test_step` or `predict_step` does on a batch: x, y and sample weights.

    Args:
        part: TEST_STEP or PREDICT_STEP.
    """
    model.run_eagerly = True
    x, y, sample_weight = batch
    trains, infers = (_called(model, x, training=training) for training in (True, False))
    if part == TEST_STEP:
        with state.preserved(state.model_state(model)):
            y_pred = model(x, **taken(model.call, {"training": False}))
            loss = _arrays(compute_loss(model, x, y, y_pred, sample_weight))
        with _watched(model) as seen:
            logs = _of_all(model.evaluate, x, y, sample_weight, return_dict=True)
        own = _arrays(logs["loss"]) if "loss" in logs else []
        told = {"loss": f"the loss it returns is {_beside(own, loss, 'that of its model')}"}
    else:
        with _watched(model) as seen:
            predicted = _arrays(_of_all(model.predict, x))
        told = {"returned": f"it returns {_beside(predicted, infers, 'what the model predicts')}"}
    told = {"forward": _forward(seen, (INFERS, infers), (TRAINS, trains)), **told}
    for what, words in told.items():
        _tell(recorder, part, what, 0, words)


def _of_all(call: Callable[..., Any], x: Any, y: Any = None, sample_weight: Any = None, **options: Any) -> Any:
    """What `evaluate` or `predict` returns for a batch, which its step takes whole."""
    import keras

    given = {"x": x, "y": y, "sample_weight": sample_weight}
    arrays = {
        name: keras.tree.map_structure(keras.ops.convert_to_numpy, part)
        for name, part in given.items()
        if part is not None
    }
    size = len(keras.tree.flatten(arrays["x"])[0])
    return call(**arrays, **taken(call, {"batch_size": size, "verbose": 0, **options}))


def _plain(model: Any, data: Any) -> _Plain:
    import keras

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    added = False

    def gradients(*, training: bool, whole: bool = True) -> Named:
        def loss(_: Any) -> Any:
            nonlocal added
            value = compute_loss(model, x, y, model(x, **taken(model.call, {"training": training})), sample_weight)
            added = added or bool(model.losses)
            return value if whole else value - sum(model.losses)

        weights = model.trainable_variables
        with state.preserved(state.model_state(model)):
            _, found = value_and_grad_once(loss, weights)
            named = zip(state.named(weights), found, strict=True)
            return {name: _array(weight if g is None else g, zero=g is None) for (name, _, weight), g in named}

    of_training = {training: gradients(training=training) for training in (True, False)}
    return _Plain(
        trains=_called(model, x, training=True),
        infers=_called(model, x, training=False),
        gradients=of_training,
        without_added=gradients(training=True, whole=False) if added else None,
        draws=any(variable.path.endswith("seed_generator_state") for variable in model.variables),
    )


def _called(model: Any, x: Any, *, training: bool) -> Arrays:
    """What the model returns, whose state stays the same."""
    with state.preserved(state.model_state(model)):
        return _arrays(model(x, **taken(model.call, {"training": training})))


@contextlib.contextmanager
def _watched(model: Any) -> Iterator[_Seen]:
    """See what a step does while the context is open."""
    import keras

    seen = _Seen()
    names = [name for name, _, _ in state.named(model.trainable_variables)]
    named = {id(variable): name for name, variable in zip(names, model.trainable_variables, strict=True)}
    depth = 0

    def called(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = original(layer, *args, **kwargs)
            if layer is model and not keras_internals.in_symbolic_scope():
                tell(keras.tree.flatten(in_order(outputs)), seen.outputs.append)
            return outputs

        return call

    def applied(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            nonlocal depth
            depth += 1
            try:
                if depth == 1:
                    weights = model.trainable_variables if trainable_variables is None else trainable_variables
                    given = [(named.get(id(w), "another"), g) for w, g in zip(weights, grads, strict=False)]
                    present = [(name, gradient) for name, gradient in given if gradient is not None]
                    keep = functools.partial(_keep, seen, [name for name, _ in present])
                    tell([gradient for _, gradient in present], keep)
                return original(optimizer, grads, trainable_variables)
            finally:
                depth -= 1

        return apply

    with contextlib.ExitStack() as stack:
        tell = stack.enter_context(runtime.current().values_told())
        # Not `__call__`, which `stateless_call` goes past.
        stack.enter_context(patched(where_defined(type(model), "call"), "call", called))
        if model.optimizer is not None:
            stack.enter_context(patched(where_defined(type(model.optimizer), "apply"), "apply", applied))
        yield seen


def _keep(seen: _Seen, names: Sequence[str], gradients: Arrays) -> None:
    seen.handed.append(dict(zip(names, gradients, strict=True)))


def _record_training(recorder: Recorder, step: int, plain: _Plain | None, seen: _Seen, before: Named | None) -> None:
    forward = _forward(seen, (TRAINS, plain.trains), (_DOES_NOT_TRAIN, plain.infers)) if plain else None
    is_inference = forward == _DOES_NOT_TRAIN
    if forward is not None and plain is not None:
        nothing = ": dropout and the like drew nothing" if is_inference and plain.draws else ""
        _tell(recorder, TRAIN_STEP, "forward", step, forward + nothing)
    _tell(recorder, TRAIN_STEP, "calls", step, f"it calls the model {_times(len(seen.outputs))}")
    if seen.outputs:
        names = numbered(name_in(TRAIN_STEP, "output"), len(seen.outputs[0]))
        for name, output in zip(names, seen.outputs[0], strict=True):
            recorder.add("forward", name, output, step=step)
    is_split = _is_split(seen.handed)
    times = "once" if is_split else _times(len(seen.handed))
    _tell(recorder, TRAIN_STEP, "applied", step, f"it applies gradients {times}")
    handed = _merged(seen.handed)
    if plain is not None and handed:
        expected = plain.gradients[not is_inference]
        missing = [name for name in expected if name not in handed and np.any(expected[name])]
        weights = f"it leaves out {', '.join(map(repr, missing))}" if missing else LEAVES_OUT_NONE
        _tell(recorder, TRAIN_STEP, "weights", step, weights)
        _tell(recorder, TRAIN_STEP, "gradients", step, _gradients(handed, expected, plain, before, step))
    for name, gradient in handed.items():
        recorder.add("gradient", name_in(TRAIN_STEP, "weight", name), gradient, step=step)


def _tell(recorder: Recorder, part: str, what: str, step: int, words: str) -> None:
    recorder.add("event", name_in(part, "value", what), words, step=step)


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _forward(seen: _Seen, *known: tuple[str, Arrays]) -> str:
    """What the first forward pass of a step is.

    Args:
        known: what is said of it where it returns some arrays, and those.
    """
    if not seen.outputs:
        return "it does not call the model"
    same = (words for words, outputs in known if _are_same(seen.outputs[0], outputs))
    return next(same, "its forward pass gives something else than the model on this batch")


def _is_split(handed: Sequence[Named]) -> bool:
    """Whether an optimizer, or several, are given the gradients of other weights each time."""
    names = [name for gradients in handed for name in gradients]
    return len(handed) > 0 and len(set(names)) == len(names)


def _merged(handed: Sequence[Named]) -> Named:
    """The gradients that are given together; the first of those that are given again."""
    if _is_split(handed):
        return {name: gradient for gradients in handed for name, gradient in gradients.items()}
    return handed[0] if handed else {}


def _gradients(handed: Named, expected: Named, plain: _Plain, before: Named | None, step: int) -> str:
    """Whose gradients the optimizer is given.

    Args:
        before: those that it was given in the step before; None if that is not known.
    """
    own = [handed[name] for name in handed]
    of_loss = [expected.get(name, np.zeros(())) for name in handed]
    if _are_same(own, of_loss):
        return OF_ITS_LOSS
    shapes = [array.shape for array in own]
    if before is not None and list(before) == list(handed) and shapes == [array.shape for array in before.values()]:
        added = [ours - theirs for ours, theirs in zip(own, before.values(), strict=True)]
        if any(np.any(array) for array in before.values()) and _are_same(added, of_loss):
            return f"the gradients it applies in step {step} are those of step {step - 1} and step {step} together"
    without = plain.without_added
    if without is not None and _are_same(own, [without.get(name, np.zeros(())) for name in handed]):
        return f"{OF_ITS_LOSS} without the losses that layers add"
    if shapes == [array.shape for array in of_loss]:
        most = max((float(np.abs(array).max()) for array in own if array.size), default=0.0)
        if _are_same(own, [np.clip(array, -most, most) for array in of_loss]):
            return f"{OF_ITS_LOSS}, cut off at {most:.3g}"
        each = [_are_same([a], [_factor([a], [b]) * b]) for a, b in zip(own, of_loss, strict=True) if np.any(b)]
        if not _are_same(own, [_factor(own, of_loss) * array for array in of_loss]) and each and all(each):
            return f"{OF_ITS_LOSS}, those of each weight times another number"
    if len(own) > 1 and _are_permuted(own, of_loss):
        return f"{OF_ITS_LOSS}, but given to other weights"
    words = f"the gradients it applies are {_beside(own, of_loss, 'those of its loss')}"
    size = float(np.sqrt(sum(np.vdot(array, array) for array in own)))
    return f"{words} (a norm of {size:.3g})" if " times " in words else words


def _are_permuted(own: Arrays, expected: Arrays) -> bool:
    left = list(expected)
    for array in own:
        place = next((place for place, other in enumerate(left) if _are_same([array], [other])), None)
        if place is None:
            return False
        left.pop(place)
    return True


def _beside(own: Arrays, plain: Arrays, what: str) -> str:
    """What arrays are, beside those that are called `what`: the same, a multiple of them, or others."""
    if not own:
        return "nothing"
    if _are_same(own, plain):
        return what
    if [array.shape for array in own] == [array.shape for array in plain]:
        factor = _factor(own, plain)
        if _are_same(own, [factor * array for array in plain]):
            short = f"{factor:.3g}"
            return f"{f'{factor:.7g}' if short == '1' else short} times {what}"
    return f"something else than {what}"


def _factor(own: Arrays, plain: Arrays) -> float:
    """The number that arrays have to be multiplied with to come nearest to others."""
    size = sum(float(np.vdot(array, array)) for array in plain)
    return sum(float(np.vdot(b, a)) for a, b in zip(own, plain, strict=True)) / size if size else 0.0


def _are_same(own: Arrays, other: Arrays) -> bool:
    """Whether arrays are those others but for rounding, as one vector."""
    import keras

    if [array.shape for array in own] != [array.shape for array in other]:
        return False
    one, two = (
        np.concatenate([np.ravel(a).astype(np.float64) for a in arrays] or [np.zeros(0)]) for arrays in (own, other)
    )
    if not np.array_equal(np.isfinite(one), np.isfinite(two)):
        return False
    one, two = one[np.isfinite(one)], two[np.isfinite(two)]
    most = _SAME_IN_DOUBLE if keras.config.floatx() == "float64" else _SAME
    return float(np.linalg.norm(one - two)) <= most * max(float(np.linalg.norm(one)), float(np.linalg.norm(two)))


def _arrays(structure: Any) -> Arrays:
    import keras

    return [_array(leaf) for leaf in keras.tree.flatten(in_order(structure))]


def _array(tensor: Any, *, zero: bool = False) -> NDArray[Any]:
    """A tensor or variable as an array, or zeros of its shape."""
    import keras

    value = tensor.value if isinstance(tensor, keras.Variable) else tensor
    array = np.array(keras.ops.convert_to_numpy(value))
    return np.zeros_like(array) if zero else array
