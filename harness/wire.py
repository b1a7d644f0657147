"""The messages between controller and worker: requests and answers, as types that both sides use.

Each message is a line of JSON, whose `kind` is the name of its class in lower case:

```
→ {"kind": "request", "id": 7, "timeout": 300, "output": "…/output.txt", "work": {"kind": "run", …}}
← {"kind": "ready", "process": 4700} once, or {"kind": "failed", "reason": "…"}
← {"kind": "started", "id": 7, "process": 4711}
← {"kind": "ended", "id": 7, "how": "exit", "code": 0, "seconds": 1.2}
```

The work of a request is one of the classes of `Work`. Its result is written to files that the work names: a trace, a
`Collected`, the lines of a suite (`SuiteLine`), or an array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.case import CaseRef
from harness.plain import from_plain, to_plain
from harness.trace import Phase

#: How a child ended: it exited by itself, a signal killed it, or it was killed at its time limit.
How = Literal["exit", "signal", "timeout"]


@dataclass(frozen=True)
class Collect:
    """Find the cases of a file.

    Attributes:
        file: the case file.
        root: the folder that the ids of cases are relative to.
        result: where a `Collected` is written.
    """

    file: Path
    root: Path
    result: Path


@dataclass(frozen=True)
class Collected:
    """The cases of a file, or why there are none."""

    cases: tuple[CaseRef, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Start:
    """The values that variables start from: observations of a trace whose keys begin with `phase/step/prefix`.

    Attributes:
        trace: the folder of the trace.
    """

    trace: Path
    phase: Phase
    step: int
    prefix: str = ""


@dataclass(frozen=True)
class Replay:
    """Run the parts of a case one by one, and record each.

    Attributes:
        given: the trace of the reference's own replay, whose values each part is given; None for that replay itself.
        inside: the part whose operations are observed as well, or the model's own step that is observed and nothing
            else; None for no part.
        state: the values that variables start from; None for those that the case gives them.
        rows: the rows of the data that make the batch; None for the first batch.
        training: whether the model is called as in training, or as for predictions.
        held: whether the operations of `inside` return what the reference's returned, so that whatever still differs is
            not made by one of them.
        free: the one operation of them that is left to itself all the same; None for none.
        probed: the name of a part's gradient that is held against a finite difference, in float64; None for none.
        index: the element of that gradient.
        data: the name of an array of the data, such as `y/0`, that is recorded instead of all this; None for none. With
            `batch` the name in a batch, such as `y`.
        batch: the training step whose batch the array is in; None for all the data.
    """

    given: Path | None = None
    inside: str | None = None
    state: Start | None = None
    rows: list[int] | None = None
    training: bool = True
    held: bool = False
    free: str | None = None
    probed: str | None = None
    index: list[int] = field(default_factory=list)
    data: str | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Steps:
    """Follow some steps of a training, each from the state that the reference had before it.

    Attributes:
        first, last: the steps, counted from 0 over all epochs.
        given: the reference's trace of the same steps, whose states each step starts from; None on the reference.
        account: whether what the model's own `train_step` does is recorded as well. Then nothing is compiled.
    """

    first: int
    last: int
    given: Path | None = None
    account: bool = False


@dataclass(frozen=True)
class Run:
    """Run a case, and write its trace.

    Attributes:
        root: the folder that the ids of cases are relative to.
        target: as text.
        precision: what the case computes in.
        twin: whether this is the twin, so that `precision` is the target's other one.
        native: whether the backend draws from its own generator.
        seed: of the data.
        generator_seed: of everything else that is drawn.
        threads: the most threads of one operation.
        trace: the folder of the trace.
        noise: the number of the noise run, counted from 1; 0 if it is not a noise run.
        unobserved: whether it is the unobserved run.
        eager: whether nothing is compiled in it, whatever the target says.
        full: whether float32 is computed in all its bits, with the switches of lower precision off.
        both_ways: whether what a `Forward` calls is called compiled as well.
        replay: if given, the parts of the case are replayed and recorded instead.
        steps: if given, only these steps of its training are run and recorded instead.
    """

    case: CaseRef
    root: Path
    target: str
    precision: str
    twin: bool
    native: bool
    seed: int
    generator_seed: int
    threads: int
    trace: Path
    noise: int = 0
    unobserved: bool = False
    eager: bool = False
    full: bool = False
    both_ways: bool = False
    replay: Replay | None = None
    steps: Steps | None = None


@dataclass(frozen=True)
class SuiteTest:
    """A test of a suite that is to run: the folder of its trace, and its seed."""

    trace: Path
    seed: int


@dataclass(frozen=True)
class Suite:
    """Run tests of an existing suite with pytest, or collect them.

    Attributes:
        target: as text.
        precision, twin, threads: see `Run`.
        tests: the tests to run, by their ids; None to collect only.
        arguments: of pytest.
        original, copy: the folder that the suite lies in, and the copy of it in which the tests run.
        folder: the working directory, in the copy.
        path: entries of `sys.path` of the user's pytest.
        limit: seconds for each test.
        assertions: whether the values that assertions are given are recorded.
        results: the file that messages of `SuiteLine` are written to.
    """

    target: str
    precision: str
    twin: bool
    threads: int
    tests: Mapping[str, SuiteTest] | None
    arguments: list[str]
    original: Path
    copy: Path
    folder: Path
    path: list[str]
    limit: float
    assertions: bool
    results: Path


@dataclass(frozen=True)
class Script:
    """Call `value` of a script that shows a difference, and save what it returns: forms of arrays, and their numbers.

    Attributes:
        file: the script.
        result: where they are saved, as `.npz`.
    """

    file: Path
    result: Path


Work = Collect | Run | Suite | Script


@dataclass(frozen=True)
class Request:
    """Work for one child.

    Attributes:
        id: the number by which the answers name the request.
        timeout: seconds until the child is killed.
        output: the file that the child's standard output and error go to.
        fresh_process: why the child is a new process instead of a fork of the worker; None if it is a fork.
    """

    id: int
    timeout: float
    output: Path
    work: Work
    fresh_process: str | None = None


@dataclass(frozen=True)
class Ready:
    """The worker, a process of that number, has imported its backend."""

    process: int


@dataclass(frozen=True)
class Failed:
    """The worker cannot import its backend."""

    reason: str


@dataclass(frozen=True)
class Started:
    """A child was started for a request. It leads a process group of its own."""

    id: int
    process: int


@dataclass(frozen=True)
class Ended:
    """The child of a request has ended.

    Attributes:
        code: the exit status, or the number of the signal.
        seconds: how long it ran.
    """

    id: int
    how: How
    code: int
    seconds: float


Answer = Ready | Failed | Started | Ended


@dataclass(frozen=True)
class SuiteFound:
    """A test was collected.

    Attributes:
        path: its file.
        names: the classes that hold it, and its own name.
        line: where it is in the file, counted from 0.
        marks: names of its marks.
    """

    id: str
    path: Path
    names: list[str]
    line: int | None
    marks: list[str]


@dataclass(frozen=True)
class SuiteFault:
    """A file that could not be collected, or that skips itself, and pytest's report of it."""

    path: Path
    report: dict[str, Any]


