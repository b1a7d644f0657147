"""JAX in a worker."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.backends.jax import BACKEND
from harness.backends.runtime import Call, Compiled, Permutation, Runtime
from harness.errors import TargetError
from harness.target import Target
from harness.worker import keras_internals
from harness.worker.patching import FOR_GOOD, patched


class JaxRuntime(Runtime):
    backend = BACKEND

    def prepare(self) -> None:
        from harness.backends.jax import programs

        programs.keep_whole()

    def devices(self) -> list[str]:
        import jax

        processors: list[Any] = []
        with contextlib.suppress(RuntimeError):  # JAX_PLATFORMS may leave them out
            processors = jax.devices("cpu")
        # By itself jax names those of the best platform alone.
        return list(dict.fromkeys(map(_name, [*processors, *jax.devices()])))

    def seed(self, seed: int) -> None:
        """Does nothing: jax draws only from keys that it is given."""

    def set_threads(self, count: int) -> None:
        """Does nothing: XLA has a thread for each core, and its results do not depend on how many there are."""

    def widen(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        super().widen()

    def compute_in_full(self) -> None:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    def prepare_twin(self) -> None:
        # On a GPU Keras calls cuDNN's LSTM, which jax calls as if all arrays were float32: float64 becomes garbage.
        FOR_GOOD.enter_context(
            keras_internals.replaced_function("keras.src.backend.jax.rnn", "cudnn_ok", lambda _: _never)
        )

    @contextlib.contextmanager
    def placed(self, target: Target, rank: int, meeting: Path) -> Iterator[None]:
        import jax

        # Both settings are of the whole process: Keras runs callbacks in threads, and user code may start its own.
        if target.device is not None:
            jax.config.update("jax_default_device", jax.devices(target.kind)[target.index])
        replicas = target.count("data_parallel")
        if replicas > 1:
            import keras

            devices = keras.distribution.list_devices()
            if len(devices) < replicas:
                raise TargetError(f"Target {str(target)!r} asks for {replicas} devices, and jax sees {devices}.")
            keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices[:replicas]))
        yield

    @contextlib.contextmanager
    def shuffle_with(self, permutation: Permutation) -> Iterator[None]:
        def ordered(original: Callable[..., Any]) -> Callable[..., Any]:
            def _get_iterator(adapter: Any, *arguments: Any) -> Iterator[Any]:
                iterator = iter(original(adapter, *arguments))
                if keras_internals.shuffles_all(adapter):
                    # The generator draws its one permutation when its first batch is asked for.
                    with patched(np.random, "permutation", lambda _: partial(permutation, adapter)):
                        first = next(iterator, None)
                    if first is None:
                        return
                    yield first
                yield from iterator

            return _get_iterator

        with keras_internals.array_adapter_method("_get_iterator", ordered):
            yield

    def settings(self) -> dict[str, Any]:
        import jax

        return {
            "device": _name(jax.devices()[0]),
            "x64": jax.config.jax_enable_x64,
            "default_matmul_precision": jax.config.jax_default_matmul_precision,
            "disable_jit": jax.config.jax_disable_jit,
        }

    def differentiators(self) -> list[tuple[Any, str]]:
        import jax

        names = ("grad", "value_and_grad", "vjp", "jvp", "linearize", "jacfwd", "jacrev", "hessian")
        return [(jax, name) for name in names]

    def given_to_step(self, model: Any, arguments: Sequence[Any]) -> tuple[contextlib.AbstractContextManager[Any], Any]:
        import keras

        state, data = arguments
        kinds = [model.trainable_variables, model.non_trainable_variables]
        if len(state) > len(kinds):  # predict_step is given no more
            kinds.append(model.metrics_variables)
        if len(state) > len(kinds):  # and test_step no optimizer
            kinds.insert(-1, model.optimizer.variables)
        variables, values = (list(itertools.chain.from_iterable(lists)) for lists in (kinds, state))
        return keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))), data

    @contextlib.contextmanager
    def values_told(self) -> Iterator[Callable[[Sequence[Any], Callable[[list[Any]], None]], None]]:
        import jax

        yield lambda tensors, see: jax.debug.callback(
            lambda *values: see([np.array(value) for value in values]), *tensors
        )
        jax.effects_barrier()

    def device_of(self, tensor: Any) -> str:
        return " ".join(sorted(_name(device) for device in tensor.devices()))

    def is_concrete(self, tensor: Any) -> bool:
        import jax

        return not isinstance(tensor, (jax.core.Tracer, jax.ShapeDtypeStruct))

    def iota(self, size: Any) -> Any:
        import jax.numpy as jnp

        return jnp.arange(size, dtype=jnp.int32)

    def int32_words(self, seed: Any) -> Any:
        import jax
        import jax.numpy as jnp

        return jax.lax.bitcast_convert_type(seed.astype(jnp.uint32), jnp.int32)

    def differentiate(
        self, call: Call, tensors: Sequence[Any], variables: Sequence[Any], *, whole: bool = False
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        import jax
        import jax.numpy as jnp

        effects = _Effects()
        reached: list[bool] = []

        def pure(leaves: list[Any]) -> tuple[Any, Any]:
            (value, rest), values = effects.kept_from(call, leaves, len(tensors), variables)
            return value, (rest, values)

        def value_and_gradients(leaves: list[Any]) -> tuple[Any, Any, list[Any]]:
            value, tangent_map, aux = jax.linearize(pure, leaves, has_aux=True)
            (gradients,) = jax.linear_transpose(tangent_map, leaves)(jnp.ones_like(value))
            reached[:] = _needed(jax.make_jaxpr(tangent_map)(leaves).jaxpr)
            if not all(reached):
                # A function that is constant in pieces has no tangent here and a gradient of zero elsewhere. To tell it
                # from no gradient the function is traced, unless it looks at values, which no trace has.
                with contextlib.suppress(jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
                    values = _needed(jax.make_jaxpr(lambda leaves: pure(leaves)[0])(leaves).jaxpr)
                    reached[:] = [one or other for one, other in zip(reached, values, strict=True)]
            return value, aux, gradients

        leaves = [*tensors, *(variable.value for variable in variables)]
        computed = None
        if whole:
            # What looks at values cannot be compiled. Keras may raise such an error anew as one of another class.
            with contextlib.suppress(Exception):
                computed = jax.jit(value_and_gradients)(leaves)
        value, (rest, values), gradients = computed or value_and_gradients(leaves)
        effects.take(values)
        gradients = [g if hit else None for g, hit in zip(gradients, reached, strict=True)]
        return value, rest, gradients[: len(tensors)], gradients[len(tensors) :]

    def compiled(self, function: Compiled, variables: Sequence[Any] | None, *, jit: bool) -> Compiled:
        import jax

        owned = list(variables or ())
        effects = _Effects(None if variables is None else owned)

        def pure(leaves: list[Any]) -> tuple[Any, Any]:
            return effects.kept_from(function, leaves, len(leaves) - len(owned), owned)

        compiled = jax.jit(pure)

        def call(tensors: Sequence[Any]) -> Any:
            outputs, values = compiled([*tensors, *(variable.value for variable in owned)])
            effects.take(values)
            return outputs

        return call


class _Effects:
    """What a traced function does to Keras' objects: kept from them while it is traced, and done to them afterwards.

    Args:
        owned: the variables whose updates are kept; None to keep all.
    """

    def __init__(self, owned: Sequence[Any] | None = None) -> None:
        self._owned = None if owned is None else {id(variable) for variable in owned}
        self._updated: list[Any] = []
        self._adding: list[Any] = []

    def kept_from(
        self,
        function: Callable[[Sequence[Any]], Any],
        leaves: list[Any],
        inputs: int,
        variables: Sequence[Any],
    ) -> tuple[Any, tuple[list[Any], list[Any]]]:
        """What a function returns of the first leaves, the others being the values of its variables.

        Returns:
            That, and what `take` takes: new values of the variables that it updates, and the losses that layers add.
        """
        scope = keras_internals.tracking_scope(list(zip(variables, leaves[inputs:], strict=True)))
        with scope:
            result = function(leaves[:inputs])
        owned = self._owned
        self._updated = [variable for variable in scope.updated if owned is None or id(variable) in owned]
        self._adding = [layer for layer, _ in scope.added]
        states = [scope.get_current_value(variable) for variable in self._updated]
        return result, (states, [loss for _, loss in scope.added])

    def take(self, values: tuple[list[Any], list[Any]]) -> None:
        """Update the variables, and let the layers add their losses."""
        states, losses = values
        for variable, state in zip(self._updated, states, strict=True):
            variable.assign(state)
        for layer, loss in zip(self._adding, losses, strict=True):
            layer.add_loss(loss)


def _never(*_: Any, **__: Any) -> bool:
    return False


def _name(device: Any) -> str:
    """`cpu:0`, and `cuda:0` of what jax calls a gpu."""
    return f"{'cuda' if device.platform == 'gpu' else device.platform}:{device.id}"


def _needed(jaxpr: Any, outputs: Sequence[bool] | None = None) -> list[bool]:
    """Which inputs of a jaxpr its outputs need, by way of floating values and through no `stop_gradient`.

    jax gives zeros for a leaf that the value does not depend on, where the others say that there is no gradient.

    Args:
        outputs: which of the outputs are meant; all of them if left out.
    """
    import jax.numpy as jnp

    meant = [True] * len(jaxpr.outvars) if outputs is None else outputs
    needed = {id(variable) for variable, is_meant in zip(jaxpr.outvars, meant, strict=True) if is_meant}
    for equation in reversed(jaxpr.eqns):
        wanted = [id(v) in needed and jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in equation.outvars]
        if equation.primitive.name == "stop_gradient" or not any(wanted):
            continue
        # What is jitted inside is one equation here, in which a comparison may be all that an input is for.
        inner = equation.params.get("jaxpr") if equation.primitive.name in ("jit", "pjit") else None
        reached = [True] * len(equation.invars) if inner is None else _needed(inner.jaxpr, wanted)
        needed.update(id(variable) for variable, is_it in zip(equation.invars, reached, strict=True) if is_it)
    return [id(variable) in needed for variable in jaxpr.invars]


RUNTIME = JaxRuntime()
