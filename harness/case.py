"""Cases, what a case may return, and the differences that are declared for cases.

A *declared* difference is an `Expected`. The case declares it, as `@case(expect={"torch": Expected(...)})`, or the
project does, as an entry (a `Known`) of its table `[[tool.harness.known]]`. A comparison in which a declared difference
is found has the outcome `known`; `unexpected` is the worst verdict that no declaration covers.

This module imports neither a framework nor NumPy, so that `import harness` is fast.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload

from harness.errors import CaseError
from harness.target import backend_of
from harness.verdict import Verdict

Function = TypeVar("Function", bound=Callable[..., Any])

#: Arguments that the harness injects by name, in addition to those that `pytest.mark.parametrize` names.
INJECTED = ("rng", "record", "target", "tmp_path")

#: Verdicts that are differences, and so can be declared.
DIFFERENCES = tuple(str(verdict) for verdict in Verdict if verdict >= Verdict.LEAK)

_ATTRIBUTE = "__harness_case__"


@dataclass(frozen=True)
class Expected:
    """A declared difference: one target is known to differ from the others, for a reason outside the case.

    A comparison in which only declared differences are found is `known`. A declared difference that is not found any
    more is reported as fixed, and fails, so that a declaration never outlives its reason.

    Args:
        verdict: the worst verdict that the difference may have, such as `leak` or `mismatch`.
        reason: why the target differs, for whoever reads the report.
        where: the keys of the observations that may differ, as a pattern in which `*` stands for anything.
        link: the address of further information, such as an issue.
        keras: the versions of Keras with the difference, as a specifier such as `<3.13`; all of them if left out.

    Raises:
        CaseError: `verdict` is not a difference, `reason` is empty, or `keras` is not a specifier.
    """

    verdict: str
    reason: str
    where: str = "*"
    link: str | None = None
    keras: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in DIFFERENCES:
            raise CaseError(
                f"Expected({self.verdict!r}, ...) names no difference. A difference is one of {', '.join(DIFFERENCES)}."
            )
        if not self.reason:
            raise CaseError(
                f"Expected({self.verdict!r}, ...) has no reason. Say why the difference is as it should be."
            )
        if self.keras:
            self._specifier()

    def covers(self, verdict: Verdict, key: str) -> bool:
        """Whether a difference of the observation with this key is the declared one, or a milder one in its place."""
        return Verdict.LEAK <= verdict <= Verdict.parse(self.verdict) and matches(self.where, key)

    def holds_with(self, keras: str) -> bool:
        """Whether a version of Keras has the difference. One that cannot be parsed counts as having it."""
        if not self.keras:
            return True
        from packaging.version import InvalidVersion, Version

        try:
            return bool(self._specifier().contains(Version(keras), prereleases=True))
        except InvalidVersion:
            return True

    def _specifier(self) -> Any:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet  # not at the top: `import harness` is fast

        try:
            return SpecifierSet(self.keras)
        except InvalidSpecifier:
            raise CaseError(
                f"Expected(..., keras={self.keras!r}) names no versions. Write a specifier as pip takes it, such as "
                "'<3.13' or '>=3.12,<3.15'."
            ) from None


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern, in which `*` stands for anything and nothing else is special, matches a whole text.

    Each part between two `*` is looked for once, from left to right. A regular expression would try every combination
    of places, which takes for ever with twenty `*`.
    """
    if "*" not in pattern:
        return pattern == text
    first, *between, last = pattern.split("*")
    if not (text.startswith(first) and text.endswith(last) and len(first) + len(last) <= len(text)):
        return False
    start, end = len(first), len(text) - len(last)
    for part in between:
        found = text.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True


@dataclass(frozen=True)
class Known:
    """An entry of `[[tool.harness.known]]`: a difference that the project declares, outside its cases.

    Attributes:
        case: ids of cases, as a pattern in which `*` stands for anything.
        target: a backend or a target.
        expected: the difference.
    """

    case: str
    target: str
    expected: Expected

    def covers(self, case: str, target: str) -> bool:
        """Whether the entry applies to a case on a target."""
        return self.target in (target, backend_of(target)) and matches(self.case, case)


