"""What to run: cases, and the two things a case may return.

This module knows no framework and no NumPy, so that `import harness` is free.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.errors import CaseError

Function = TypeVar("Function", bound=Callable[..., Any])

#: Arguments that the harness injects by name, beside those that `pytest.mark.parametrize` names.
INJECTED = ("rng", "record", "target", "tmp_path")

_ATTRIBUTE = "__harness_case__"


def case(function: Function) -> Function:
    """Declare a case: a scenario written once in backend-agnostic Keras and run on every target.

    The function is returned unchanged. Its arguments are injected by name:

    - `rng`: a `numpy.random.Generator`, seeded from the case's id and so equal on every target;
    - `record(name, value)`: adds an observation, see `harness.capture.record.Recorder`;
    - `target`: the `harness.target.Target` the case runs on;
    - `tmp_path`: an empty `pathlib.Path` of this case and target;
    - whatever `@pytest.mark.parametrize` on the function names.

    It may return a `Fit` or a `Forward`, for which the harness records everything by itself, or None.

    Raises:
        CaseError: what is decorated is not a plain function.
    """
    if not inspect.isfunction(function):
        raise CaseError(
            f"@case decorates a function, and {function!r} is {type(function).__name__}. "
            "Write it as `@case` above a `def`, with no parentheses after it."
        )
    setattr(function, _ATTRIBUTE, True)
    return function


def is_case(value: object) -> bool:
    """Whether a value is a function that was declared with `@case`."""
    return inspect.isfunction(value) and getattr(value, _ATTRIBUTE, False) is True


class Fit:
    """Train a compiled model, and record everything on the way.

    Recorded, in order of execution: initial weights; on the first batch an eager forward pass, layer by layer,
    and the gradient of the loss with respect to every trainable weight; then the real `model.fit`: logs of
    each step, weights and optimizer state after the first step and after each epoch, epoch logs, callback
    events; then `evaluate`, `predict`, and predictions after a save to `.keras` and a load.

    Args:
        model: a compiled `keras.Model`.
        x, y: training data as `model.fit` takes them.
        **options: whatever else `model.fit` takes (`epochs`, `batch_size`, `validation_split`,
            `validation_data`, `callbacks`, `class_weight`, `sample_weight`, `shuffle`, ...).
    """

    def __init__(self, model: Any, x: Any = None, y: Any = None, **options: Any) -> None:
        self.model = model
        self.x = x
        self.y = y
        self.options = options


class Forward:
    """Call a layer, model or function once, and record outputs and gradients.

    Recorded: the initial weights of a layer; outputs, with those of every layer inside; the gradients of
    `sum(output * c)`, with a fixed random `c`, with respect to floating inputs and trainable weights; and the
    non-trainable weights afterwards.

    Args:
        function: a `keras.Layer`, or any callable of tensors.
        *inputs: arrays, or nested structures of them, passed positionally.
        training: passed to a layer whose `call` takes it.
        **options: keyword arguments of the call.
    """

    def __init__(self, function: Callable[..., Any], *inputs: Any, training: bool = False, **options: Any) -> None:
        self.function = function
        self.inputs = inputs
        self.training = training
        self.options = options


@dataclass(frozen=True)
class CaseRef:
    """Where a case is found again: which file, which function, which row of its parameters.

    Attributes:
        id: `path.py::name` or `path.py::name[param]`, relative to the project's root, with forward slashes.
        file: absolute path of the case file.
        function: name of the function in it.
        parameters: id of the row of parameters, or None.
    """

    id: str
    file: str
    function: str
    parameters: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "file": self.file, "function": self.function, "parameters": self.parameters}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CaseRef:
        return cls(data["id"], data["file"], data["function"], data["parameters"])


@dataclass(frozen=True)
class Row:
    """One row of a parametrised case: its id and the values by argument name."""

    id: str | None
    values: Mapping[str, Any] = field(default_factory=dict)
