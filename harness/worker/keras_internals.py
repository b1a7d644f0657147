"""The private places of Keras that the harness touches, all of them, each guarded by a test of the same name.

Everything else uses Keras' public interface. When Keras moves one of these,
`tests/worker/checks/check_keras_internals.py` says which.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import FrameType, SimpleNamespace
from typing import Any

from harness.worker.patching import FOR_GOOD, patched, where_defined

#: Makes what stands for a function of what it stands for.
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def keep_float64() -> None:
    """Stop Keras from narrowing float64 results to float32 (`BIT64_TO_BIT32_DTYPE`), for good.

    The table is changed in place, and no attribute replaced, because whoever has it has it by its own name.
    """
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    dtypes.BIT64_TO_BIT32_DTYPE["complex128"] = "complex128"


#: An attribute that `wrapped_operations` gives its wrappers: a function that wraps another function in the same way.
_OBSERVED = "__harness_observed__"


def replaced_function(module: str, name: str, wrap: Wrap) -> AbstractContextManager[None]:
    """Replace a function of Keras by `wrap(function)`, in its module and wherever another module of Keras holds it.

    One that is observed (`wrapped_operations`) stays observed, with its replacement beneath.
    """
    original = getattr(importlib.import_module(module), name)
    observed = getattr(original, _OBSERVED, None)
    replacement = wrap(original) if observed is None else observed(wrap(original.__wrapped__))
    return _replaced_everywhere({id(original): replacement})


@contextlib.contextmanager
def _replaced_everywhere(replacements: Mapping[int, Callable[..., Any]]) -> Iterator[None]:
    """Replace functions, given by their `id`, in every module of Keras that holds them, while the context is open."""
    with contextlib.ExitStack() as stack:
        for holder in [m for key, m in sys.modules.items() if key == "keras" or key.startswith("keras.")]:
            for attribute, value in list(vars(holder).items()):
                if id(value) in replacements:
                    stack.enter_context(patched(holder, attribute, lambda original: replacements[id(original)]))
        yield


#: Functions of `keras.src.backend.core` that compute. The others only look at tensors, make them, or call back.
_COMPUTING = ("cast", "scatter", "scatter_update", "slice", "slice_update", "unstack")


def operations() -> dict[str, Callable[..., Any]]:
    """What `keras.ops` and `keras.random` come down to on this backend: its functions, by their public name."""
    import keras
    from keras.src import backend

    plumbing = {id(value) for value in vars(backend.core).values()}
    found = {f"keras.ops.{name}": getattr(backend.core, name) for name in _COMPUTING}
    for part in ("numpy", "nn", "math", "linalg", "image", "random"):
        public, prefix = (keras.random, "keras.random") if part == "random" else (keras.ops, "keras.ops")
        for name, function in vars(getattr(backend, part)).items():
            is_operation = hasattr(public, name) and callable(function) and not isinstance(function, type)
            if is_operation and id(function) not in plumbing:
                found.setdefault(f"{prefix}.{name}", function)
    return found


def wrapped_operations(wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> AbstractContextManager[None]:
    """Replace each of `operations` by `wrap(name, function)`, wherever Keras holds it, while the context is open."""

    def observed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        wrapper = functools.wraps(function)(wrap(name, function))
        setattr(wrapper, _OBSERVED, functools.partial(observed, name))
        return wrapper

    return _replaced_everywhere({id(function): observed(name, function) for name, function in operations().items()})


def owners(layer: Any) -> dict[int, str]:
    """The innermost layer that each variable belongs to, by the variable's `id`. Paths do not tell that of seeds."""
    found: dict[int, str] = {}
    for inner in layer._flatten_layers():  # from the outside in
        found |= {id(variable): inner.name for variable in [*inner.variables, *untracked_variables(inner)]}
    return found


def untracked_variables(layer: Any) -> list[Any]:
    """The variables that a layer and those inside it hold and do not count among their `variables`.

    A stateful recurrent layer has its states so: they are not saved, and what knows `variables` alone loses them.
    """
    known = {id(variable) for variable in layer.variables}
    held = [variable for inner in layer._flatten_layers() for variable in _variables_in(list(vars(inner).values()))]
    return list({id(variable): variable for variable in held if id(variable) not in known}.values())


