"""What a result says, in words: every sentence of a report is made here, once, and laid out elsewhere.

The sentences that stand in `result.json` itself come from `harness.result.words`. No text is escaped here: the modules
that lay it out escape it.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness import backends
from harness.errors import printable
from harness.judge.distribution import LEVEL, REPEATS, STATISTICS
from harness.result import outcome
from harness.result.environment import versions_of
from harness.result.file import FILE
from harness.result.golden import former
from harness.result.outcome import Outcome
from harness.result.run_folder import RunFolder
from harness.result.schema import (
    BlameJson,
    CaseJson,
    ComparisonJson,
    EvidenceJson,
    FindingJson,
    ResultJson,
    RunJson,
    UnrepeatedJson,
)
from harness.result.words import listed
from harness.target import backend_of
from harness.trace import COMPILED, EAGER
from harness.trace.model import has_failed
from harness.verdict import Verdict, VerdictName

#: What each verdict means, for somebody who sees it for the first time, from best to worst.
MEANINGS: dict[VerdictName, str] = {
    "identical": "equal bit for bit",
    "rounding": "the same function; the difference is rounding, as measured",
    "leak": "the same function; one side drops to single precision somewhere in its float64 run",
    "imprecise": "the same function, computed far less precisely on one side",
    "divergent": "different functions",
    "mismatch": "another shape, dtype, name, order or plain value",
}
#: How outcomes are told in the sentence about a whole run, worst first.
OUTCOMES: dict[Outcome, str] = {
    "differ": "differ",
    "error": "failed to run",
    "nondeterministic": "do not repeat themselves",
    "known": "differ as declared",
    "agree": "agree",
}
#: The most cases with a common note of which each is named.
MOST_NAMED = 3
#: Columns of the longest label of a fact.
LABEL = len("how big")


@dataclass(frozen=True)
class Block:
    """A message about one case on one target, like a compiler's: a title, and facts that each have a label.

    Attributes:
        kind: a verdict, or how a run ended, or `fixed`, `disturbed`, `nondeterministic` or `parted`.
        title: the message in one line.
        facts: pairs of a label and a text. A text may have several lines.
        commands: what to type next.
    """

    case: str
    target: str
    kind: str
    title: str
    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...] = ()


def blocks(run: RunFolder, case: CaseJson, at_least: Verdict) -> Iterator[Block]:
    """Everything of a case that somebody has to look at: runs that failed, and differences of this verdict or worse."""
    for item in case["runs"]:
        if _has_failed(item):
            yield _failed(run, case, item)
        if item["disturbed"]:
            yield _disturbed(case, item)
        compiled = _compiled(item)
        if compiled is not None and compiled["first"] is not None and _is_bad(compiled["verdict"], at_least):
            block = finding(run, case, compiled, compiled["first"], of=item)
            yield replace(block, target=item["target"])
    for comparison in case["comparisons"]:
        for expected in comparison["fixed"]:
            title = f"{_pair(case, comparison)}: a declared difference is gone"
            facts = (
                ("what", f"It was declared as {expected['verdict']}: {expected['reason']}"),
                ("next", "Remove the declaration from the case."),
            )
            yield Block(case["id"], comparison["target"], "fixed", title, facts)
        unrepeated = comparison.get("unrepeated")
        if unrepeated is not None:
            yield _unrepeated(case, comparison, unrepeated)
        if comparison["continuation"] is not None:
            yield _parted(case, comparison)
        is_known = outcome_on(run.result, case, comparison["target"]) == "known"
        if comparison["first"] is not None and _is_bad(comparison["verdict"], at_least) and not is_known:
            yield finding(run, case, comparison, comparison["first"])


def _is_bad(verdict: VerdictName | None, at_least: Verdict) -> bool:
    return verdict is not None and Verdict.parse(verdict) >= at_least


def _compiled(item: RunJson) -> ComparisonJson | None:
    """A run's compiled calls, held against its eager ones; None where there are none."""
    return item.get("compiled")


def failures(run: RunFolder, case: CaseJson) -> list[Block]:
    """What makes a case fail, on the targets on which it fails."""
    outcomes = {item["target"]: outcome_on(run.result, case, item["target"]) for item in case["runs"]}
    failing = [target for target, found in outcomes.items() if found in outcome.FAILING]
    at_least = Verdict.parse(run.result["fail_on"])
    return [block for block in blocks(run, case, at_least) if block.target in failing]


