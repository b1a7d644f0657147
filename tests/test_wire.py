"""What crosses the wall: every message is read as it was written, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import wire
from harness.case import CaseRef, Expected
from harness.wire import decode, encode

CASE = CaseRef("x.py::y[1]", "/x.py", "y", "1", {"torch": Expected("leak", "a reason", link="https://x")}, ("slow",))
RUN = wire.Run(CASE, Path("root"), "torch:cpu", "float32", False, True, 1, 2, 3, Path("trace"))
REPLAY = wire.Replay(Path("given"), "model/dense", wire.Start(Path("t"), "update", 3, "after fit/"), [4, 5], False)
TESTS = {"t": wire.SuiteTest(Path("t"), 7)}
WORK = [
    wire.Collect(Path("a b.py"), Path("/"), Path("r.json")),
    RUN,
    wire.Run(**{**vars(RUN), "noise": 2, "unobserved": True, "replay": REPLAY, "steps": wire.Steps(1, 2, Path("g"))}),
    wire.Suite("jax", "float64", True, 1, None, ["-q"], *[Path(".")] * 3, ["/p"], 2.5, True, Path("r.jsonl")),
    wire.Suite("jax", "float32", False, 1, TESTS, [], Path("a"), Path("b"), Path("b/c"), [], 2, False, Path("r")),
    wire.Script(Path("s.py"), Path("s.npy")),
]
LINES = [
    wire.Ready(4700),
    wire.Failed("ImportError: no such thing\nas this"),
    wire.Started(1, 4711),
    wire.Ended(1, "signal", 11, 0.25),
    wire.SuiteFound("x.py::T::t", Path("x.py"), ["T", "t"], 3, ["slow"]),
    wire.SuiteFault(Path("x.py"), {"outcome": "failed", "sections": [["out", "é"]]}),
    wire.SuiteStarted("x.py::t", 12.5),
    wire.SuiteReport("x.py::t", {"when": "call", "duration": 0.5, "user_properties": []}),
    wire.SuiteDone("x.py::t"),
    wire.SuiteEnded(5),
]


@pytest.mark.parametrize("work", WORK, ids=lambda work: type(work).__name__)
def test_a_request_is_read_as_it_was_written(work: Any) -> None:
    request = wire.Request(7, 2.5, Path("a folder/output.txt"), work)
    line = encode(request)
    assert line.count(b"\n") == 1
    assert decode(line) == request


@pytest.mark.parametrize("message", LINES, ids=lambda message: type(message).__name__)
def test_an_answer_is_read_as_it_was_written(message: Any) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "Expecting value"),
        ('"x"', "is no message"),
        ("[]", "is no message"),
        ("{}", "is no message"),
        ('{"kind": "nothing"}', "is no message"),
        ('{"kind": "started", "id": 1}', "started has no 'process'"),
    ],
)
def test_what_is_no_message_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(text)


def test_a_message_is_checked_to_the_types_of_its_fields() -> None:
    told = json.loads(encode(wire.Ended(1, "exit", 0, 1.0)))
    with pytest.raises(ValueError, match=r"ended\.how is 'gone', which is not one of exit, signal, timeout"):
        decode(json.dumps({**told, "how": "gone"}))