@dataclass(frozen=True)
class Declaration:
    """What `@case` declares for a function: known differences, by backend or target, and tags."""

    expect: Mapping[str, Expected] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@overload
def case(function: Function, /) -> Function: ...


@overload
def case(
    *, expect: Mapping[str, Expected] | None = None, tags: Iterable[str] = ()
) -> Callable[[Function], Function]: ...


def case(function: Any = None, /, *, expect: Mapping[str, Expected] | None = None, tags: Iterable[str] = ()) -> Any:
    """Declare a case: a scenario written once in backend-agnostic Keras and run on every target.

    Use it as `@case`, or as `@case(expect={"tensorflow": Expected("leak", reason="...")}, tags=["slow"])`. The function
    is returned unchanged. Its arguments are injected by name:

    - `rng`: a `numpy.random.Generator`, seeded from the case's id and so equal on every target;
    - `record(name, value)`: adds an observation, see `harness.Record`;
    - `target`: the `harness.Target` the case runs on;
    - `tmp_path`: an empty `pathlib.Path` of this case and target;
    - whatever `@pytest.mark.parametrize` on the function names.

    It may return a `Fit` or a `Forward`, for which the harness records everything by itself, or None.

    Args:
        expect: declared differences, by the backend or target that stands alone with them.
        tags: words that `--tag` selects by.

    Raises:
        CaseError: what is decorated is not a plain function, or `expect` or `tags` has a wrong value.
    """
    if function is None:
        declaration = Declaration(checked(expect or {}), _words(tags))
    elif inspect.isfunction(function):
        declaration = Declaration()
    else:
        raise CaseError(
            f"@case decorates a function, and {function!r} is {type(function).__name__}. Write @case above a `def`."
        )

    def declare(function: Function) -> Function:
        setattr(function, _ATTRIBUTE, declaration)
        return function

    return declare if function is None else declare(function)


def checked(expect: Mapping[str, Expected]) -> Mapping[str, Expected]:
    """A copy of declared differences, by backend or target. Raises CaseError for a value that is not an `Expected`."""
    for target, expected in expect.items():
        if not isinstance(expected, Expected):
            raise CaseError(
                f"expect={{{target!r}: {expected!r}}} declares nothing. Give each target an Expected(verdict, reason)."
            )
    return dict(expect)


def _words(tags: Iterable[str]) -> tuple[str, ...]:
    words = (tags,) if isinstance(tags, str) else tuple(tags)
    for word in words:
        if not isinstance(word, str) or not word.isidentifier():
            raise CaseError(f"{word!r} is not a tag. A tag is one word, such as 'slow'.")
    return words


def declaration_of(function: Callable[..., Any]) -> Declaration:
    """What `@case` declared for a function."""
    declaration = getattr(function, _ATTRIBUTE)
    assert isinstance(declaration, Declaration)
    return declaration


def is_case(value: object) -> bool:
    """Whether a value is a function that was declared with `@case`."""
    return inspect.isfunction(value) and isinstance(getattr(value, _ATTRIBUTE, None), Declaration)


