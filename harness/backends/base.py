"""What the controller asks of a backend, before anything of it runs. No framework is imported here."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import TargetError
from harness.target import COUNTED, Target


class Backend(abc.ABC):
    """One backend of Keras, as the controller knows it. Each is described by one subclass, in a folder of its own."""

    #: The value of `KERAS_BACKEND`, which is also the name of the framework's distribution and module.
    name: ClassVar[str]
    #: Whether it has gradients. One that has none compares inference alone, and only where it is named as a target.
    trains: ClassVar[bool] = True
    #: How `fit` compiles by default, as an option of a target: `graph` or `jit`; None where it does not.
    compiles: ClassVar[str | None] = None
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

    def check(self, target: Target) -> None:
        """Check that the backend has what a target asks for, as far as that is known before anything starts.

        Raises:
            TargetError: the backend does not have it.
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
            cache: a folder in which processes, also those of other runs, may share what they compile; None for none.
        """

    def coarser(self, environment: Mapping[str, Any]) -> list[str]:
        """The settings that let float32 be computed in fewer bits (TF32, bfloat16), as the calls that switch them off.

        Args:
            environment: that of a trace. It may be a stranger's, with any values in it.
        """
        return []

    def processes(self, target: Target) -> int:
        """How many processes run a case of a target together."""
        return 1

    def lacks(self, target: Target) -> list[tuple[str, str]]:
        """The observations that a target cannot have as others have them: patterns of keys, each with the reason."""
        steps = target.count("steps_per_execution")
        why = f"callbacks are called once for {steps} steps"
        events = ("event/*/fit", "event/*/evaluate", "event/*/predict", "event/*/callback/*")
        where = ("log/*/batch/*", "update/0/*", "optimizer/0/*", *events) if steps > 1 else ()
        return [(pattern, why) for pattern in where]


def on_accelerator(environment: Mapping[str, Any]) -> bool:
    """Whether some tensor of a trace lived elsewhere than on the processor."""
    placement = environment.get("placement")
    return isinstance(placement, dict) and any(not str(device).startswith("cpu") for device in placement)