def _variables_in(structure: Any) -> Iterator[Any]:
    """The variables in nested lists, tuples and dicts."""
    import keras

    if isinstance(structure, keras.Variable):
        yield structure
    elif isinstance(structure, (list, tuple, dict)):
        for item in structure.values() if isinstance(structure, dict) else structure:
            yield from _variables_in(item)


def layers_in(layer: Any) -> list[Any]:
    """A layer and those inside of it, from the outside in."""
    return list(layer._flatten_layers())


def loss_weights_of(model: Any) -> list[Any]:
    """The weight of each loss that a compiled model was given, as its next step takes it; empty where there is none."""
    losses = getattr(getattr(model, "_compile_loss", None), "_flat_losses", None) or []
    return [loss.loss_weights if hasattr(loss, "loss_weights") else loss[2] for loss in losses]


def losses_of(model: Any) -> dict[str, Any]:
    """The losses that a model was compiled with, by the output that each is of or, if it has no name, its position.

    They are known once the model has computed a loss.
    """
    losses = getattr(getattr(model, "_compile_loss", None), "_flat_losses", None) or []
    names = [getattr(loss, "name", None) for loss in losses]
    return {str(position if name is None else name): losses[position][1] for position, name in enumerate(names)}


def loss_trackers_of(model: Any) -> list[Any]:
    """The metrics in which a model keeps the value of each of `losses_of`, in that order; empty where it has one."""
    return list(getattr(getattr(model, "_compile_loss", None), "metrics", None) or [])


def metrics_of(model: Any) -> list[Any]:
    """The metrics of a model, those that it was compiled with among them once they are built."""
    return [inner for metric in model.metrics for inner in getattr(metric, "metrics", [metric])]


def is_built(layer: Any) -> bool:
    """Whether a layer and all layers in it have their variables."""
    return all(inner.built for inner in layer._flatten_layers())


def compute_output_spec(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """What a layer gives for placeholders, by its call, which builds it, and runs without values."""
    from keras.src import backend

    return backend.compute_output_spec(layer, *args, **kwargs)


def has_inner_layers(layer: Any) -> bool:
    """Whether a layer is made of other layers."""
    return any(True for _ in layer._flatten_layers(include_self=False, recursive=False))


def mask_of(tensor: Any) -> Any:
    """The mask that a tensor carries, or None."""
    from keras.src.backend.common.masking import get_keras_mask

    return get_keras_mask(tensor)


def carry_mask(tensor: Any, mask: Any) -> Any:
    """The tensor, which carries a mask from here on."""
    from keras.src.backend.common.masking import set_keras_mask

    set_keras_mask(tensor, mask)
    return tensor


def do_not_import_tensorflow() -> None:
    """Keep Keras on another backend from importing an installed TensorFlow, which costs every child two seconds.

    `keras.utils.set_random_seed` and the serializer ask whether TensorFlow is *available*, to seed it and to
    recognise its types. Neither is called for until a case imports TensorFlow itself, so they are told that it is
    available once it is imported.
    """
    from keras.src.saving import serialization_lib
    from keras.src.utils import rng_utils

    for module in (serialization_lib, rng_utils):
        FOR_GOOD.enter_context(patched(module, "tf", _OnceImported))


class _OnceImported:
    """A lazy module of Keras that is available once somebody else has imported it."""

    def __init__(self, lazy: Any) -> None:
        self._lazy = lazy

    @property
    def available(self) -> bool:
        return self._lazy.name in sys.modules and bool(self._lazy.available)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lazy, name)


@contextlib.contextmanager
def openvino_compiled_with(properties: dict[str, Any]) -> Iterator[None]:
    """Let Keras compile graphs of OpenVINO with further properties: those of `predict`, and of a tensor looked at."""
    import openvino
    from keras.src.backend.openvino import core

    def with_properties(original: Callable[..., Any]) -> Callable[..., Any]:
        def compile_model(model: Any, device: str, config: dict[str, Any] | None = None) -> Any:
            return original(model, device, {**(config or {}), **properties})

        return compile_model

    with patched(openvino, "compile_model", with_properties), patched(core, "compile_model", with_properties):
        yield


