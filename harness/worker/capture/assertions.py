"""The values that a test gives to its assertions: `assert_allclose`, `assertAllClose`, `approx` and the like."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import unittest
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from harness import backends
from harness.backends import runtime
from harness.errors import CaseError
from harness.worker.capture.record import Recorder
from harness.worker.patching import FOR_GOOD, patched

_NUMPY = (
    "assert_allclose",
    "assert_almost_equal",
    "assert_approx_equal",
    "assert_array_almost_equal",
    "assert_array_almost_equal_nulp",
    "assert_array_equal",
    "assert_array_less",
    "assert_array_max_ulp",
    "assert_equal",
)
_UNITTEST = ("assertAlmostEqual", "assertNotAlmostEqual")
#: Functions that are no assertions by themselves. A test asserts what they return; everybody else calls them as well.
_ASKED = {"numpy": ("allclose", "array_equal", "isclose"), "keras.ops": ("allclose", "isclose")}


class Assertions:
    """Records what assertions compare, each value under the line of the test file that asked for it.

    Keras' own `TestCase` ends in NumPy's functions, so it needs nothing of its own. An assertion that calls another is
    recorded once.
    """

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._frameworks: set[str] = set()
        self._files: list[Path] = []
        self._seen: Counter[str] = Counter()
        self._depth = 0

    def install(self) -> None:
        """Replace the assertions of this process. A module that is imported later finds the replaced ones."""
        self._replace([(np.testing, name) for name in _NUMPY] + [(unittest.TestCase, name) for name in _UNITTEST])
        for module, names in _ASKED.items():
            owner = importlib.import_module(module)
            self._replace([(owner, name) for name in names if hasattr(owner, name)], by_the_test=True)
        for sample in (1.0, [1.0], {"": 1.0}, np.ones(1)):
            # `pytest.approx` compares by `==` of the objects that it makes, whose classes have no public name.
            FOR_GOOD.enter_context(patched(type(pytest.approx(sample)), "__eq__", self._recording_equals))
        self._install_those_of_frameworks()

    def _install_those_of_frameworks(self) -> None:
        """Replace those of every framework that is imported: a suite may use TensorFlow's `TestCase` on any backend."""
        for name in {name for name in backends.training() if name in sys.modules} - self._frameworks:
            self._frameworks.add(name)
            self._replace(runtime.get(name).assertions())

    def _replace(self, owners: Iterable[tuple[Any, str]], *, by_the_test: bool = False) -> None:
        for owner, name in owners:
            recording = functools.partial(self._recording, owner, name, by_the_test)
            FOR_GOOD.enter_context(patched(owner, name, recording))

    def watch(self, recorder: Recorder | None, *files: Path) -> None:
        """Record from now on into this recorder, or not at all. `files` are paths of the test's file."""
        self._install_those_of_frameworks()
        self._recorder, self._files = recorder, [*files]
        self._seen.clear()

    def _recording(self, owner: Any, name: str, by_the_test: bool, original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)
        skipped = 1 if inspect.isclass(owner) else 0

        @functools.wraps(original)
        def assertion(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True  # of pytest: the test's own line is what a reader wants
            if by_the_test and not self._is_of_the_test(sys._getframe(1)):
                return original(*args, **kwargs)
            try:
                given = list(signature.bind_partial(*args, **kwargs).arguments.values())[skipped : skipped + 2]
            except TypeError:  # which the assertion itself will say
                given = []
            return self._observed(name, given, lambda: original(*args, **kwargs))

        return assertion

    def _recording_equals(self, original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def equals(approximate: Any, actual: Any) -> Any:
            return self._observed("approx", [actual, approximate.expected], lambda: original(approximate, actual))

        return equals

    def _observed(self, name: str, given: list[Any], compare: Callable[[], Any]) -> Any:
        __tracebackhide__ = True
        if self._recorder is not None and not self._depth:
            for role, value in zip(("actual", "desired"), given, strict=False):
                self._record(self._recorder, f"{self._line()} {name} {role}", value)
        self._depth += 1
        try:
            return compare()
        finally:
            self._depth -= 1

    def _record(self, recorder: Recorder, name: str, value: Any) -> None:
        self._seen[name] += 1
        if self._seen[name] > 1:
            name = f"{name} ({self._seen[name]})"
        try:
            recorder.record(name, _as_array(value))
        except CaseError as error:
            recorder.note(name, str(error))

    def _line(self) -> str:
        """The innermost line of the test's file that is being executed."""
        frame = sys._getframe(2)
        while frame.f_back is not None and not self._is_of_the_test(frame):
            frame = frame.f_back
        return f"{self._files[0].name}:{frame.f_lineno}"

    def _is_of_the_test(self, frame: FrameType) -> bool:
        return frame.f_code.co_filename in [str(file) for file in self._files]


def _as_array(value: Any) -> Any:
    """Lists of numbers as the array that an assertion makes of them. Anything else as it is."""
    if not isinstance(value, (list, tuple)):
        return value
    try:
        array = np.asarray(value)
    except Exception:  # ragged, or of tensors that refuse: then it is recorded leaf by leaf
        return value
    return array if array.dtype.kind in "biufc" else value
