"""The workflow of a run: plan, record, judge, and look closer. The command line and pytest both drive it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from harness import trace
from harness.case import CaseRef, Known
from harness.judge.case import judge_case
from harness.judge.declared import unmatched
from harness.judge.distribution import REPEATS
from harness.result.model import CaseResult, Result
from harness.session.layout import LOGS, seed_of, trace_folder
from harness.session.options import Options, cores
from harness.session.plan import Planned, plan
from harness.session.pool import Job, Pool, Reply
from harness.session.selection import Selection
from harness.target import Target
from harness.verdict import Verdict
from harness.wire import Run


@dataclass(frozen=True)
class Setup:
    """What a session is given.

    Attributes:
        targets: where cases run.
        reference: the target that the others are compared with.
        root: the folder that the ids of cases are relative to.
        folder: the run's folder, for traces and all that comes of them.
        fail_on: the mildest verdict that counts as a real difference.
        known: differences that are declared beside the cases.
    """

    targets: Sequence[Target]
    reference: Target
    root: Path
    folder: Path
    options: Options
    fail_on: Verdict = Verdict.DIVERGENT
    known: Sequence[Known] = ()


class Listener:
    """Hears how a session goes on. Every method does nothing here."""

    def planned(self, cases: Sequence[Planned], targets: Sequence[Target]) -> None: ...

    def scheduled(self, runs: int) -> None:
        """How often a case will run on a target, twins and repeats included."""

    def started(self, case: str, target: str, precision: str) -> None: ...

    def ended(self, case: str, target: str, precision: str) -> None: ...

    def judged(self, result: CaseResult) -> None: ...

    def blaming(self, case: str, target: str) -> None:
        """A difference is being replayed."""


class Examiner(Protocol):
    """Looks closer at what was judged, while the workers are still there: see `harness.blame.search.Blamer`."""

    def examine(self, case: CaseRef, seen: CaseResult, targets: Sequence[Target]) -> CaseResult:
        """The result of a case with what was found of its differences."""


@dataclass(frozen=True)
class Variant:
    """One of the runs of a case on a target.

    Attributes:
        twin: whether it is that in the other precision.
        place: the folder of its trace, in that of the case on the target.
        repeat: which repeat with another seed this is; 0 for none.
        noise: which disturbed run this is; 0 for none.
        unobserved: whether the instruments are off.
    """

    twin: bool = False
    place: str = "."
    repeat: int = 0
    noise: int = 0
    unobserved: bool = False


FIRST = Variant()
TWIN = Variant(twin=True, place=trace.TWIN)


class Session:
    """One session. Use it as a context manager: no worker outlives it.

    Args:
        listener: hears how it goes on.
        examiner: makes, of this session, what looks closer at what differs; None for nothing.
        shared: the folder of a `harness.session.sharing.Host`, where the workers are shared with other processes.
        jobs: how many jobs this process does at once; those of the options if left out.
    """

    def __init__(
        self,
        setup: Setup,
        listener: Listener | None = None,
        *,
        examiner: Callable[[Session], Examiner] | None = None,
        shared: Path | None = None,
        jobs: int | None = None,
    ) -> None:
        self.setup = setup
        self.listener = listener or Listener()
        self._examiner = None if examiner is None or setup.options.native else examiner(self)
        self._shared = shared
        self._jobs = jobs or setup.options.jobs

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        if "pool" in vars(self):
            self.pool.__exit__()

    @cached_property
    def pool(self) -> Pool:
        """The warm workers, which start when they are first asked for."""
        native = self.setup.options.native
        return Pool(self.setup.targets, self.setup.folder / LOGS, self._jobs, native=native, shared=self._shared)

    def plan(
        self, selections: Sequence[Selection], is_wanted: Callable[[CaseRef], bool] = lambda _: True, logs: str = "."
    ) -> list[Planned]:
        """The cases that selections name.

        Args:
            is_wanted: whether a case is wanted, of those that the selections name.
            logs: a folder for what collecting writes, in that of the workers' output.

        Raises:
            CaseError, HarnessError: see `harness.session.plan.plan`.
        """
        setup = self.setup
        place = setup.folder / LOGS / logs
        planned = plan(self.pool, selections, setup.targets, setup.root, place, setup.options.timeout, is_wanted)
        self.listener.planned(planned, setup.targets)
        return planned

    def run(self, planned: Sequence[Planned], targets: Sequence[Target] | None = None) -> list[CaseResult]:
        """Record cases, judge each as soon as its traces are there, and then look closer at what differs.

        Args:
            targets: those of the session, or some of them with the reference.
        """
        targets = self.setup.targets if targets is None else targets
        judged: dict[str, CaseResult] = {}

        def judge(case: str) -> None:
            judged[case] = self.judge(case, targets)
            self.listener.judged(judged[case])

        self.record(planned, targets, judge)
        if self._examiner is not None:
            for item in planned:
                judged[item.case.id] = self._examiner.examine(item.case, judged[item.case.id], targets)
        return [judged[item.case.id] for item in planned]

    def record(
        self,
        planned: Sequence[Planned],
        targets: Sequence[Target] | None = None,
        on_case: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Run every case on every target. Each leaves a trace, however it ended.

        A case that its file declares on some targets only leaves a trace that says so on the others.

        Args:
            on_case: called with a case's id once all its traces are there.
        """
        targets = self.setup.targets if targets is None else targets
        waiting: Counter[str] = Counter()
        jobs: list[Job] = []
        for item in planned:
            for target in targets:
                place = self.place_of(item.case.id, target)
                shutil.rmtree(place, ignore_errors=True)  # of an earlier run
                if target in item.missing:
                    _write_missing(item, target, place)
                    continue
                for variant in self._variants():
                    jobs.append(self.job(item.case, target, variant, place))
                    waiting[item.case.id] += 1
        self.listener.scheduled(len(jobs))

        def finish(job: Job) -> None:
            case, target, precision = _described(job)
            self.listener.ended(case, target, precision)
            waiting[case] -= 1
            if not waiting[case]:
                on_case(case)

        def receive(reply: Reply) -> None:
            write_failure(reply)
            finish(reply.job)

        def is_wanted(job: Job) -> bool:
            """A further run of one that failed has nothing to say."""
            assert isinstance(job.work, Run)
            place = self.place_of(job.work.case.id, job.target)
            if job.work.trace == place or not _has_failed(place):
                return True
            finish(job)
            return False

        self.pool.run(jobs, receive, on_start=lambda job: self.listener.started(*_described(job)), is_wanted=is_wanted)

    def judge(self, case: str, targets: Sequence[Target] | None = None, *, shared_only: bool = False) -> CaseResult:
        """Compare the traces of a case.

        Args:
            shared_only: whether what one side alone recorded is not compared, see `harness.judge.compare.compare`.
        """
        setup = self.setup
        targets = setup.targets if targets is None else targets
        traces = {str(target): trace.Trace(self.place_of(case, target)) for target in targets}
        return judge_case(
            case, traces, str(setup.reference), setup.fail_on, setup.folder, setup.known, shared_only=shared_only
        )

    def place_of(self, case: str, target: Target) -> Path:
        """The folder of a case's trace on a target."""
        return trace_folder(self.setup.folder, target, case)

    def job(
        self,
        case: CaseRef,
        target: Target,
        variant: Variant,
        place: Path,
        *,
        timeout: float | None = None,
        **changes: Any,
    ) -> Job:
        """A run of a case on a target.

        Args:
            place: the folder of the case on the target.
            timeout: seconds that it may take, if not those of the options.
            **changes: further attributes of `harness.wire.Run`.
        """
        options = self.setup.options
        place = place / variant.place
        place.mkdir(parents=True, exist_ok=True)
        seed = seed_of(case.id, options.seed)
        work = Run(
            case=case,
            root=self.setup.root,
            target=str(target),
            precision=target.precision_of(twin=variant.twin),
            twin=variant.twin,
            native=options.native,
            seed=seed,
            generator_seed=seed + variant.repeat,
            threads=max(1, cores() // options.jobs),
            trace=place,
            noise=variant.noise,
            unobserved=variant.unobserved,
            **changes,
        )
        return Job(target, work, timeout or options.timeout, place / "output.txt")

    def result(self, cases: Sequence[CaseResult] = ()) -> Result:
        """The result of the whole run."""
        setup, options = self.setup, self.setup.options
        randomness = "native" if options.native else "shared"
        targets = [str(target) for target in setup.targets]
        unused = unmatched(setup.known, [case.id for case in cases], targets)
        return Result(str(setup.reference), targets, options.precision, setup.fail_on, randomness, cases, unused)

    def _variants(self) -> list[Variant]:
        """Every run of a case on a target, the first one first."""
        options = self.setup.options
        if options.native:
            return [
                FIRST,
                *(Variant(place=f"{trace.REPEATS}/{number:02}", repeat=number) for number in range(1, REPEATS)),
            ]
        return [
            FIRST,
            *([TWIN] if options.precision == "both" else []),
            *(Variant(place=f"{trace.NOISE}/{n:02}", noise=n) for n in range(1, options.noise_runs + 1)),
            *([Variant(place=trace.UNOBSERVED, unobserved=True)] if options.observer_check else []),
        ]


def write_failure(reply: Reply) -> None:
    """Write the trace of a run that could not write one itself."""
    work = reply.job.work
    assert isinstance(work, Run)
    if (work.trace / trace.INDEX).exists():
        return
    statuses: Mapping[str, trace.Status] = {"timeout": "timeout", "worker": "unavailable"}
    header = trace.Header(
        case=work.case.id,
        target=work.target,
        precision=work.precision,
        status=statuses.get(reply.ended, "crashed"),
        error=reply.describe(),
        seconds=reply.seconds,
        seed=work.seed,
        tags=list(work.case.tags),
    )
    trace.write(work.trace, header, [])


def _write_missing(item: Planned, target: Target, place: Path) -> None:
    """Write the trace of a case that its file does not declare on a target."""
    why, tags = item.missing[target], list(item.case.tags)
    header = trace.Header(item.case.id, str(target), target.precision, "error", why, tags=tags)
    trace.write(place, header, [])


def _described(job: Job) -> tuple[str, str, str]:
    """The case, the target and the precision of a run."""
    assert isinstance(job.work, Run)
    return job.work.case.id, job.work.target, job.work.precision


def _has_failed(place: Path) -> bool:
    return (place / trace.INDEX).exists() and trace.Trace(place).header.has_failed
