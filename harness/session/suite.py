"""Tests of an existing suite, run by pytest in the workers.

The unit of work is a file: its selected tests run in one child for each target and precision, as pytest would run them
in a process of its own. A test that crashes its process is reported as crashed, and the tests that have not run yet run
in another child.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import trace, wire
from harness.errors import HarnessError
from harness.result.model import CaseResult
from harness.session.copies import Copies
from harness.session.layout import LOGS, seed_of, slug_of
from harness.session.pool import Job, Reply
from harness.session.session import Session
from harness.suite import moved
from harness.target import Target

#: Seconds that a child has for imports and collection, in addition to the time limits of its tests.
_BESIDE = 120.0
#: Exit statuses of pytest after which its collection can be used: success, errors in some files, no tests.
_COLLECTED = (0, 2, 5)


@dataclass(frozen=True)
class Call:
    """How the user's pytest was called, for the pytest in every worker.

    Attributes:
        folder: the working directory.
        path: entries of `sys.path`.
        arguments: for the pytest in a worker, except files and folders.
        copies: of the folder that the suite lies in.
        has_cache: whether pytest's plugin for a cache is there.
    """

    folder: Path
    path: list[str]
    arguments: list[str]
    copies: Copies
    has_cache: bool


@dataclass(frozen=True)
class Found:
    """A test, and the targets on which it was collected."""

    test: wire.SuiteFound
    targets: list[str]


@dataclass(frozen=True)
class Fault:
    """pytest's report of a file that could not be collected on a target, or that skips itself there."""

    target: str
    report: dict[str, Any]


@dataclass(frozen=True)
class Contents:
    """The tests of a file of the suite, and the faults of its collection."""

    tests: list[Found] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class OnTarget:
    """How a test went on a target.

    Attributes:
        reports: pytest's reports of its setup, call and teardown, as far as they came.
        ended: how it ended if it crashed its process, ran past its limit, or did not run; None otherwise.
    """

    reports: list[dict[str, Any]]
    ended: str | None


@dataclass(frozen=True)
class Outcome:
    """A test on all of its targets, and the result of the comparison; None if there was nothing to compare."""

    targets: Mapping[str, OnTarget]
    case: CaseResult | None


def collect(session: Session, call: Call, arguments: Sequence[str]) -> dict[str, Contents]:
    """The tests of a suite by file, as pytest finds them on every target.

    Args:
        arguments: the files and folders of the suite, as pytest takes them.

    Raises:
        HarnessError: pytest cannot collect on some target.
    """
    logs = session.setup.folder / LOGS
    jobs = [
        _job(session, call, target, False, arguments, None, logs / f"collect-{target.slug}")
        for target in session.setup.targets
    ]
    tests: dict[str, dict[str, Found]] = {}
    faults: dict[str, list[Fault]] = {}
    for reply in _carried_out(session, jobs):
        target, lines = str(reply.job.target), list(_lines(reply))
        if not _has_collected(lines):
            raise HarnessError(f"pytest cannot collect the tests on {target}: {_how(reply)}")
        for line in lines:
            if isinstance(line, wire.SuiteFound):
                found = tests.setdefault(str(line.path), {}).setdefault(line.id, Found(line, []))
                found.targets.append(target)
            elif isinstance(line, wire.SuiteFault):
                faults.setdefault(str(line.path), []).append(Fault(target, line.report))
    return {
        path: Contents(list(tests.get(path, {}).values()), faults.get(path, []))
        for path in dict.fromkeys([*tests, *faults])
    }


