"""Golden traces: an old recording of cases against a new one, made with a newer Keras, backend or code.

Each target's new trace is compared with its own old one. A target *moved* if they differ. Nothing is replayed: which
targets moved is told from the traces alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.judge.case import outcome_of, target_run
from harness.judge.compare import compare
from harness.judge.vote import agree
from harness.result import words
from harness.result.environment import flattened
from harness.result.golden import OLD, Change, Golden, former
from harness.result.model import Blame, CaseResult, Comparison, Result
from harness.trace import Trace
from harness.verdict import Verdict

#: Traces by case and target.
Recording = Mapping[str, Mapping[str, Trace]]

#: What the environment of a trace holds that belongs to the case or names a place, and so tells nothing of an upgrade.
_NOT_TOLD = ("backend", "generator_seed", "interpreter")


def compare_golden(
    old: Recording,
    new: Recording,
    folders: tuple[str, str],
    targets: Sequence[str],
    fail_on: Verdict,
    root: Path,
    *,
    strict_names: bool = False,
) -> Result:
    """Compare each target's new trace of a case with its old one.

    A case that only one recording has on a target is reported as failed on that target. Declared differences do not
    count, because they are differences between targets.

    Args:
        folders: where the recordings are, as the reader of the result knows them.
        root: the folder that trace paths are written relative to.
        strict_names: see `harness.judge.compare.compare`.
    """
    pairs = {
        case: {target: (old.get(case, {}).get(target), new.get(case, {}).get(target)) for target in targets}
        for case in dict.fromkeys([*old, *new])
    }
    traces = [trace for by_target in (*old.values(), *new.values()) for trace in by_target.values()]
    changed = _changes(pairs)
    precision, randomness = recorded_with(traces)
    return Result(
        reference=OLD,
        targets=targets,
        precision=precision,
        fail_on=fail_on,
        randomness=randomness,
        cases=[
            _judge(case, by_target, changed, fail_on, root, strict_names=strict_names)
            for case, by_target in pairs.items()
        ],
        golden=Golden(
            old=folders[0],
            new=folders[1],
            changed=changed,
            edited=tuple(case for case, by_target in pairs.items() if any(map(_is_edited, by_target.values()))),
        ),
    )


def recorded_with(traces: Sequence[Trace]) -> tuple[str, str]:
    """The `precision` and the `randomness` of a result, by what its traces hold."""
    twins, repeats = any(trace.twin is not None for trace in traces), any(trace.repeats for trace in traces)
    return "both" if twins else "float32", "native" if repeats else "shared"


def _judge(
    case: str,
    pairs: Mapping[str, tuple[Trace | None, Trace | None]],
    changed: Sequence[Change],
    fail_on: Verdict,
    root: Path,
    *,
    strict_names: bool,
) -> CaseResult:
    runs, comparisons = [], []
    for target, (old, new) in pairs.items():
        runs += [target_run(target, new, root), target_run(former(target), old, root)]
        if old is not None and new is not None:
            compared = compare(new, old, known=None, strict_names=strict_names)
            comparisons.append(replace(compared, target=target, reference=former(target)))
    now = {target: new for target, (_, new) in pairs.items()}
    blamed = [replace(item, blame=_blame(item, comparisons, now, changed)) for item in comparisons]
    return CaseResult(case, outcome_of(runs, blamed, fail_on), runs, blamed)


def _blame(
    comparison: Comparison,
    comparisons: Sequence[Comparison],
    traces: Mapping[str, Trace | None],
    changed: Sequence[Change],
) -> Blame | None:
    """Which targets moved, beside the target of a comparison, and what changed there."""
    first = comparison.first
    if first is None:
        return None
    level = min(first.judgement.verdict, Verdict.DIVERGENT)
    moved = [item for item in comparisons if item.verdict is not None and item.verdict >= level]
    names = [item.target for item in moved]
    still = [item.target for item in comparisons if item not in moved]
    is_alone = len(names) == 1 and bool(still)
    if is_alone:
        text = words.moved_alone(comparison.target, still, changed)
    elif len(comparisons) == 1:
        text = words.NOBODY_ELSE
    elif not still and _alike(moved, traces):
        text = words.moved_alike(names, changed)
    else:
        text = words.moved_apart(names, still)
    target = comparison.target if is_alone else None
    return Blame(target, first.layer, None, None, first.phase, first.step, confirmed=False, text=text)


def _alike(moved: Sequence[Comparison], traces: Mapping[str, Trace | None]) -> bool:
    """Whether the targets that moved agree with one another in every observation in which one of them first differs."""
    theirs = [trace for item in moved if (trace := traces[item.target]) is not None]
    return all(agree(theirs, item.first.key) for item in moved if item.first is not None)


def _is_edited(pair: tuple[Trace | None, Trace | None]) -> bool:
    """Whether old and new traces were made from two versions of a case file."""
    sources = {trace.header.source for trace in pair if trace is not None} - {None}
    return len(sources) > 1


def _changes(pairs: Mapping[str, Mapping[str, tuple[Trace | None, Trace | None]]]) -> tuple[Change, ...]:
    """What the two traces of any pair were not made alike with: versions and settings, before and after."""
    found: dict[tuple[str, str, str], dict[str, None]] = {}
    for by_target in pairs.values():
        for target, (old, new) in by_target.items():
            if old is None or new is None or not (old.header.environment and new.header.environment):
                continue  # one of the two runs never began
            before, after = dict(_made_with(old)), dict(_made_with(new))
            for what in dict.fromkeys([*before, *after]):
                change = (what, before.get(what, "not told"), after.get(what, "not told"))
                if change[1] != change[2]:
                    found.setdefault(change, {})[target] = None
    return tuple(Change(*change, tuple(targets)) for change, targets in found.items())


def _made_with(trace: Trace) -> Iterator[tuple[str, str]]:
    """Versions and settings, by name."""
    yield "harness", trace.harness
    told = {name: value for name, value in trace.header.environment.items() if name not in _NOT_TOLD}
    for name, value in flattened(told):
        yield name.removeprefix("versions."), str(value)