def plain(block: Block) -> str:
    """A block as lines of text, without colour, and not wrapped."""
    facts = [*block.facts, *(("next", command) for command in block.commands)]
    lines = (f"  {label:<{LABEL}} {fact}".replace("\n", f"\n{'':<{LABEL + 3}}") for label, fact in facts)
    return "\n".join([block.title, *lines])


def finding(
    run: RunFolder, case: CaseJson, comparison: ComparisonJson, first: FindingJson, of: RunJson | None = None
) -> Block:
    """What differs, where, whose it is, how large it is beside rounding, and what to type next.

    Args:
        of: the run whose compiled calls are held against its own eager ones; None where targets are compared.
    """
    facts = [("where", where(first)), ("at", first["key"])]
    raised = first.get("raised")
    if raised is not None:
        facts.insert(0, ("what", first["reason"]))
    elif first["evidence"] is None:
        facts.append(("what", first["reason"]))
    else:
        facts += [("what", _values(first["evidence"])), ("how big", how_big(first))]
    apart = [] if run.result.get("golden") else _apart(case, comparison)  # of old and new, `golden` tells it once
    facts += [("between", ", ".join(apart))] if apart else []
    facts += [("switch", switch) for switch in _switches(case, comparison, first)]
    whose = _whose(case, comparison["blame"])
    facts += [("whose", whose)] if whose else []
    only = _one_sided(comparison)
    facts += [("only", only)] if only else []
    facts.append(("among", counts(comparison)))
    script = run.script(comparison["blame"])
    if script is not None:
        commands = [f"python {_quoted(run.named(str(script.relative_to(os.path.realpath(run.path)))))}"]
    else:
        commands = [f"harness blame {_quoted(case['id'])}"] if comparison["blame"] is None else []
    if of is None:
        sides = [run_on(case, target) for target in (comparison["target"], comparison["reference"])]
        folders = [side["trace"] for side in sides if side is not None and side["trace"] is not None]
    else:
        folders = [f"{of['trace']}/{way}" for way in (COMPILED, EAGER)]
    traces = [_quoted(run.named(folder)) for folder in folders]
    if (run.path / FILE).exists():
        target = comparison["target"] if of is None else of["target"]
        commands.append(f"harness show {_quoted(run.shown)} {_quoted(_short(run, case))} {_quoted(target)}")
    elif len(traces) == 2:
        commands.append(f"harness show {' '.join(traces)} --key {_quoted(first['key'])}")
    title = f"{_pair(case, comparison)}: {first['verdict'] if raised is None else f'{raised} raises'}"
    return Block(case["id"], comparison["target"], first["verdict"], title, tuple(facts), tuple(commands))


def _switches(case: CaseJson, comparison: ComparisonJson, first: FindingJson) -> Iterator[str]:
    """The settings that let a side compute in lower precision, where that may be all there is."""
    for target in (comparison["target"], comparison["reference"]) if first["verdict"] == "imprecise" else ():
        side = run_on(case, target)
        backend = backend_of(target)
        if side is not None and backend in backends.NAMES:
            for call in backends.get(backend).coarser(side["environment"]):
                yield f"{target} may compute float32 in fewer bits; off with {call}"


def _short(run: RunFolder, case: CaseJson) -> str:
    """The name of a case without its file, if no other case of the run has it."""
    names = [other["id"].partition("::")[2] for other in run.result["cases"]]
    name = case["id"].partition("::")[2]
    return name if names.count(name) == 1 else case["id"]


def where(first: FindingJson | UnrepeatedJson) -> str:
    layer = f", layer {first['layer']}" if first["layer"] else ""
    return f"starts in phase {first['phase']}, step {first['step']}{layer}"


def how_big(first: FindingJson) -> str:
    """How large a difference is, what rounding explains of it, and the tolerances that would have passed."""
    evidence = first["evidence"]
    given = [] if evidence is None else [("rtol", evidence["rtol"]), ("atol", evidence["atol"])]
    tolerances = [f"{name}={value:.1e}" for name, value in given if value is not None]
    return first["reason"] + (f"; allclose would want {' or '.join(tolerances)}" if tolerances else "")


