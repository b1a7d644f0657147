"""What somebody has to look at, as blocks: a heading, facts in the order of their use, and what to type next.

The terminal, the page, JUnit, GitHub and Markdown lay out these blocks. One cause has one block.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness import backends
from harness.errors import printable
from harness.report import words
from harness.report.causes import Cause, Difference, causes
from harness.result import outcome
from harness.result.file import FILE
from harness.result.run_folder import RunFolder
from harness.result.schema import (
    BlameJson,
    CaseJson,
    ComparisonJson,
    ExpectedJson,
    FindingJson,
    RunJson,
    UnrepeatedJson,
)
from harness.result.words import listed
from harness.session.options import DEFAULT_TIMEOUT
from harness.target import backend_of
from harness.trace import COMPILED, EAGER
from harness.verdict import Verdict

#: Columns of the longest label of a fact.
LABEL = len("how big")
#: How a run that was stopped says how long it had.
_LIMIT = re.compile(r"limit of (\d+(?:\.\d+)?(?:e\+\d+)?) s")

#: A label and a text.
Fact = tuple[str, str]


@dataclass(frozen=True)
class Block:
    """A message like a compiler's: a title, and facts that each have a label.

    Attributes:
        on: the cases and targets that it is about, in pairs.
        kind: a verdict, or how a run ended, or `fixed`, `disturbed`, `nondeterministic` or `parted`.
        title: the message in one line.
        facts: pairs of a label and a text. A text may have several lines.
        commands: what to type next.
        place: the file and the line of what is to be opened, if that is known.
    """

    on: tuple[tuple[str, str], ...]
    kind: str
    title: str
    facts: tuple[Fact, ...]
    commands: tuple[str, ...] = ()
    place: tuple[str, str] | None = None

    @property
    def cases(self) -> list[str]:
        return list(dict.fromkeys(case for case, _ in self.on))


def blocks(
    run: RunFolder, cases: Sequence[CaseJson], at_least: Verdict, *, called: str | None = None
) -> Iterator[Block]:
    """Everything of some cases that somebody has to look at: runs that failed, and causes of this verdict or worse.

    A cause has one block, where the first of its cases stands.

    Args:
        called: what commands call the run, if not by its folder.
    """
    found: dict[str, list[Cause]] = {}
    for cause in causes(run.result, cases, at_least):
        found.setdefault(cause.cases[0], []).append(cause)
    for case in cases:
        yield from _of_runs(run, case)
        yield from _of_comparisons(case)
        yield from (of_cause(run, cause, called) for cause in found.pop(case["id"], []))


def failures(run: RunFolder, cases: Sequence[CaseJson]) -> list[Block]:
    """What makes cases fail, on the targets on which they fail."""
    failing = {
        (case["id"], item["target"])
        for case in cases
        for item in case["runs"]
        if words.outcome_on(run.result, case, item["target"]) in outcome.FAILING
    }
    at_least = Verdict.parse(run.result["fail_on"])
    return [block for block in blocks(run, cases, at_least) if not failing.isdisjoint(block.on)]


def plain(block: Block) -> str:
    """A block as lines of text, without colour, and not wrapped."""
    facts = [*block.facts, *(("next", command) for command in block.commands)]
    lines = (f"  {label:<{LABEL}} {fact}".replace("\n", f"\n{'':<{LABEL + 3}}") for label, fact in facts)
    return "\n".join([block.title, *lines])


def of_cause(run: RunFolder, cause: Cause, called: str | None = None) -> Block:
    """The block of a cause: what it comes to, who differs, how much, where, why that is known, and in which cases."""
    item, blame = cause.told, cause.blame
    case, comparison, first = item.case, item.comparison, item.first
    error = None if first.get("raised") is None else _error(case, first)
    said = words.conclusion(blame, first, error)
    who = _who(run, item)
    is_compiled = blame is not None and blame["part"] == COMPILED
    side = item.side
    if side is None or run.result.get("golden"):
        side = f"{listed(cause.targets)} against {comparison['reference']}"
    elif who is not None and side == comparison["reference"] and not (is_compiled or error) and not _is_named(blame):
        side, who, said = who, None, f"{words.noun(first)}: {words.size(first)}"
    if error is not None and said.startswith("raises "):
        title = f"{first.get('raised')} {said}"
    else:
        title = said if is_compiled or error is not None else f"{side}: {said}"
    facts: list[Fact] = [("who", who)] if who is not None else []
    sides = [f"on {comparison['target']}", f"on {comparison['reference']}"]
    sides = sides if item.of is None else ["where compiled", "eagerly"]
    if error is None and first["evidence"] is not None:
        facts += [("how big", words.how_big(first)), ("what", words.values(first["evidence"], *sides))]
    else:
        facts.append(("what", words.clean(first["reason"])))
    facts += [("where", words.where(first)), ("at", first["key"])]
    apart = [] if run.result.get("golden") else words.apart(case, comparison)  # of old and new, `golden` tells it once
    facts += [("between", ", ".join(apart))] if apart else []
    facts += [("switch", switch) for switch in _switches(case, comparison, first)]
    if blame is not None and blame["text"] != said:
        facts.append(("cause", words.clean(words.told(blame))))
    why = None if blame is None or not blame["confirmed"] else blame.get("why_no_script")
    for label, text in (
        ("script", None if why is None else f"none: {words.clean(why)}"),
        ("only", words.one_sided(comparison)),
        ("values", words.recorded(comparison)),
        ("verdict", words.verdict(run.result, comparison, first)),
        ("case", words.among(cause.cases)),
    ):
        facts += [(label, text)] if text is not None else []
    on = tuple((other.case["id"], other.target) for other in cause.differences)
    place = None if blame is None else words.line_of(blame.get("culprit"))
    return Block(on, cause.verdict, words.clean(title), tuple(facts), tuple(_commands(run, cause, called)), place)


def _is_named(blame: BlameJson | None) -> bool:
    """Whether there is something to open."""
    return blame is not None and words.place(blame) is not None


def _who(run: RunFolder, item: Difference) -> str | None:
    """Whose the difference is, by a vote; None where that was not to be told."""
    if item.of is not None:
        return f"on {item.target}, what is compiled against the same code run eagerly"
    if run.result.get("golden"):
        return None
    case, comparison, side = item.case, item.comparison, item.side
    ran = [run["target"] for run in case["runs"] if run["status"] == "ok"]
    others = [target for target in ran if target != side]
    if side is not None:
        return words.voted(side, others, comparison["reference"]) if len(others) > 1 else None
    blame = comparison["blame"]
    if len(ran) == 2 and blame is not None and blame["confirmed"]:
        return "of two targets it cannot be told which is right"
    return None


def _error(case: CaseJson, first: FindingJson) -> str:
    """What was raised, in its own words, in one line."""
    side = str(first.get("raised"))
    raising = words.run_on(case, side)
    notes = [] if raising is None else raising.get("raised", [])
    own = [
        note["reason"] for note in notes if first["reason"] == f"{side} raises in {note['part']!r}: {note['reason']}"
    ]
    return words.shortened(own[0] if own else first["reason"])


def _switches(case: CaseJson, comparison: ComparisonJson, first: FindingJson) -> Iterator[str]:
    """The settings that let a side compute in lower precision, where that may be all there is."""
    for target in (comparison["target"], comparison["reference"]) if first["verdict"] == "imprecise" else ():
        side = words.run_on(case, target)
        backend = backend_of(target)
        if side is not None and backend in backends.NAMES:
            for call in backends.get(backend).coarser(side["environment"]):
                yield f"{target} may compute float32 in fewer bits; off with {call}"


# What to type next


def _commands(run: RunFolder, cause: Cause, called: str | None) -> Iterator[str]:
    """A script that shows it, or how to look for its origin; and what shows it closely."""
    item = cause.told
    case, comparison, of = item.case, item.comparison, item.of
    script = next((path for other in cause.differences if (path := run.script(other.comparison["blame"]))), None)
    if script is not None:
        yield f"python {_quoted(run.named(str(script.relative_to(os.path.realpath(run.path)))))}"
    elif cause.blame is None and _can_run(run, case):
        yield f"harness blame {_again(run, case)}"
    if (run.path / FILE).exists():
        yield f"harness show {_quoted(called or run.shown)} {_quoted(_short(run, case))} {_quoted(item.target)}"
        return
    if of is None:
        sides = [words.run_on(case, target) for target in (comparison["target"], comparison["reference"])]
        folders = [side["trace"] for side in sides if side is not None and side["trace"] is not None]
    else:
        folders = [f"{of['trace']}/{way}" for way in (COMPILED, EAGER)]
    if len(folders) == 2:
        traces = " ".join(_quoted(run.named(folder)) for folder in folders)
        yield f"harness show {traces} --key {_quoted(item.first['key'])}"


def _can_run(run: RunFolder, case: CaseJson) -> bool:
    """Whether a command of the harness can run a case again here: not a test of pytest's, nor what is only a trace."""
    is_here = os.path.isfile(case["id"].partition("::")[0])
    return is_here and not case.get("is_test", False) and not run.result.get("golden")