def shuffles_all(adapter: Any) -> bool:
    """Whether an `ArrayDataAdapter` shuffles over all the data, as `fit(shuffle=True)` does."""
    return bool(adapter._shuffle) and adapter._shuffle != "batch"


def array_adapter_method(name: str, wrap: Wrap) -> AbstractContextManager[None]:
    """Wrap a method of `ArrayDataAdapter`, through which `fit` takes arrays, while the context is open."""
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    return patched(ArrayDataAdapter, name, wrap)


def dataset_adapter_method(name: str, wrap: Wrap) -> AbstractContextManager[None]:
    """Wrap a method of `PyDatasetAdapter`, through which `fit` takes a `PyDataset`, while the context is open."""
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    return patched(PyDatasetAdapter, name, wrap)


@contextlib.contextmanager
def observed_source(observed: Callable[[Any], Any]) -> Iterator[None]:
    """Let `observed(source)` stand for what the next `fit` takes its batches from, while the context is open.

    The source of an epoch is what the epoch iterator of the backend's trainer gives: an iterable of batches, or a
    `tf.data.Dataset`. Epoch iterators that are made later, as for validation, keep their own.
    """
    import keras
    from keras.src.trainers.epoch_iterator import EpochIterator

    trainer = importlib.import_module(f"keras.src.backend.{keras.config.backend()}.trainer")
    kinds = [kind for kind in vars(trainer).values() if isinstance(kind, type) and issubclass(kind, EpochIterator)]
    kind = next((kind for kind in kinds if kind is not EpochIterator), EpochIterator)
    first: list[Any] = []

    def made(original: Callable[..., None]) -> Callable[..., None]:
        def __init__(iterator: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for the method
            if not first:
                first.append(iterator)
            original(iterator, *args, **kwargs)

        return __init__

    def given(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def _get_iterator(iterator: Any) -> Any:
            source = original(iterator)
            return observed(source) if first and iterator is first[0] else source

        return _get_iterator

    getter = where_defined(kind, "_get_iterator")
    with patched(EpochIterator, "__init__", made), patched(getter, "_get_iterator", given):
        yield


def dataset_shuffle(shuffle: Callable[[list[int]], None]) -> AbstractContextManager[None]:
    """Let a `PyDataset`'s batches be shuffled by `shuffle`, in place, and not by Python's `random`."""
    from keras.src.trainers.data_adapters import py_dataset_adapter

    return patched(py_dataset_adapter, "random", lambda _: SimpleNamespace(shuffle=shuffle))


def tracking_scope(state: Sequence[tuple[Any, Any]]) -> Any:
    """A `keras.StatelessScope` that remembers which variables were updated in it, in order (`updated`).

    Losses that layers add in it are in their `losses` while it is open, as they are without a scope. `added` has those
    that are still there at its end, each with its layer.

    Inside another such scope it starts from that scope's state.
    """
    import keras
    from keras.src.backend.common.stateless_scope import get_stateless_scope

    class TrackingScope(keras.StatelessScope):  # type: ignore[misc]
        state_mapping: dict[int, Any]

        def __init__(self) -> None:
            outer = get_stateless_scope()
            super().__init__(state, collect_losses=True)
            self.updated: list[Any] = []
            self.added: list[tuple[Any, Any]] = []
            self._observed = contextlib.ExitStack()
            if outer is not None:
                self.state_mapping = {**outer.state_mapping, **self.state_mapping}

        def get_current_value(self, variable: Any) -> Any:
            """A variable's value here. Keras takes it to have none in a scope it was not given to, in `losses`."""
            value = super().get_current_value(variable)
            return variable._value if value is None else value

        def add_update(self, update: tuple[Any, Any]) -> None:
            if not any(variable is update[0] for variable in self.updated):
                self.updated.append(update[0])
            super().add_update(update)

        def __enter__(self) -> TrackingScope:
            self._observed.enter_context(patched(keras.Layer, "add_loss", self._noted))
            super().__enter__()
            return self

        def __exit__(self, *error: object) -> None:
            super().__exit__(*error)
            self._observed.close()
            for layer, loss in self.added:
                layer._loss_ids.discard(id(loss))  # another object may have this id once the loss is gone
            kept = {id(loss) for loss in self.losses}  # a second call of a layer drops what its first one added
            self.added = [(layer, loss) for layer, loss in self.added if id(loss) in kept]

        def _noted(self, original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
            def add_loss(layer: Any, loss: Any) -> None:
                before = len(self.losses)
                original(layer, loss)
                self.added += [(layer, new) for new in self.losses[before:]]

            return add_loss

    return TrackingScope()


def values_in_training(model: Any) -> dict[int, Any]:
    """Values of a model's variables by the variables' `id`, where these do not hold them: between steps on jax.

    There the results of a step are given to the variables when somebody asks for `self.model` in a callback. Looking
    at them here does not do that, for it would change what a callback finds that does not ask.
    """
    held = getattr(model, "_jax_state", None)
    if held is None or getattr(model, "_jax_state_synced", True):
        return {}
    variables = {
        "trainable_variables": model.trainable_variables,
        "non_trainable_variables": model.non_trainable_variables,
        "optimizer_variables": model.optimizer.variables,
    }
    return {
        id(variable): value
        for kind, of_kind in variables.items()
        for variable, value in zip(of_kind, held.get(kind) or (), strict=False)
    }


def in_symbolic_scope() -> bool:
    """Whether Keras is only inferring shapes now, so that what a layer is given has no values."""
    from keras.src.backend.common.symbolic_scope import in_symbolic_scope as answer

    return bool(answer())


def forget_names() -> None:
    """Let layers and models that are given no name be counted from the first again."""
    from keras.src.utils.naming import reset_uids

    reset_uids()


def in_layer_call() -> bool:
    """Whether a layer is being called."""
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("current_call_ctx") is not None


def in_compute_loss() -> bool:
    """Whether a training step computes its loss, by Keras' code or the model's own."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if frame.f_code.co_name == "_compute_loss" and module.startswith("keras.src."):
            return True
        frame = frame.f_back
    return False


#: Where Keras keeps the generator of unseeded `keras.random` calls.
_GLOBAL_SEED_GENERATOR = "global_seed_generator"


def forget_global_seed() -> None:
    """Let the generator of unseeded `keras.random` calls start anew from Python's `random`."""
    from keras.src.backend.common import global_state

    global_state.set_global_attribute(_GLOBAL_SEED_GENERATOR, None)


def global_seed_generator() -> Any:
    """The generator of unseeded `keras.random` calls, or None where none has been drawn from yet."""
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute(_GLOBAL_SEED_GENERATOR)


def next_seed(seed: Any) -> Any:
    """The next two words of a seed as `keras.random` takes it: an integer, a `SeedGenerator`, or None.

    For None Keras multiplies the words of its global generator, which overflows in another way on each backend. Here
    that generator counts, like any other.
    """
    from keras.src.random import seed_generator

    return seed_generator.global_seed_generator().next() if seed is None else seed_generator.draw_seed(seed)


@contextlib.contextmanager
def written_seeds_moved(by: int) -> Iterator[None]:
    """Add a number to every seed that is written in the code and given to Keras, while the context is open.

    That is, to integers that `keras.random`, a `SeedGenerator`, a layer, an initializer or `set_random_seed` is given.
    Configurations keep the seeds as they are written.
    """
    import keras
    from keras.src.random import seed_generator

    def moved_draw(draw: Callable[..., Any]) -> Callable[..., Any]:
        return lambda seed: draw(seed + by if isinstance(seed, int) else seed)

    def moved_generator(construct: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(construct)
        def moved(self: Any, seed: Any = None, **options: Any) -> None:
            construct(self, seed=seed + by if isinstance(seed, int) else seed, **options)
            self._initial_seed = seed

        return moved

    def moved_for_all(set_seed: Callable[..., Any]) -> Callable[..., Any]:
        return lambda seed: set_seed(seed + by)

    with (
        replaced_function("keras.src.random.seed_generator", "draw_seed", moved_draw),
        patched(seed_generator.SeedGenerator, "__init__", moved_generator),
        patched(keras.utils, "set_random_seed", moved_for_all),
    ):
        yield
