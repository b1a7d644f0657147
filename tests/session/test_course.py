"""The course of a run: cases are judged as their runs end, and examined while others are recorded, whatever happens."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import trace
from harness.case import CaseRef
from harness.result.model import Blame, CaseResult
from harness.session.options import Options
from harness.session.plan import Planned
from harness.session.pool import Abandoned, Batch, Job, Reply
from harness.session.session import Listener, Session, Setup
from harness.target import Target
from harness.trace import Header, Observation
from harness.verdict import Verdict
from harness.wire import Run

TORCH, JAX = Target("torch"), Target("jax")
#: Seconds that a test waits for what must come.
PATIENCE = 30


class FakePool:
    """Does one job after the other: writes a trace in which the cases named `differs...` differ on jax.

    Args:
        before: called before each run with the case's name, and the place of the run such as `.` or `again`.
    """

    def __init__(self, before: Callable[[str, str], None]) -> None:
        self.before = before
        self.waiting: deque[Job] = deque()
        self.done: list[tuple[str, str]] = []

    def add(self, batch: Batch, jobs: Iterable[Job]) -> None:
        added = list(jobs)
        batch.left += len(added)
        self.waiting.extendleft(reversed(added))

    def tell(self, batch: Batch, event: Callable[[], None]) -> None:
        batch.told.put(event)

    def work(self, batch: Batch) -> None:
        while batch.left:
            if not self.waiting or not batch.told.empty():
                batch.told.get(timeout=PATIENCE)()
                continue
            job = self.waiting.popleft()
            run = job.work
            assert isinstance(run, Run)
            name, kind = run.case.function, "again" if "again" in run.trace.parts else "."
            self.before(name, kind)
            self.done.append((name, kind))
            value = 2.0 if name.startswith("differs") and run.target == "jax" else 1.0
            header = Header(run.case.id, run.target, run.precision)
            trace.write(run.trace, header, [Observation("recorded/x", "recorded", 0, "x", None, None, value)])
            batch.reply(Reply(job, "exit", 0, 1.0, ""))


class FakeExaminer:
    """Blames what differs.

    Args:
        during: called with the case's name while it is examined, and with what says whether to stop.
        at_once: cases that take no replays.
    """

    def __init__(self, during: Callable[[str, Callable[[], bool]], None], at_once: Sequence[str] = ()) -> None:
        self.during, self.at_once = during, at_once
        self.threads: dict[str, int] = {}

    def replays(self, case: CaseRef, seen: CaseResult, _: Sequence[Target]) -> bool:
        return seen.outcome == "differ" and case.function not in self.at_once

    def examine(
        self, case: CaseRef, seen: CaseResult, _: Sequence[Target], is_stopped: Callable[[], bool]
    ) -> CaseResult:
        self.threads[case.function] = threading.get_ident()
        if seen.outcome != "differ":
            return seen
        self.during(case.function, is_stopped)
        blame = Blame("jax", None, None, None, "recorded", 0, True, f"it is {case.function}")
        return replace(seen, comparisons=[replace(item, blame=blame) for item in seen.comparisons])


class Told(Listener):
    """What was told, in order, and that all of it was told in one thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.threads: set[int] = set()
        self.runs = 0

    def _tell(self, line: str) -> None:
        self.threads.add(threading.get_ident())
        self.lines.append(line)

    def scheduled(self, runs: int) -> None:
        self.runs += runs

    def ended(self, case: str, target: str, precision: str) -> None:  # noqa: ARG002 - the listener's signature
        self.runs -= 1

    def judged(self, result: CaseResult) -> None:
        self._tell(f"judged {result.id}")

    def examined(self, result: CaseResult) -> None:
        if any(item.blame for item in result.comparisons):
            self._tell(f"blamed {result.id}")