def _again(run: RunFolder, case: CaseJson) -> str:
    """What names a case in a command, with the same targets and the same reference as in this run."""
    targets, reference = run.result["targets"], run.result["reference"]
    # The first on PyTorch is the reference unless another is named.
    usual = next((target for target in targets if backend_of(target) == backends.NAMES[0]), None)
    named = "" if reference == usual else f" --reference {_quoted(reference)}"
    return f"{_quoted(case['id'])} --targets {_quoted(','.join(targets))}{named}"


def _short(run: RunFolder, case: CaseJson) -> str:
    """The name of a case without its file, if no other case of the run has it."""
    names = [other["id"].partition("::")[2] for other in run.result["cases"]]
    name = case["id"].partition("::")[2]
    return name if name and names.count(name) <= 1 else case["id"]


def _quoted(text: str) -> str:
    """A word of a command, quoted for a shell."""
    return shlex.quote(printable(text))


# Blocks of one case that are about no difference


def _of_runs(run: RunFolder, case: CaseJson) -> Iterator[Block]:
    for item in case["runs"]:
        if words.has_ended_badly(item):
            yield _failed(run, case, item)
        if item["disturbed"]:
            yield _disturbed(case, item)


def _of_comparisons(case: CaseJson) -> Iterator[Block]:
    for comparison in case["comparisons"]:
        for expected in comparison["fixed"]:
            yield _fixed(case, comparison, expected)
        unrepeated = comparison.get("unrepeated")
        if unrepeated is not None:
            yield _unrepeated(case, comparison, unrepeated)
        if comparison["continuation"] is not None:
            yield _parted(case, comparison)


