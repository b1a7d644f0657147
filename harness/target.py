"""Where a case runs: `backend[@python][:device][+option...]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import TargetError

_GRAMMAR = re.compile(
    r"(?P<backend>[A-Za-z_]\w*)(?:@(?P<python>[^:+]+))?(?::(?P<device>[^+@]+))?(?P<options>(?:\+[^+:@]+)*)"
)
#: Devices and options that this version can place a case on. Others parse, and are refused by name.
DEVICES = ("cpu",)


@dataclass(frozen=True)
class Target:
    """A backend and the device it computes on.

    Attributes:
        backend: the value of `KERAS_BACKEND`.
        device: `cpu`, or None for the backend's own choice.
    """

    backend: str
    device: str | None = None

    def __str__(self) -> str:
        return self.backend + (f":{self.device}" if self.device else "")

    @property
    def slug(self) -> str:
        """The target's name as a folder: `torch:cpu` becomes `torch-cpu`."""
        return re.sub(r"\W+", "-", str(self)).strip("-")

    @classmethod
    def parse(cls, text: str, backends: tuple[str, ...]) -> Target:
        """Read a target from text.

        Args:
            text: for example `torch` or `jax:cpu`.
            backends: the names of the backends that the harness knows.

        Raises:
            TargetError: the text is malformed, or names something that this version does not have.
        """
        match = _GRAMMAR.fullmatch(text.strip())
        if match is None:
            raise TargetError(
                f"{text!r} is not a target. A target is a backend and, if need be, a device: "
                f"{backends[0]}, or {backends[0]}:cpu."
            )
        backend, device = match["backend"], match["device"]
        if backend not in backends:
            raise TargetError(
                f"{backend!r} in target {text!r} is not a backend that the harness knows. "
                f"Known backends: {', '.join(backends)}."
            )
        if match["python"]:
            raise TargetError(
                f"Target {text!r} asks for the interpreter {match['python']!r}: this version runs every target "
                f"in the interpreter it is installed in. Leave out '@{match['python']}'."
            )
        if match["options"]:
            raise TargetError(
                f"Target {text!r} asks for the option {match['options']!r}, and this version has none. Leave it out."
            )
        if device is not None and device not in DEVICES:
            raise TargetError(
                f"Target {text!r} asks for the device {device!r}; this version can place a case on: "
                f"{', '.join(DEVICES)}."
            )
        return cls(backend, device)


def backend_of(target: str) -> str:
    """The backend of a target's text."""
    return re.split("[@:+]", target)[0]
