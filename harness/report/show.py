"""What is in traces: a whole trace, some of its observations, or two traces side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.case import matches
from harness.errors import TraceError
from harness.judge.arrays import rms
from harness.judge.compare import all_findings
from harness.report.console import STYLES, text
from harness.result.environment import versions_of
from harness.result.model import Finding
from harness.trace import Array, Observation, Trace

#: Elements of an array that are printed in full.
MOST_ELEMENTS = 200


def print_trace(console: Console, trace: Trace) -> None:
    """Print the header of a trace, and every observation in one line."""
    _print_header(console, trace)
    shown = table("observation", "dtype", "shape", "value")
    for observation in trace:
        shown.add_row(*map(text, (observation.key, *_form(observation), _summary(observation))))
    console.print(shown)


def print_observations(console: Console, trace: Trace, pattern: str) -> None:
    """Print the observations whose key matches, in full.

    Raises:
        TraceError: no key matches.
    """
    for key in _matching([trace], pattern):
        observation = trace[key]
        dtype, shape = _form(observation)
        console.print(text(key, "bold"))
        layer = f", layer {observation.layer}" if observation.layer else ""
        console.print(text(f"  phase {observation.phase}, step {observation.step}{layer}: {dtype} {shape}".rstrip()))
        _print_value(console, trace.header.precision, observation)
        if trace.twin is not None and key in trace.twin:
            _print_value(console, trace.twin.header.precision, trace.twin[key])


def print_pair(console: Console, target: Trace, reference: Trace, pattern: str = "*") -> None:
    """Print two traces of a case side by side, and the verdict on each observation.

    Raises:
        TraceError: the traces are not of one case, or no key matches.
    """
    cases = target.header.case, reference.header.case
    if cases[0] != cases[1]:
        raise TraceError(f"The traces are of two cases, {cases[0]!r} and {cases[1]!r}. Name two traces of one.")
    wanted = set(_matching([target, reference], pattern))
    names = target.header.target, reference.header.target
    console.print(text(f"{target.header.case}: {names[0]} against {names[1]}", "bold"))
    shown = table("observation", *names, "verdict", "distance", "explained")
    findings, parted = all_findings(target, reference)
    for key, finding in findings.items():
        if finding is not None and key in wanted:
            wanted.remove(key)
            shown.add_row(*judged_row(finding, target, reference))
    console.print(shown)
    if parted is not None:
        console.print(text(f"Training parted after step {parted}: what differs later is not compared."))
    if wanted:
        console.print(text(f"{len(wanted)} observations could not be compared."))


def _print_header(console: Console, trace: Trace) -> None:
    header = trace.header
    console.print(text(f"{header.case} on {header.target}, {header.precision}: {header.status}", "bold"))
    if header.error:
        console.print(text("\n".join(f"  {line}" for line in header.error.splitlines())))
    facts = {
        "made with": ", ".join(f"{name} {version}" for name, version in versions_of(header.environment).items()),
        "device": header.environment.get("device", "unknown"),
        "seconds": f"{header.seconds:.2f}",
        "seed": header.seed,
        "float64": "none" if trace.twin is None else f"{trace.twin.header.status}, {len(trace.twin)} observations",
        "harness": trace.harness,
    }
    if header.tags:
        facts["tags"] = ", ".join(header.tags)
    for name, fact in facts.items():
        console.print(text(f"  {name:<10}{fact}"))
    for note in header.notes:
        console.print(text(f"  not recorded: {note.part}: {note.reason}"))


def _print_value(console: Console, precision: str, observation: Observation) -> None:
    console.print(text(f"  {precision}: {_summary(observation)}"))
    if observation.is_array and observation.array.size > 1:
        shown = np.array2string(observation.array, threshold=MOST_ELEMENTS, max_line_width=console.width - 4)
        console.print(text("\n".join(f"    {line}" for line in shown.splitlines())))


def judged_row(finding: Finding, target: Trace, reference: Trace) -> list[Text]:
    """A row about an observation of both sides: its values, the verdict, and the distance beside what is explained."""
    judgement, key = finding.judgement, finding.key
    values = [_summary(trace[key]) if key in trace else "-" for trace in (target, reference)]
    measured = ["" if value is None else f"{value:.1e}" for value in (judgement.distance, judgement.explained)]
    verdict = str(judgement.verdict)
    return [text(key), *map(text, values), text(verdict, STYLES[verdict]), *map(text, measured)]


def _matching(traces: Sequence[Trace], pattern: str) -> list[str]:
    keys = dict.fromkeys(key for trace in traces for key in trace.keys)
    found = [key for key in keys if matches(pattern, key)]
    if not found:
        raise TraceError(f"--key {pattern!r} matches no observation here. `harness show TRACE` lists them all.")
    return found


def table(first: str, *others: str) -> Table:
    """An empty table, a column for what is looked at and one for each of the others."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column(first, overflow="fold")
    for name in others:
        made.add_column(text(name), overflow="fold")
    return made


def _form(observation: Observation) -> tuple[str, str]:
    """The dtype and the shape, as text."""
    shape = " x ".join(str(n) for n in observation.array.shape) if observation.is_array else ""
    return observation.dtype or "plain", shape


def _summary(observation: Observation) -> str:
    if not observation.is_array:
        shown = repr(observation.value)
        return shown if len(shown) <= 60 else f"{shown[:57]}..."
    array: Array = observation.array
    if array.size == 1:
        return f"{array.reshape(-1)[0]!s}"
    if not array.size:
        return "empty"
    if array.dtype.kind not in "fV":
        return f"{array.reshape(-1)[0]!s} ... {array.reshape(-1)[-1]!s}"
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    lost = f", {wide.size - finite.size} not finite" if finite.size < wide.size else ""
    return f"rms {rms(array):.6g}, from {finite.min():.6g} to {finite.max():.6g}{lost}" if finite.size else lost[2:]