def counts(comparison: ComparisonJson) -> str:
    listed = ", ".join(f"{count} {verdict}" for verdict, count in comparison["counts"].items())
    return f"{comparison['observations']} observations: {listed}"


def outcome_on(result: ResultJson, case: CaseJson, target: str) -> Outcome:
    """The outcome of a case on one target, by the rule that gives the `outcome` of the case over all its targets."""
    comparison = comparison_on(case, target)
    sides = [run for run in case["runs"] if run["target"] in sides_of(result, target)]
    own = run_on(case, target)
    return outcome.outcome(
        [
            *([] if comparison is None else _unexpected(comparison)),
            *(_unexpected(calls) if own is not None and (calls := _compiled(own)) is not None else []),
        ],
        Verdict.parse(result["fail_on"]),
        is_fixed=comparison is not None and bool(comparison["fixed"]),
        has_failed=any(_has_failed(run) or run["disturbed"] for run in sides),
        is_unrepeated=comparison is not None and comparison.get("unrepeated") is not None,
        is_known=comparison is not None and bool(comparison["known"]),
    )


def _has_failed(run: RunJson) -> bool:
    return has_failed(run["status"], inference_only=run.get("inference_only", False))


def stopped(result: ResultJson, case: CaseJson, target: str) -> str | None:
    """Why a case was compared only up to where training begins; None if it was compared as a whole."""
    sides = [run_on(case, side) for side in (target, reference_of(result, case, target))]
    reasons = [run["error"] for run in sides if run is not None and run.get("inference_only", False)]
    return next(iter(reasons), None)


def _unexpected(comparison: ComparisonJson) -> list[Verdict | None]:
    """The worst verdicts that no declaration covers, of a comparison and of its continuation.

    Older results do not tell them. There a comparison with any declared difference has none.
    """
    own = comparison.get("unexpected", None if comparison["known"] else comparison["verdict"])
    continuation = comparison["continuation"]
    names = [own, None if continuation is None else continuation.get("unexpected")]
    return [None if name is None else Verdict.parse(name) for name in names]


def reference_of(result: ResultJson, case: CaseJson, target: str) -> str:
    """What a target is compared with in a case.

    That is the reference or, where it has failed, what stands in for it (which is held against the reference itself);
    in a golden comparison it is the target's own old run.
    """
    if result.get("golden"):
        return former(target)
    standing_in = stand_in(result, case)
    return result["reference"] if standing_in in (None, target) else standing_in


def sides_of(result: ResultJson, target: str) -> tuple[str, str]:
    """The target and what it should be compared with, whether that has failed or not: one failure fails both."""
    return target, former(target) if result.get("golden") else result["reference"]


def stand_in(result: ResultJson, case: CaseJson) -> str | None:
    """The target that stands in for a reference that has failed in a case; None where none does."""
    others = {comparison["reference"] for comparison in case["comparisons"]} - {result["reference"]}
    return None if result.get("golden") else next(iter(others), None)


def comparison_on(case: CaseJson, target: str) -> ComparisonJson | None:
    return next((item for item in case["comparisons"] if item["target"] == target), None)


def run_on(case: CaseJson, target: str) -> RunJson | None:
    return next((item for item in case["runs"] if item["target"] == target), None)


def cell(result: ResultJson, case: CaseJson, target: str) -> tuple[str, str]:
    """The cell of a case and a target in a table: its text, and its kind, which is a verdict or how the run ended."""
    run, comparison = run_on(case, target), comparison_on(case, target)
    if run is None:
        return "not run", "unavailable"
    if _has_failed(run):
        return run["status"], run["status"]
    standing_in = stand_in(result, case)
    theirs = run_on(case, result["reference"])
    if theirs is not None and _has_failed(theirs) and standing_in in (None, target):
        instead = "" if standing_in is None else ", reference instead"
        return f"{theirs['status']} on {theirs['target']}{instead}", theirs["status"]
    is_cut = stopped(result, case, target) is not None
    so_far = ", inference only" if is_cut else ""
    if comparison is None:
        return (f"ran{so_far}", "ok") if target == result["reference"] else ("not compared", "unavailable")
    so_far += "" if standing_in is None else f", against {standing_in}"
    calls = _compiled(run)
    if calls is not None and _is_bad(calls["verdict"], Verdict.parse(result["fail_on"])):
        so_far += f", {calls['verdict']} where compiled"
    unrepeated = "" if comparison.get("unrepeated") is None else "nondeterministic"
    verdict = f"{comparison['verdict'] or unrepeated or 'not compared'}{so_far}"
    if comparison["fixed"]:
        return f"{verdict}, fixed", "fixed"
    if outcome_on(result, case, target) == "known":
        return f"{verdict}, known", "known"
    continuation = comparison["continuation"]
    if continuation is not None and (continuation["verdict"] or "identical") not in (verdict, "identical", "rounding"):
        return f"{verdict}, then {continuation['verdict']}", continuation["verdict"] or verdict
    if unrepeated and outcome_on(result, case, target) == "nondeterministic":
        return unrepeated, "nondeterministic"
    return verdict, comparison["verdict"] or ("ok" if is_cut else "unavailable")


