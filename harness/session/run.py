"""A run: which cases on which targets, carried out by a pool of workers, and judged from the traces on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import trace
from harness.case import CaseRef, Known
from harness.errors import CaseError, HarnessError
from harness.judge.case import judge_case
from harness.judge.distribution import REPEATS
from harness.result.model import CaseResult, Result
from harness.session.pool import Pool, Reply, Request
from harness.target import Target
from harness.verdict import Verdict

TRACES = "traces"
DEFAULT_TIMEOUT = 300.0

#: What marks the root of a project, relative to which cases have their ids. The first that a parent holds wins.
_ROOT_MARKERS = ("pyproject.toml", "tox.ini", "setup.cfg", "setup.py", ".git")


@dataclass(frozen=True)
class Selection:
    """What the caller named: a file or folder and, within a file, perhaps one case."""

    text: str
    path: Path
    case: str | None


@dataclass(frozen=True)
class Options:
    """How a run is carried out.

    Attributes:
        twins: whether every case runs once more in float64 (on a target in float64, in float32).
        jobs: how many cases run at once.
        timeout: seconds that one case may take on one target, in one precision.
        seed: mixed into the seed of every case; another one makes other data, weights and masks.
        native: whether each backend keeps its own randomness. Then there are no twins, and every case runs several
            times on each target, to be compared as distributions.
        noise_runs: how often each case runs once more on each target, disturbed in the last bit: where there is no
            twin, what that does is the measure of rounding.
        observer_check: whether each case runs once more without instruments, to see that they change nothing.
    """

    twins: bool = True
    jobs: int = 1
    timeout: float = DEFAULT_TIMEOUT
    seed: int = 0
    native: bool = False
    noise_runs: int = 0
    observer_check: bool = False


@dataclass(frozen=True)
class Planned:
    """A case, and why some targets do not have it, though they could run it: `missing` has the reason for each."""

    case: CaseRef
    missing: Mapping[Target, str]


class Listener:
    """Hears how a run goes on. Every method does nothing here."""

    def planned(self, cases: Sequence[Planned], targets: Sequence[Target]) -> None: ...

    def scheduled(self, runs: int) -> None:
        """How often a case will run on a target, twins and repeats included."""

    def started(self, case: str, target: str, precision: str) -> None: ...

    def ended(self, case: str, target: str, precision: str) -> None: ...

    def judged(self, result: CaseResult) -> None: ...


def root_of(paths: Iterable[Path]) -> Path:
    """The project that holds the paths: the nearest folder above them all with one of pytest's usual markers."""
    common = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))
    for folder in (common, *common.parents):
        if any((folder / marker).exists() for marker in _ROOT_MARKERS):
            return folder
    here = Path.cwd()
    return here if common.is_relative_to(here) else common


def select(arguments: Sequence[str]) -> list[Selection]:
    """Read `PATH` and `PATH::CASE` from the command line; no argument means the folder `cases`.

    Raises:
        CaseError: a path does not exist.
    """
    if not arguments and not Path("cases").is_dir():
        raise CaseError(
            f"There is no folder 'cases' in {str(Path.cwd())!r}. Name a case file or folder: harness run PATH."
        )
    selections = []
    for text in arguments or ["cases"]:
        name, _, case = text.partition("::")
        path = Path(name)
        if not path.exists():
            raise CaseError(f"The path {name!r} does not exist. Name a case file, a folder of them, or FILE::CASE.")
        if case and path.is_dir():
            raise CaseError(f"{text!r} names a case in a folder. Name the file that declares it: FILE::{case}.")
        selections.append(Selection(text, path.resolve(), case or None))
    return selections


def case_files(selections: Sequence[Selection]) -> list[Path]:
    """The files to look for cases in. In a folder these are the Python files that mention the harness."""
    files: dict[Path, None] = {}
    for selection in selections:
        if not selection.path.is_dir():
            files[selection.path] = None
            continue
        for path in sorted(selection.path.rglob("*.py")):
            hidden = any(part.startswith(".") for part in path.relative_to(selection.path).parts)
            if not hidden and b"harness" in path.read_bytes():
                files[path] = None
    return list(files)


