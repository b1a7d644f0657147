"""The cases of a session: those that the targets' workers find in the files that were named."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.case import CaseRef
from harness.errors import CaseError, HarnessError
from harness.plain import from_plain
from harness.session.pool import Job, Pool, Reply
from harness.session.selection import Selection, case_files
from harness.target import Target
from harness.wire import Collect, Collected


@dataclass(frozen=True)
class Planned:
    """A case, and by target the reason why it is missing there. Targets whose worker has failed are not listed."""

    case: CaseRef
    missing: Mapping[Target, str]


def plan(
    pool: Pool,
    selections: Sequence[Selection],
    targets: Sequence[Target],
    root: Path,
    folder: Path,
    timeout: float,
    is_wanted: Callable[[CaseRef], bool],
) -> tuple[list[Planned], set[str]]:
    """Ask every target's worker which cases the selected files declare.

    Args:
        folder: where collecting writes its results and output.
        timeout: seconds for one file on one target.
        is_wanted: True for a case that is to run; asked for every case that the selections name.

    Returns:
        The wanted cases, and the ids of all cases that the files declare.

    Raises:
        CaseError: no case is wanted, a selection names no case, or a file cannot be collected on any target.
        HarnessError: no target's worker started.
    """
    files = case_files(selections)
    found: dict[Path, dict[Target, tuple[CaseRef, ...]]] = {file: {} for file in files}
    errors: dict[Path, dict[Target, str]] = {file: {} for file in files}
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for number, file in enumerate(files):
        for target in targets:
            stem = folder / f"{number}-{target.slug}"
            # A name of its own: what another process, or an earlier run, wrote is no answer.
            work = Collect(file, root, Path(f"{stem}-{uuid.uuid4().hex}.json"))
            jobs.append(Job(target, work, timeout, Path(f"{stem}.txt")))

    def receive(reply: Reply) -> None:
        work, target = reply.job.work, reply.job.target
        assert isinstance(work, Collect)
        if reply.ended != "exit" or reply.code != 0:
            errors[work.file][target] = f"collecting {work.file.name} {reply.describe()}"
            return
        try:
            collected = from_plain(json.loads(work.result.read_text(encoding="utf-8")), Collected)
        except (OSError, ValueError):
            errors[work.file][target] = (
                f"collecting {work.file.name} ended with status 0 before it had told its cases: something in the file, "
                "or in what it imports, ended the process."
            )
            return
        if collected.error is not None:
            errors[work.file][target] = collected.error
        else:
            found[work.file][target] = collected.cases

    pool.run(jobs, receive)
    alive = [target for target in targets if pool.why_not(target) is None]
    if not alive:
        reasons = " ".join(f"{target}: {pool.why_not(target)}." for target in targets)
        raise HarnessError(f"No target could be started. {reasons}")
    declared = {case.id for by_target in found.values() for cases in by_target.values() for case in cases}
    return _merge(selections, alive, found, errors, is_wanted), declared


def _merge(
    selections: Sequence[Selection],
    targets: Sequence[Target],
    found: Mapping[Path, Mapping[Target, Sequence[CaseRef]]],
    errors: Mapping[Path, Mapping[Target, str]],
    is_wanted: Callable[[CaseRef], bool],
) -> list[Planned]:
    """The wanted cases of all targets, in the order of the selections and then of the files."""
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
        raise CaseError("No case matches -k, --tag and --last-failed. Run without them to see what there is.")
    return list(planned.values())
