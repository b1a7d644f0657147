"""Values as plain data and back: what is written is read again, and what is of another kind is refused by its place."""

# Without `from __future__ import annotations`, in whose texts TypedDict does not see what is NotRequired.

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plain import from_plain, to_plain
from harness.verdict import Verdict


class Entry(TypedDict):
    name: str
    added_later: NotRequired[int]


@dataclass(frozen=True)
class Node:
    count: int
    share: float = 0.0
    path: Path | None = None
    names: tuple[str, ...] = ()
    verdict: Verdict = Verdict.IDENTICAL
    status: Literal["ok", "error"] = "ok"
    sizes: Mapping[str, Sequence[float]] = field(default_factory=dict)
    anything: Any = None
    entry: Entry | None = None
    child: "Node | None" = None

    def __post_init__(self) -> None:
        if self.count > 10**6:
            raise ValueError(f"there are no {self.count} of them")


def nodes(children: Any) -> Any:
    """Values in which every field varies."""
    return st.builds(
        Node,
        st.integers(max_value=10**6),
        st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.just(Path("a/b")),
        st.lists(st.text()).map(tuple),
        st.sampled_from(Verdict),
        st.sampled_from(["ok", "error"]),
        st.dictionaries(st.text(), st.lists(st.floats(allow_nan=False, allow_infinity=False))),
        st.none() | st.booleans() | st.lists(st.integers()),
        st.none() | st.just({"name": "x"}) | st.just({"name": "x", "added_later": 3}),
        children,
    )


@given(nodes(nodes(st.none())))
def test_what_is_written_is_read_again(node: Node) -> None:
    assert from_plain(to_plain(node), Node) == node


def test_plain_data_is_what_json_has() -> None:
    node = Node(1, math.nan, Path("a"), ("x",), Verdict.LEAK, sizes={"s": [math.inf]}, child=Node(2))
    told = {"count": 1, "share": None, "path": "a", "names": ["x"], "verdict": "leak", "sizes": {"s": [None]}}
    assert to_plain(node).items() >= told.items()
    assert to_plain(node)["child"]["count"] == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "it has no 'count'"),
        ([], "it is [], which is not an object"),
        ({"count": True}, "it.count is True, which is not int"),
        ({"count": "1"}, "it.count is '1', which is not int"),
        ({"count": 1.0}, "it.count is 1.0, which is not int"),
        ({"count": 1, "share": "x"}, "it.share is 'x', which is not float"),
        ({"count": 1, "share": True}, "it.share is True, which is not float"),
        ({"count": 1, "path": 3}, "it.path is 3, which is not str"),
        ({"count": 1, "names": "abc"}, "it.names is 'abc', which is not a list"),
        ({"count": 1, "names": ["x", None]}, "it.names[1] is None, which is not str"),
        ({"count": 1, "status": "fine"}, "it.status is 'fine', which is not one of ok, error"),
        ({"count": 1, "verdict": 2}, "it.verdict is 2, which is not one of identical, rounding"),
        ({"count": 1, "sizes": []}, "it.sizes is [], which is not an object"),
        ({"count": 1, "sizes": {"a": [1, "x"]}}, "it.sizes.a[1] is 'x', which is not float"),
        ({"count": 1, "entry": {}}, "it.entry has no 'name'"),
        ({"count": 1, "entry": {"name": "x", "added_later": "3"}}, "it.entry.added_later is '3', which is not int"),
        ({"count": 1, "child": {"count": 2, "child": {"count": None}}}, "it.child.child.count is None"),
        ({"count": 10**9}, "it cannot be: there are no 1000000000 of them"),
    ],
)
def test_what_is_of_another_kind_is_refused_by_its_place(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match="it") as caught:
        from_plain(data, Node)
    assert str(caught.value).startswith(message)


def test_an_integer_may_stand_for_a_float() -> None:
    share = from_plain({"count": 1, "share": 2}, Node).share
    assert (share, type(share)) == (2.0, float)


def test_keys_that_nobody_knows_are_passed_over_and_kept_in_a_typed_dict() -> None:
    read = from_plain({"count": 1, "new": 2, "entry": {"name": "x", "new": 3}}, Node)
    assert (read.count, read.entry) == (1, {"name": "x", "new": 3})


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"it\.count is '1{56}\.\.\., which") as caught:
        from_plain({"count": "1" * 1000}, Node)
    assert len(str(caught.value)) < 100
