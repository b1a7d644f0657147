"""Comparing traces by the folders they lie in, wherever they were recorded."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.case import Known
from harness.errors import TraceError
from harness.judge.case import judge_case
from harness.judge.declared import unmatched
from harness.judge.golden import Recording, compare_golden, recorded_with
from harness.result.model import Result
from harness.target import backend_of
from harness.trace import Trace, compact, find_traces
from harness.verdict import Verdict

#: If no reference is named, it is the first target on this backend or, failing that, the first target.
DEFAULT_REFERENCE = "torch"


def compare_folders(
    folders: Sequence[Path],
    reference: str | None,
    fail_on: Verdict,
    known: Sequence[Known],
    root: Path,
    *,
    strict_names: bool = False,
) -> Result:
    """Compare every case in the folders, each target's trace with the reference's.

    A case of which a target has no trace is reported as failed on that target. Two folders that hold the same cases of
    the same targets are taken for an old and a new recording: see `harness.judge.golden`.

    Args:
        root: the folder that trace paths are written relative to.
        strict_names: see `harness.judge.compare.compare`.

    Raises:
        TraceError: a folder holds no trace, all traces are of one target, two traces are of one case and target, the
            reference has none, or traces of one case were made with other seeds, another randomness, another version
            of the harness, or from another case file.
    """
    found = [_traces_of(folder) for folder in folders]
    is_compact = any(folder.is_file() for folder in folders)
    if is_compact:
        found = [[compact.compacted(trace) for trace in traces] for traces in found]
        _let_forms_be_compared(itertools.chain(*found))
    recordings = [_recording(traces) for traces in found]
    if _are_old_and_new(folders, recordings):
        old, new = recordings
        if reference is not None:
            raise TraceError(
                f"{str(folders[0])!r} and {str(folders[1])!r} hold the same targets, so each of them is compared with "
                f"its own trace in the first folder, and --reference {reference} says nothing. Leave it out."
            )
        for case in old.keys() & new.keys():
            _check_same_data(case, [*old[case].values(), *new[case].values()])
        names = (str(folders[0]), str(folders[1]))
        return compare_golden(old, new, names, _targets(new), fail_on, root, strict_names=strict_names)
    traces = list(itertools.chain(*found))
    cases, targets = _recording(traces), _targets(*recordings)
    if len(targets) == 1:
        raise TraceError(
            f"All traces here are of {targets[0]}, so there is nothing to compare. Name the folders of other targets "
            "too or, to compare an old recording with a new one, the folder of each."
        )
    if reference is None:
        reference = next((target for target in targets if backend_of(target) == DEFAULT_REFERENCE), targets[0])
    elif reference not in targets:
        raise TraceError(f"The reference {reference!r} has no trace here. There are traces of {', '.join(targets)}.")
    for case, by_target in cases.items():
        _check_comparable(case, list(by_target.values()), is_compact=is_compact)
    precision, randomness = recorded_with(traces)
    return Result(
        reference=reference,
        targets=targets,
        precision=precision,
        fail_on=fail_on,
        randomness=randomness,
        cases=[
            judge_case(
                case,
                {target: by_target.get(target) for target in targets},
                reference,
                fail_on,
                root,
                known,
                strict_names=strict_names,
            )
            for case, by_target in cases.items()
        ],
        unmatched=unmatched(known, list(cases), targets),
    )


def common_folder(folders: Sequence[Path]) -> Path:
    """The folder that paths of traces are relative to if the comparison is not given a folder of its own."""
    return Path(os.path.commonpath(list(map(os.path.realpath, folders))))


def _recording(traces: Sequence[Trace]) -> Recording:
    """Traces by case and target."""
    found: dict[str, dict[str, Trace]] = {}
    for trace in traces:
        of_case = found.setdefault(trace.header.case, {})
        other = of_case.setdefault(trace.header.target, trace)
        if other is not trace:
            raise TraceError(
                f"There are two traces of {trace.header.case} on {trace.header.target}: in {str(other.folder)!r} and "
                f"in {str(trace.folder)!r}. Name folders with one each or, to compare an old recording with a new one, "
                "two folders that hold the same targets, and no more than these."
            )
    return found


def _targets(*recordings: Recording) -> list[str]:
    by_case = [by_target for recording in recordings for by_target in recording.values()]
    return list(dict.fromkeys(itertools.chain(*by_case)))


def _are_old_and_new(folders: Sequence[Path], recordings: Sequence[Recording]) -> bool:
    """Whether two folders hold the same targets, and both hold a trace of some case on one of them."""
    if len(folders) != 2 or os.path.realpath(folders[0]) == os.path.realpath(folders[1]):
        return False
    old, new = recordings
    shared = any(old[case].keys() & new[case].keys() for case in old.keys() & new.keys())
    return shared and set(_targets(old)) == set(_targets(new))


def _traces_of(place: Path) -> Sequence[Trace]:
    """The traces in a folder, or of a compact recording."""
    return compact.read(place) if place.is_file() else [Trace(folder) for folder in find_traces(place)]


def _let_forms_be_compared(traces: Iterable[Trace]) -> None:
    by_case: dict[str, list[compact.Compact]] = {}
    for trace in traces:
        assert isinstance(trace, compact.Compact)
        by_case.setdefault(trace.header.case, []).append(trace)
    for of_case in by_case.values():
        compact.let_forms_differ(of_case)


def _check_comparable(case: str, traces: Sequence[Trace], *, is_compact: bool) -> None:
    _check_same_data(case, traces)
    if is_compact:
        return  # it is kept while the code goes on
    _check_same(case, "versions of the harness", {trace.harness for trace in traces})
    sources = {trace.header.source[:12] for trace in traces if trace.header.source is not None}
    _check_same(case, "versions of its case file, by sha256", sources)


def _check_same_data(case: str, traces: Sequence[Trace]) -> None:
    ran = [trace.header for trace in traces if trace.header.status == "ok"]
    _check_same(case, "seeds", {str(header.seed) for header in ran})
    _check_same(case, "randomness", {str(header.environment.get("randomness", "shared")) for header in ran})


def _check_same(case: str, what: str, found: set[str]) -> None:
    if len(found) > 1:
        raise TraceError(
            f"The traces of {case} were made with different {what}: {', '.join(sorted(found))}. "
            "Record them again in the same way, from one commit."
        )