class Fit:
    """Train a compiled model, and record everything on the way.

    Recorded, in order of execution: initial weights; on the first batch an eager forward pass, layer by layer,
    and the gradient of the loss with respect to every trainable weight; then the real `model.fit`: logs of
    each step, weights and optimizer state after the first step and after each epoch, epoch logs, callback
    events; then `evaluate`, `predict`, and predictions after a save to `.keras` and a load.

    Args:
        model: a compiled `keras.Model`.
        x, y: training data as `model.fit` takes them.
        as_trained: whether the weights are moved as for a `Forward` before training begins.
        fit: what trains the model in place of `model.fit`, called as `fit(x, y, **options)`, for a library that calls
            it otherwise.
        **options: whatever else `model.fit` takes (`epochs`, `batch_size`, `validation_split`,
            `validation_data`, `callbacks`, `class_weight`, `sample_weight`, `shuffle`, ...).

    What of x and y is left out is not passed. A `fit`, `evaluate` or `predict` of the model's own may take less than
    Keras' does.

    Raises:
        CaseError: `model` is not a Keras model, or its `fit` does not take one of the options.
    """

    def __init__(
        self,
        model: Any,
        x: Any = None,
        y: Any = None,
        *,
        as_trained: bool = False,
        fit: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        if isinstance(model, type) or not all(callable(getattr(model, name, None)) for name in ("compile", "fit")):
            raise CaseError(
                f"Fit takes a keras.Model, and was given {_kind_of(model)}: {_shown(model)} cannot be compiled and "
                "trained. Give it a compiled model. A layer or a function goes into a Forward."
            )
        if fit is not None and not callable(fit):
            raise CaseError(
                f"Fit(..., fit={_shown(fit)}) cannot be called. Give it the method or function that trains the model."
            )
        _check_flag("Fit", "as_trained", as_trained, "the weights are moved nor that they are not")
        self.as_trained = as_trained
        self.train = model.fit if fit is None else fit
        _check_options(model, self.train, options)
        self.model = model
        self.x = x
        self.y = y
        self.options = options

    def __repr__(self) -> str:
        data = {name: value for name, value in (("x", self.x), ("y", self.y)) if value is not None}
        return _call("Fit", self.model, **data, **self.options)


class Forward:
    """Call a layer, model or function once, and record outputs and gradients.

    Recorded: the initial weights of a layer; outputs, with those of every layer inside; the gradients of
    `sum(output * c)`, with a fixed random `c`, with respect to floating inputs and trainable weights; and the
    non-trainable weights afterwards.

    On backends whose `fit` compiles it is called compiled as well, twice, and held against eager calls on the same
    backend.

    Args:
        function: a `keras.Layer`, or any callable of tensors.
        *inputs: arrays, or nested structures of them, passed positionally.
        training: passed to a layer whose `call` takes it.
        as_trained: whether weights of a layer that are all 0, or all one number, are moved before the call, as training
            would move them. Those of a new layer hide faults: what is multiplied by 1 or added to 0 may be left out.
        compiled: whether it is called compiled as well. False is for what is not made to be compiled.
        **options: keyword arguments of the call.

    Raises:
        CaseError: `function` cannot be called, or is the class of a layer, or a flag is not a bool.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *inputs: Any,
        training: bool = False,
        as_trained: bool = True,
        compiled: bool = True,
        **options: Any,
    ) -> None:
        if not callable(function):
            raise CaseError(
                f"Forward takes a layer or a function, and was given {_kind_of(function)}: {_shown(function)} cannot "
                "be called. Give it what to call first, and then the inputs."
            )
        if isinstance(function, type) and hasattr(function, "call"):
            raise CaseError(
                f"Forward takes a layer or a function, and was given {_kind_of(function)}. Make a layer of it first: "
                f"Forward({function.__name__}(...), ...)."
            )
        _check_flag("Forward", "training", training, "it is training nor that it is not")
        _check_flag("Forward", "as_trained", as_trained, "the weights are moved nor that they are not")
        _check_flag("Forward", "compiled", compiled, "it is called compiled nor that it is not")
        self.as_trained = as_trained
        self.compiled = compiled
        self.function = function
        self.inputs = inputs
        self.training = training
        self.options = options

    def __repr__(self) -> str:
        return _call("Forward", self.function, *self.inputs, training=self.training, **self.options)


class Plot:
    """Points and lines in a plane, to be recorded: `record("decision boundary", Plot(points=..., lines=...))`.

    The coordinates are observations like any others. `harness run` draws them, with the lines of every target in one
    picture, into the run's folder.

    Args:
        points: arrays of shape (n, 2), by label. Only those of the reference are drawn.
        lines: arrays of shape (n, 2), by label. Those of every target are drawn.
        x, y: labels of the axes.

    Raises:
        CaseError: `points` or `lines` is not a mapping to arrays of that shape, or `x` or `y` is not text.
    """

    def __init__(
        self,
        *,
        points: Mapping[str, Any] | None = None,
        lines: Mapping[str, Any] | None = None,
        x: str = "x",
        y: str = "y",
    ) -> None:
        for kind, arrays in (("points", points), ("lines", lines)):
            _check_coordinates(kind, arrays)
        for axis, text in (("x", x), ("y", y)):
            if not isinstance(text, str):
                raise CaseError(f"Plot({axis}={_shown(text)}) does not say what the axis is. Give it a string.")
        self.points = dict(points or {})
        self.lines = dict(lines or {})
        self.x = x
        self.y = y

    def __repr__(self) -> str:
        coordinates = {kind: arrays for kind, arrays in (("points", self.points), ("lines", self.lines)) if arrays}
        return _call("Plot", **coordinates, x=self.x, y=self.y)


def _check_flag(kind: str, name: str, value: Any, meaning: str) -> None:
    if not isinstance(value, bool):
        raise CaseError(f"{kind}(..., {name}={_shown(value)}) says neither that {meaning}. Give it True or False.")


def _check_options(model: Any, fit: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise CaseError for an option that what trains a model does not take, as far as its signature tells."""
    try:
        parameters = inspect.signature(fit).parameters.values()
    except (TypeError, ValueError):  # `fit` is not written in Python
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    taken = [parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY]
    for name in options:
        if name not in taken:
            raise CaseError(
                f"Fit(..., {name}={_shown(options[name])}) names no option of fit of {_shown(model)}. "
                f"It takes {', '.join(taken)}."
            )


def _check_coordinates(kind: str, arrays: Any) -> None:
    """Raise CaseError if a Plot cannot draw the arrays as its points or lines."""
    if arrays is not None and not isinstance(arrays, Mapping):
        raise CaseError(
            f"Plot({kind}={_shown(arrays)}) has no labels. Give it arrays of shape (n, 2) by label, such as "
            f"{kind}={{'boundary': xy}}."
        )
    for label, array in (arrays or {}).items():
        shape: Any = getattr(array, "shape", ())
        if len(shape) != 2 or shape[1] != 2:
            raise CaseError(
                f"Plot({kind}=...) has {label!r}, which is not an array of shape (n, 2): {_shown(array)}. Give it one "
                "with a row for each point."
            )


#: The most items of a collection, and characters of a plain value, that `_shown` shows.
_MOST_ITEMS, _MOST_CHARACTERS = 5, 60


def _call(name: str, *args: Any, **kwargs: Any) -> str:
    """The call that makes an object, as short text."""
    return f"{name}({', '.join([*map(_shown, args), *(f'{key}={_shown(value)}' for key, value in kwargs.items())])})"


def _shown(value: Any) -> str:
    """A value in short: an array by dtype and shape, a layer by class and name, and what is nested by its items."""
    if isinstance(value, Mapping):
        return _braced("{}", [f"{key!r}: {_shown(item)}" for key, item in _few(value.items())], len(value))
    if isinstance(value, (list, tuple)):
        return _braced("[]" if isinstance(value, list) else "()", [_shown(item) for item in _few(value)], len(value))
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        dtype = getattr(value.dtype, "name", None) or str(value.dtype).rpartition(".")[2]
        return f"<{dtype} {tuple(value.shape)}>"
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        text = repr(value)
        return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
    if hasattr(value, "__qualname__"):
        return f"<{value.__qualname__.rpartition('<locals>.')[2].replace('<lambda>', 'lambda')}>"
    name = getattr(value, "name", None)
    return f"<{type(value).__name__} {name!r}>" if isinstance(name, str) else f"<{type(value).__name__}>"


def _few(items: Iterable[Any]) -> list[Any]:
    return list(itertools.islice(items, _MOST_ITEMS))


def _braced(braces: str, items: list[str], count: int) -> str:
    return f"{braces[0]}{', '.join([*items, *(['...'] if count > len(items) else [])])}{braces[1]}"


def _kind_of(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


@dataclass(frozen=True)
class CaseRef:
    """Where to find a case, and what it declares.

    Attributes:
        id: `path.py::name` or `path.py::name[param]`, relative to the project's root, with forward slashes.
        file: absolute path of the case file.
        function: name of the function in it.
        parameters: id of the row of parameters, or None.
        expect: declared differences, by backend or target.
        tags: words that `--tag` selects by.
    """

    id: str
    file: str
    function: str
    parameters: str | None = None
    expect: Mapping[str, Expected] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


def fingerprint(file: Path) -> str:
    """The sha256 of a case file, the same whatever ends its lines."""
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


@dataclass(frozen=True)
class Row:
    """One row of a parametrised case: its id and the values by argument name."""

    id: str | None
    values: Mapping[str, Any] = field(default_factory=dict)
