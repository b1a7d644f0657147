"""Where a case runs: `backend[@python][:device][+option...]`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from harness.errors import TargetError

_GRAMMAR = re.compile(
    r"(?P<backend>[A-Za-z_]\w*)(?:@(?P<python>[^:]+?))?(?::(?P<device>[^+@]+))?(?P<options>(?:\+[^+:@/]+)*)"
)
#: `cpu`, or `cuda:1`: a kind of device, and which of them.
_DEVICE = re.compile(r"(?P<kind>[a-z]+)(?::(?P<index>\d{1,3}))?")

#: Precisions other than float32 that a case may compute in: dtype policies of Keras.
PRECISIONS = ("float64", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16")
#: How a compiled model's functions run: operation by operation, as a graph, or compiled (XLA, `torch.compile`).
MODES = ("eager", "graph", "jit")
#: Options that take a number, as `+data_parallel=2`: steps of one call of the compiled function, and devices that share
#: each batch.
COUNTED = ("steps_per_execution", "data_parallel")
_MOST = 64
#: The most characters of an interpreter's path in the name of its target's folder.
_READABLE = 24


@dataclass(frozen=True)
class Target:
    """A backend, and the device, the options and the Python that it computes with.

    Attributes:
        backend: the value of `KERAS_BACKEND`.
        device: such as `cpu` or `cuda:1`, or None for the backend's own choice.
        options: sorted, so that the order in which they were written does not matter.
        python: the path or command of another environment's interpreter; None for the one that runs the harness.
    """

    backend: str
    device: str | None = None
    options: tuple[str, ...] = ()
    python: str | None = None

    def __str__(self) -> str:
        python = f"@{self.python}" if self.python else ""
        device = f":{self.device}" if self.device else ""
        return self.backend + python + device + "".join(f"+{option}" for option in self.options)

    @property
    def slug(self) -> str:
        """The target as the name of a folder: `torch:cpu` becomes `torch-cpu`. It differs between interpreters."""
        python = self.python and f"{self.python[-_READABLE:]} {_digest(self.python)}"
        return re.sub(r"\W+", "-", str(replace(self, python=python))).strip("-")

    @property
    def kind(self) -> str | None:
        """The kind of device: `cpu`, `cuda`, `mps`, or `tpu`; None for the backend's own choice. `gpu` is `cuda`."""
        kind = self.device and self.device.split(":")[0]
        return "cuda" if kind == "gpu" else kind

    @property
    def index(self) -> int:
        """The number of the device among those of its kind, counted from 0."""
        return int(self.device.partition(":")[2] or 0) if self.device else 0

    @property
    def cpus(self) -> int:
        """How many devices the CPU has to be split into; 1 if the target computes on another kind."""
        return max(self.index + 1, self.count("data_parallel")) if self.kind in (None, "cpu") else 1

    @property
    def precision(self) -> str:
        """What the case computes in: `float32`, or one of `PRECISIONS`."""
        return next((option for option in self.options if option in PRECISIONS), "float32")

    def precision_of(self, *, twin: bool) -> str:
        """The precision of a run, or of its twin: float64, or float32 where the target itself computes in float64."""
        return self.precision if not twin else "float32" if self.precision == "float64" else "float64"

    @property
    def mode(self) -> str | None:
        """One of `MODES`; None for the backend's own choice."""
        return next((option for option in self.options if option in MODES), None)

    def eagerly(self) -> Target:
        """The same target where nothing is compiled."""
        kept = [option for option in self.options if option not in MODES]
        return replace(self, options=_checked([*kept, "eager"], str(self)))

    def count(self, name: str) -> int:
        """The number given with an option of `COUNTED`; 1 if the target does not have the option."""
        found = [option for option in self.options if option.startswith(f"{name}=")]
        return int(found[0].partition("=")[2]) if found else 1

    @classmethod
    def parse(cls, text: str, backends: tuple[str, ...]) -> Target:
        """Read a target from text. This does not check whether the backend has the device and the options.

        Args:
            text: for example `torch`, `jax:cpu` or `torch:cuda+mixed_bfloat16`.
            backends: the names of the backends that the harness knows.

        Raises:
            TargetError: the text is malformed, has an unknown backend or option, or options that exclude each other.
        """
        match = _GRAMMAR.fullmatch(text.strip())
        if match is None:
            raise TargetError(
                f"{text!r} is not a target. A target is a backend and, if need be, a device and options: "
                f"{backends[0]}, {backends[0]}:cpu, or {backends[0]}:cpu+float64."
            )
        backend, device = match["backend"], match["device"]
        if backend not in backends:
            raise TargetError(
                f"{backend!r} in target {text!r} is not a backend that the harness knows. "
                f"Known backends: {', '.join(backends)}."
            )
        if device is not None and _DEVICE.fullmatch(device) is None:
            raise TargetError(
                f"{device!r} in target {text!r} is not a device. A device is its kind and, if need be, its number: "
                "cpu, cuda, or cuda:1."
            )
        options = match["options"].split("+")[1:]
        return cls(backend, device, _checked(options, text), match["python"])


def backend_of(target: str) -> str:
    """The backend of a target's text."""
    return re.split("[@:+]", target)[0]


def _digest(text: str) -> str:
    """A digest of eight characters, also of a path that is not valid Unicode."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def _checked(options: list[str], text: str) -> tuple[str, ...]:
    """Options sorted: precision, mode, and those with a number. Raises TargetError for a wrong one."""
    order = {name: position for position, name in enumerate((*PRECISIONS, *MODES, *COUNTED))}
    for option in options:
        name, equals, number = option.partition("=")
        if name not in order or (equals and name not in COUNTED):
            raise TargetError(
                f"{option!r} in target {text!r} is not an option. Options: {', '.join((*PRECISIONS, *MODES))}, "
                f"{', '.join(f'{counted}=N' for counted in COUNTED)}."
            )
        if name in COUNTED and not (re.fullmatch(r"\d{1,3}", number) and 2 <= int(number) <= _MOST):
            raise TargetError(f"{option!r} in target {text!r} needs a number from 2 to {_MOST}, such as {name}=2.")
    names = [option.partition("=")[0] for option in options]
    for group in (PRECISIONS, MODES, *((name,) for name in COUNTED)):
        found = [option for option, name in zip(options, names, strict=True) if name in group]
        if len(found) > 1:
            raise TargetError(f"{' and '.join(map(repr, found))} in target {text!r} exclude each other. Keep one.")
    return tuple(sorted(options, key=lambda option: order[option.partition("=")[0]]))
