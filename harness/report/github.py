"""GitHub Actions: the summary of a step, and annotations of what fails."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import HarnessError, printable
from harness.report import words
from harness.report.blocks import Block, plain
from harness.report.blocks import failures as failing
from harness.report.markdown import summary
from harness.result.outcome import FAILING
from harness.result.run_folder import RunFolder

VARIABLE = "GITHUB_STEP_SUMMARY"
#: How many errors of a step GitHub shows. It drops the others without saying so.
MOST = 10


def append_summary(run: RunFolder, environment: Mapping[str, str] = os.environ) -> None:
    """Append the summary in Markdown to the file that GitHub shows.

    Raises:
        HarnessError: the environment names no file.
    """
    file = environment.get(VARIABLE)
    if not file:
        raise HarnessError(f"--github needs the file that {VARIABLE} names, and it is not set. GitHub Actions sets it.")
    with Path(file).open("a", encoding="utf-8") as stream:
        stream.write(summary(run))


def failures(run: RunFolder) -> list[str]:
    """A workflow command for each cause by which cases fail, and for a run that did not come to its end.

    It points at the line of what is to be opened, if that is a file here, and else at the file of the case.
    If GitHub would not show them all, the last says how many more there are.
    """
    commands = [_error(sentence, title="harness") for sentence in words.unfinished(run.result)]
    together: dict[tuple[str, int], list[Block]] = {}
    for number, block in enumerate(failing(run, run.result["cases"])):
        # Runs that failed have one for each case; each cause has its own.
        together.setdefault((block.cases[0], number if block.kind in words.MEANINGS else -1), []).append(block)
    for (of_case, _), blocks in together.items():
        message, title = "\n\n".join(map(plain, blocks)), "; ".join(block.title for block in blocks)
        commands.append(_error(message, **_at(blocks, of_case), title=title))
    told = {case for blocks in together.values() for block in blocks for case in block.cases}
    for case in run.result["cases"]:
        if case["outcome"] in FAILING and case["id"] not in told:
            title = f"{case['id']}: {case['outcome']}"
            commands.append(_error(title, file=case["id"].partition("::")[0], title=title))
    if len(commands) > MOST:
        beyond = len(commands) - (MOST - 1)
        rest = _error(f"{beyond} more failures: the summary of this step has them.", title="harness")
        commands[MOST - 1 :] = [rest]
    return commands


def _at(blocks: Sequence[Block], of_case: str) -> dict[str, str]:
    """Where an annotation points. A result may be a stranger's, so only files below the current folder are named."""
    for file, line in (block.place for block in blocks if block.place is not None):
        if Path(file).is_file() and Path(file).resolve().is_relative_to(Path.cwd()):
            return {"file": file, "line": line}
    return {"file": of_case.partition("::")[0]}


def _error(message: str, **properties: str) -> str:
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::error {listed}::{_data(message)}"


def _data(text: str) -> str:
    """Text, escaped as the runner unescapes it (`toCommandValue` of @actions/core)."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
