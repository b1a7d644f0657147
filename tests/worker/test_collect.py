"""Collecting cases: the expansion of parametrize is held against pytest's own, on the same functions."""

from __future__ import annotations

import enum
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.case import CaseRef, case, is_case
from harness.errors import CaseError
from harness.worker import collect

parametrize = pytest.mark.parametrize


class Colour(enum.Enum):
    RED = 1


class Shade(str, enum.Enum):  # noqa: UP042 - a StrEnum would be written as its value
    DARK = "dark"


class Layer:
    def __repr__(self) -> str:
        return "a layer"


class Oracle:
    """A plugin that lets pytest collect one function, and keeps what it was collected as."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.rows: list[tuple[str | None, dict[str, Any]]] = []

    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module:
        module: pytest.Module = pytest.Module.from_parent(parent, path=module_path)
        module.obj = types.ModuleType("subject")
        module.obj.test_subject = self.function
        return module

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        specifications = [getattr(item, "callspec", None) for item in items]
        self.rows = [(None, {}) if s is None else (s.id, dict(s.params)) for s in specifications]


@pytest.fixture(scope="module")
def by_pytest(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[..., Any]], Any]:
    """The rows of a function by pytest, or None where pytest refuses it."""
    folder = tmp_path_factory.mktemp("oracle")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_subject.py").touch()
    plugins = ("terminal", "cacheprovider", "hypothesispytest", "xdist")
    arguments = ["--collect-only", f"-c{folder / 'pytest.ini'}", f"--rootdir={folder}", str(folder)]

    def collected(function: Callable[..., Any]) -> Any:
        oracle = Oracle(function)
        status = pytest.main([*arguments, *(f"-pno:{name}" for name in plugins)], plugins=[oracle])
        return oracle.rows if status == 0 else None

    return collected


def by_harness(function: Callable[..., Any]) -> list[tuple[str | None, dict[str, Any]]]:
    return [(row.id, dict(row.values)) for row in collect.rows(function)]


def none() -> None: ...


def one(a: Any) -> None: ...


def two(a: Any, b: Any) -> None: ...


def three(a: Any, b: Any, c: Any) -> None: ...


OBJECTS = [object(), Layer(), [1, 2], (3,), {"k": 1}, int, Layer, len, Colour.RED, Shade.DARK]
PARAMETRISED = {
    "not at all": (none, []),
    "numbers": (one, [parametrize("a", [0, -1, 1.5, 1e-7, float("nan"), float("inf"), 2j, True, False, None])]),
    "strings": (one, [parametrize("a", ["relu", "with space", "a/b::c[d]", "UPPER", "tab\tnewline\n", "\x1b[31m"])]),
    "other alphabets": (one, [parametrize("a", ["é", "日本", "\u202e"])]),
    "an empty string": (one, [parametrize("a", ["", "b"])]),
    "bytes": (one, [parametrize("a", [b"raw", b"\xff"])]),
    "objects": (one, [parametrize("a", OBJECTS)]),
    "duplicates": (one, [parametrize("a", [1, 1, "x", "x", "x1", None, None])]),
    "duplicates whose numbers are taken": (one, [parametrize("a", ["x", "x", "x0", "1", "1", "1_0"])]),
    "duplicates among ids": (one, [parametrize("a", [1, 2, 3], ids=["same", "same", "other"])]),
    "ids": (two, [parametrize("a, b", [(1, 2), (3, 4)], ids=["first", "second"])]),
    "ids of which some are None": (one, [parametrize("a", [1, 2, object()], ids=["one", None, None])]),
    "ids that are no strings": (one, [parametrize("a", [1, 2, 3, 4], ids=[0.5, True, Colour.RED, Layer])]),
    "ids from a function": (one, [parametrize("a", [1, 2, "x"], ids=lambda value: f"<{value}>")]),
    "ids from a function that passes": (one, [parametrize("a", [1, None, Layer()], ids=lambda _: None)]),
    "ids from a function that gives a number": (two, [parametrize("a, b", [(1, 2), (3, 4)], ids=lambda v: v / 2)]),
    "ids from a function that gives an object": (one, [parametrize("a", [1, Layer()], ids=lambda value: [value])]),
    "param with an id": (one, [parametrize("a", [pytest.param(1, id="one"), 2, pytest.param(Layer())])]),
    "param with an id beside ids": (one, [parametrize("a", [pytest.param(1, id="own"), 2], ids=["given", "two"])]),
    "param of two": (two, [parametrize("a, b", [pytest.param(1, 2, id="pair"), (3, Layer())])]),
    "names in a tuple": (two, [parametrize(("a", "b"), [(1, "x"), [2, "y"]])]),
    "one name in a list": (one, [parametrize(["a"], [(1,), (2,)])]),
    "one name, rows of tuples": (one, [parametrize("a", [(1, 2), (3,), ()])]),
    "stacked": (two, [parametrize("a", [1, 2, 3]), parametrize("b", ["x", "y"])]),
    "stacked three times": (
        three,
        [parametrize("a", [1, 2]), parametrize("b", ["x", "y"], ids=str.upper), parametrize("c", [None, 0.5])],
    ),
    "stacked with a pair": (three, [parametrize("a, b", [(1, 2), (1, 2)]), parametrize("c", [True, False])]),
}


def decorated(function: Callable[..., Any], marks: list[pytest.MarkDecorator]) -> Callable[..., Any]:
    """A copy of a function under decorators, in the order they are written."""
    copy = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    for mark in reversed(marks):
        mark(copy)
    return copy


def in_words(rows: list[tuple[str | None, dict[str, Any]]]) -> list[tuple[str | None, str]]:
    """Rows as text, in which NaN is equal to itself and 1 is not True."""
    return [(key, repr(sorted(values.items()))) for key, values in rows]


@parametrize("name", PARAMETRISED)
def test_rows_have_the_ids_values_and_order_of_pytest(name: str, by_pytest: Callable[..., Any]) -> None:
    subject = decorated(*PARAMETRISED[name])
    expected = by_pytest(subject)
    assert expected
    assert in_words(by_harness(subject)) == in_words(expected)


SCALARS = st.one_of(
    st.text("aé01-_", max_size=2), st.integers(-2, 2), st.booleans(), st.none(), st.floats(), st.sampled_from(OBJECTS)
)
IDS = st.text("a01", max_size=2)


@st.composite
def axes(draw: st.DrawFn) -> list[pytest.MarkDecorator]:
    """One or two decorators over a, b and c, with or without ids of their own."""
    marks = []
    for names in draw(st.sampled_from([["a"], ["a", "b"]])):
        values = draw(st.lists(SCALARS | SCALARS.map(lambda v: pytest.param(v, id="x")), min_size=1, max_size=5))
        ids = draw(st.none() | st.lists(st.none() | IDS, min_size=len(values), max_size=len(values)))
        marks.append(parametrize(names, values, ids=ids))
    return marks


@settings(max_examples=40, deadline=None)
@given(axes())
def test_any_parametrisation_expands_as_in_pytest(
    by_pytest: Callable[..., Any], marks: list[pytest.MarkDecorator]
) -> None:
    subject = decorated(two if len(marks) == 2 else one, marks)
    assert in_words(by_harness(subject)) == in_words(by_pytest(subject))


REFUSED_BY_BOTH = {
    "too few ids": (one, [parametrize("a", [1, 2], ids=["one"])], "ids"),
    "too many ids": (one, [parametrize("a", [1, 2], ids=["one", "two", "three"])], "ids"),
    "an id of no known type": (one, [parametrize("a", [1], ids=[object()])], "ids"),
    "a row too short": (two, [parametrize("a, b", [(1, 2), (3,)])], "(3,)"),
    "a row too long": (two, [parametrize("a, b", [(1, 2, 3)])], "(1, 2, 3)"),
    "an argument it has not": (one, [parametrize("a, z", [(1, 2)])], "'z'"),
    "an argument twice": (one, [parametrize("a", [1]), parametrize("a", [2])], "'a'"),
}


@parametrize("name", REFUSED_BY_BOTH)
def test_what_pytest_refuses_is_refused_and_named(name: str, by_pytest: Callable[..., Any]) -> None:
    function, marks, named = REFUSED_BY_BOTH[name]
    subject = decorated(function, marks)
    assert not by_pytest(subject)
    with pytest.raises(CaseError) as caught:
        collect.rows(subject)
    assert named in str(caught.value)
    assert function.__name__ in str(caught.value)


def flexible(*a: Any) -> None: ...


def options(**a: Any) -> None: ...


@parametrize(
    ("function", "mark", "named"),
    [
        (none, pytest.mark.skip, "'skip'"),
        (none, pytest.mark.skip(reason="slow"), "'skip'"),
        (none, pytest.mark.skipif(False, reason="never"), "'skipif'"),
        (none, pytest.mark.xfail, "'xfail'"),
        (one, parametrize("a", [1, pytest.param(2, marks=pytest.mark.skip)]), "'skip'"),
        (one, parametrize("a", [pytest.param(2, marks=pytest.mark.xfail)]), "'xfail'"),
        (one, parametrize("a", []), "no rows"),
        (one, parametrize("a", [1], indirect=True), "indirect"),
        (one, pytest.mark.slow, "'a'"),
        (two, parametrize("a", [1]), "'b'"),
        (flexible, pytest.mark.slow, "'a'"),
        (options, pytest.mark.slow, "'a'"),
    ],
)
def test_what_would_leave_a_case_out_or_cannot_be_injected_is_refused(
    function: Callable[..., Any], mark: pytest.MarkDecorator, named: str
) -> None:
    with pytest.raises(CaseError) as caught:
        collect.rows(decorated(function, [mark]))
    assert named in str(caught.value)
    assert function.__name__ in str(caught.value)


def test_other_marks_and_all_that_is_injected_are_taken() -> None:
    def subject(rng: Any, record: Any, target: Any, tmp_path: Any, a: Any) -> None: ...

    marks = [pytest.mark.slow, parametrize("a", [pytest.param(1, marks=pytest.mark.slow)])]
    assert by_harness(decorated(subject, marks)) == [("1", {"a": 1})]


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes back what importing case files leaves behind."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


FILE = """
import pytest
from harness import case
from helper_of_these_cases import helped

