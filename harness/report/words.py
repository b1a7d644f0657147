"""What a result says, in words: every sentence of a report is made here, once, and laid out elsewhere.

The sentences that stand in `result.json` itself come from `harness.result.words`. No text is escaped here: the modules
that lay it out escape it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from harness.judge.distribution import LEVEL, REPEATS, STATISTICS
from harness.result import outcome
from harness.result.environment import versions_of
from harness.result.golden import former
from harness.result.outcome import Outcome
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
from harness.result.words import listed, part_named
from harness.trace import COMPILED
from harness.trace.model import has_failed
from harness.trace.parts import CASE
from harness.verdict import Verdict, VerdictName

#: What each verdict means, for somebody who sees it for the first time, from best to worst.
MEANINGS: dict[VerdictName, str] = {
    "identical": "equal bit for bit",
    "rounding": "the same function; the difference is rounding, as measured",
    "leak": "the same function; one side is in float32 inside, somewhere in its float64 run",
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
#: What verdicts rest on, by the names that `result.json` has for it.
BASES = {"twins": "float64 runs", "one twin": "the float64 run of one side"}
#: The most cases, parts or targets with something in common that are named one by one.
MOST_NAMED = 3
#: Characters of a stranger's text that are shown where there is one line for it.
MOST_SHOWN = 200
#: What of a part differs, as a verb. All else computes something else.
_DOES = {
    "gradient": "has another gradient",
    "config": "is configured otherwise",
    "regularizer": "has another regularizer",
    "constraint": "has another constraint",
    "state": "leaves another state",
    "raises": "raises, and does not on the other side",
}
#: What an observation is called, by its phase.
_NOUNS = {
    "initial": "the initial value {}",
    "forward": "{} in the forward pass",
    "gradient": "the gradient of {}",
    "update": "{} after an update",
    "optimizer": "the optimizer's {}",
    "metric": "the metric {}",
    "log": "the log {}",
    "event": "the event {}",
    "prediction": "the prediction {}",
    "recorded": "the recorded value {}",
}
#: Sequences by which a terminal is told to do something: colours, titles, links.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])|\x9b[0-?]*[ -/]*[@-~]")
#: The file and the line at the end of what there is to open.
_WRITTEN = re.compile(r"([^\s()]+):(\d+)\)$")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def clean(text: str) -> str:
    """A stranger's text without what is about one terminal or one process: escape sequences, addresses of objects."""
    return _ADDRESS.sub("", _ESCAPES.sub("", text))


def first_line(text: str) -> str:
    """The first line of a text that says something."""
    return next((line.strip() for line in clean(text).splitlines() if line.strip()), "")


def shortened(text: str) -> str:
    """The first line of a text, or as much of it as there is room for in one line."""
    line = first_line(text)
    return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN].rstrip()}..."


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - MOST_NAMED
    return listed([*names[:MOST_NAMED], f"{rest} more"] if rest > 0 else list(names))


# One cause: its heading, and its facts


def side_at_fault(case: CaseJson, comparison: ComparisonJson) -> str | None:
    """The one of the two sides of a comparison whose difference it is; None where nobody can tell."""
    first, blame = comparison["first"], comparison["blame"]
    if first is None:
        return None
    if blame is not None:
        side = blame["target"]
    else:  # the vote was about the first difference of the case
        voted = next(item["first"] for item in case["comparisons"] if item["first"] is not None)
        side = case["alone"] if voted["key"] == first["key"] else None
    return side if side in (comparison["target"], comparison["reference"]) else None


def line_of(culprit: str | None) -> tuple[str, str] | None:
    """The file and the line of what is to be opened, as `net.py` and `12` of `Net.compute_loss (net.py:12)`."""
    found = _WRITTEN.search(culprit or "")
    return None if found is None else (found[1], found[2])


