"""Compiled and eager: whether a target does the same both ways, and whether that explains a difference of two targets.

Where a step or a call is compiled, Python runs once, while it is traced: what it decides, holds or counts stays as it
was then. A target that is not compiled does what the code says, so the culprit is the one that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.case import Known
from harness.judge.compare import INHERITED, compare
from harness.judge.doubt import OF_STEPS
from harness.result import words
from harness.result.culprits import Culprits
from harness.result.judgement import Lost
from harness.result.model import Blame, Comparison, Finding
from harness.trace import COMPILED, Trace
from harness.trace.key import CALLBACK, UNOWNED, below
from harness.verdict import Verdict


def calls_compared(trace: Trace) -> Comparison | None:
    """The compiled calls of a `Forward`, held against the eager ones of the same target; None where there are none."""
    compiled, eager = trace.compiled, trace.eager
    if compiled is None or eager is None:
        return None
    # A part inside that computes in float32 in the float64 run, too, is not seen here.
    comparison = compare(compiled, eager, None, leaked=INHERITED)
    first = comparison.first
    if first is None or first.judgement.verdict < Verdict.DIVERGENT:
        return comparison
    target = trace.header.target
    why = _why(compiled, eager, first)
    return replace(comparison, blame=_blame(target, first, words.compiled([target], why.text), why.culprit))


def explained(
    comparisons: Sequence[Comparison], traces: Mapping[str, Trace | None], known: Sequence[Known]
) -> list[Comparison]:
    """Comparisons with a blame for each difference that is there because something is compiled, or owned by nothing.

    Args:
        traces: by target.
        known: differences that are declared.
    """
    if not any(item.first is not None and item.first.judgement.verdict >= Verdict.DIVERGENT for item in comparisons):
        return list(comparisons)
    present = {target: trace for target, trace in traces.items() if trace is not None}
    parted = {target: why for target, trace in present.items() if (why := _parts_from_eager(trace)) is not None}
    return [replace(item, blame=_explanation(item, present, parted, known)) for item in comparisons]


def _explanation(
    comparison: Comparison, traces: Mapping[str, Trace], parted: Mapping[str, _Why], known: Sequence[Known]
) -> Blame | None:
    first = comparison.first
    if first is None or first.judgement.verdict < Verdict.DIVERGENT:
        return None
    sides = [comparison.target, comparison.reference]
    lost = _not_kept(first, [traces[side] for side in sides])
    if lost is not None:
        return lost
    guilty = [side for side in sides if side in parted]
    if not guilty:
        return None
    text, culprit = parted[guilty[0]].text, parted[guilty[0]].culprit
    if first.phase == "gradient":  # which is traced on some backends
        return _blame(guilty[0], first, words.compiled(guilty[:1], text), culprit)
    if first.phase not in OF_STEPS:
        return None
    target, reference = (traces[side].eager or traces[side] for side in sides)
    eagerly = compare(target, reference, known)
    still_apart = eagerly.unexpected is not None and eagerly.unexpected >= Verdict.DIVERGENT
    agree = eagerly.unexpected is not None and not still_apart
    if still_apart and text == words.OTHERWISE_WHERE_TRACED:
        return None  # nothing says that it is not the same difference as with compiled steps
    alike = [target for target, other in parted.items() if other.text == text]
    eagerly_told = words.APART_EAGERLY if still_apart else words.AGREE_EAGERLY if agree else ""
    told = words.compiled(alike, text) + eagerly_told
    return _blame(alike[0] if len(alike) == 1 else None, first, told, culprit)


@dataclass(frozen=True)
class _Why:
    """Why compiled steps or calls part from eager ones, in words, and what to open; None where nothing can be named."""

    text: str
    culprit: str | None


def _parts_from_eager(trace: Trace) -> _Why | None:
    """Why a target's compiled steps or calls part from its own eager ones; None where they do not."""
    eager, compiled = trace.eager, trace.compiled or trace
    if eager is None:
        return None
    first = compare(compiled, eager, None, leaked=INHERITED).first
    if first is None or first.judgement.verdict < Verdict.DIVERGENT:
        return None
    return _why(compiled, eager, first)