def seen(result: ResultJson) -> list[VerdictName]:
    """The verdicts that comparisons came to, from best to worst."""
    found = {item["verdict"] for case in result["cases"] for item in case["comparisons"]}
    return [verdict for verdict in MEANINGS if verdict in found]


def total(result: ResultJson) -> str:
    """The whole run in one sentence."""
    outcomes = [case["outcome"] for case in result["cases"]]
    words: dict[Outcome, str] = dict(OUTCOMES)
    if len(result["targets"]) < 2 and not result.get("golden"):
        words["agree"] = "ran, and nothing was compared: there is one target"
    parts = [f"{outcomes.count(name)} {word}" for name, word in words.items() if name in outcomes]
    cases = f"{len(outcomes)} case{'s' if len(outcomes) != 1 else ''}"
    runs = [run for case in result["cases"] for run in case["runs"] if run.get("inference_only", False)]
    ended = Counter(run["target"] for run in runs)
    limits = [f" On {target} {count} ended where training begins." for target, count in ended.items()]
    limits += [f" {said}" for said in unfinished(result)]
    return f"{cases} on {', '.join(result['targets'])}: {', '.join(parts)}.{''.join(limits)}"


def unfinished(result: ResultJson) -> list[str]:
    """That a run did not come to its end, and why, in a sentence; none where it did."""
    how = result.get("unfinished")
    if how is None:
        return []
    left = f"{how['left']} cases were not judged" if how["left"] else "not all differences were examined"
    return [f"Unfinished, {left}: {how['reason'].rstrip('.')}."]


def worst(result: ResultJson) -> Outcome:
    """The worst outcome of a run. One that did not come to its end is no agreement."""
    found = outcome.worst(case["outcome"] for case in result["cases"])
    return outcome.worst([found, "error"]) if unfinished(result) else found


def caveat(result: ResultJson) -> str | None:
    """What the verdicts of a run rest on, if it is anything but the float64 twins of shared random values."""
    if not seen(result):
        return None
    if result["randomness"] == "native":
        return (
            f"Each backend drew from its own generator. What is random was run {REPEATS} times on every target, and "
            f"compared as a distribution: Kolmogorov-Smirnov on {len(STATISTICS)} summaries of each run, with a level "
            f"of {LEVEL:g} for each comparison. Rounding then means: no difference was found. The states of seeds were "
            "not compared."
        )
    if result["precision"] != "both":
        return (
            "Without float64 twins a value is held against ten times the measured noise, where there were noise "
            "runs, or else against a fixed tolerance of its dtype and step: smaller differences were not seen, and "
            "without noise runs slow drift may be taken for one."
        )
    return None


def known(result: ResultJson) -> list[str]:
    """The declared differences that were found, each reason once with the targets that show it."""
    lines: dict[tuple[str, str], list[str]] = {}
    for case in result["cases"]:
        for comparison in case["comparisons"]:
            for expected in comparison["known"]:
                link = f" {expected['link']}" if expected["link"] else ""
                reason = f"{expected['verdict']}: {expected['reason']}{link}"
                lines.setdefault((case["id"], reason), []).append(comparison["target"])
    return _grouped(lines)


def unmatched(result: ResultJson) -> list[str]:
    """The entries of `[[tool.harness.known]]` that are about no case of this run."""
    return [
        f"The known difference of {entry['case']} on {entry['target']} speaks of no case of this run."
        for entry in result["unmatched"]
    ]