def place(blame: BlameJson) -> str | None:
    """What to open, in words; None if nothing is at fault that has a name."""
    culprit = blame.get("culprit")
    if culprit:
        return culprit
    if blame["part"] is None or blame["part"] == COMPILED:
        return None
    return part_named(blame["part"], blame["layer"])


def conclusion(blame: BlameJson | None, first: FindingJson, error: str | None) -> str:
    """What a cause comes to, without who is at fault.

    Args:
        error: what was raised, if that is the difference.
    """
    found = None if blame is None else place(blame)
    if blame is not None and blame["part"] == COMPILED:
        return first_line(blame["text"])
    if error is not None:
        return f"raises in {found}: {error}" if found else first_line(first["reason"])
    if blame is None or found is None:
        return f"{noun(first)} differs: {size(first)}"
    kind, says_it = blame.get("kind"), shortened(blame["text"]).partition(". ")[0]
    if kind is None and blame.get("culprit") and not says_it.startswith("introduced in"):
        written = _WRITTEN.search(found)
        is_named = found in says_it or (written is not None and written[0] in says_it)
        return says_it if is_named else f"{found}: {says_it}"
    kind = kind or ("gradient" if blame["phase"] == "gradient" else None)
    by = f" by {blame['op']}" if blame["op"] and kind in (None, "output", "gradient") else ""
    is_there = first["layer"] == blame["layer"] and blame["part"] != CASE
    seen = "" if is_there else f", first seen in {noun(first)}"
    return f"{found} {_DOES.get(kind or '', 'computes something else')}{by}: {size(first)}{seen}"


def noun(first: FindingJson) -> str:
    """What an observation is called."""
    name = repr(first["key"].split("/", 2)[-1])
    step = f" of step {first['step']}" if first["step"] else ""
    return f"{_NOUNS.get(first['phase'], '{}').format(name)}{step}"


def size(first: FindingJson) -> str:
    """How large a difference is beside rounding or, where it is none of numbers, what it is."""
    distance = first["d32"] if first["d64"] is None else first["d64"]
    explained = first.get("explained")
    if distance is None or explained is None or distance <= explained:
        return shortened(first["reason"])
    return f"{distance:.1e} off, where rounding explains {explained:.1e}"


def values(evidence: EvidenceJson, here: str, there: str) -> str:
    """The element that differs most, and how far the difference spreads.

    Args:
        here, there: where it has its two values, such as `on jax` and `on torch`.
    """
    sides = (evidence["ours"], evidence["theirs"])
    ours, theirs = ("not finite" if value is None else f"{value:.9g}" for value in sides)
    return f"{ours} {here} against {theirs} {there} in {evidence['precision']}, in {evidence['spread']}"


def told(blame: BlameJson) -> str:
    """Why that is the cause."""
    step = f" (replayed at step {blame['step']})" if blame["confirmed"] and blame["step"] else ""
    return f"{blame['text']}{step}"


def voted(side: str, others: Sequence[str], reference: str) -> str:
    """That one target differs, and the others agree."""
    if side == reference:
        return f"{side} differs from {listed(others)}, which agree"
    return f"only {side} differs; {listed(others)} agree"


def verdict(result: ResultJson, comparison: ComparisonJson, first: FindingJson) -> str:
    """The verdict of a comparison, and how many observations have which; what differs beside the first is counted."""
    milder = [str(verdict) for verdict in Verdict if verdict < Verdict.DIVERGENT]
    more = sum(number for name, number in comparison["counts"].items() if name not in milder) - 1
    is_origin = first["phase"] != "recorded" and Verdict.parse(first["verdict"]) >= Verdict.DIVERGENT
    inherits = f"; {more} more differ{'s' if more == 1 else ''}, and may inherit it" if more > 0 and is_origin else ""
    return f"{verdict_of(result, comparison)}, of {counts(comparison)}{inherits}"