def _why(compiled: Trace, eager: Trace, first: Finding) -> _Why:
    culprits = Culprits(compiled.header.places)
    seen_in = None if first.layer is None else culprits.layer(first.layer)
    if isinstance(first.judgement.cause, Lost):
        return _Why(words.RAISES_WHERE_TRACED, seen_in)
    for name, line in compiled.header.unowned.items():
        if _is_still(compiled, name) and not _is_same(compiled, eager, name):
            shown = _shown(name)
            return _Why(words.does_not_move(shown, line), words.located(f"`{shown}`", line))
    changed = _changed_by_callbacks(compiled, first.step)
    if changed:
        name, (callback, hook) = next(iter(changed.items()))
        told = {name: callback for name, (callback, _) in changed.items()}
        keeper = culprits.layer_of_class(name.partition(".")[0])
        return _Why(words.keeps_what_changed(told), keeper or culprits.hook(callback, hook))
    ours, theirs = compiled.header.python_state, eager.header.python_state
    apart = [name for name in theirs if name in ours and ours[name] != theirs[name]]
    if apart:
        text = words.counted_once(apart[0], ours[apart[0]], theirs[apart[0]])
        return _Why(text, culprits.layer_of_class(apart[0].partition(".")[0]) or seen_in)
    return _Why(words.OTHERWISE_WHERE_TRACED, seen_in)


def _not_kept(first: Finding, sides: Sequence[Trace]) -> Blame | None:
    """The blame for a variable that nothing owns, where it stays the same on one side alone; None for anything else."""
    if first.phase != "update" or below(first.name, UNOWNED) is None:
        return None
    still = [side for side in sides if _is_still(side, first.name)]
    if len(still) != 1:
        return None
    (side,) = still
    line = side.header.unowned.get(first.name)
    text = words.does_not_move(_shown(first.name), line)
    also = side.eager is not None and _is_still(side.eager, first.name)
    text = words.compiled([side.header.target], text + (words.NOR_EAGERLY if also else ""))
    return _blame(side.header.target, first, text, words.located(f"`{_shown(first.name)}`", line))


def _is_still(trace: Trace, name: str) -> bool:
    """Whether a variable that nothing owns is the same before and after each step, as far as it was recorded."""
    values = [trace[entry.key].value for entry in trace.select(name=name)]
    return all(_equal(value, values[0]) for value in values[1:])


def _is_same(trace: Trace, other: Trace, name: str) -> bool:
    keys = [entry.key for entry in trace.select("update", name=name)]
    return all(key in other and _equal(trace[key].value, other[key].value) for key in keys)


def _equal(value: object, other: object) -> bool:
    return bool(np.array_equal(np.asarray(value), np.asarray(other)))


def _shown(name: str) -> str:
    return below(name, UNOWNED) or name


def _changed_by_callbacks(trace: Trace, step: int) -> dict[str, tuple[str, str | None]]:
    """What callbacks changed up to a step that only Python holds: callback and hook, by the name of what it changed."""
    found: dict[str, tuple[str, str | None]] = {}
    for entry in trace.select("event"):
        rest = below(entry.name, CALLBACK)
        value = trace[entry.key].value
        if rest is None or entry.step > step or not isinstance(value, str):
            continue
        names = [name for name in trace.header.python_state if f"`{name}`" in value]
        change = trace.header.changes.get(entry.key)
        by = rest.partition("/")[0].partition("#")[0], None if change is None else change.hook
        found |= dict.fromkeys(names, by)
    return found


def _blame(target: str | None, first: Finding, text: str, culprit: str | None) -> Blame:
    about = (target, first.layer, COMPILED, None, first.phase, first.step)
    return Blame(*about, confirmed=False, text=text, culprit=culprit)