def plan(
    pool: Pool,
    selections: Sequence[Selection],
    targets: Sequence[Target],
    root: Path,
    folder: Path,
    options: Options,
    is_wanted: Callable[[CaseRef], bool],
) -> list[Planned]:
    """Ask every target which cases there are.

    Args:
        folder: for what collecting writes.
        is_wanted: whether a case is wanted, of those that the selections name.

    Raises:
        CaseError: nothing was found, a selection names no case, or a file can be used on no target.
        HarnessError: no target's worker came up.
    """
    files = case_files(selections)
    found: dict[Path, dict[Target, list[CaseRef]]] = {file: {} for file in files}
    errors: dict[Path, dict[Target, str]] = {file: {} for file in files}
    folder.mkdir(parents=True, exist_ok=True)
    requests = []
    for number, file in enumerate(files):
        for target in targets:
            stem = folder / f"{number}-{target.slug}"
            body = {"kind": "collect", "file": str(file), "root": str(root), "result": f"{stem}.json"}
            requests.append(Request(target, body, options.timeout, Path(f"{stem}.txt")))

    def receive(reply: Reply) -> None:
        file, target = Path(reply.request.body["file"]), reply.request.target
        if reply.ended != "exit" or reply.code != 0:
            errors[file][target] = f"collecting {file.name} {reply.describe()}"
            return
        collected = json.loads(Path(reply.request.body["result"]).read_text(encoding="utf-8"))
        if "error" in collected:
            errors[file][target] = collected["error"]
        else:
            found[file][target] = [CaseRef.from_json(case) for case in collected["cases"]]

    pool.run(requests, receive)
    alive = [target for target in targets if pool.why_not(target) is None]
    if not alive:
        reasons = " ".join(f"{target}: {pool.why_not(target)}." for target in targets)
        raise HarnessError(f"No target could be started. {reasons}")
    return _merge(selections, alive, found, errors, is_wanted)


def _merge(
    selections: Sequence[Selection],
    targets: Sequence[Target],
    found: Mapping[Path, Mapping[Target, list[CaseRef]]],
    errors: Mapping[Path, Mapping[Target, str]],
    is_wanted: Callable[[CaseRef], bool],
) -> list[Planned]:
    planned: dict[str, Planned] = {}
    for selection in selections:
        files = [file for file in found if file == selection.path or selection.path in file.parents]
        matched = False
        for file in files:
            if not found[file]:
                reason = next(iter(errors[file].values()))
                raise CaseError(f"{str(file)!r} cannot be collected. {reason}")
            declared = {case.id: case for cases in found[file].values() for case in cases}
            for case in declared.values():
                if selection.case not in (None, case.function, case.id.partition("::")[2]):
                    continue
                matched = True
                if not is_wanted(case):
                    continue
                missing = {
                    target: errors[file].get(target, "the file does not declare the case on this target")
                    for target in targets
                    if case.id not in {declared.id for declared in found[file].get(target, [])}
                }
                planned.setdefault(case.id, Planned(case, missing))
        if not matched:
            what = f"no case {selection.case!r}" if selection.case else "no case"
            raise CaseError(
                f"There is {what} in {selection.text.partition('::')[0]!r}. A case is a function decorated with "
                "@harness.case."
            )
    if not planned:
        raise CaseError("What -k and --tag ask for leaves no case. Run without them to see what there is.")
    return list(planned.values())


def record(
    pool: Pool,
    planned: Sequence[Planned],
    targets: Sequence[Target],
    root: Path,
    folder: Path,
    options: Options,
    listener: Listener,
    on_case: Callable[[str, Mapping[Target, Path]], None] = lambda *_: None,
) -> None:
    """Run every case on every target. Each leaves a trace in `folder`, however it ended.

    Args:
        on_case: called with a case's id and its traces' folders, once all of them are there.

    A case that its file declares on some targets only leaves a trace that says so on the others.
    """
    waiting: Counter[str] = Counter()
    requests: list[Request] = []
    for item in planned:
        for target in targets:
            place = trace_folder(folder, target, item.case.id)
            shutil.rmtree(place, ignore_errors=True)  # of an earlier run
            if target in item.missing:
                why, tags = item.missing[target], list(item.case.tags)
                header = trace.Header(item.case.id, str(target), target.precision, "error", why, tags=tags)
                trace.write(place, header, [])
                continue
            for variant in _variants(options, seed_of(item.case.id, options.seed)):
                requests.append(request(item.case, target, variant, place, root, options))
                waiting[item.case.id] += 1

    listener.scheduled(len(requests))

    def finish(request: Request) -> None:
        case = request.body["case"]["id"]
        listener.ended(case, str(request.target), request.body["precision"])
        waiting[case] -= 1
        if not waiting[case]:
            on_case(case, {target: trace_folder(folder, target, case) for target in targets})

    def receive(reply: Reply) -> None:
        if not (Path(reply.request.body["trace"]) / trace.INDEX).exists():
            write_failure(reply)
        finish(reply.request)

    def is_wanted(request: Request) -> bool:
        """A further run of one that failed has nothing to say."""
        place = trace_folder(folder, request.target, request.body["case"]["id"])
        if request.body["trace"] == str(place) or not _has_failed(place):
            return True
        finish(request)
        return False

    def start(request: Request) -> None:
        listener.started(request.body["case"]["id"], str(request.target), request.body["precision"])

    pool.run(requests, receive, on_start=start, is_wanted=is_wanted)