def recorded(comparison: ComparisonJson) -> str | None:
    """The values recorded by hand that differ, if it is not one alone."""
    found = comparison.get("recorded")
    if found is None or found["count"] < 2:
        return None
    names = [item["name"] for item in found["shown"]]
    rest = found["count"] - len(names)
    return f"{found['count']} recorded values differ: {listed([*names, *([f'{rest} more'] if rest > 0 else [])])}"


def among(cases: Sequence[str]) -> str:
    """The cases that have a cause in common."""
    rest = cases[1:]
    more = f"and in {len(rest)} more case{'s' if len(rest) > 1 else ''}: {some(rest)}" if rest else ""
    return ", ".join(filter(None, [cases[0], more]))


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
    named = ", ".join(f"{count} {verdict}" for verdict, count in comparison["counts"].items())
    return f"{_observations(comparison['observations'])}: {named}"


def bases(comparison: ComparisonJson) -> str:
    """What the verdicts of a comparison rest on; nothing where nothing was compared."""
    return ", ".join(f"{count} by {BASES.get(basis, basis)}" for basis, count in comparison["bases"].items())


def verdict_of(result: ResultJson, comparison: ComparisonJson) -> VerdictName | None:
    """The one verdict that is said of a comparison everywhere: the worst there is.

    Where that is declared and something undeclared fails all the same, it is the worst of what is not declared.
    """
    unexpected = comparison.get("unexpected")
    if unexpected is not None and Verdict.parse(unexpected) >= Verdict.parse(result["fail_on"]):
        return unexpected
    return comparison["verdict"]


def outcome_on(result: ResultJson, case: CaseJson, target: str) -> Outcome:
    """The outcome of a case on one target, by the rule that gives the `outcome` of the case over all its targets."""
    comparison = comparison_on(case, target)
    sides = [run for run in case["runs"] if run["target"] in sides_of(result, target)]
    own = run_on(case, target)
    return outcome.outcome(
        [
            *([] if comparison is None else _unexpected(comparison)),
            *(_unexpected(calls) if own is not None and (calls := own.get("compiled")) is not None else []),
        ],
        Verdict.parse(result["fail_on"]),
        is_fixed=comparison is not None and bool(comparison["fixed"]),
        has_failed=any(has_ended_badly(run) or run["disturbed"] for run in sides),
        is_unrepeated=comparison is not None and comparison.get("unrepeated") is not None,
        is_known=comparison is not None and bool(comparison["known"]),
    )


def has_ended_badly(run: RunJson) -> bool:
    """Whether a run failed, other than for want of gradients."""
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


def is_bad(verdict: VerdictName | None, at_least: Verdict) -> bool:
    """Whether a verdict is that bad."""
    return verdict is not None and Verdict.parse(verdict) >= at_least


def run_on(case: CaseJson, target: str) -> RunJson | None:
    return next((item for item in case["runs"] if item["target"] == target), None)


def cell(result: ResultJson, case: CaseJson, target: str) -> tuple[str, str]:
    """The cell of a case and a target in a table: its text, and its kind, which is a verdict or how the run ended."""
    run, comparison = run_on(case, target), comparison_on(case, target)
    if run is None:
        return "not run", "unavailable"
    if has_ended_badly(run):
        return run["status"], run["status"]
    standing_in = stand_in(result, case)
    theirs = run_on(case, result["reference"])
    if theirs is not None and has_ended_badly(theirs) and standing_in in (None, target):
        instead = "" if standing_in is None else ", reference instead"
        return f"{theirs['status']} on {theirs['target']}{instead}", theirs["status"]
    is_cut = stopped(result, case, target) is not None
    so_far = ", inference only" if is_cut else ""
    if comparison is None and target == result["reference"]:
        return _cell_of_reference(result, case) or (f"ran{so_far}", "ok")
    if comparison is None:
        return "not compared", "unavailable"
    so_far += "" if standing_in is None else f", against {standing_in}"
    calls = run.get("compiled")
    if calls is not None and is_bad(calls["verdict"], Verdict.parse(result["fail_on"])):
        so_far += f", {calls['verdict']} where compiled"
    unrepeated = "" if comparison.get("unrepeated") is None else "nondeterministic"
    own = verdict_of(result, comparison)
    verdict = f"{own or unrepeated or 'not compared'}{so_far}"
    if comparison["fixed"]:
        return f"{verdict}, fixed", "fixed"
    if outcome_on(result, case, target) == "known":
        return f"{verdict}, known", "known"
    continuation = comparison["continuation"]
    if continuation is not None and (continuation["verdict"] or "identical") not in (verdict, "identical", "rounding"):
        return f"{verdict}, then {continuation['verdict']}", continuation["verdict"] or own or "ok"
    if unrepeated and outcome_on(result, case, target) == "nondeterministic":
        return unrepeated, "nondeterministic"
    return verdict, own or ("ok" if is_cut else "unavailable")