def run_file(
    session: Session, call: Call, path: Path, held: Mapping[Target, Sequence[str]], *, assertions: bool
) -> dict[str, Outcome]:
    """Run tests of a file, and compare what they observed with the reference.

    What differs is run once more first, and a test that does not repeat itself is not held against the reference.

    Args:
        held: by target, the reference among them, the ids of the tests to run.
        assertions: True to observe the values that assertions are given; False to observe what tests record.

    Returns:
        The outcome of each test by its id.
    """
    twins = session.setup.options.precision == "both" and len(held) > 1
    progress = [
        _Progress(target, twin, list(tests), list(tests))
        for target, tests in held.items()
        for twin in ([False, True] if twins else [False])
    ]
    _run_tests(session, call, path, progress, assertions=assertions)
    first = [item for item in progress if not item.twin]
    ids = list(dict.fromkeys(test for item in first for test in item.tests))
    judged = {test: _judged(session, held, test, assertions=assertions) for test in ids}
    doubtful = [test for test, case in judged.items() if case is not None and _is_doubtful(case)]
    if doubtful:
        again = [item.again(doubtful) for item in progress]
        _run_tests(session, call, path, again, assertions=assertions)
        judged |= {test: _judged(session, held, test, assertions=assertions) for test in doubtful}
    return {test: Outcome(_on_targets(first, test), judged[test]) for test in ids}


def _is_doubtful(case: CaseResult) -> bool:
    return any(trace.AGAIN in comparison.further_runs for comparison in case.comparisons)


def _run_tests(session: Session, call: Call, path: Path, progress: Sequence[_Progress], *, assertions: bool) -> None:
    """Run the tests that wait. Those behind one that ends its process are run in another one."""
    for attempt in itertools.count():
        going = [item for item in progress if item.waiting]
        if not going:
            break
        jobs = [_file_job(session, call, path, item, attempt, assertions=assertions) for item in going]
        for item, reply in zip(going, _carried_out(session, jobs), strict=True):
            item.advance(reply, session.setup.options.timeout)
    for item in progress:
        for test, (status, why) in item.ended.items():
            _write_missing(session, item, test, status, why)


def _has_collected(lines: Sequence[wire.SuiteLine]) -> bool:
    """Whether pytest came to the end of its collection, by what was written.

    Its status alone does not tell: a plugin may have one of its own, as one for snapshots if no test used them.
    """
    found = any(isinstance(line, (wire.SuiteFound, wire.SuiteFault)) for line in lines)
    return any(isinstance(line, wire.SuiteEnded) and (found or line.status in _COLLECTED) for line in lines)


@dataclass
class _Progress:
    """The tests of a file on one target, in its precision or as twins: those that wait, and how the others ended.

    Attributes:
        repeats: whether this is their second run, which tells whether they repeat themselves.
    """

    target: Target
    twin: bool
    tests: list[str]
    waiting: list[str]
    repeats: bool = False
    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ended: dict[str, tuple[trace.Status, str]] = field(default_factory=dict)

    def again(self, tests: Collection[str]) -> _Progress:
        """The second run of some of the tests."""
        chosen = [test for test in self.tests if test in tests]
        return _Progress(self.target, self.twin, chosen, list(chosen), repeats=True)

    def advance(self, reply: Reply, limit: float) -> None:
        """Take in what a child did. At least one test stops waiting each time, so the attempts come to an end."""
        running: wire.SuiteStarted | None = None
        done = []
        has_ended = False
        for line in _lines(reply):
            match line:
                case wire.SuiteStarted():
                    running = line
                case wire.SuiteReport(test, report):
                    self.reports.setdefault(test, []).append(report)
                case wire.SuiteDone(test):
                    done.append(test)
                    running = None
                case wire.SuiteEnded():
                    has_ended = True
        left = [test for test in self.waiting if test not in done]
        if running is not None and time.time() - running.at >= limit:
            self.ended[running.id] = "timeout", f"ran past its limit of {limit:g} s\n{reply.output}"
        elif running is not None:
            what = f"ended its process with status {reply.code}\n{reply.output}"
            self.ended[running.id] = "crashed", what if reply.ended == "exit" else reply.describe()
        elif not done or has_ended:
            self.ended |= dict.fromkeys(left, ("error", f"did not run on {self.target}: {_how(reply)}"))
        self.waiting = [test for test in left if test not in self.ended]


