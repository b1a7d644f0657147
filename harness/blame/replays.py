"""Runs for the search: parts of a case, steps of its training, and scripts, on equal values on every target."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import trace
from harness.blame.script import Computed
from harness.case import CaseRef
from harness.session.layout import slug_of
from harness.session.pool import Job, Reply
from harness.session.session import FIRST, TWIN, Session, Variant, write_failure
from harness.target import Target
from harness.trace import Trace
from harness.wire import Replay, Script, Steps


@dataclass(frozen=True)
class Replayed:
    """What came of a replay.

    Attributes:
        what: was replayed.
        traces: by target, where something was recorded.
        failures: by target, why not everything was.
        late: the targets on which a replay ran when the time was over, none if it was over before; None if it was not.
    """

    what: Replay | Steps
    traces: Mapping[Target, Trace]
    failures: Mapping[Target, str]
    late: Set[Target] | None = None


class Replays:
    """Replays of one case. The traces of a replay are kept, so that the same replay is not run twice.

    Args:
        session: the session whose workers run them.
        targets: those on which the case was run.
        reference: the one among them whose values the others are given.
        is_stopped: whether nothing more is to be replayed: see `harness.session.pool.Pool.work`.
    """

    def __init__(
        self,
        session: Session,
        case: CaseRef,
        targets: Sequence[Target],
        reference: Target,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._session = session
        self.is_stopped = is_stopped
        #: Seconds for one finding, without the last run of its script. The blame then says what is known so far.
        self.seconds = session.setup.options.blame_seconds
        self._held = 0.0
        self._case = case
        self._seen: dict[tuple[Any, ...], Replayed] = {}
        self.targets = targets
        self.reference = reference
        #: The run's folder.
        self.run = session.setup.folder
        #: The folder for the traces of replays, and for scripts that show a difference.
        self.folder = self.run / trace.REPLAYS / slug_of(case.id)

    def now(self) -> float:
        """The seconds of a clock that stands still while replays are held up by cases that are still to be run."""
        return time.monotonic() - self._held

    def parts(self, what: Replay, seconds: float) -> Replayed:
        """Replay the parts of the case on the reference, and then on every target on the values that the reference had.

        There is no trace if the reference cannot be replayed.
        """
        deadline = self.now() + seconds
        own = self._own(what, seconds)
        if self.reference not in own.traces:
            return own
        given = replace(what, given=own.traces[self.reference].folder)
        return self._run(self.targets, [FIRST, TWIN], deadline - self.now(), replay=given)

    def data(self, name: str, step: int | None, seconds: float) -> Replayed:
        """Record one array of the case's data on every target, or of the batch that a training step takes."""
        return self._run(self.targets, [FIRST], seconds, replay=Replay(data=name, batch=step))

    def own(self, what: Replay, seconds: float) -> Trace | None:
        """What the reference recorded in that replay on its own values, with what it takes to run parts elsewhere."""
        return self._own(what, seconds).traces.get(self.reference)

    def _own(self, what: Replay, seconds: float) -> Replayed:
        # Only float64 runs are probed: the reference's own is the one that there is already.
        return self._run([self.reference], [FIRST], seconds, replay=replace(what, probed=None, index=[]))

    def steps(self, first: int, last: int, seconds: float, *, account: bool = False) -> Replayed:
        """Run training steps on every target, each from the state that the reference had before it.

        There is no trace if the steps of the reference cannot be run.

        Args:
            account: whether what the model's own `train_step` does is told.
        """
        deadline = self.now() + seconds
        own = self._run([self.reference], [FIRST], seconds, steps=Steps(first, last))
        if self.reference not in own.traces:
            return own
        given = Steps(first, last, own.traces[self.reference].folder, account)
        return self._run(self.targets, [FIRST, TWIN], max(deadline - self.now(), 1.0), steps=given)

    def compute(self, script: Path, targets: Sequence[Target], seconds: float) -> Mapping[Target, Computed]:
        """What a script computes on each target; targets on which the script fails are left out."""
        results: dict[Target, Computed] = {}

        def receive(reply: Reply) -> None:
            assert isinstance(reply.job.work, Script)
            if reply.ended == "exit" and reply.code == 0 and reply.job.work.result.exists():
                with np.load(reply.job.work.result, allow_pickle=False) as found:
                    results[reply.job.target] = Computed(tuple(found["forms"].tolist()), found["numbers"])

        jobs = []
        for target in targets:
            stem = script.with_name(f"{script.stem}-{target.slug}")
            jobs.append(Job(target, Script(script, Path(f"{stem}.npz")), seconds, Path(f"{stem}.txt")))
        self._carry_out(jobs, receive)
        return results

    def _carry_out(self, jobs: Sequence[Job], on_reply: Callable[[Reply], None]) -> None:
        self._held += self._session.pool.run(jobs, on_reply, self.is_stopped)

    def _run(
        self, targets: Sequence[Target], variants: Sequence[Variant], seconds: float, **what: Replay | Steps
    ) -> Replayed:
        """A replay. Nothing is run if no time is left."""
        (asked,) = what.values()
        key = (*targets, *variants, repr(what))
        if key in self._seen:
            return self._seen[key]
        if seconds < 1:
            return Replayed(asked, {}, {}, frozenset())
        place = self.folder / f"{len(self._seen)}"
        shutil.rmtree(place, ignore_errors=True)
        jobs = [
            self._session.job(self._case, target, variant, place / target.slug, timeout=seconds, **what)
            for target in targets
            for variant in variants
        ]
        self._carry_out(jobs, write_failure)
        found = {target: Trace(place / target.slug) for target in targets}
        headers = [(job.target, Trace(job.output.parent).header) for job in jobs]
        late = frozenset(target for target, header in headers if header.status == "timeout")
        self._seen[key] = Replayed(
            asked,
            {target: trace for target, trace in found.items() if len(trace)},
            {
                target: header.error or header.status
                for target, header in reversed(headers)
                if header.has_failed and target not in late
            },
            late or None,
        )
        return self._seen[key]
