"""What an earlier run into a folder has finished, so that it need not be run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.case import fingerprint
from harness.errors import HarnessError, TraceError
from harness.result.run_folder import RunFolder
from harness.result.schema import CaseJson, ResultJson
from harness.session.layout import seed_of
from harness.session.plan import Planned
from harness.session.session import Session
from harness.trace import Trace
from harness.verdict import Verdict

#: What a run that is resumed has in common with the earlier one, by the keys of `result.json`.
_OPTIONS = ("reference", "targets", "precision", "randomness", "fail_on")


def finished(
    session: Session, earlier: ResultJson, planned: Sequence[Planned], blame_from: Verdict | None
) -> list[CaseJson]:
    """The results of the planned cases that stand: whose files and seeds are as they were, and which were examined.

    Args:
        earlier: what `result.json` of the session's folder holds.
        blame_from: the mildest verdict whose origin is searched for; None if none is.

    Raises:
        HarnessError: the earlier run had other targets or options.
    """
    now = session.result().to_json()
    asked: dict[str, Any] = {**now}
    for name, before in earlier.items():
        if name in _OPTIONS and before != asked[name]:
            raise HarnessError(
                f"The run in {str(session.setup.folder)!r} has {name} {before!r}, and this call {asked[name]!r}. "
                "Resume it with the same options, or begin a new run."
            )
    run = RunFolder(session.setup.folder, str(session.setup.folder), earlier)
    by_id = {case["id"]: case for case in earlier["cases"]}
    there = [(item, by_id[item.case.id]) for item in planned if item.case.id in by_id]
    return [case for item, case in there if _is_examined(case, blame_from) and _is_the_same(session, run, item, case)]


def _is_examined(case: CaseJson, blame_from: Verdict | None) -> bool:
    """Whether the origin of each difference was searched for that it is to be searched for."""
    return all(
        comparison["blame"] is not None
        for comparison in case["comparisons"]
        if blame_from is not None
        and comparison["first"] is not None
        and comparison["unexpected"] is not None
        and Verdict.parse(comparison["unexpected"]) >= blame_from
    )


def _is_the_same(session: Session, run: RunFolder, item: Planned, case: CaseJson) -> bool:
    """Whether the traces of a case are there, of its file and with its seed as they are now."""
    source = fingerprint(Path(item.case.file))
    seed = seed_of(item.case.id, session.setup.options.seed)
    try:
        headers = [Trace(run.path / side["trace"]).header for side in case["runs"] if side["trace"] is not None]
    except (TraceError, ValueError):
        return False
    return bool(headers) and all((header.source, header.seed) == (source, seed) for header in headers)