def golden(result: ResultJson) -> list[str]:
    """What changed between old and new traces, each change once with its targets; no line for any other run."""
    compared = result.get("golden")
    if not compared:
        return []
    lines = [f"old is {compared['old']}, new is {compared['new']}"]
    lines += [
        f"{change['what']} on {', '.join(change['targets'])}: {change['old']} → {change['new']}"
        for change in compared["changed"]
    ]
    edited = list(dict.fromkeys(case.partition("::")[0] for case in compared["edited"]))
    lines += [f"case files that are not what they were: {', '.join(edited)}"] if edited else []
    if len(lines) == 1:
        lines.append("nothing that the traces name changed: versions, platform, settings and case files are the same")
    return [*lines, "nothing was replayed: who moved is told from the traces alone"]


def versions(result: ResultJson) -> list[str]:
    """The packages that a target and its reference have in different versions; no line for a golden comparison."""
    if result.get("golden"):
        return []
    lines = [
        f"{comparison['target']} against {comparison['reference']}: {', '.join(apart)}"
        for case in result["cases"]
        for comparison in case["comparisons"]
        if (apart := _apart(case, comparison))
    ]
    return list(dict.fromkeys(lines))


def _apart(case: CaseJson, comparison: ComparisonJson) -> list[str]:
    """The packages that both sides of a comparison have, in different versions."""
    ours, theirs = (_made_of(run_on(case, comparison[side])) for side in ("target", "reference"))
    shared = [name for name in ours if name in theirs]
    return [f"{name} {ours[name]} against {theirs[name]}" for name in shared if ours[name] != theirs[name]]


def _made_of(run: RunJson | None) -> dict[str, str]:
    environment = {} if run is None else run["environment"]
    python = environment.get("python")
    return {**versions_of(environment), **({} if python is None else {"Python": str(python)})}


def notes(result: ResultJson) -> list[str]:
    """Everything that was not recorded or not compared, or not with both twins, each note once with its targets."""
    lines: dict[tuple[str, str], list[str]] = {}
    for case in result["cases"]:
        standing_in = stand_in(result, case)
        if standing_in is not None:
            others = [item["target"] for item in case["comparisons"] if item["target"] != result["reference"]]
            reason = f"compared with {standing_in}, because the reference {result['reference']} has failed"
            lines.setdefault((case["id"], reason), []).extend(others)
        for run in case["runs"]:
            if run.get("inference_only", False):
                lines.setdefault((case["id"], _first_line(run["error"] or "")), []).append(run["target"])
            for note in run["notes"]:
                reason = f"{note['part']}: {_first_line(note['reason'])}"
                lines.setdefault((case["id"], reason), []).append(run["target"])
        for comparison in case["comparisons"]:
            target = comparison["target"]
            for told in (_renamed(comparison), _one_sided(comparison), _flushed(comparison)):
                if told is not None:
                    lines.setdefault((case["id"], told), []).append(target)
            if comparison["not_compared"]:
                reason = f"{comparison['not_compared']} observations could not be compared"
                lines.setdefault((case["id"], reason), []).append(target)
            untwinned = sum(comparison["bases"].get(basis, 0) for basis in ("one twin", "tolerance"))
            if untwinned and result["precision"] == "both":
                reason = f"{untwinned} observations were judged without both float64 twins"
                lines.setdefault((case["id"], reason), []).append(target)
    return _grouped(lines)


def _renamed(comparison: ComparisonJson) -> str | None:
    names = list(comparison.get("renamed", {}).items())
    if not names:
        return None
    ours, theirs = names[0]
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    their_name = f"{theirs!r} on {comparison['reference']}"
    return f"variables were compared that differ in name alone: {ours!r} is {their_name}{more}"


def _one_sided(comparison: ComparisonJson) -> str | None:
    layers = [f"{layer!r} on {target}" for layer, target in comparison.get("one_sided", {}).items()]
    return f"inner layers that one side alone calls were not compared: {', '.join(layers)}" if layers else None


def _flushed(comparison: ComparisonJson) -> str | None:
    count = comparison.get("flushed", 0)
    numbers = "numbers below the smallest normal one of their dtype, which some backends make 0, were compared as 0"
    return f"{numbers}, in {count} observation{'' if count == 1 else 's'}" if count else None


