"""Variables that code updates and that nothing of it owns: the seed generator of a module, a counter in a list.

`fit` on jax keeps what a step makes of the variables of the model and its optimizer, and of no others.
"""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.backends import runtime
from harness.trace.key import UNOWNED
from harness.worker import keras_internals, origin
from harness.worker.capture import state
from harness.worker.capture.record import Recorder
from harness.worker.capture.tensors import is_float, numpy_of
from harness.worker.patching import patched, where_defined

#: The most items of a list in which a variable is looked for, and how deep lists may be nested.
_MOST, _DEEPEST = 1000, 3


class Updated:
    """The variables that are updated while `watched` is open and that nothing owns, compiled code included.

    Args:
        owned: gives the variables that the code under test owns. It may own more as it is built.
    """

    def __init__(self, owned: Callable[[], Iterable[Any]]) -> None:
        self._all_owned = owned
        self._owned: set[int] = set()
        self._variables: dict[int, Any] = {}
        self._before: dict[int, np.ndarray[Any, Any]] = {}
        self._found: dict[int, tuple[str, str | None]] = {}

    def note(self, variable: Any) -> None:
        """Note that a variable is about to be updated."""
        if id(variable) in self._owned:
            return
        if id(variable) not in self._variables:
            self._variables[id(variable)] = variable
            self._forget_owned()
        if id(variable) in self._variables and id(variable) not in self._before:
            # What is made inside of compiled code has no value.
            with contextlib.suppress(Exception), runtime.current().outside_of_graphs():
                self._before[id(variable)] = numpy_of(variable)

    def variables(self) -> list[Any]:
        """Those that were updated so far, in order."""
        self._forget_owned()
        return list(self._variables.values())

    @contextlib.contextmanager
    def preserved(self, owned: Sequence[Any]) -> Iterator[None]:
        """Put the owned variables back to what they are now, and the others to what they were before any update."""
        try:
            with state.preserved(owned):
                yield
        finally:
            for variable in self.variables():
                if id(variable) in self._before:
                    variable.assign(self._before[id(variable)])

    def record(self, recorder: Recorder, step: int) -> None:
        """Record them, as `unowned/NAME`, what they began with, and the line that makes each."""
        for variable in self.variables():
            if recorder.native and variable.path.endswith("seed_generator_state"):
                continue
            is_new = id(variable) not in self._found
            if is_new:
                self._found[id(variable)] = _found(variable, recorder.root)
            name, line = self._found[id(variable)]
            name = f"{UNOWNED}/{name}"
            recorder.unowned[name] = line
            before = self._before.get(id(variable))
            if is_new and before is not None:
                recorder.add("initial", name, before if is_float(variable) else before.tolist(), step=0)
            value = variable if is_float(variable) else numpy_of(variable).tolist()
            recorder.add("update", name, value, step=step)

    def _forget_owned(self) -> None:
        """Leave out what is owned by now, and what the generator has that Keras itself keeps."""
        generator = keras_internals.global_seed_generator()
        self._owned = {id(variable) for variable in self._all_owned()}
        self._owned |= {id(generator.state)} if generator is not None else set()
        self._variables = {key: variable for key, variable in self._variables.items() if key not in self._owned}


@contextlib.contextmanager
def watched(owned: Callable[[], Iterable[Any]]) -> Iterator[Updated]:
    """Note which variables are updated while the context is open: see `Updated`."""
    import keras

    updated = Updated(owned)

    def noted(original: Callable[..., Any]) -> Callable[..., Any]:
        def assign(variable: Any, value: Any) -> Any:
            updated.note(variable)
            return original(variable, value)

        return assign

    with patched(where_defined(keras.Variable, "assign"), "assign", noted):
        yield updated


def _found(variable: Any, root: Path) -> tuple[str, str | None]:
    """The name by which a module of the user's has a variable, or what has it, and the line; its path where none has.

    Returns:
        The name, as `SEEDS` or `SEEDS/state` where it has several, and the line, as `file.py:12`.
    """
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is None or not origin.is_users(Path(file)):
            continue
        for name, value in list(vars(module).items()):
            held = _variables_of(value)
            if any(variable is other for other in held):
                line = _line_of(Path(file), name)
                place = origin.shown(Path(file), root)
                place = place if line is None else f"{place}:{line}"
                return name if len(held) == 1 else f"{name}/{variable.path}", place
    return str(variable.path), None


def _variables_of(value: Any, depth: int = _DEEPEST) -> list[Any]:
    """The variables that a value is, holds, or has as a generator, a layer, a metric or an optimizer has them."""
    import keras

    if isinstance(value, keras.Variable):
        return [value]
    if isinstance(value, (list, tuple, dict)) and depth and len(value) <= _MOST:
        items = value.values() if isinstance(value, dict) else value
        return [variable for item in items for variable in _variables_of(item, depth - 1)]
    if isinstance(value, keras.random.SeedGenerator):
        return [value.state]
    if isinstance(value, (keras.Layer, keras.Metric, keras.optimizers.Optimizer)):
        return list(value.variables)
    return []


def _line_of(file: Path, name: str) -> int | None:
    """The line on which a module gives a name its value."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    stored = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name
    )
    return next((node.lineno for node in stored), None)
