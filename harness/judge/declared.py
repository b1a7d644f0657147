"""Declared differences: which apply to a comparison, which of them covers a difference, and which are gone."""

from __future__ import annotations

from collections.abc import Container, Sequence

from harness.case import Expected, Known
from harness.result.environment import versions_of
from harness.result.judgement import Judgement
from harness.target import backend_of
from harness.trace import Trace
from harness.verdict import Verdict

#: What is declared of the target, and what is declared of the reference.
BySide = tuple[Sequence[Expected], Sequence[Expected]]


def applying(target: Trace, reference: Trace, known: Sequence[Known]) -> BySide:
    """What is declared of either side, by its case and by entries of the project, for the Keras that made it.

    Of two targets on one backend, what is declared of both does not apply: it sets the backend apart from others.
    """
    of_target, of_reference = _of_trace(target, known), _of_trace(reference, known)
    if backend_of(target.header.target) != backend_of(reference.header.target):
        return of_target, of_reference
    return (
        [expected for expected in of_target if expected not in of_reference],
        [expected for expected in of_reference if expected not in of_target],
    )


def _of_trace(trace: Trace, known: Sequence[Known]) -> list[Expected]:
    header = trace.header
    declared = [] if header.expected is None else [header.expected]
    declared += [entry.expected for entry in known if entry.covers(header.case, header.target)]
    keras = versions_of(header.environment).get("keras", "")
    return [expected for expected in declared if expected.holds_with(keras)]


def covering(judgement: Judgement, key: str, declared: Sequence[Expected]) -> Expected | None:
    """The first declaration that covers the difference of an observation."""
    return next((expected for expected in declared if expected.covers(judgement.verdict, key)), None)


def gone(target: Trace, reference: Trace, declared: BySide, found: Container[Expected]) -> list[Expected]:
    """The declarations whose difference should have been found, and was not.

    None if both sides declare something: two that differ from the others may well agree with one another.
    """
    if all(declared):
        return []
    return [
        expected
        for side, other, of_side in ((target, reference, declared[0]), (reference, target, declared[1]))
        for expected in of_side
        if expected not in found and _would_be_found(expected, side, other)
    ]


def _would_be_found(expected: Expected, side: Trace, other: Trace) -> bool:
    """Whether a comparison with `other` would have found the difference that `side` declares, if it were there.

    Only whole runs show all differences, and only twins show a leak. An observation that `other` does not have may be
    the one that differs.
    """
    are_whole = not side.header.has_failed and other.header.status == "ok" and not other.header.lacks
    have_twins = all(trace.twin is not None and len(trace.twin) for trace in (side, other))
    return are_whole and (have_twins or Verdict.parse(expected.verdict) >= Verdict.DIVERGENT)


def unmatched(entries: Sequence[Known], cases: Sequence[str], targets: Sequence[str]) -> list[Known]:
    """The entries that are about none of the cases on any of the targets."""
    return [entry for entry in entries if not any(entry.covers(case, target) for case in cases for target in targets)]