def _file_job(session: Session, call: Call, path: Path, item: _Progress, attempt: int, *, assertions: bool) -> Job:
    stem = f"{slug_of(str(path))}-{item.target.slug}-{item.target.precision_of(twin=item.twin)}-{attempt}"
    stem += f"-{trace.AGAIN}" if item.repeats else ""
    tests = {test: _place(session, item, test) for test in item.waiting}
    place = session.setup.folder / LOGS / stem
    return _job(session, call, item.target, item.twin, [str(path)], tests, place, assertions=assertions)


def _job(
    session: Session,
    call: Call,
    target: Target,
    twin: bool,
    arguments: Sequence[str],
    tests: Mapping[str, Path] | None,
    stem: Path,
    *,
    assertions: bool = False,
) -> Job:
    """The job that runs `tests`, given as the folders of their traces by id; if None, the job that collects tests."""
    limit = session.setup.options.timeout
    stem.parent.mkdir(parents=True, exist_ok=True)
    for place in (tests or {}).values():
        place.mkdir(parents=True, exist_ok=True)
    precision = target.precision_of(twin=twin)
    original, copy = call.copies.original, call.copies.of(f"{target.slug}-{precision}")
    cache = ["-o", f"cache_dir={copy.parent / 'cache'}"] if call.has_cache else []
    work = wire.Suite(
        target=str(target),
        precision=precision,
        twin=twin,
        threads=1,
        tests=None if tests is None else {test: wire.SuiteTest(p, seed_of(test)) for test, p in tests.items()},
        arguments=[_in_the_copy(value, original, copy) for value in (*call.arguments, *cache, *arguments)],
        original=original,
        copy=copy,
        folder=moved(call.folder, original, copy),
        path=call.path,
        limit=limit,
        assertions=assertions,
        results=Path(f"{stem}.jsonl"),
    )
    return Job(target, work, limit * max(1, len(tests or {})) + _BESIDE, Path(f"{stem}.txt"))


def _in_the_copy(argument: str, original: Path, copy: Path) -> str:
    """An argument of pytest; where it is the absolute path of a file or a test in the original, that of the copy's."""
    path, separator, node = argument.partition("::")
    return f"{moved(Path(path), original, copy)}{separator}{node}" if path.startswith(os.sep) else argument


def _place(session: Session, item: _Progress, test: str) -> Path:
    place = session.place_of(test, item.target)
    place = place / trace.AGAIN if item.repeats else place
    return place / trace.TWIN if item.twin else place


def _write_missing(session: Session, item: _Progress, test: str, status: trace.Status, why: str) -> None:
    """Write the trace of a test that could not write one itself."""
    place = _place(session, item, test)
    if not (place / trace.INDEX).exists():
        precision = item.target.precision_of(twin=item.twin)
        trace.write(place, trace.Header(test, str(item.target), precision, status, why), [])


def _judged(
    session: Session, held: Mapping[Target, Sequence[str]], test: str, *, assertions: bool
) -> CaseResult | None:
    targets = [target for target, tests in held.items() if test in tests]
    if session.setup.reference not in targets or len(targets) < 2:
        return None
    return replace(session.judge(test, targets, shared_only=assertions), is_test=True)


def _on_targets(progress: Sequence[_Progress], test: str) -> dict[str, OnTarget]:
    return {
        str(item.target): OnTarget(item.reports.get(test, []), item.ended.get(test, (None, None))[1])
        for item in progress
        if test in item.tests
    }


def _carried_out(session: Session, jobs: Sequence[Job]) -> list[Reply]:
    """Run jobs. Returns the replies in the order of the jobs."""
    replies: dict[int, Reply] = {}
    session.pool.run(jobs, lambda reply: replies.update({jobs.index(reply.job): reply}))
    return [replies[number] for number in range(len(jobs))]


def _lines(reply: Reply) -> Iterator[wire.SuiteLine]:
    """The messages that a child wrote. An incomplete last line, of a child that was killed, is left out."""
    assert isinstance(reply.job.work, wire.Suite)
    try:
        text = reply.job.work.results.read_bytes()
    except FileNotFoundError:
        return
    yield from (wire.decode(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n"))


def _how(reply: Reply) -> str:
    return reply.output or "pytest said nothing" if reply.ended == "exit" else reply.describe()