def _cell_of_reference(result: ResultJson, case: CaseJson) -> tuple[str, str] | None:
    """The cell of a reference that others were compared with; None where it is the only target."""
    if not case["comparisons"]:
        return None
    against = faults_of_reference(case)
    verdicts = [name for item in against if (name := verdict_of(result, item)) is not None]
    if not verdicts:
        return "reference", "ok"
    worst_of_all = max(verdicts, key=Verdict.parse)
    if all(outcome_on(result, case, item["target"]) == "known" for item in against):
        return f"{worst_of_all}, alone, known", "known"
    return f"{worst_of_all}, alone", worst_of_all


def faults_of_reference(case: CaseJson) -> list[ComparisonJson]:
    """The comparisons in which it is the reference that differs from all others."""
    return [item for item in case["comparisons"] if side_at_fault(case, item) == item["reference"]]


def outcome_in(result: ResultJson, case: CaseJson, target: str) -> Outcome:
    """The outcome that a cell of the table tells: of the target or, of a reference that is alone, of the others."""
    own = [outcome_on(result, case, target)]
    if target == result["reference"]:
        own += [outcome_on(result, case, item["target"]) for item in faults_of_reference(case)]
    return outcome.worst(own)


def columns(result: ResultJson) -> dict[str, str]:
    """The heading of each column of the table, by target: the reference has one too."""
    reference = result["reference"]
    others = [target for target in result["targets"] if target != reference]
    if result.get("golden"):
        return {target: f"{target} / {reference}" for target in others}
    return {reference: f"{reference} (reference)" if others else reference, **{target: target for target in others}}


def seen(result: ResultJson) -> list[VerdictName]:
    """The verdicts that the table shows, from best to worst."""
    found: set[VerdictName | None] = set()
    for case in result["cases"]:
        for item in case["comparisons"]:
            continuation = item["continuation"]
            found |= {verdict_of(result, item), None if continuation is None else continuation["verdict"]}
        calls = [calls["verdict"] for run in case["runs"] if (calls := run.get("compiled")) is not None]
        found |= {name for name in calls if is_bad(name, Verdict.parse(result["fail_on"]))}
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
    """What the verdicts of a run rest on, if it is anything but float64 runs with shared random values."""
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
            "Without float64 runs a value is held against ten times the measured noise, where there were noise "
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
        f"{comparison['target']} against {comparison['reference']}: {', '.join(differing)}"
        for case in result["cases"]
        for comparison in case["comparisons"]
        if (differing := apart(case, comparison))
    ]
    return list(dict.fromkeys(lines))


def apart(case: CaseJson, comparison: ComparisonJson) -> list[str]:
    """The packages that both sides of a comparison have, in different versions."""
    ours, theirs = (_made_of(run_on(case, comparison[side])) for side in ("target", "reference"))
    shared = [name for name in ours if name in theirs]
    return [f"{name} {ours[name]} against {theirs[name]}" for name in shared if ours[name] != theirs[name]]


