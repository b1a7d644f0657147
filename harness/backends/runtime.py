"""What a backend does in a worker, where its framework is imported. The controller imports nothing of this."""

from __future__ import annotations

import abc
import contextlib
import ctypes
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.backends.base import Backend
from harness.target import Target
from harness.worker import keras_internals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A differentiable call: given values for the tensors, and with the variables as they are, the value (a scalar
#: tensor) and whatever else it returned.
Call = Callable[[Sequence[Any]], tuple[Any, Any]]

#: A function of tensors that returns any structure of them.
Compiled = Callable[[Sequence[Any]], Any]

#: The order in which an `ArrayDataAdapter` gives out that many rows in its next pass over the data.
Permutation = Callable[[Any, int], "NDArray[np.int64]"]

#: Is given a batch: tensors or arrays, and None where there is nothing, in the structure that the data has.
See = Callable[[Any], None]


class Runtime(abc.ABC):
    """What one backend does in a worker. Each is one subclass, in the folder of its backend.

    Attributes:
        backend: what the controller knows of it.
    """

    backend: ClassVar[Backend]

    # Once in a worker, before it forks.

    def prepare(self) -> None:  # noqa: B027 - most backends have nothing of the kind
        """Set up what all children share. This starts neither a device nor a thread."""

    @abc.abstractmethod
    def devices(self) -> list[str]:
        """Names of the devices that are here. This starts the backend's runtime: never call it before a fork."""

    def why_not_fork(self) -> str | None:
        """Why a process that is forked now could not compute; None where it could. This starts nothing."""
        return "CUDA had started in the worker, and what is forked then cannot use it" if _cuda_has_started() else None

    # Once in each child.

    @abc.abstractmethod
    def seed(self, seed: int) -> None:
        """Seed the backend's own generator."""

    @abc.abstractmethod
    def set_threads(self, count: int) -> None:
        """Bound the threads of one operation."""

    def widen(self) -> None:
        """From here on, compute in float64 wherever the case itself does not fix another dtype."""
        import keras

        keras_internals.keep_float64()
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")

    def compute_in_full(self) -> None:  # noqa: B027 - some backends have nothing of the kind
        """Switch off what lets float32 be computed in fewer bits (TF32, bfloat16): see `Backend.coarser`."""

    def prepare_twin(self) -> None:  # noqa: B027 - most backends have nothing of the kind
        """Leave out, in a twin, what Keras has for lower precisions and computes wrongly in float64."""

    def placed(self, target: Target, rank: int, meeting: Path) -> contextlib.AbstractContextManager[None]:
        """Compute on the devices of a target while the context is open.

        This does nothing where the environment variables of the process are enough.

        Args:
            rank: which of the processes that run the case together this is.
            meeting: a path at which they find each other.
        """
        return contextlib.nullcontext()

    @abc.abstractmethod
    def shuffle_with(self, permutation: Permutation) -> contextlib.AbstractContextManager[None]:
        """Let Keras take the order of array data from `permutation` while the context is open."""

    def observed_batches(self, see: See) -> contextlib.AbstractContextManager[None]:
        """Let `see` have each batch that the next `fit` trains on, when its step takes it, while the context is open.

        It may be given a batch more before training begins, where Keras looks at one to build the model.
        """

        def observed(source: Any) -> Iterator[Any]:
            for batch in source:
                see(batch)
                yield batch

        return keras_internals.observed_source(observed)

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Devices, threads and flags in force, for the proof of what ran."""

    def assertions(self) -> list[tuple[Any, str]]:
        """Assertions of the backend that take two values to compare: the module or class, and the name in it."""
        return []

    def differentiators(self) -> list[tuple[Any, str]]:
        """What the backend takes gradients by: the module or class, and the name in it."""
        return []

    # On the steps of a model: its `train_step`, `test_step` and `predict_step`.

    def given_to_step(self, model: Any, arguments: Sequence[Any]) -> tuple[contextlib.AbstractContextManager[Any], Any]:
        """What a step is given: a context in which the variables have the values of its state, and its data."""
        return contextlib.nullcontext(), arguments[0]

    @contextlib.contextmanager
    def values_told(self) -> Iterator[Callable[[Sequence[Any], Callable[[list[Any]], None]], None]]:
        """A function that gives the values of tensors, as arrays, to another one: at the end of the context at latest.

        It may be called where a derivative is taken, in which a tensor has no value for who looks at it.
        """
        import keras

        yield lambda tensors, see: see([keras.ops.convert_to_numpy(tensor) for tensor in tensors])

    # On tensors.

    def value_of(self, variable: Any) -> Any:
        """The value of a Keras variable, as a tensor."""
        return variable.value

    def outside_of_graphs(self) -> contextlib.AbstractContextManager[None]:
        """Compute with values while the context is open, also where the code around it builds a graph."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def device_of(self, tensor: Any) -> str:
        """Where a tensor lives, as `cpu:0`; `cpu:0 cpu:1` of one that lives on several devices."""

    @abc.abstractmethod
    def is_concrete(self, tensor: Any) -> bool:
        """Whether a tensor has a value now: not a tracer, a graph's tensor, or one on the meta device."""

    @abc.abstractmethod
    def iota(self, size: Any) -> Any:
        """`[0, 1, ..., size - 1]` as int32, also where `size` is known only when a graph runs."""

    def int32_words(self, seed: Any) -> Any:
        """A seed state of shape (2,) as two int32 words, whatever integer dtype it has here."""
        import keras

        return keras.ops.cast(seed, "int32")

    @abc.abstractmethod
    def differentiate(
        self, call: Call, tensors: Sequence[Any], variables: Sequence[Any], *, whole: bool = False
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        """Value and gradients of a scalar function.

        Args:
            call: the function.
            tensors: floating tensors to differentiate with respect to.
            variables: Keras variables to differentiate with respect to.
            whole: whether to compile the computation as one where that costs less than compiling its operations one
                by one, and where it can be compiled. For a computation of tensors alone that runs once: nothing is kept
                for a second.

        Returns:
            The value, the auxiliary result, and the gradients with respect to the tensors and to the variables,
            None for each that the value does not depend on. Updates that `call` makes to variables take effect.
        """

    @abc.abstractmethod
    def compiled(self, function: Compiled, variables: Sequence[Any] | None, *, jit: bool) -> Compiled:
        """A function that is traced when it is first called, and computes what was traced from then on.

        Args:
            function: given tensors, returns any structure of them.
            variables: those that the function owns, whose updates take effect. An update of another variable is lost
                where `fit` loses it: on jax. None where it is not known what the function owns: then all take effect.
            jit: whether it is compiled to code, and is not only a graph.

        Raises:
            TargetError: the backend compiles nothing.
        """


#: What CUDA's driver answers until somebody has called `cuInit` (CUDA_ERROR_NOT_INITIALIZED).
_NOT_STARTED = 3


def _cuda_has_started() -> bool:
    """Whether CUDA runs in this process. Its driver is asked only if somebody has loaded it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD)
    except OSError:
        return False
    return bool(driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) != _NOT_STARTED)


def current() -> Runtime:
    """The runtime of the backend that Keras runs on in this process."""
    import keras

    return get(keras.config.backend())


@cache
def get(name: str) -> Runtime:
    """The runtime of a backend, which imports its framework when it is used."""
    runtime = importlib.import_module(f"harness.backends.{name}.runtime").RUNTIME
    assert isinstance(runtime, Runtime)
    return runtime