class Course:
    """A run of cases by these names."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        *,
        before: Callable[[str, str], None] = lambda *_: None,
        during: Callable[[str, Callable[[], bool]], None] = lambda *_: None,
        at_once: Sequence[str] = (),
    ) -> None:
        self.told = Told()
        self.kept: list[set[str]] = []
        self.examiner = FakeExaminer(during, at_once)
        setup = Setup([TORCH, JAX], TORCH, folder, folder, Options(precision="float32"))
        keep = self.kept
        self.session = Session(
            setup, self.told, examiner=lambda _: self.examiner, keep=lambda session: keep.append(set(session.judged))
        )
        self.pool = FakePool(before)
        vars(self.session)["pool"] = self.pool
        self.planned = [Planned(CaseRef(name, str(folder / "x.py"), name), {}) for name in names]

    def run(self) -> list[CaseResult]:
        return self.session.run(self.planned)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "harness-examination"] == []


def test_a_case_is_examined_while_the_others_are_recorded(tmp_path: Path) -> None:
    """Each waits for the other: the case that is recorded for the examination to begin, and that for the record."""
    examining, recorded = threading.Event(), threading.Event()

    def before(name: str, _: str) -> None:
        if name == "later":
            assert examining.wait(PATIENCE)
            recorded.set()

    def during(_: str, is_stopped: Callable[[], bool]) -> None:
        examining.set()
        assert recorded.wait(PATIENCE)
        assert not is_stopped()

    course = Course(tmp_path, ["differs", "later"], before=before, during=during)
    results = course.run()
    assert [result.id for result in results] == ["differs", "later"]
    assert [item.blame.text for item in results[0].comparisons if item.blame] == ["it is differs"]
    assert course.told.lines[0] == "judged differs"
    assert sorted(course.told.lines[1:]) == ["blamed differs", "judged later"]
    assert course.told.threads == {threading.get_ident()}
    assert course.examiner.threads["differs"] != threading.get_ident()
    assert course.told.runs == 0


def test_what_differs_runs_again_at_once_and_is_told_before_the_others_are_recorded(tmp_path: Path) -> None:
    course = Course(tmp_path, ["differs", "later"])
    course.run()
    assert course.pool.done == [("differs", "."), ("differs", "."), ("differs", "again"), ("differs", "again")] + [
        ("later", "."),
        ("later", "."),
    ]
    assert course.told.lines.index("judged differs") < course.told.lines.index("judged later")


def test_a_finding_that_takes_no_replay_waits_for_none(tmp_path: Path) -> None:
    told = threading.Event()

    def during(name: str, _: Callable[[], bool]) -> None:
        assert name != "differs slowly" or told.wait(PATIENCE)

    def before(name: str, _: str) -> None:
        if name == "last":
            told.set()

    names = ["differs slowly", "differs plainly", "last"]
    course = Course(tmp_path, names, before=before, during=during, at_once=["differs plainly"])
    assert [result.id for result in course.run()] == names
    told_in_order = course.told.lines
    assert told_in_order.index("blamed differs plainly") < told_in_order.index("blamed differs slowly")


def test_cases_are_examined_in_the_order_in_which_they_were_judged(tmp_path: Path) -> None:
    order: list[str] = []
    names = ["differs a", "differs b", "differs c"]
    course = Course(tmp_path, names, during=lambda name, _: order.append(name))
    course.run()
    assert order == names


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError], ids=["a signal", "a failure"])
def test_what_ends_the_run_ends_the_examination_and_what_was_judged_stays(
    tmp_path: Path, error: type[BaseException]
) -> None:
    examining, stopped = threading.Event(), threading.Event()

    def during(name: str, is_stopped: Callable[[], bool]) -> None:
        if name == "differs twice":
            examining.set()
            while not is_stopped():
                stopped.wait(0.01)
            stopped.set()
            raise Abandoned

    def before(name: str, _: str) -> None:
        if name == "later":
            assert examining.wait(PATIENCE)
            raise error

    course = Course(tmp_path, ["differs", "differs twice", "later"], before=before, during=during)
    with pytest.raises(error):
        course.run()
    assert stopped.is_set()
    assert set(course.session.judged) == {"differs", "differs twice"}
    blamed = {case: result.comparisons[0].blame is not None for case, result in course.session.judged.items()}
    assert blamed["differs twice"] is False
    assert course.kept[-1] == {"differs", "differs twice"}


def test_a_search_that_fails_is_a_note(tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("of the search")

    (result,) = Course(tmp_path, ["differs"], during=fail).run()
    notes = {note.reason for run in result.runs for note in run.notes}
    assert notes == {"the harness failed to search: ValueError: of the search"}


def test_what_ends_the_thread_of_a_search_ends_the_run(tmp_path: Path) -> None:
    """As nothing else would: the run would wait for the case for ever."""

    def leave(*_: Any) -> None:
        raise SystemExit("of the search")

    with pytest.raises(SystemExit, match="of the search"):
        Course(tmp_path, ["differs", "later"], during=leave).run()


def test_a_difference_of_the_worst_kind_is_one(tmp_path: Path) -> None:
    """The fake runs above would prove nothing if they were judged to agree."""
    results = Course(tmp_path, ["differs", "agrees"]).run()
    assert [result.outcome for result in results] == ["differ", "agree"]
    assert results[0].comparisons[0].verdict is Verdict.MISMATCH
