"""The page of a run: one file that opens from disk, without a network, and runs nothing but its own script.

This module lays out the text, and the template escapes it. Apache ECharts draws the charts when a case is opened, from
data that the page embeds as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from harness import files
from harness.errors import printable
from harness.report import sides, words
from harness.report.blocks import Block, blocks
from harness.report.charts import RESOLUTIONS, Charts
from harness.result.run_folder import RunFolder
from harness.result.schema import CaseJson
from harness.verdict import Verdict
from harness.version import __version__

#: Bytes that the data of all charts may have together: a page stays well below 10 MB.
BUDGET = 6_000_000
#: Verdicts that are told on the page of a case, and not among the findings of the run.
_MILD = ("identical", "rounding", "leak")
_SCRIPTS = ("echarts/echarts.min.js", "page.js")


@dataclass(frozen=True)
class CasePage:
    """What the template needs of a case.

    Attributes:
        cells: a target, the text of its cell, and the kind of that text: see `words.cell`.
        scripts: the name and the text of each reproducer.
        unread: why traces could not be read, by target.
    """

    case: CaseJson
    cells: Sequence[tuple[str, str, str]]
    blocks: Sequence[Block]
    scripts: Sequence[tuple[str, str]]
    unread: dict[str, str]
    events: Sequence[sides.Events]
    environment: Sequence[sides.Row]


def page(run: RunFolder, budget: int = BUDGET) -> bytes:
    """The page of a run, as UTF-8.

    Args:
        budget: bytes that the data of all charts may have together.
    """
    common = sides.common_environment(run.result)
    pages, charts = [], []
    found = sorted(blocks(run, run.worst_first, Verdict.LEAK), key=_by_verdict)
    for case in run.worst_first:
        traces, unread = run.traces(case)
        charts.append(Charts(traces, {target: words.reference_of(run.result, case, target) for target in run.others}))
        own = [block for block in found if case["id"] in block.cases]
        pages.append(_case_page(run, case, own, common, sides.events(traces, run.result["targets"]), unread))
    unasked = (run.result["reference"], "ok") if run.others else None  # what most cases have is no filter
    scripts = [_asset(name) for name in _SCRIPTS]
    style = _asset("page.css")
    text = _template().render(
        run=run,
        result=run.result,
        words=words,
        version=__version__,
        cases=pages,
        columns=words.columns(run.result),
        findings=[block for block in found if block.kind not in _MILD],
        numbers={item.case["id"]: number for number, item in enumerate(pages)},
        common=common,
        tags=sorted({tag for case in run.result["cases"] for tag in case.get("tags", [])}),
        kinds=sorted({kind for item in pages for target, _, kind in item.cells if (target, kind) != unasked}),
        data=_embedded(pages, _fitting(charts, budget)),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts, style),
    )
    return text.encode("utf-8", "backslashreplace")


def _case_page(
    run: RunFolder,
    case: CaseJson,
    own: Sequence[Block],
    common: Sequence[sides.Row],
    events: Sequence[sides.Events],
    unread: dict[str, str],
) -> CasePage:
    scripts = {run.script(comparison["blame"]) for comparison in case["comparisons"]} - {None}
    return CasePage(
        case=case,
        cells=[(target, *words.cell(run.result, case, target)) for target in words.columns(run.result)],
        blocks=own,
        scripts=[(path.name, files.read(path).decode("utf-8", "replace")) for path in scripts if path],
        unread=unread,
        events=events,
        environment=sides.environment(case, run.result["targets"], common),
    )


def _by_verdict(block: Block) -> int:
    """A key to sort blocks by: those whose kind is no verdict come first, then those with the worst verdict."""
    return -Verdict.parse(block.kind) if block.kind in words.MEANINGS else -len(Verdict)


def _fitting(charts: Sequence[Charts], budget: int) -> list[str]:
    """The data of each case as JSON, in the finest resolution that there is room for.

    The room is shared out from the last case on: cases that agree come last and need little, and what they leave over
    goes to those that differ.
    """
    fitting: list[str] = []
    for count, chart in enumerate(reversed(charts)):
        share = budget / (len(charts) - count)
        texts = (_json(chart.data(resolution)) for resolution in RESOLUTIONS)
        fitting.append(next((text for text in texts if len(text) <= share), "null"))
        budget -= len(fitting[-1])
    return fitting[::-1]


def _json(data: Any) -> str:
    return json.dumps(_printable(data), separators=(",", ":"), allow_nan=False)


def _printable(data: Any) -> Any:
    """Data in which no text has a control character."""
    if isinstance(data, dict):
        return {printable(key): _printable(item) for key, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [_printable(item) for item in data]
    return printable(data) if isinstance(data, str) else data


def _embedded(pages: Sequence[CasePage], texts: Sequence[str]) -> Markup:
    """The data that the script reads, as JSON that cannot end the script element it stands in."""
    head = {"blamed": [_blamed(item.case) for item in pages]}
    joined = f'{_json(head)[:-1]},"cases":[{",".join(texts)}]}}'
    return Markup(joined.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _blamed(case: CaseJson) -> list[str]:
    """For each difference the layer to blame or, if nothing was blamed, the layer in which it shows first."""
    layers = []
    for comparison in case["comparisons"]:
        first, blame = comparison["first"], comparison["blame"]
        if first is not None and Verdict.parse(first["verdict"]) >= Verdict.DIVERGENT:
            layers.append(first["layer"] if blame is None else blame["layer"])
    return [layer for layer in layers if layer is not None]


def _policy(scripts: Sequence[str], style: str) -> str:
    """The page's content security policy: a browser may run these scripts and apply this style, and do nothing else."""
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(map(_digest, scripts)),
        "style-src": _digest(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {sources}" for what, sources in allowed.items())


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (resources.files("harness.report") / "templates" / name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    return environment.from_string(_asset("page.html"))