def _grouped(lines: dict[tuple[str, str], list[str]]) -> list[str]:
    """A line for each reason, of a case or of many that share it.

    Args:
        lines: targets by case and reason.
    """
    shared: dict[tuple[str, str], list[str]] = {}
    for (case, reason), targets in lines.items():
        shared.setdefault((", ".join(targets), reason), []).append(case)
    return [
        f"{case} on {targets}: {reason}"
        for (targets, reason), cases in shared.items()
        for case in (cases if len(cases) <= MOST_NAMED else [f"{cases[0]} and {len(cases) - 1} more"])
    ]


def _failed(run: RunFolder, case: CaseJson, item: RunJson) -> Block:
    title = f"{case['id']} on {item['target']}: {item['status']}"
    facts = [("what", item["error"])] if item["error"] else []
    raised = item.get("raised", [])
    parts = [repr(note["part"]) for note in raised if note["reason"] == item["error"]]
    facts += [("where", f"it raised in {listed(parts)}")] if parts else []
    earlier = [note for note in raised if note["reason"] != item["error"]]
    facts += [("before", f"{note['part']!r} raised {note['reason']}") for note in earlier]
    if item["trace"] is not None:
        facts.append(("output", run.named(f"{item['trace']}/output.txt")))
    # The old run of a golden comparison cannot be run again here.
    can_run = item["target"] in run.result["targets"]
    commands = (f"harness run {_quoted(case['id'])} --targets {_quoted(item['target'])}",) if can_run else ()
    return Block(case["id"], item["target"], item["status"], title, tuple(facts), commands)


def _disturbed(case: CaseJson, item: RunJson) -> Block:
    title = f"{case['id']} on {item['target']}: the instruments change what they measure"
    changed = f"other without them: {', '.join(item['disturbed'][:5])}. This is a bug of the harness."
    return Block(case["id"], item["target"], "disturbed", title, (("what", changed),))


def _parted(case: CaseJson, comparison: ComparisonJson) -> Block:
    continuation = comparison["continuation"]
    assert continuation is not None
    first, last = continuation["first_step"], continuation["last_step"]
    facts = [
        (
            "what",
            f"rounding alone moves the weights by a thousandth from step {first} on, so steps {first} to "
            f"{last} were run again, each from the reference's state: {continuation['verdict']}",
        )
    ]
    if continuation["first"] is not None:
        facts += [("at", continuation["first"]["key"]), ("how big", how_big(continuation["first"]))]
    title = f"{case['id']}: {comparison['target']}: training parted"
    return Block(case["id"], comparison["target"], continuation["verdict"] or "parted", title, tuple(facts))


def _unrepeated(case: CaseJson, comparison: ComparisonJson, unrepeated: UnrepeatedJson) -> Block:
    facts = [("where", where(unrepeated)), ("at", unrepeated["key"]), ("what", unrepeated["text"])]
    title = f"{_pair(case, comparison)}: nondeterministic"
    return Block(case["id"], comparison["target"], "nondeterministic", title, tuple(facts))


def _pair(case: CaseJson, comparison: ComparisonJson) -> str:
    return f"{case['id']}: {comparison['target']} against {comparison['reference']}"


def _values(evidence: EvidenceJson) -> str:
    """The element that differs most, and how far the difference spreads."""
    values = (evidence["ours"], evidence["theirs"])
    ours, theirs = ("not finite" if value is None else f"{value:.9g}" for value in values)
    return f"{ours} against {theirs} in {evidence['precision']}, in {evidence['spread']}"


def _whose(case: CaseJson, blame: BlameJson | None) -> str | None:
    if blame is None:
        return f"{case['alone']} stands alone with it" if case["alone"] else None
    if blame["part"] == COMPILED:
        return blame["text"]
    of_two = sum(item["status"] == "ok" for item in case["runs"]) == 2
    alone = f"{blame['target']}{'' if of_two else ' stands alone'}: " if blame["target"] else ""
    if of_two and blame["confirmed"] and not blame["target"]:
        alone = "of two targets it cannot be told which is right: "
    step = f" (replayed at step {blame['step']})" if blame["confirmed"] and blame["step"] else ""
    return f"{alone}{blame['text']}{step}"


def _quoted(text: str) -> str:
    """A word of a command, quoted for a shell."""
    return shlex.quote(printable(text))


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
