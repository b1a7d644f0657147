"""The workflow of a run: plan, record, judge and blame. The command line and the pytest plugin both use it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from harness import backends, trace
from harness.case import CaseRef, Known, fingerprint
from harness.errors import HarnessError
from harness.judge.case import judge_case, target_run
from harness.judge.compare import compare
from harness.judge.declared import unmatched
from harness.judge.distribution import REPEATS
from harness.judge.doubt import wanted_of_recording
from harness.result.model import CaseResult, Result, TargetRun, Unfinished
from harness.session.examination import Examination
from harness.session.folder import clear_traces
from harness.session.layout import LOGS, seed_of, trace_folder
from harness.session.options import Options, cores
from harness.session.plan import Planned, plan
from harness.session.pool import Batch, Job, Pool, Reply
from harness.session.selection import Selection
from harness.target import Target
from harness.verdict import Verdict
from harness.wire import Run


@dataclass(frozen=True)
class Setup:
    """The settings of a session.

    Attributes:
        targets: where cases run.
        reference: the target that the others are compared with.
        root: the folder that the ids of cases are relative to.
        folder: the run's folder, for traces and everything that is made of them.
        fail_on: the mildest verdict that counts as a real difference.
        known: differences that the project declares in its `pyproject.toml`.
        strict_names: whether variables that differ in name alone are a mismatch.
    """

    targets: Sequence[Target]
    reference: Target
    root: Path
    folder: Path
    options: Options
    fail_on: Verdict = Verdict.DIVERGENT
    known: Sequence[Known] = ()
    strict_names: bool = False


class Listener:
    """Is told of a session's progress. Every method here does nothing; subclasses override those they need.

    All are called in the thread that runs the session, but for `blaming`.
    """

    def planned(self, cases: Sequence[Planned], targets: Sequence[Target]) -> None: ...

    def scheduled(self, runs: int) -> None:
        """`runs` more runs are to come, over cases and targets, twins and repeats included."""

    def started(self, case: str, target: str, precision: str) -> None: ...

    def ended(self, case: str, target: str, precision: str) -> None: ...

    def judged(self, result: CaseResult) -> None: ...

    def blaming(self, case: str, target: str) -> None:
        """A difference is being replayed, perhaps while other cases run."""

    def examined(self, result: CaseResult) -> None:
        """The differences of a judged case have been replayed."""


class Examiner(Protocol):
    """Examines judged cases while the workers still run: see `harness.blame.search.Blamer`."""

    def replays(self, case: CaseRef, seen: CaseResult, targets: Sequence[Target]) -> bool:
        """Whether examining a case takes replays. Where it does not, it takes a moment."""

    def examine(
        self, case: CaseRef, seen: CaseResult, targets: Sequence[Target], is_stopped: Callable[[], bool]
    ) -> CaseResult:
        """The result `seen` of a case, with what was found out about its differences.

        Args:
            is_stopped: whether to replay no more: see `harness.session.pool.Pool.work`.
        """


@dataclass(frozen=True)
class Variant:
    """One of the runs of a case on a target.

    Attributes:
        twin: whether it is the twin, the run in the other precision.
        place: the folder of its trace, relative to that of the first run.
        repeat: the number of the repeat, counted from 1, each with another seed; 0 if it is not a repeat.
        noise: the number of the noise run, counted from 1; 0 if it is not a noise run.
        unobserved: whether it is the unobserved run.
        eager: whether nothing is compiled in it.
        full: whether float32 is computed in all its bits in it.
    """

    twin: bool = False
    place: str = "."
    repeat: int = 0
    noise: int = 0
    unobserved: bool = False
    eager: bool = False
    full: bool = False


FIRST = Variant()
TWIN = Variant(twin=True, place=trace.TWIN)
#: The second run that tells whether a case repeats itself, and its twin.
AGAIN = (Variant(place=trace.AGAIN), Variant(twin=True, place=f"{trace.AGAIN}/{trace.TWIN}"))
#: The run in which nothing is compiled, and its twin.
EAGER = (
    Variant(place=trace.EAGER, eager=True),
    Variant(twin=True, place=f"{trace.EAGER}/{trace.TWIN}", eager=True),
)
#: The run with the switches of lower precision off. It needs no twin: they do nothing to float64.
FULL = Variant(place=trace.FULL, full=True)
#: How many noise runs a doubtful finding is given, where none were asked for.
NOISE_RUNS = 3


class Session:
    """Runs cases on targets, and judges them. Use it as a context manager: no worker outlives it.

    Args:
        listener: is told of the progress.
        examiner: called with this session, makes what examines judged cases; None to examine none.
        keep: called with this session whenever there is more in `judged`, to write what there is.
        shared: the folder of a `harness.session.sharing.Host`, to share workers with other processes; None not to.
        jobs: the most jobs that this process runs at once; if left out, the number in the options.
    """

    def __init__(
        self,
        setup: Setup,
        listener: Listener | None = None,
        *,
        examiner: Callable[[Session], Examiner] | None = None,
        keep: Callable[[Session], None] = lambda _: None,
        shared: Path | None = None,
        jobs: int | None = None,
    ) -> None:
        self.setup = setup
        self.listener = listener or Listener()
        self._examiner = None if examiner is None or setup.options.native else examiner(self)
        self._keep = keep
        self._shared = shared
        #: What has been judged so far, by case: it is there whatever ends a run.
        self.judged: dict[str, CaseResult] = {}
        #: Why a run left no trace, where not even that could be written, by the trace's folder.
        self._unwritten: dict[Path, str] = {}
        self._jobs = jobs or setup.options.jobs

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        if "pool" in vars(self):
            self.pool.__exit__()

    @cached_property
    def pool(self) -> Pool:
        """The workers, which start when this is first read."""
        native = self.setup.options.native
        return Pool(self.setup.targets, self.setup.folder / LOGS, self._jobs, native=native, shared=self._shared)

    def plan(
        self, selections: Sequence[Selection], is_wanted: Callable[[CaseRef], bool] = lambda _: True, logs: str = "."
    ) -> list[Planned]:
        """The cases that selections name, and that are wanted.

        Args:
            is_wanted: True for a case that is to run; asked for every case that the selections name.
            logs: the folder that collecting writes to, relative to that of the workers' output.

        Raises:
            CaseError, HarnessError: see `harness.session.plan.plan`.
        """
        setup = self.setup
        place = setup.folder / LOGS / logs
        planned, declared = plan(
            self.pool, selections, setup.targets, setup.root, place, setup.options.timeout, is_wanted
        )
        clear_traces(setup.folder, selections, setup.root, declared, setup.targets)
        self.listener.planned(planned, setup.targets)
        return planned

    def run(self, planned: Sequence[Planned], targets: Sequence[Target] | None = None) -> list[CaseResult]:
        """Record cases, judge each as soon as all its traces are written, and examine it while the others are recorded.

        Args:
            targets: some of the session's targets, the reference among them; all of them if left out.
        """
        targets = self.setup.targets if targets is None else targets
        cases = {item.case.id: item.case for item in planned}
        judged, judged_again = self.judged, set[str]()

        def judge(case: str) -> None:
            keep(self._judged(case, targets))
            wanted = {} if case in judged_again else self._further_runs(judged[case], targets)
            further = self._further_jobs(cases[case], wanted)
            if further:
                judged_again.add(case)
                recording.add(further)
            else:
                settle(case)

        def keep(result: CaseResult) -> None:
            judged[result.id] = result
            self._keep(self)

        def settle(case: str) -> None:
            """Tell what a case comes to, of which no more runs are wanted, and have it examined."""
            if not is_continued(case):
                self.listener.judged(judged[case])
            if self._examiner is None:
                return
            if self._replays(cases[case], judged[case], targets):
                recording.batch.left += 1
                examination.add(partial(examine, cases[case], judged[case]))
            else:
                take_in(self._examined(cases[case], judged[case], targets))

        def is_continued(case: str) -> bool:
            parted = any(comparison.parted is not None for comparison in judged[case].comparisons)
            return parted and self._examiner is not None

        def examine(case: CaseRef, seen: CaseResult) -> Callable[[], None]:
            result = self._examined(case, seen, targets, lambda: examination.is_stopped)

            def take_in_and_count() -> None:
                recording.batch.left -= 1
                take_in(result)

            return take_in_and_count

        def take_in(result: CaseResult) -> None:
            was_continued = is_continued(result.id)
            keep(result)
            self.listener.examined(result)
            if was_continued:
                self.listener.judged(result)

        recording = _Recording(self, judge)
        with Examination(lambda event: self.pool.tell(recording.batch, event)) as examination:
            recording.begin(planned, targets)
            self.pool.work(recording.batch)
        return [judged[item.case.id] for item in planned]

    def _replays(self, case: CaseRef, seen: CaseResult, targets: Sequence[Target]) -> bool:
        """Whether examining a case takes replays, or fails."""
        assert self._examiner is not None
        try:
            return self._examiner.replays(case, seen, _readable(seen, targets))
        except Exception:
            return True

    def _examined(
        self,
        case: CaseRef,
        seen: CaseResult,
        targets: Sequence[Target],
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> CaseResult:
        """The result of a case with what was found out about its differences, or with a note why nothing was."""
        assert self._examiner is not None
        try:
            return self._examiner.examine(case, seen, _readable(seen, targets), is_stopped)
        except Exception as error:
            note = trace.Note("blame", f"the harness failed to search: {type(error).__name__}: {error}")
            return replace(seen, runs=[replace(run, notes=[*run.notes, note]) for run in seen.runs])

    def _judged(self, case: str, targets: Sequence[Target]) -> CaseResult:
        """The result of a case. One that cannot be judged has failed, and ends nothing but itself."""
        try:
            return self.judge(case, targets)
        except Exception:
            why = {str(target): self._why_unreadable(case, target) for target in targets}
        unreadable = {target: reason for target, reason in why.items() if reason is not None}
        try:
            return self.judge(case, targets, unreadable=unreadable)
        except Exception as error:
            reason = f"the harness failed to judge this case: {type(error).__name__}: {error}"
            failed = [TargetRun(target, "error", 0.0, None, unreadable.get(target, reason), {}, []) for target in why]
            return CaseResult(case, "error", failed, [])

    def _why_unreadable(self, case: str, target: Target) -> str | None:
        """Why the trace of a case cannot be judged by itself; None where it can."""
        place = self.place_of(case, target)
        try:
            alone = trace.Trace(place)
            target_run(str(target), alone, self.setup.folder)
            compare(alone, alone)
        except Exception as error:
            told = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            return self._unwritten.get(place, f"its trace cannot be read: {told}")
        return None

    def _further_runs(self, seen: CaseResult, targets: Sequence[Target]) -> dict[Target, frozenset[str]]:
        """The kinds of further runs that a case's findings need on each target: see `harness.judge.doubt`."""
        wanted: dict[Target, frozenset[str]] = {}
        for comparison in [] if self.setup.options.native else seen.comparisons:
            for target in targets:
                if str(target) in (comparison.target, comparison.reference):
                    wanted[target] = wanted.get(target, frozenset()) | comparison.further_runs
        return wanted

    def record_further(self, planned: Sequence[Planned], target: Target) -> None:
        """Make the further runs that a comparison with another target is likely to want of recorded cases."""
        if self.setup.options.native:
            return
        wanted = {item.case.id: {target: self._wanted_of_recording(item.case.id, target)} for item in planned}
        recording = _Recording(self)
        recording.add([job for item in planned for job in self._further_jobs(item.case, wanted[item.case.id])])
        self.pool.work(recording.batch)

    def _wanted_of_recording(self, case: str, target: Target) -> frozenset[str]:
        """See `harness.judge.doubt.wanted_of_recording`. A trace that cannot be read wants nothing."""
        try:
            return wanted_of_recording(trace.Trace(self.place_of(case, target)))
        except Exception:
            return frozenset()

    def _further_jobs(self, case: CaseRef, wanted: Mapping[Target, frozenset[str]]) -> list[Job]:
        """The further runs of a case. What they leave lies beside the traces that they are about."""
        places = {target: self.place_of(case.id, target) for target in wanted}
        return [
            self.job(case, target, variant, places[target])
            for target, kinds in wanted.items()
            for variant in self._further_variants(kinds, target, places[target])
        ]

    def _further_variants(self, kinds: frozenset[str], target: Target, place: Path) -> list[Variant]:
        ways = 2 if self.setup.options.precision == "both" else 1
        again = AGAIN[:ways] if trace.AGAIN in kinds else ()
        eager = EAGER[:ways] if trace.EAGER in kinds and backends.compiles(target) else ()
        full = [FULL] if trace.FULL in kinds and _may_be_coarse(target, trace.Trace(place)) else ()
        numbers = range(1, NOISE_RUNS + 1) if trace.NOISE in kinds and not self.setup.options.noise_runs else ()
        return [*again, *eager, *full, *(_noise(number) for number in numbers)]

    def record(self, planned: Sequence[Planned]) -> None:
        """Run every case on every target. Every run leaves a trace, however it ended.

        On a target on which its file does not declare a case, a trace is written that says so.
        """
        recording = _Recording(self)
        recording.begin(planned, self.setup.targets)
        self.pool.work(recording.batch)

    def first_jobs(self, item: Planned, targets: Sequence[Target]) -> list[Job]:
        """The runs of a case that are wanted before anything is known of it. Where it is missing, that is written."""
        jobs: list[Job] = []
        for target in targets:
            place = self.place_of(item.case.id, target)
            shutil.rmtree(place, ignore_errors=True)  # of an earlier run
            if target in item.missing:
                self._write_missing(item, target, place)
            else:
                jobs += [self.job(item.case, target, variant, place) for variant in self._variants()]
        return jobs

    def _write_missing(self, item: Planned, target: Target, place: Path) -> None:
        """Write the trace of a case that its file does not declare on a target."""
        header = trace.Header(
            case=item.case.id,
            target=str(target),
            precision=target.precision,
            status="error",
            error=item.missing[target],
            seed=seed_of(item.case.id, self.setup.options.seed),
            source=_source_of(item.case),
            tags=list(item.case.tags),
        )
        trace.write(place, header, [])

    def write_failure(self, reply: Reply) -> None:
        """Write the trace of a run that could not write one itself, or keep why that cannot be written either."""
        try:
            write_failure(reply)
        except OSError as error:  # a full disk, or a folder that somebody removed
            assert isinstance(reply.job.work, Run)
            self._unwritten[reply.job.work.trace] = f"{reply.describe()}\nThat could not be written: {error}"

    def judge(
        self,
        case: str,
        targets: Sequence[Target] | None = None,
        *,
        shared_only: bool = False,
        unreadable: Mapping[str, str] | None = None,
    ) -> CaseResult:
        """Compare the traces of a case.

        Args:
            shared_only: True to ignore what only one side recorded, see `harness.judge.compare.compare`.
            unreadable: by target, why its trace cannot be read.
        """
        setup = self.setup
        unreadable = unreadable or {}
        targets = setup.targets if targets is None else targets
        traces = {
            str(target): None if str(target) in unreadable else trace.Trace(self.place_of(case, target))
            for target in targets
        }
        return judge_case(
            case,
            traces,
            str(setup.reference),
            setup.fail_on,
            setup.folder,
            setup.known,
            shared_only=shared_only,
            strict_names=setup.strict_names,
            unreadable=unreadable,
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
        """The job of a run of a case on a target.

        Args:
            place: the folder of the trace of the case's first run on the target.
            timeout: seconds that it may take; those of the options if left out.
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
            eager=variant.eager,
            full=variant.full,
            both_ways=variant in (FIRST, TWIN) and not options.native,
            **changes,
        )
        return Job(target, work, timeout or options.timeout, place / "output.txt")

    def result(
        self,
        cases: Sequence[CaseResult] = (),
        unfinished: Unfinished | None = None,
        *,
        before: Collection[str] = (),
    ) -> Result:
        """The result of the whole run, with the results of these cases.

        Args:
            before: the ids of further cases, which were judged in an earlier run.
        """
        setup, options = self.setup, self.setup.options
        randomness = "native" if options.native else "shared"
        targets = [str(target) for target in setup.targets]
        unused = [] if unfinished else unmatched(setup.known, [*before, *(case.id for case in cases)], targets)
        return Result(
            str(setup.reference),
            targets,
            options.precision,
            setup.fail_on,
            randomness,
            cases,
            unused,
            unfinished=unfinished,
        )

    def _variants(self) -> list[Variant]:
        """The variants of all runs of a case on a target, beginning with `FIRST`."""
        options = self.setup.options
        if options.native:
            return [
                FIRST,
                *(Variant(place=f"{trace.REPEATS}/{number:02}", repeat=number) for number in range(1, REPEATS)),
            ]
        return [
            FIRST,
            *([TWIN] if options.precision == "both" else []),
            *(_noise(number) for number in range(1, options.noise_runs + 1)),
            *([Variant(place=trace.UNOBSERVED, unobserved=True)] if options.observer_check else []),
        ]


class _Recording:
    """Runs of cases in a batch. The listener is told of each.

    Args:
        on_case: called with a case's id as soon as all of its runs have ended that were added by then.
    """

    def __init__(self, session: Session, on_case: Callable[[str], None] = lambda _: None) -> None:
        self._session = session
        self._on_case = on_case
        self._listener = session.listener
        self._waiting: Counter[str] = Counter()
        #: The traces of runs that are dropped if the first run of their case has failed there.
        self._bound: set[Path] = set()
        self.batch = Batch(
            self._receive,
            on_start=lambda job: self._listener.started(*_described(job)),
            on_drop=self._finish,
            is_wanted=self._is_wanted,
        )

    def begin(self, planned: Sequence[Planned], targets: Sequence[Target]) -> None:
        """Add the first runs of cases, and their twins."""
        jobs = {item.case.id: self._session.first_jobs(item, targets) for item in planned}
        self._bound = {_run_of(job).trace for of_case in jobs.values() for job in of_case}
        self.add([job for of_case in jobs.values() for job in of_case])
        for case, of_case in jobs.items():
            if not of_case:
                self._on_case(case)

    def add(self, jobs: Sequence[Job]) -> None:
        """Add runs, before those that wait."""
        self._waiting.update(_run_of(job).case.id for job in jobs)
        self._listener.scheduled(len(jobs))
        self._session.pool.add(self.batch, jobs)

    def _receive(self, reply: Reply) -> None:
        self._session.write_failure(reply)
        self._finish(reply.job)

    def _finish(self, job: Job) -> None:
        case, target, precision = _described(job)
        self._listener.ended(case, target, precision)
        self._waiting[case] -= 1
        if not self._waiting[case]:
            self._on_case(case)

    def _is_wanted(self, job: Job) -> bool:
        """False for a twin or the like if the first run failed: there is nothing to compare it with."""
        run = _run_of(job)
        place = self._session.place_of(run.case.id, job.target)
        return run.trace == place or run.trace not in self._bound or not _has_failed(place)


def _readable(seen: CaseResult, targets: Sequence[Target]) -> list[Target]:
    """The targets that have a trace of a case."""
    readable = {run.target for run in seen.runs if run.trace is not None}
    return [target for target in targets if str(target) in readable]


def _run_of(job: Job) -> Run:
    assert isinstance(job.work, Run)
    return job.work


def _noise(number: int) -> Variant:
    return Variant(place=f"{trace.NOISE}/{number:02}", noise=number)


def _may_be_coarse(target: Target, recorded: trace.Trace) -> bool:
    """Whether a switch was on that lets float32 be computed in fewer bits."""
    return bool(backends.get(target.backend).coarser(recorded.header.environment))


def _source_of(case: CaseRef) -> str | None:
    """The fingerprint of a case's file; None where it cannot be read any more."""
    try:
        return fingerprint(Path(case.file))
    except OSError:
        return None


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
        source=_source_of(work.case),
        tags=list(work.case.tags),
    )
    trace.write(work.trace, header, [])


def _described(job: Job) -> tuple[str, str, str]:
    """The case, the target and the precision of a run."""
    run = _run_of(job)
    return run.case.id, run.target, run.precision


def _has_failed(place: Path) -> bool:
    return (place / trace.INDEX).exists() and trace.Trace(place).header.has_failed
