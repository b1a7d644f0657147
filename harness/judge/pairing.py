"""Variables that are called otherwise on one side, and are the same by everything but their name.

Keras names some variables otherwise on one backend, or in another version: `SGD/momentum` became `sgd/momentum`, and
what is `nadam/variable` on tensorflow is `variable` elsewhere. What two sides have alone is paired by owner, or else by
its own name, and by shape and dtype: by value where the values agree, and else in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.judge.pair import judge_key
from harness.trace import ArrayEntry, Entry, Phase, Trace
from harness.trace.key import DATA, below
from harness.verdict import Verdict

#: Phases whose observations are variables, by their paths.
_OF_VARIABLES: tuple[Phase, ...] = ("initial", "gradient", "update", "optimizer")
#: The number that Keras puts behind a name which is taken.
_NUMBER = re.compile(r"_\d+(?=/|$)")

#: What a variable must have in common with another one to be the same: its owner or own name, its dtype and its shape.
_Likeness = tuple[str, str, tuple[int, ...] | None]


def paired(target: Trace, reference: Trace) -> tuple[Trace, dict[str, str]]:
    """The target's trace with its variables called as on the reference, and the names that were changed."""
    changed: dict[tuple[Phase, str], str] = {}
    for phase in _OF_VARIABLES:
        ours, theirs = _alone(target, reference, phase), _alone(reference, target, phase)
        for part in (_owner, _own_name) if ours and theirs else ():
            for mine, its in _pairs(target, reference, _alike(ours, part), _alike(theirs, part)):
                changed[phase, mine.name] = its.name
                ours.remove(mine)
                theirs.remove(its)
    names = {ours: theirs for (_, ours), theirs in changed.items()}
    changed |= _named_after(target, reference, names)
    return (target.renamed(changed) if changed else target), names


def _named_after(target: Trace, reference: Trace, names: Mapping[str, str]) -> dict[tuple[Phase, str], str]:
    """New names for what is called after a renamed variable, such as whether it survived being saved."""
    theirs = {(entry.phase, entry.name) for entry in reference.select()}
    found = {}
    for entry in target.select() if names else ():
        if entry.phase not in _OF_VARIABLES:
            for old, new in names.items():
                name = entry.name.replace(old, new)
                if name != entry.name and (entry.phase, name) in theirs:
                    found[entry.phase, entry.name] = name
    return found


def _alone(trace: Trace, other: Trace, phase: Phase) -> list[Entry]:
    """The variables of a phase that the other trace has not, each by its first observation."""
    names = {entry.name for entry in other.select(phase)}
    found: dict[str, Entry] = {}
    for entry in trace.select(phase):
        if entry.name not in names and below(entry.name, DATA) is None:
            found.setdefault(entry.name, entry)
    return list(found.values())


def _owner(name: str) -> str:
    return _NUMBER.sub("", name.rpartition("/")[0]).casefold()


def _own_name(name: str) -> str:
    """The last part of a path, for a variable that has no owner on one side."""
    return name.rpartition("/")[2]


def _alike(entries: Sequence[Entry], part: Callable[[str], str]) -> dict[_Likeness, list[Entry]]:
    alike: dict[_Likeness, list[Entry]] = {}
    for entry in entries:
        kind = (entry.dtype, entry.shape) if isinstance(entry, ArrayEntry) else (type(entry.value).__name__, None)
        alike.setdefault((part(entry.name), *kind), []).append(entry)
    return alike


def _pairs(
    target: Trace,
    reference: Trace,
    alone: dict[_Likeness, list[Entry]],
    others: dict[_Likeness, list[Entry]],
) -> Iterator[tuple[Entry, Entry]]:
    for likeness, ours in alone.items():
        theirs = list(others.get(likeness, []))
        if len(theirs) != len(ours):
            continue  # one side has more of them: which ones are the same cannot be told
        left = []
        for mine in ours:
            equal = next((other for other in theirs if _agree(target, reference, mine, other)), None)
            if equal is None:
                left.append(mine)
            else:
                theirs.remove(equal)
                yield mine, equal
        yield from zip(left, theirs, strict=True)


def _agree(target: Trace, reference: Trace, ours: Entry, theirs: Entry) -> bool:
    renamed = target.renamed({(ours.phase, ours.name): theirs.name})
    return theirs.key in renamed and judge_key(renamed, reference, theirs.key).verdict < Verdict.IMPRECISE
