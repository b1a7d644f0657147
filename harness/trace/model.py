"""What a trace holds: a header, and observations in order of execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, get_args

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from harness.case import Expected
from harness.target import backend_of

SCHEMA = 1
INDEX = "trace.json"
ARRAYS = "arrays.safetensors"
TWIN = "twin"
REPEATS = "repeats"
NOISE = "noise"
AGAIN = "again"
UNOBSERVED = "unobserved"
EAGER = "eager"
COMPILED = "compiled"
FULL = "full"
#: The folder of a run in which traces of replays lie.
REPLAYS = "blame"
PICTURES = "pictures"
#: Endings of the files in a case's `tmp_path` that are kept with its trace.
PICTURE_ENDINGS = (".png", ".svg")

Array = NDArray[Any]
Plain = str | int | bool | None | list[Any] | dict[str, Any]

Phase = Literal[
    "initial",
    "forward",
    "loss",
    "gradient",
    "update",
    "optimizer",
    "metric",
    "log",
    "event",
    "prediction",
    "recorded",
]
PHASES: tuple[Phase, ...] = get_args(Phase)

Status = Literal["ok", "error", "crashed", "timeout", "unavailable"]

#: dtypes that safetensors holds as they are. Any other array is kept as its bytes.
NATIVE = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)
_COMPLEX = frozenset(("complex64", "complex128"))
#: dtypes that NumPy has by way of ml_dtypes.
EXTENDED = frozenset(("bfloat16", "float8_e4m3fn", "float8_e5m2"))
#: The dtype of a Python float, which has no dtype of its own: kept as a float64 of shape ().
NUMBER = "float"


@cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a dtype's name in a trace. Raises ValueError for one that cannot stand in a trace."""
    if name == NUMBER:
        return np.dtype(np.float64)
    if name in NATIVE or name in _COMPLEX:
        return np.dtype(name)
    if name in EXTENDED:
        extended: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return extended
    raise ValueError(f"there is no dtype {name!r}")


def has_failed(status: Status, *, inference_only: bool) -> bool:
    """True if a run failed; stopping because the backend has no gradients is not a failure."""
    return status != "ok" and not inference_only


@dataclass(frozen=True)
class Named:
    """What an observation is of.

    Attributes:
        key: unique in its trace, `phase/step/name` or `phase/name`.
        phase: the part of the run that it belongs to.
        step: training steps that were complete when it was made; 0 before training.
        name: what was observed, such as `dense/output` or `loss`.
        layer: the layer it belongs to, or None.
    """

    key: str
    phase: Phase
    step: int
    name: str
    layer: str | None

    def __post_init__(self) -> None:
        if not 0 <= self.step < 2**63:
            raise ValueError(f"there is no step {self.step}")


@dataclass(frozen=True)
class Observation(Named):
    """One named value that was recorded.

    Attributes:
        dtype: of an array, `float` of a Python float, None of a plain value.
        value: a NumPy array (of shape () for a number), or a plain value.
        device: where a tensor or variable lived, such as `cpu:0`; None of what was no tensor.
    """

    dtype: str | None
    value: Array | Plain
    device: str | None = None

    @property
    def is_array(self) -> bool:
        """Whether this is an array or a number, and not a plain value."""
        return self.dtype is not None

    @property
    def array(self) -> Array:
        """The value of an array or number."""
        assert isinstance(self.value, np.ndarray)
        return self.value


@dataclass(frozen=True)
class PlainEntry(Named):
    """An observation of a plain value, as the index has it."""

    value: Any


@dataclass(frozen=True)
class ArrayEntry(Named):
    """An observation of an array or a number, as the index has it: everything but the elements.

    Attributes:
        tensor: the name of the elements in `arrays.safetensors`. Equal arrays of a trace share it.
    """

    dtype: str
    shape: tuple[int, ...]
    tensor: str
    device: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        numpy_dtype(self.dtype)
        if min(self.shape, default=0) < 0:
            raise ValueError(f"there is no shape {self.shape}")


#: An observation without its elements.
Entry = ArrayEntry | PlainEntry


@dataclass(frozen=True)
class Note:
    """A part of a case that was not recorded, and why."""

    part: str
    reason: str


@dataclass(frozen=True)
class Raised:
    """A part of a case that raised an exception, and what it raised.

    Attributes:
        error: in its own words, with the name of its class.
        after: the key of the last observation before; None where nothing was recorded before.
    """

    part: str
    error: str
    after: str | None


@dataclass(frozen=True)
class Lack:
    """Observations that a target cannot have as others have them, because of its backend or its options.

    Attributes:
        where: a pattern of keys, in which `*` stands for anything.
    """

    where: str
    reason: str


@dataclass(frozen=True)
class Changed:
    """What a callback changed that its event does not say: numbers, which the judgement of events could not bear.

    Attributes:
        hook: the name of its method, such as `on_epoch_end`.
        rate: the learning rate before and after, as text; None where it stayed the same.
    """

    hook: str
    rate: tuple[str, str] | None = None


@dataclass(frozen=True)
class PlotEntry:
    """A recorded `harness.Plot`: its name, its axes, and the keys of its observations by label."""

    name: str
    x: str
    y: str
    points: Mapping[str, str]
    lines: Mapping[str, str]


@dataclass
class Header:
    """What ran, where, and how it ended.

    Attributes:
        case: the case's id.
        target: the target, as text.
        precision: that of the target, which is `float32` unless it says otherwise; of a twin, `float64`, or `float32`
            where the target itself computes in float64.
        status: how it ended.
        error: one paragraph where status is not ok.
        inference_only: True if it stopped, as `unavailable`, because it asked for gradients and its backend has none.
            That is no failure: what was recorded before is compared.
        seconds: wall-clock time of the case, without the worker's start.
        seed: of `rng` and every other generator.
        environment: proof of what ran: backend, versions, device, dtypes, jit flags, threads.
        notes: parts that were not recorded.
        lacks: observations that the target cannot have as others have them. They are not compared.
        raised: parts that raised, in order, whether the case went on after them or not.
        expect: the known differences that the case declares, by backend or target.
        plots: each `harness.Plot` that was recorded.
        pictures: names of the pictures that the case left, in the folder `pictures` of the trace.
        source: sha256 of the case file, in hexadecimal digits; None where no case ran.
        tags: words that the case is selected by.
        unowned: names of the variables that are updated and that nothing of the code under test owns, each with the
            line that makes it, as `file.py:12`, where that is known.
        python_state: what Python holds of a model at the end, as text: attributes such as `Scaled.factor`.
        places: where the code under test is written, as `Gate, cases/net.py:15`: see `harness.worker.capture.places`.
        changes: more of what callbacks changed, by the key of the event.
    """

    case: str
    target: str
    precision: str
    status: Status = "ok"
    error: str | None = None
    seconds: float = 0.0
    seed: int = 0
    environment: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    expect: Mapping[str, Expected] = field(default_factory=dict)
    plots: list[PlotEntry] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    source: str | None = None
    tags: list[str] = field(default_factory=list)
    inference_only: bool = False
    unowned: dict[str, str | None] = field(default_factory=dict)
    python_state: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Changed] = field(default_factory=dict)

    @property
    def has_failed(self) -> bool:
        return has_failed(self.status, inference_only=self.inference_only)

    @property
    def expected(self) -> Expected | None:
        """The known difference of this trace's own target: declared for it or, failing that, for its backend."""
        return self.expect.get(self.target) or self.expect.get(backend_of(self.target))
