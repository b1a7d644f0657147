"""What the harness needs of a backend. Each backend is one subclass, in a file of its own."""

from __future__ import annotations

import abc
import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness import keras_internals
from harness.errors import InferenceOnly, TargetError
from harness.target import COUNTED, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A differentiable call: given values for the tensors, and with the variables as they are, the value (a scalar
#: tensor) and whatever else it returned.
Call = Callable[[Sequence[Any]], tuple[Any, Any]]

#: The order in which an `ArrayDataAdapter` gives out that many rows in its next pass over the data.
Permutation = Callable[[Any, int], "NDArray[np.int64]"]


class Backend(abc.ABC):
    """One backend of Keras. Frameworks are imported inside methods, on the worker's side only."""

    #: The value of `KERAS_BACKEND`, which is also the name of the framework's distribution and module.
    name: ClassVar[str]
    #: Whether it has gradients. One that has none compares inference alone, and only where it is named as a target.
    trains: ClassVar[bool] = True
    #: Modules that Keras needs for it, beside that of its name.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Further distributions whose version belongs to the proof of what ran.
    companions: ClassVar[tuple[str, ...]] = ()
    #: Kinds of devices that it can be told to compute on.
    kinds: ClassVar[tuple[str, ...]] = ("cpu",)
    #: Whether the processor can be made to stand for several devices.
    has_several_cpus: ClassVar[bool] = False
    #: Options of a target that it has.
    options: ClassVar[tuple[str, ...]] = ()

    # Before the worker starts, in the controller.

    def check(self, target: Target) -> None:
        """Whether the backend has what a target asks for, as far as that is known before anything starts.

        Raises:
            TargetError: it has not.
        """
        if target.kind is not None and target.kind not in self.kinds:
            raise TargetError(
                f"Target {str(target)!r} asks for the device {target.device!r}, which {self.name} does not have. "
                f"It has: {', '.join(self.kinds)}."
            )
        if target.kind == "cpu" and target.index and not self.has_several_cpus:
            raise TargetError(
                f"Target {str(target)!r} asks for the device {target.device!r}, and {self.name} has one cpu. "
                f"Write {self.name}:cpu."
            )
        if target.index and target.count("data_parallel") > 1:
            raise TargetError(
                f"Target {str(target)!r} asks for the device {target.device!r}, and data_parallel takes the first "
                f"{target.count('data_parallel')} of their kind. Write {self.name}:{target.kind}."
            )
        for option in target.options:
            if option.partition("=")[0] not in self.options:
                has = [f"{name}=N" if name in COUNTED else name for name in self.options]
                raise TargetError(
                    f"Target {str(target)!r} asks for {option!r}, which {self.name} does not have. "
                    f"It has: {', '.join(has) or 'no option'}."
                )

    @abc.abstractmethod
    def environment_for(self, target: Target, cache: Path | None = None) -> dict[str, str]:
        """Environment variables for a process of a target that is about to start.

        Args:
            cache: a folder in which processes of one run may share what they compile; None for none.
        """

    def coarser(self, environment: Mapping[str, Any]) -> list[str]:
        """What let float32 be computed in fewer bits (TF32, bfloat16), each as the call that switches it off.

        Args:
            environment: of a trace, perhaps a stranger's.
        """
        return []

    def need_gradients(self, what: str) -> None:
        """Whether the backend has gradients, for something that cannot do without.

        Args:
            what: what it is, such as `model.fit`.

        Raises:
            InferenceOnly: it has none.
        """
        if not self.trains:
            raise InferenceOnly(
                f"Keras has no gradients on {self.name}, so it cannot train: {what} is left out, and what follows it."
            )

    # Once in a worker, before it forks.

    @abc.abstractmethod
    def devices(self) -> list[str]:
        """Names of the devices that are here. This starts the backend's runtime: never call it before a fork."""

    def why_not_fork(self) -> str | None:
        """Why a process that is forked now could not compute; None where it could. This starts nothing."""
        return "CUDA had started in the worker, and what is forked then cannot use it" if cuda_has_started() else None

    # Once in each child.

    @abc.abstractmethod
    def seed(self, seed: int) -> None:
        """Seed the backend's own generator."""

    @abc.abstractmethod
    def set_threads(self, count: int) -> None:
        """Bound the threads of one operation."""

    def widen(self) -> None:
        """Compute in float64 from here on, wherever the case does not fix another dtype."""
        import keras

        keras_internals.keep_float64()
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")

    def prepare_twin(self) -> None:  # noqa: B027 - most backends have nothing of the kind
        """Leave out, in a twin, what Keras has for lower precisions and computes wrongly in float64."""

    def processes(self, target: Target) -> int:
        """How many processes run a case of a target together."""
        return 1

    def placed(self, target: Target, rank: int, meeting: Path) -> contextlib.AbstractContextManager[None]:
        """Compute on the devices of a target while the context is open, where its environment alone does not do so.

        Args:
            rank: which of the processes that run the case together this is.
            meeting: a path at which they find each other.
        """
        return contextlib.nullcontext()

    @abc.abstractmethod
    def shuffle_with(self, permutation: Permutation) -> contextlib.AbstractContextManager[None]:
        """Let Keras take the order of array data from `permutation` while the context is open."""

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Devices, threads and flags in force, for the proof of what ran."""

    def assertions(self) -> list[tuple[Any, str]]:
        """Assertions of the backend that take two values to compare: the module or class, and the name in it."""
        return []

    def lacks(self, target: Target) -> list[tuple[str, str]]:
        """What a target does not observe as others do, because of its options: a pattern of keys, and why."""
        steps = target.count("steps_per_execution")
        why = f"callbacks are called once for {steps} steps"
        where = ("log/*/batch/*", "update/0/*", "optimizer/0/*", "event/*") if steps > 1 else ()
        return [(pattern, why) for pattern in where]

    # On tensors.

    def value_of(self, variable: Any) -> Any:
        """The value of a Keras variable, as a tensor."""
        return variable.value

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
                by one. For a computation of tensors alone that runs once: nothing is kept for a second.

        Returns:
            The value, the auxiliary result, and the gradients with respect to the tensors and to the variables,
            None for each that the value does not depend on. Updates that `call` makes to variables take effect.
        """

    def compiled(
        self, function: Callable[[Sequence[Any]], Any], tensors: Sequence[Any], variables: Sequence[Any], *, jit: bool
    ) -> Any:
        """What a function returns when it is compiled, on a backend that has the modes `graph` or `jit`.

        Args:
            function: given tensors, returns any structure of them.
            variables: that the function uses. Updates that it makes to them take effect.
            jit: whether it is compiled to code, and is not only a graph.
        """
        raise NotImplementedError(f"{self.name} compiles nothing")


#: What CUDA's driver answers until somebody has called `cuInit` (CUDA_ERROR_NOT_INITIALIZED).
_NOT_STARTED = 3


def cuda_has_started() -> bool:
    """Whether CUDA runs in this process. Its driver is asked only if somebody has loaded it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD)
    except OSError:
        return False
    return bool(driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) != _NOT_STARTED)


def on_accelerator(environment: Mapping[str, Any]) -> bool:
    """Whether a trace's tensors lived on anything but the processor."""
    placement = environment.get("placement")
    return isinstance(placement, dict) and any(not str(device).startswith("cpu") for device in placement)


@contextlib.contextmanager
def replaced(owner: Any, attribute: str, value: Any) -> Iterator[None]:
    """Replace an attribute while the context is open."""
    original = getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, original)