def _failed(run: RunFolder, case: CaseJson, item: RunJson) -> Block:
    title = f"{case['id']} on {item['target']}: {item['status']}"
    error = item["error"]
    facts = [("what", words.clean(error))] if error else []
    raised = item.get("raised", [])
    parts = [repr(note["part"]) for note in raised if note["reason"] == error]
    facts += [("where", f"it raised in {listed(parts)}")] if parts else []
    earlier = [note for note in raised if note["reason"] != error]
    facts += [("before", f"{note['part']!r} raised {words.clean(note['reason'])}") for note in earlier]
    if item["trace"] is not None:
        facts.append(("output", run.named(f"{item['trace']}/output.txt")))
    commands: tuple[str, ...] = ()
    if _can_run(run, case) and item["target"] in run.result["targets"]:
        commands = (f"harness run {_again(run, case)}{_longer(error) if item['status'] == 'timeout' else ''}",)
    return Block(((case["id"], item["target"]),), item["status"], title, tuple(facts), commands)


def _longer(error: str | None) -> str:
    """The option that gives a run twice the time that it had."""
    had = _LIMIT.search(error or "")
    return f" --timeout {2 * (float(had[1]) if had else DEFAULT_TIMEOUT):g}"


def _disturbed(case: CaseJson, item: RunJson) -> Block:
    title = f"{case['id']} on {item['target']}: the instruments change what they measure"
    changed = f"other without them: {', '.join(item['disturbed'][:5])}. This is a bug of the harness."
    return Block(((case["id"], item["target"]),), "disturbed", title, (("what", changed),))


def _fixed(case: CaseJson, comparison: ComparisonJson, expected: ExpectedJson) -> Block:
    title = f"{_pair(case, comparison)}: a declared difference is gone"
    facts = (
        ("what", f"It was declared as {expected['verdict']}: {expected['reason']}"),
        ("next", "Remove the declaration from the case."),
    )
    return Block(_on(case, comparison), "fixed", title, facts)


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
        facts += [("at", continuation["first"]["key"]), ("how big", words.how_big(continuation["first"]))]
    title = f"{case['id']}: {comparison['target']}: training parted"
    return Block(_on(case, comparison), continuation["verdict"] or "parted", title, tuple(facts))


def _unrepeated(case: CaseJson, comparison: ComparisonJson, unrepeated: UnrepeatedJson) -> Block:
    facts = [("where", words.where(unrepeated)), ("at", unrepeated["key"]), ("what", unrepeated["text"])]
    title = f"{_pair(case, comparison)}: nondeterministic"
    return Block(_on(case, comparison), "nondeterministic", title, tuple(facts))


def _on(case: CaseJson, comparison: ComparisonJson) -> tuple[tuple[str, str], ...]:
    return ((case["id"], comparison["target"]),)


def _pair(case: CaseJson, comparison: ComparisonJson) -> str:
    return f"{case['id']}: {comparison['target']} against {comparison['reference']}"