def _made_of(run: RunJson | None) -> dict[str, str]:
    environment = {} if run is None else run["environment"]
    python = environment.get("python")
    return {**versions_of(environment), **({} if python is None else {"Python": str(python)})}


def notes(result: ResultJson, *, in_full: bool = False) -> list[str]:
    """Everything that was not recorded or not compared, or not with both float64 runs.

    Args:
        in_full: whether each note has a line of its own, with the whole of its reason; else one reason has one line,
            with how many parts, cases and targets it is about, and the names of the first.
    """
    found = list(_noted(result))
    if in_full:
        lines: dict[tuple[str, str], list[str]] = {}
        for case, target, part, reason, count in found:
            before = f"{part}: " if part else f"{_observations(count)} " if count else ""
            lines.setdefault((case, f"{before}{clean(reason).strip()}"), []).append(target)
        return [f"{case} on {', '.join(dict.fromkeys(targets))}: {reason}" for (case, reason), targets in lines.items()]
    # Reasons are one if they begin alike: what comes later, such as the config of a layer, may be another each time.
    grouped: dict[tuple[str, str], list[tuple[str, str, str, int]]] = {}
    for case, target, part, reason, count in found:
        beginning = " ".join(clean(reason).split())[:MOST_SHOWN]
        grouped.setdefault((beginning, shortened(reason)), []).append((case, target, part, count))
    told = []
    for (_, reason), about in grouped.items():
        cases = list(dict.fromkeys(case for case, *_ in about))
        targets = list(dict.fromkeys(target for _, target, *_ in about))
        parts = list(dict.fromkeys(part for _, _, part, _ in about if part))
        count = sum(count for *_, count in about)
        what = f"{some(parts)}: {reason}" if parts else f"{_observations(count)} {reason}" if count else reason
        told.append(f"{_counted(cases, 'cases')} on {', '.join(targets)}: {what}")
    return told


def _noted(result: ResultJson) -> Iterator[tuple[str, str, str, str, int]]:
    """The case, target, part (or nothing) and reason of each note, and of how many observations it tells (or 0)."""
    for case in result["cases"]:
        standing_in = stand_in(result, case)
        if standing_in is not None:
            reason = f"compared with {standing_in}, because the reference {result['reference']} has failed"
            for item in case["comparisons"]:
                if item["target"] != result["reference"]:
                    yield case["id"], item["target"], "", reason, 0
        for run in case["runs"]:
            if run.get("inference_only", False):
                yield case["id"], run["target"], "", run["error"] or "", 0
            for note in run["notes"]:
                yield case["id"], run["target"], note["part"], note["reason"], 0
        for comparison in case["comparisons"]:
            target = comparison["target"]
            for told in (_renamed(comparison), one_sided(comparison), _flushed(comparison)):
                if told is not None:
                    yield case["id"], target, "", told, 0
            if comparison["not_compared"]:
                yield case["id"], target, "", "could not be compared", comparison["not_compared"]
            untwinned = sum(comparison["bases"].get(basis, 0) for basis in ("one twin", "tolerance"))
            if untwinned and result["precision"] == "both":
                yield case["id"], target, "", "were judged without both float64 runs", untwinned


def _observations(count: int) -> str:
    return f"{count} observation{'' if count == 1 else 's'}"


def _counted(names: Sequence[str], what: str) -> str:
    """One name, or the first of many and how many there are."""
    return some(names) if len(names) <= MOST_NAMED else f"{len(names)} {what} ({some(names)})"


def _renamed(comparison: ComparisonJson) -> str | None:
    names = list(comparison.get("renamed", {}).items())
    if not names:
        return None
    ours, theirs = names[0]
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    their_name = f"{theirs!r} on {comparison['reference']}"
    return f"variables were compared that differ in name alone: {ours!r} is {their_name}{more}"


def one_sided(comparison: ComparisonJson) -> str | None:
    """The inner layers that one side alone calls; None if there are none."""
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