@dataclass(frozen=True)
class SuiteStarted:
    """A test has begun, `at` seconds since the epoch."""

    id: str
    at: float


@dataclass(frozen=True)
class SuiteReport:
    """pytest's report of a test's setup, call or teardown."""

    id: str
    report: dict[str, Any]


@dataclass(frozen=True)
class SuiteDone:
    """A test has ended, and its trace is written."""

    id: str


@dataclass(frozen=True)
class SuiteEnded:
    """pytest has ended, with a status."""

    status: int


SuiteLine = SuiteFound | SuiteFault | SuiteStarted | SuiteReport | SuiteDone | SuiteEnded

_KINDS: Mapping[str, type] = {
    kind.__name__.lower(): kind
    for kind in (
        *(Collect, Run, Suite, Script),
        *(Ready, Failed, Started, Ended),
        *(SuiteFound, SuiteFault, SuiteStarted, SuiteReport, SuiteDone, SuiteEnded),
    )
}


def encode(message: Request | Answer | SuiteLine) -> bytes:
    """A message as a line."""
    if isinstance(message, Request):
        told = {"kind": "request", **vars(message), "output": str(message.output), "work": _told(message.work)}
    else:
        told = _told(message)
    return json.dumps(told).encode() + b"\n"


def decode(line: bytes | str) -> Any:
    """The message of a line.

    Raises:
        ValueError: the line is not a message.
    """
    told = json.loads(line)
    if isinstance(told, dict) and told.get("kind") == "request":
        output, work = Path(told["output"]), _meant(told["work"])
        return Request(told["id"], told["timeout"], output, work, told["fresh_process"])
    return _meant(told)


def _told(message: Work | Answer | SuiteLine) -> dict[str, Any]:
    return {"kind": type(message).__name__.lower(), **to_plain(message)}


def _meant(told: Any) -> Any:
    kind = _KINDS.get(told.get("kind", "")) if isinstance(told, dict) else None
    if kind is None:
        raise ValueError(f"{told!r} is no message of the harness")
    return from_plain(told, kind, told["kind"])
