"""Whose a difference is: the parts of a case, replayed on equal values until one differs by itself.

1. A finding of a later training step: those steps are run again, each from the state the reference had before it. The
   first that differs from equal state is where it starts.
2. The parts of that step (or of the first pass, or of a call for predictions) run one by one, each on the values that
   the reference had there: layers, regularisers, loss, constraints, schedule, optimizer, metrics, and the gradients of
   each. The first that differs made the difference, and did not inherit it.
3. The operations inside that part run in the same way.

Every replay runs on every target and in both precisions, and is judged by the same two-precision verdict.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import backends, trace
from harness.blame.script import Script, Side, issue_text, script_of
from harness.case import CaseRef
from harness.judge.compare import PARTED, Blame, Comparison, Continuation, Finding, compare, differences, standing_alone
from harness.judge.verdict import U32, Verdict, judge
from harness.project.known import Known
from harness.result.model import CaseResult, outcome_of
from harness.session import interpreter
from harness.session.pool import Pool, Reply, Request
from harness.session.run import FIRST, TWIN, Options, Variant, request, slug_of, trace_folder, write_failure
from harness.target import Target
from harness.trace import Key, Phase, Trace
from harness.trace.key import AFTER_FIT, DATA, ROWS, below
from harness.trace.parts import CASE, LOSS, METRICS, OPTIMIZER, Part, part_of

#: Seconds that blaming one finding may take. What is known by then is said.
BUDGET = 180.0
#: Seconds that the last run of a script is given, even if there are fewer left.
LEAST = 30.0
#: Steps that are followed one by one, at most: the last ones before the finding.
MOST_STEPS = 40
#: Steps that are continued from where free runs parted, at most.
MOST_CONTINUED = 200

_TITLES = {LOSS: "the loss", OPTIMIZER: "the optimizer's step", METRICS: "the metrics", CASE: "the case itself"}


@dataclass(frozen=True)
class Suspect:
    """A part, or an operation in it, that differs on equal values."""

    finding: Finding
    part: Part
    traces: Mapping[Target, Trace]


class Blamer:
    """Blames findings on the targets of one run. Its pool must be open.

    Args:
        targets: every target of the run.
        reference: the one whose values the others are given.
        root: what case ids are relative to.
        folder: the run's folder. What is replayed is kept in a folder in it.
    """

    def __init__(
        self, pool: Pool, targets: Sequence[Target], reference: Target, root: Path, folder: Path, options: Options
    ) -> None:
        self._pool = pool
        self._targets = targets
        self._reference = reference
        self._root = root
        self._folder = folder
        self._options = options
        self._replayed: dict[str, dict[Target, Trace]] = {}

    def examine(
        self,
        case: CaseRef,
        seen: CaseResult,
        known: Sequence[Known],
        fail_on: Verdict,
        blame_from: Verdict | None,
        *,
        declared: bool = False,
        on_blame: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Continue trainings that parted, and find whose each difference is: what `seen` then says as well.

        Args:
            known: differences that are declared beside the cases.
            fail_on: the mildest verdict that counts as a real difference.
            blame_from: the mildest verdict that is blamed; None for none.
            declared: whether declared differences are blamed too.
            on_blame: called with a target before a difference on it is blamed.
        """
        traces = {target: Trace(trace_folder(self._folder, target, case.id)) for target in self._targets}
        for comparison in seen.comparisons:
            comparison.continuation = self.continuation(case, comparison, traces, known)
        seen.outcome = outcome_of(seen.runs, seen.comparisons, fail_on)
        if blame_from is not None:
            for comparison in seen.worth_blaming(blame_from, declared=declared):
                on_blame(comparison.target)
                comparison.blame = self.blame(case, comparison, traces)

    def blame(self, case: CaseRef, comparison: Comparison, traces: Mapping[Target, Trace]) -> Blame | None:
        """Blame a comparison's first difference. None where there is none.

        Args:
            traces: of the case, by target.
        """
        finding = comparison.first
        if finding is None:
            return None
        target = next(target for target in traces if str(target) == comparison.target)
        place = self._folder / trace.REPLAYS / slug_of(case.id)
        try:
            return _Search(self, case, target, finding, traces, place).blame()
        except Exception as error:
            # What was found stands, whatever happens to the search for its origin.
            text = f"the search for its origin failed, which is a bug of the harness: {type(error).__name__}: {error}"
            place.mkdir(parents=True, exist_ok=True)
            (place / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            return Blame(None, finding.layer, None, None, finding.phase, finding.step, False, text)

    def continuation(
        self, case: CaseRef, comparison: Comparison, traces: Mapping[Target, Trace], known: Sequence[Known]
    ) -> Continuation | None:
        """Go on step by step from where free runs parted. None where they did not, or it cannot be done."""
        if comparison.parted is None:
            return None
        target = next(target for target in traces if str(target) == comparison.target)
        recorded = [entry.step for entry in traces[self._reference].select("log")]
        first = comparison.parted
        last = min(max(recorded, default=0), first + MOST_CONTINUED - 1)
        followed = self.follow(case, first, last, BUDGET)
        if target not in followed or self._reference not in followed or last < first:
            return None
        return Continuation(first, last, compare(followed[target], followed[self._reference], known))

    def follow(self, case: CaseRef, first: int, last: int, seconds: float) -> dict[Target, Trace]:
        """Training steps on every target, each from the state that the reference had before it."""
        steps = {"first": first, "last": last}
        place = self._folder / trace.REPLAYS / slug_of(case.id)
        deadline = time.monotonic() + seconds
        own = self.replay(case, place, [self._reference], [FIRST], seconds, steps=steps)
        if self._reference not in own:
            return {}
        given = {**steps, "given": str(own[self._reference].folder)}
        left = max(deadline - time.monotonic(), 1.0)
        return self.replay(case, place, self._targets, [FIRST, TWIN], left, steps=given)

    def replay(
        self,
        case: CaseRef,
        place: Path,
        targets: Sequence[Target],
        variants: Sequence[Variant],
        seconds: float,
        **more: Any,
    ) -> dict[Target, Trace]:
        """Run a replay and return its traces, of those targets on which it ran. What was replayed before is kept."""
        what = json.dumps([case.id, [str(target) for target in targets], [variant.place for variant in variants], more])
        if what in self._replayed:
            return self._replayed[what]
        place = place / f"{len(self._replayed)}"
        shutil.rmtree(place, ignore_errors=True)
        requests = [
            request(case, target, variant, place / target.slug, self._root, self._options, timeout=seconds, **more)
            for target in targets
            for variant in variants
        ]
        self._pool.run(requests, _receive)
        found = {target: Trace(place / target.slug) for target in targets}
        self._replayed[what] = {target: trace for target, trace in found.items() if len(trace)}
        return self._replayed[what]

    def compute(self, script: Path, targets: Sequence[Target], seconds: float) -> dict[Target, NDArray[Any]]:
        """What a script computes on each target, where it does."""
        results: dict[Target, NDArray[Any]] = {}

        def receive(reply: Reply) -> None:
            result = Path(reply.request.body["result"])
            if reply.ended == "exit" and reply.code == 0 and result.exists():
                results[reply.request.target] = np.load(result, allow_pickle=False)

        requests = []
        for target in targets:
            stem = script.with_name(f"{script.stem}-{target.slug}")
            body = {"kind": "script", "file": str(script), "result": f"{stem}.npy"}
            requests.append(Request(target, body, seconds, stem.with_suffix(".txt")))
        self._pool.run(requests, receive)
        return results

    @property
    def targets(self) -> Sequence[Target]:
        return self._targets

    @property
    def reference(self) -> Target:
        return self._reference

    @property
    def folder(self) -> Path:
        return self._folder


class _Search:
    """The search for one finding's origin."""

    def __init__(
        self,
        blamer: Blamer,
        case: CaseRef,
        target: Target,
        finding: Finding,
        traces: Mapping[Target, Trace],
        place: Path,
    ) -> None:
        self._blamer = blamer
        self._case = case
        self._target = target
        self._finding = finding
        self._traces = traces
        self._place = place
        self._deadline = time.monotonic() + BUDGET
        self._who = _alone(traces, finding)
        versions = [traces[side].header.environment.get("versions", {}) for side in (target, blamer.reference)]
        self._of_two_keras = versions[0].get("keras") != versions[1].get("keras")

    def blame(self) -> Blame:
        finding = self._finding
        restless = self._not_repeating()
        if restless:
            text = f"{' and '.join(restless)} does not repeat itself: two runs on one target differ as much as this"
            return replace(self._unconfirmed(text), target=None, nondeterministic=tuple(restless))
        if finding.phase == "initial" and below(finding.name, DATA) is not None:
            return self._unconfirmed("the data that the case makes differ, before anything is trained")
        if finding.phase == "event":
            return self._unconfirmed("callbacks are called in another order, or with other logs")
        suspect, step = self._suspect()
        if suspect is None:
            between = "" if finding.phase == "recorded" else ": it is amplified, or made between the parts"
            return self._unconfirmed(f"no part differs by itself on equal values{between}")
        inner = suspect if suspect.part.operation else self._operation_in(suspect, step)
        return self._confirmed(suspect, inner, step)

    def _not_repeating(self) -> list[str]:
        """Those of the two targets whose second run differs from the first, by a tenth of the finding or more."""
        key, judgement = self._finding.key, self._finding.judgement
        size = max(judgement.d32 or 0.0, judgement.d64 or 0.0)
        restless = []
        for target, again in self._replay([self._blamer.reference, self._target], [FIRST]).items():
            first = self._traces[target]
            if key in first and key in again:
                own = judge(again[key], first[key])
                if own.verdict is not Verdict.IDENTICAL and (own.d32 is None or own.d32 >= size / 10):
                    restless.append(str(target))
        return restless

    def _suspect(self) -> tuple[Suspect | None, _Start]:
        """The first part that differs on equal values, and where it was started from."""
        finding, reference = self._finding, self._traces[self._blamer.reference]
        start = _Start(0)
        if finding.phase in ("initial", "recorded") or not _has_parts(reference):
            return self._first(self._parts(start, inside=CASE)), start
        if finding.phase in ("prediction", "metric") and _is_fit(reference):
            return self._first(self._parts(self._after_training())), self._after_training()
        if _is_fit(reference):
            start = _Start(0, {"trace": str(reference.folder), "phase": "initial", "step": 0})
            if finding.phase in ("update", "optimizer", "log"):
                found = self._step()
                if found is None:
                    return None, start
                start = found
        suspect = self._first(self._parts(start))
        if suspect is None and not _is_fit(reference):
            suspect = self._first(self._parts(start, inside=CASE))
        return suspect, start

    def _operation_in(self, suspect: Suspect, start: _Start) -> Suspect | None:
        return self._first(self._parts(start, inside=suspect.part.name), operations=True)

    def _step(self) -> _Start | None:
        """The first training step that differs from equal state. None where no step does."""
        reference = self._traces[self._blamer.reference]
        recorded = {entry.step for entry in (*reference.select("update"), *reference.select("optimizer"))}
        agreed = [step for step in recorded if step < self._finding.step]
        first = max([step + 1 for step in agreed] + [0, self._finding.step - MOST_STEPS + 1])
        seconds = self._deadline - time.monotonic()
        traces = self._blamer.follow(self._case, first, self._finding.step, seconds) if seconds > 1 else {}
        if self._target not in traces or self._blamer.reference not in traces:
            return None
        found = self._differences(traces)
        if not found:
            return None
        step = min(finding.step for finding in found)
        given = traces[self._blamer.reference]
        rows = given[str(Key("initial", step, ROWS))].value
        state = {"trace": str(given.folder), "phase": "initial", "step": step}
        return _Start(step, state, rows if isinstance(rows, list) else None)

    def _after_training(self) -> _Start:
        reference = self._traces[self._blamer.reference]
        last = max(entry.step for entry in reference.select("update"))
        state = {"trace": str(reference.folder), "phase": "update", "step": last, "prefix": AFTER_FIT}
        index = self._finding.judgement.index or (0,)
        row = index[0] if index and self._finding.phase == "prediction" else 0
        return _Start(last, state, [row], training=False)

    def _parts(self, start: _Start, inside: str | None = None) -> dict[Target, Trace]:
        """The parts of the reference as they come, and then of every target on the reference's values."""
        what = {"inside": inside, "state": start.state, "rows": start.rows, "training": start.training}
        own = self._replay([self._blamer.reference], [FIRST], replay=what)
        if self._blamer.reference not in own:
            return {}
        given = str(own[self._blamer.reference].folder)
        return self._replay(self._blamer.targets, replay={**what, "given": given})

    def _replay(
        self, targets: Sequence[Target], variants: Sequence[Variant] = (FIRST, TWIN), **more: Any
    ) -> dict[Target, Trace]:
        seconds = self._deadline - time.monotonic()
        if seconds <= 1:
            return {}
        return self._blamer.replay(self._case, self._place, targets, variants, seconds, **more)

    def _differences(self, traces: Mapping[Target, Trace]) -> list[Finding]:
        """What differs from the reference, in order, for real: the divergent, with leaks that are about as large.

        Some fault of an operation is hidden by rounding in one part and not in a later one. Where nothing is divergent
        the leaks are all there is.
        """
        found = differences(traces[self._target], traces[self._blamer.reference], Verdict.LEAK)
        first = next((finding for finding in found if finding.judgement.verdict >= Verdict.DIVERGENT), None)
        if first is None:
            return found
        size = (first.judgement.d64 or 0.0) / 10
        return [
            finding
            for finding in found
            if finding.judgement.verdict >= Verdict.DIVERGENT or _is_as_large(finding, size)
        ]

    def _first(self, traces: Mapping[Target, Trace], *, operations: bool = False) -> Suspect | None:
        if self._target not in traces or self._blamer.reference not in traces:
            return None
        for finding in self._differences(traces):
            part = part_of(finding.name)
            if part is None or self._is_given(part, finding) or (operations and not part.operation):
                continue
            # Who stands alone with the finding does not stand alone with what only looks like its origin.
            alone = _alone(traces, finding)
            if None in (alone, self._who) or alone == self._who:
                return Suspect(finding, part, traces)
        return None

    def _is_given(self, part: Part, finding: Finding) -> bool:
        """Whether a part has not made what differs: its inputs, or its config where Keras itself has other options."""
        is_input = part.what == "input" and finding.phase == "forward"
        return is_input or (part.what == "config" and self._of_two_keras)

    def _unconfirmed(self, text: str) -> Blame:
        finding = self._finding
        return Blame(self._who, finding.layer, None, None, finding.phase, finding.step, False, text)

    def _confirmed(self, suspect: Suspect, inner: Suspect | None, start: _Start) -> Blame:
        part, layer = suspect.part, suspect.finding.layer
        alone = _alone(suspect.traces, suspect.finding) or self._who
        where = _TITLES.get(part.name) or (f"layer {layer!r}" if layer else part.name)
        text = f"introduced in {where}"
        if part.what in ("config", "regularizer", "constraint", "state"):
            text += f", in its {part.what}"
        operation = None if inner is None else inner.part.operation
        if inner is not None:
            called = inner.part.what == "arguments"
            text += f": it calls {operation} with other arguments" if called else f", by {operation}"
            layer = layer or inner.finding.layer
        if suspect.finding.phase == "gradient":
            text += ", in its gradient"
        if self._finding.layer not in (None, layer):
            text += f"; layer {self._finding.layer!r} inherits it"
        blame = Blame(alone, layer, part.name, operation, self._phase_of(suspect), start.step, True, text)
        return replace(blame, repro=self._reproducer(inner or suspect))

    def _phase_of(self, suspect: Suspect) -> Phase:
        """The phase in which the difference is made. Training shows some of what is made before in a later phase."""
        found, made = self._finding.phase, suspect.finding.phase
        is_late = found in ("gradient", "update", "optimizer", "log")
        return made if is_late and made in ("forward", "loss", "gradient", "update", "optimizer") else found

    def _reproducer(self, suspect: Suspect) -> str | None:
        """The path of a script that was run and shows the difference, or None."""
        sides = _side(self._blamer.reference), _side(self._target)
        if sides[0] == sides[1]:
            return None  # they differ in their options, which a script does not have
        script = script_of(suspect.finding, suspect.part, suspect.traces[self._blamer.reference], sides)
        if script is None:
            return None
        folder = self._place / self._target.slug
        folder.mkdir(parents=True, exist_ok=True)
        index = suspect.finding.judgement.index or ()
        candidates = [*script.smaller(index[0] if index else None, index), script]
        best = next((candidate for candidate in candidates if self._shows(candidate, folder)), None)
        if best is None:
            return None
        if self._shows(best.rounded(), folder):
            best = best.rounded()
        path = folder / "repro.py"
        path.write_text(best.text(), encoding="utf-8")
        # As somebody else would run it, in processes of its own.
        ran = _run(path, max(self._deadline - time.monotonic(), LEAST))
        if ran is None or ran.returncode != 1:
            path.unlink()
            return None
        environments = {str(t): self._traces[t].header.environment for t in (self._blamer.reference, self._target)}
        issue = issue_text(best.text(), ran.stdout, best.title, environments)
        (folder / "issue.md").write_text(issue, encoding="utf-8")
        return path.relative_to(self._blamer.folder).as_posix()

    def _shows(self, script: Script, folder: Path) -> bool:
        """Whether a script shows the difference in the workers, which is quicker than in processes of their own."""
        seconds = self._deadline - time.monotonic()
        if seconds <= 1:
            return False
        path = folder / "candidate.py"
        path.write_text(script.text(), encoding="utf-8")
        values = self._blamer.compute(path, [self._blamer.reference, self._target], seconds)
        for file in folder.glob("candidate*"):
            file.unlink()
        if len(values) < 2:
            return False
        ours, theirs = values[self._target], values[self._blamer.reference]
        if ours.shape != theirs.shape:
            return True
        scale = max(float(np.sqrt(np.mean(array**2))) for array in (ours, theirs)) or 1.0
        return not float(np.abs(ours - theirs).max(initial=0.0)) / scale <= script.bound


@dataclass(frozen=True)
class _Start:
    """Where parts are replayed from: see `harness.worker.capture.replay.Replay`."""

    step: int
    state: dict[str, Any] | None = None
    rows: list[int] | None = None
    training: bool = True


def _is_as_large(leak: Finding, size: float) -> bool:
    """Whether a leak is of that size, and not a value that is zero but for rounding, which is all noise."""
    judgement = leak.judgement
    is_noise = (judgement.amplification or 0.0) * U32 > PARTED
    return 0.0 < size <= (judgement.d64 or 0.0) and not is_noise


def _alone(traces: Mapping[Target, Trace], finding: Finding) -> str | None:
    by_name = {str(target): trace for target, trace in traces.items()}
    return standing_alone(by_name, finding.key, min(finding.judgement.verdict, Verdict.DIVERGENT))


def _receive(reply: Reply) -> None:
    if not (Path(reply.request.body["trace"]) / trace.INDEX).exists():
        write_failure(reply)


def _side(target: Target) -> Side:
    """A target as a script has it: without options, and with the variables of its device."""
    backend = backends.get(target.backend)
    usual, placed = (backend.environment_for(at) for at in (Target(target.backend), replace(target, options=())))
    variables = {name: value for name, value in placed.items() if usual.get(name) != value}
    name = f"{target.backend}{f':{target.device}' if target.device else ''}"
    name += "" if target.python is None else " of another environment"
    python = None if target.python is None else interpreter.path_of(target)
    return Side(name, {"KERAS_BACKEND": target.backend, **variables}, python)


def _run(script: Path, seconds: float) -> subprocess.CompletedProcess[str] | None:
    """Run a script. None where it does not end in time."""
    try:
        return subprocess.run(
            [sys.executable, script.name],
            cwd=script.parent,
            capture_output=True,
            text=True,
            timeout=BUDGET,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def _is_fit(trace: Trace) -> bool:
    return any(trace.select("event"))


def _has_parts(trace: Trace) -> bool:
    """Whether a case returned a Fit or a Forward, whose parts can be replayed."""
    return any(trace.select("forward"))