@case
def second_in_the_alphabet(): ...

def not_a_case(): ...

@case
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("s", ["x", "y"])
def first_in_the_alphabet(n, s): return n, s
"""
HELPER = """
from harness import case

@case
def helped(): ...
"""


@pytest.mark.usefixtures("imports")
def test_cases_come_in_the_order_of_the_file_with_ids_from_the_root(project: Any) -> None:
    project.write("cases/helper_of_these_cases.py", HELPER)
    file = project.write("cases/deep/subject_of_this_test.py", FILE)
    sys.path.insert(0, str(file.parents[1]))
    refs = collect.cases_of(file, project.folder)
    prefix = "cases/deep/subject_of_this_test.py::"
    names = ["helped", "second_in_the_alphabet"]
    names += [f"first_in_the_alphabet[{row}]" for row in ("x-1", "x-2", "y-1", "y-2")]
    assert [ref.id for ref in refs] == [prefix + name for name in names]
    assert refs[-1] == CaseRef(prefix + names[-1], str(file), "first_in_the_alphabet", "y-2")


@pytest.mark.usefixtures("imports")
def test_a_collected_case_is_found_again_with_its_values(project: Any) -> None:
    project.write("helper_of_these_cases.py", HELPER)  # the root of the project can be imported from
    file = project.write("cases/subject_of_this_test.py", FILE)
    found = [collect.find(ref, project.folder) for ref in collect.cases_of(file, project.folder)]
    assert [function(**values) for function, values in found] == [None, None, (1, "x"), (2, "x"), (1, "y"), (2, "y")]


@pytest.mark.usefixtures("imports")
def test_a_case_is_imported_anew_each_time(project: Any) -> None:
    file = project.write("subject_of_this_test.py", "from harness import case\nseen = []\n@case\ndef it(): return seen")
    (ref,) = collect.cases_of(file, project.folder)
    collect.find(ref, project.folder)[0]().append("left behind")
    assert collect.find(ref, project.folder)[0]() == []


@pytest.mark.usefixtures("imports")
@parametrize(("function", "row"), [("gone", None), ("it", "1"), ("it", None)])
def test_a_case_that_is_not_there_is_named(project: Any, function: str, row: str | None) -> None:
    text = "import pytest\nfrom harness import case\n@case\n@pytest.mark.parametrize('n', [2])\ndef it(n): ..."
    file = project.write("subject_of_this_test.py", text)
    missing = CaseRef(f"subject_of_this_test.py::{function}", str(file), function, row)
    with pytest.raises(CaseError, match=f"{missing.id} is not declared on this target"):
        collect.find(missing, project.folder)


@pytest.mark.usefixtures("imports")
def test_a_file_named_like_an_imported_module_does_not_replace_it(project: Any) -> None:
    file = project.write(
        "cases/json.py", "import json\nfrom harness import case\n@case\ndef it(): return json.dumps(1)"
    )
    (ref,) = collect.cases_of(file, project.folder)
    assert collect.find(ref, project.folder)[0]() == "1"


@pytest.mark.usefixtures("imports")
def test_a_file_named_like_a_package_that_it_imports_does_not_shadow_it(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither does another file of cases in its folder, but a module that helps the cases does, as ever."""
    monkeypatch.setattr(collect, "_INSTALLED", (*sys.path, str(project.folder / "site")))
    for name in ("gauges", "other_gauges", "helper_of_these_cases"):
        project.write(f"site/{name}/__init__.py", "")
        project.write(f"site/{name}/layers.py", "where = 'installed'")
    sys.path.append(str(project.folder / "site"))
    text = """
    import gauges
    from gauges.layers import where
    from other_gauges.layers import where as other
    from harness import case
    from helper_of_these_cases import where as helper

    @case
    def it(): return where, other, helper
    """
    file = project.write("cases/gauges.py", text)
    project.write("cases/other_gauges.py", "from harness import case")
    project.write("cases/helper_of_these_cases.py", "where = 'beside'")
    (ref,) = collect.cases_of(file, project.folder)
    assert ref.id == "cases/gauges.py::it"
    assert collect.find(ref, project.folder)[0]() == ("installed", "installed", "beside")