@dataclass(frozen=True)
class Variant:
    """One of the runs of a case on a target.

    Attributes:
        twin: whether it is that in the other precision.
        place: the folder of its trace, in that of the case on the target.
        more: what else the worker is told, see `harness.worker.child`.
    """

    twin: bool = False
    place: str = "."
    more: Mapping[str, Any] = field(default_factory=dict)


FIRST = Variant()
TWIN = Variant(twin=True, place=trace.TWIN)


def _variants(options: Options, seed: int) -> list[Variant]:
    """Every run of a case on a target, the first one first."""
    if options.native:
        others = [
            Variant(place=f"{trace.REPEATS}/{repeat:02}", more={"generator_seed": seed + repeat})
            for repeat in range(1, REPEATS)
        ]
        return [FIRST, *others]
    noise = [
        Variant(place=f"{trace.NOISE}/{number:02}", more={"noise": number})
        for number in range(1, options.noise_runs + 1)
    ]
    unobserved = [Variant(place=trace.UNOBSERVED, more={"unobserved": True})] if options.observer_check else []
    return [FIRST, *([TWIN] if options.twins else []), *noise, *unobserved]


def request(
    case: CaseRef,
    target: Target,
    variant: Variant,
    place: Path,
    root: Path,
    options: Options,
    *,
    timeout: float | None = None,
    **more: Any,
) -> Request:
    """Ask for a case to be run on a target.

    Args:
        place: the folder of the case on the target.
        timeout: seconds it may take, if not those of the options.
        **more: what else the worker is told, see `harness.worker.child`.
    """
    place = place / variant.place
    place.mkdir(parents=True, exist_ok=True)
    seed = seed_of(case.id, options.seed)
    body = {
        "kind": "run",
        "case": case.to_json(),
        "root": str(root),
        "target": str(target),
        "twin": variant.twin,
        "precision": target.precision_of(twin=variant.twin),
        "native": options.native,
        "seed": seed,
        "generator_seed": seed,
        "threads": max(1, cores() // options.jobs),
        "trace": str(place),
        **variant.more,
        **more,
    }
    return Request(target, body, timeout or options.timeout, place / "output.txt")


def write_failure(reply: Reply) -> None:
    """Write the trace of a case that could not write one itself."""
    body = reply.request.body
    statuses: dict[str, trace.Status] = {"timeout": "timeout", "worker": "unavailable"}
    header = trace.Header(
        case=body["case"]["id"],
        target=body["target"],
        precision=body["precision"],
        status=statuses.get(reply.ended, "crashed"),
        error=reply.describe(),
        seconds=reply.seconds,
        seed=body["seed"],
        tags=body["case"]["tags"],
    )
    trace.write(Path(body["trace"]), header, [])


def _has_failed(place: Path) -> bool:
    return (place / trace.INDEX).exists() and trace.Trace(place).header.has_failed


def judge(
    case: str,
    places: Mapping[Target, Path],
    reference: Target,
    fail_on: Verdict,
    root: Path,
    known: Sequence[Known] = (),
    *,
    shared_only: bool = False,
) -> CaseResult:
    """Compare the traces of one case."""
    traces = {str(target): trace.Trace(place) for target, place in places.items()}
    return judge_case(case, traces, str(reference), fail_on, root, known, shared_only=shared_only)


def trace_folder(folder: Path, target: Target, case: str) -> Path:
    """Where a case's trace goes."""
    return folder / TRACES / target.slug / slug_of(case)


def slug_of(case: str) -> str:
    """A case's id as the name of a file: readable, safe anywhere, and never that of another case."""
    readable = re.sub(r"[^\w.-]+", "-", case).strip("-.")[-80:]
    return f"{readable}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"


def seed_of(case: str, seed: int = 0) -> int:
    """The seed of a case, from its id and the run's seed: the same on every target and machine. 31 bits."""
    text = case if seed == 0 else f"{case} {seed}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def empty_result(reference: Target, targets: Sequence[Target], options: Options, fail_on: Verdict) -> Result:
    """A result that has no case yet."""
    precision = "both" if options.twins and not options.native else "float32"
    randomness = "native" if options.native else "shared"
    return Result(str(reference), [str(target) for target in targets], precision, fail_on, randomness)
