"""The summary of a run in Markdown, for GitHub: a step's summary, or a comment.

Text that comes from cases stands in `code` or `pre` elements inside blocks of HTML. Markdown does not read such blocks,
and GitHub makes no links of names, issues or addresses in such elements.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

from harness.errors import printable
from harness.report import words
from harness.report.blocks import blocks
from harness.result.run_folder import RunFolder
from harness.result.schema import CaseJson
from harness.verdict import Verdict

#: Characters of a summary. A comment on GitHub has room for 65,536, and the summary of a step for 1 MiB of UTF-8.
LIMIT = 65_000
#: Characters of one fact. An error may be longer; the result has the whole of it.
LONGEST = 1_500
#: Characters that are kept free for the last lines.
_RESERVE = 500

_SIGNS = {"agree": "✅", "known": "☑️", "differ": "❌", "error": "💥", "nondeterministic": "🎲"}


def summary(run: RunFolder, limit: int = LIMIT) -> str:
    """The summary: the whole run in one sentence, a table of its cases, worst first, and what failed.

    Args:
        limit: characters that it may have. The last lines say how much was left out.
    """
    result = run.result
    head = f"## harness\n\n<p>{_SIGNS[words.worst(result)]} {_code(words.total(result))}</p>\n\n"
    changes = [*words.golden(result), *words.versions(result)]
    between = _taken((f"<li>{_code(line)}</li>\n" for line in changes), limit // 4)
    head += f"<ul>\n{''.join(between)}</ul>\n\n" if between else ""
    room = limit - len(head) - _RESERVE
    rows = _taken(_rows(run), room // 3)
    shown = "".join(rows)
    table = f"<table>\n{_header(run)}\n{shown}</table>\n\n" if rows else ""
    parts = _taken(_blocks(run), room - len(table))
    hidden = {
        "changes": len(changes) - len(between),
        "cases": len(result["cases"]) - len(rows),
        "details": sum(1 for _ in _blocks(run)) - len(parts),
    }
    left_out = [f"{count} {what}" for what, count in hidden.items() if count]
    tail = f"\nFor want of room {' and '.join(left_out)} are left out here: the result has them.\n" if left_out else ""
    return head + table + "".join(parts) + tail


def _taken(parts: Iterator[str], room: int) -> list[str]:
    """The first parts, as many as there is room for."""
    taken = []
    for part in parts:
        room -= len(part)
        if room < 0:
            break
        taken.append(part)
    return taken


def _header(run: RunFolder) -> str:
    columns = words.columns(run.result).values()
    return "<tr><th>case</th>" + "".join(f"<th>{_code(column)}</th>" for column in columns) + "</tr>"


def _rows(run: RunFolder) -> Iterator[str]:
    for case in run.worst_first:
        cells = "".join(_cell(run, case, target) for target in words.columns(run.result))
        yield f"<tr><td>{_code(case['id'])}</td>{cells}</tr>\n"


def _cell(run: RunFolder, case: CaseJson, target: str) -> str:
    said, _ = words.cell(run.result, case, target)
    return f"<td>{_SIGNS[words.outcome_in(run.result, case, target)]} {_code(said)}</td>"


def _blocks(run: RunFolder) -> Iterator[str]:
    at_least = min(Verdict.IMPRECISE, Verdict.parse(run.result["fail_on"]))
    for block in blocks(run, run.worst_first, at_least):
        facts = [*block.facts, *(("next", command) for command in block.commands)]
        rows = "".join(f"<tr><td>{label}</td><td><pre>{_literal(fact)}</pre></td></tr>\n" for label, fact in facts)
        yield f"<details>\n<summary>{_code(block.title)}</summary>\n<table>\n{rows}</table>\n</details>\n\n"


def _code(text: str) -> str:
    return f"<code>{_literal(text)}</code>"


def _literal(text: str) -> str:
    """Text without any markup, in one line, because a blank line would end the block of HTML."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return html.escape(printable(cut)).replace("\n", "&#10;")