@pytest.mark.usefixtures("imports")
def test_a_folder_of_the_same_name_is_no_package(project: Any) -> None:
    project.write("like_a_folder/data.txt", "")
    file = project.write("cases/like_a_folder.py", "from harness import case\n@case\ndef it(): return __name__")
    (ref,) = collect.cases_of(file, project.folder)
    del sys.modules["like_a_folder"]
    assert collect.find(ref, project.folder)[0]() == "like_a_folder"


@pytest.mark.usefixtures("imports")
def test_what_only_cases_can_import_is_told_from_what_is_installed(project: Any) -> None:
    file = project.write("cases/subject_of_this_test.py", FILE)
    project.write("cases/helper_of_these_cases.py", HELPER)
    collect.cases_of(file, project.folder)
    assert importlib.util.find_spec("helper_of_these_cases") is not None
    assert not collect.is_importable("helper_of_these_cases")
    assert collect.is_importable("numpy.linalg")


@pytest.mark.usefixtures("imports")
def test_what_is_no_python_file_is_refused(project: Any) -> None:
    with pytest.raises(CaseError, match=r"README\.md' is not a Python file"):
        collect.cases_of(project.write("README.md", "harness"), project.folder)


@pytest.mark.usefixtures("imports")
def test_a_skip_mark_of_the_whole_file_is_refused(project: Any) -> None:
    text = "import pytest\nfrom harness import case\npytestmark = pytest.mark.skip\n@case\ndef it(record): ..."
    with pytest.raises(CaseError, match="'skip'"):
        collect.cases_of(project.write("subject_of_this_test.py", text), project.folder)


@parametrize("value", [int, case, lambda: None, "text"])
def test_only_what_is_decorated_is_a_case(value: Any) -> None:
    assert not is_case(value)


def test_the_decorator_returns_the_function_itself() -> None:
    def subject() -> None: ...

    assert case(subject) is subject
    assert is_case(subject)


@parametrize("value", [int, "text", len, types.SimpleNamespace()])
def test_the_decorator_refuses_what_is_no_function(value: Any) -> None:
    with pytest.raises(CaseError, match="@case decorates a function"):
        case(value)
