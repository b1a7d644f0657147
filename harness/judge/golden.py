"""Golden traces: what was recorded before, against the same recorded again, by a newer Keras, backend or code.

Each target's new trace is compared with its own old one. Nothing is replayed: who moved is told from the traces alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.judge.compare import Blame, Comparison, agree, compare
from harness.judge.verdict import Verdict
from harness.result.model import OLD, CaseResult, Change, Golden, Result, former, outcome_of, target_run
from harness.trace import Trace

#: Traces by case and target.
Recording = Mapping[str, Mapping[str, Trace]]

#: What the environment of a trace holds that is the case's own, or a place, and says nothing of an upgrade.
_NOT_TOLD = ("backend", "generator_seed", "interpreter")


def compare_golden(
    old: Recording, new: Recording, folders: tuple[str, str], targets: Sequence[str], fail_on: Verdict, root: Path
) -> Result:
    """Compare each target's new trace of a case with its old one.

    A case that only one side has on a target is reported as failed on that target. Declared differences do not count:
    they are differences between targets.

    Args:
        folders: where the two are, for the reader.
        root: the folder that trace paths are written relative to.
    """
    pairs = {
        case: {target: (old.get(case, {}).get(target), new.get(case, {}).get(target)) for target in targets}
        for case in dict.fromkeys([*old, *new])
    }
    traces = [trace for by_target in (*old.values(), *new.values()) for trace in by_target.values()]
    twins, native = any(trace.twin is not None for trace in traces), any(trace.repeats for trace in traces)
    changed = _changes(pairs)
    edited = tuple(case for case, by_target in pairs.items() if any(_is_edited(*pair) for pair in by_target.values()))
    result = Result(OLD, list(targets), "both" if twins else "float32", fail_on, "native" if native else "shared")
    result.golden = Golden(*folders, changed, edited)
    result.cases = [_judge(case, by_target, changed, fail_on, root) for case, by_target in pairs.items()]
    return result


def _judge(
    case: str,
    pairs: Mapping[str, tuple[Trace | None, Trace | None]],
    changed: Sequence[Change],
    fail_on: Verdict,
    root: Path,
) -> CaseResult:
    runs, comparisons = [], []
    for target, (old, new) in pairs.items():
        runs += [target_run(target, new, root), target_run(former(target), old, root)]
        if old is not None and new is not None:
            comparison = compare(new, old, known=None)
            comparison.target, comparison.reference = target, former(target)
            comparisons.append(comparison)
    for comparison in comparisons:
        comparison.blame = _blame(comparison, comparisons, {target: new for target, (_, new) in pairs.items()}, changed)
    return CaseResult(case, outcome_of(runs, comparisons, fail_on), runs, comparisons)


def _blame(
    comparison: Comparison,
    comparisons: Sequence[Comparison],
    traces: Mapping[str, Trace | None],
    changed: Sequence[Change],
) -> Blame | None:
    """Who moved, beside the target of a comparison, and what changed there."""
    first = comparison.first
    if first is None:
        return None
    level = min(first.judgement.verdict, Verdict.DIVERGENT)
    moved = [item for item in comparisons if item.verdict is not None and item.verdict >= level]
    names = [item.target for item in moved]
    still = [item.target for item in comparisons if item not in moved]
    alone = len(names) == 1 and bool(still)
    if alone:
        here = [change for change in changed if comparison.target in change.targets]
        own = [change for change in here if len(change.targets) == 1]
        where = f"on {comparison.target} alone" if own else f"on {comparison.target}, and on others too"
        text = f"{_did(still)} not move. {_look(own or here, where if here else f'on {comparison.target}')}"
    elif len(comparisons) == 1:
        text = "No other target was recorded twice, which would tell a backend's upgrade from one of Keras or your code"
    elif not still and _alike(moved, traces):
        shared = [change for change in changed if set(names) <= set(change.targets)]
        text = f"{_and(names)} moved, and agree with one another now. {_look(shared, 'on all of them')}"
        text += "; your own code may have changed too"
    else:
        others = f"; {_did(still)} not" if still else ", each in another way"
        text = f"{_and(names)} moved{others}"
    target = comparison.target if alone else None
    return Blame(target, first.layer, None, None, first.phase, first.step, confirmed=False, text=text)


def _alike(moved: Sequence[Comparison], traces: Mapping[str, Trace | None]) -> bool:
    """Whether targets that moved agree with one another in all observations that any of them was found by."""
    theirs = [trace for item in moved if (trace := traces[item.target]) is not None]
    return all(agree(theirs, item.first.key) for item in moved if item.first is not None)


def _look(changes: Sequence[Change], where: str) -> str:
    named = ", ".join(f"{change.what} {change.old} → {change.new}" for change in changes)
    return f"What changed {where}: {named}" if named else f"Nothing that the traces name changed {where}"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _did(names: Sequence[str]) -> str:
    return f"{_and(names)} did"


def _is_edited(old: Trace | None, new: Trace | None) -> bool:
    sources = {trace.header.source for trace in (old, new) if trace is not None} - {None}
    return len(sources) > 1


def _changes(pairs: Mapping[str, Mapping[str, tuple[Trace | None, Trace | None]]]) -> tuple[Change, ...]:
    """What any pair of traces was not made alike with, by what it was and what it is."""
    found: dict[tuple[str, str, str], dict[str, None]] = {}
    for by_target in pairs.values():
        for target, (old, new) in by_target.items():
            if old is None or new is None or not (old.header.environment and new.header.environment):
                continue  # one of the two never began
            before, after = dict(_made_with(old)), dict(_made_with(new))
            for what in dict.fromkeys([*before, *after]):
                change = (what, before.get(what, "not told"), after.get(what, "not told"))
                if change[1] != change[2]:
                    found.setdefault(change, {})[target] = None
    return tuple(Change(*change, tuple(targets)) for change, targets in found.items())


def _made_with(trace: Trace) -> Iterator[tuple[str, str]]:
    """Versions and settings, by name."""
    yield "harness", trace.harness
    for name, value in trace.header.environment.items():
        if name not in _NOT_TOLD:
            yield from _flat(name, value)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _flat(inner if name == "versions" else f"{name}.{inner}", item)
    else:
        yield name, str(value)
