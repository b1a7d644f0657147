"""The terminal: what is said of a run, on terminals of all kinds and on none."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile
import pytest
from rich.console import Console
from synthetic import Case, write_run

from harness.errors import printable
from harness.report.console import Detail, Live, print_result
from harness.result.judgement import Judgement, Missing
from harness.result.model import Blame, CaseResult, Comparison, Finding
from harness.result.run_folder import RunFolder
from harness.verdict import Verdict

FAILING = """\
jax: 'model/smooth/output' in the forward pass differs: 1.6e-02 off, where rounding explains 1.4e-06
  who     only jax differs; torch and tensorflow agree
  how big the float64 runs differ by 1.6e-02, and rounding of float32 explains 1.4e-06; \
allclose would want rtol=1.0e-02 or atol=9.9e-03
  what    1.00411999 on jax against 0.994178295 on torch in float32, in all 32 elements
  where   starts in phase forward, step 0, layer smooth
  at      forward/0/model/smooth/output
  verdict divergent, of 46 observations: 1 identical, 7 rounding, 38 divergent; 37 more differ, and may inherit it
  case    cases/a.py::differs[1]
  next    harness show {run} 'differs[1]' jax
"""


def failing(run: RunFolder) -> str:
    """The block of the case that differs."""
    return FAILING.format(run=run.shown)


def printed(run: RunFolder, detail: Detail = Detail.NORMAL, **options: Any) -> str:
    """What is printed of a run, on a console of that kind."""
    console = Console(**{"file": io.StringIO(), "width": 1000, "color_system": None, **options})
    print_result(console, run, "run/result.json", detail)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_failure_reads_like_a_compilers_error(run: RunFolder) -> None:
    assert f"\n{failing(run)}\n" in printed(run)


def test_a_case_that_failed_to_run_says_how_and_where_its_output_is(run: RunFolder) -> None:
    block = printed(run).partition("cases/c.py::reference_fails on torch: error\n")[2].partition("\n\n")[0]
    what, there, output = block.splitlines()
    assert (what, there) == ("  what    ValueError: no", "            at cases/c.py:3, in f")
    assert output.split()[1] == f"{run.shown}/{run.result['cases'][5]['runs'][0]['trace']}/output.txt"


def test_what_stands_in_for_a_reference_that_failed_is_said(run: RunFolder) -> None:
    text = printed(run)
    (row,) = [line for line in text.splitlines() if line.startswith("cases/c.py::reference_fails  ")]
    assert "error on torch, reference instead" in row
    assert "rounding, against tensorflow" in row
    assert (
        "cases/c.py::reference_fails on jax: compared with tensorflow, because the reference torch has failed" in text
    )


def test_what_agrees_is_said_in_the_table_alone_and_its_details_when_asked(run: RunFolder) -> None:
    quiet, normal, verbose = (printed(run, detail) for detail in Detail)
    assert [text.count("cases/a.py::agrees") for text in (quiet, normal)] == [0, 1]
    assert [("it is so" in text, "not recorded or not compared" in text) for text in (quiet, normal)] == [
        (False, False),
        (True, True),
    ]
    assert all(failing(run) in text for text in (quiet, normal, verbose))
    assert "1 identical, 7 rounding, 38 divergent; judged 45 by float64 runs, 1 by exact" in verbose
    assert "  torch: ok in 2.5 s, keras 3.15.1, torch 2.13.0, numpy 2.4.6" in verbose


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_wraps_and_loses_nothing(run: RunFolder, width: int) -> None:
    text = printed(run, width=width)
    lines = [line for line in text.splitlines() if not line.startswith("  next")]
    assert max(map(len, lines)) <= max(width, 30)
    assert "".join(failing(run).split()) in "".join(text.split())


def test_colour_is_for_terminals_that_have_it(run: RunFolder) -> None:
    assert "\x1b[" in printed(run, force_terminal=True, color_system="standard", legacy_windows=False)
    assert "\x1b" not in printed(run)


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252", "utf-8"])
def test_a_code_page_that_lacks_a_character_spells_it_out(tmp_path: Path, encoding: str) -> None:
    write_run(tmp_path / "run", [Case("cases/ä☃.py::x", wrong={"jax": "loss/0/loss"})])
    process = subprocess.run(
        [sys.executable, "-m", "harness", "show", str(tmp_path / "run")],
        env={**{k: v for k, v in os.environ.items() if k != "COLUMNS"}, "PYTHONIOENCODING": encoding, "NO_COLOR": "1"},
        capture_output=True,
    )
    assert process.stderr == b""
    shown = "  case    cases/ä☃.py::x".encode(encoding, "backslashreplace")
    assert shown in process.stdout.splitlines()
    (line,) = [line for line in process.stdout.splitlines() if line.startswith(b"  how big")]
    assert b"atol=" in line  # in a file nothing is wrapped


def test_progress_says_what_runs_and_how_much_is_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None, legacy_windows=False)
    with Live(console) as live:
        live.planned([SimpleNamespace()] * 3, [])  # type: ignore[list-item]
        live.scheduled(12)
        live.started("cases/a.py::x", "jax", "float64")
        live._progress.refresh()
        first = console.file.getvalue()  # type: ignore[attr-defined]
        live.ended("cases/a.py::x", "jax", "float64")
        live.judged(CaseResult("cases/a.py::x", "agree", [], []))
        assert live._progress.tasks[0].percentage == pytest.approx(100 / 12)
    assert "0/3 cases" in first
    assert "elapsed" in first
    assert "remaining x on jax float64" in first
    assert "1/3 cases" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_search_has_a_bar_of_its_own_and_no_time_is_promised_for_it() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None, legacy_windows=False)

    def shown() -> list[str]:
        at = console.file.tell()
        live._progress.refresh()
        console.file.seek(at)
        return [line for line in console.file.read().splitlines() if "elapsed" in line]

    with Live(console) as live:
        live.planned([SimpleNamespace()] * 2, [])  # type: ignore[list-item]
        live.scheduled(2)
        live.started("cases/a.py::x", "jax", "float32")
        live.ended("cases/a.py::x", "jax", "float32")
        live.blaming("cases/a.py::x", "jax")
        live.started("cases/a.py::y", "jax", "float32")
        runs, search = shown()
        assert "remaining" in runs
        assert "y on jax float32" in runs
        assert "remaining" not in search
        assert search.split("blaming")[1].split()[-3:] == ["x", "on", "jax"]
        live.ended("cases/a.py::y", "jax", "float32")
        runs, search = shown()
        assert "remaining" not in runs + search  # nothing is left to run, and it has not ended
        live.scheduled(1)  # a further run of what ended last
        runs, search = shown()
        assert "remaining" in runs
        assert "0:00:00 remaining" not in runs
        live.blaming("cases/a.py::x", "tensorflow")
        assert "x on tensorflow" in shown()[1]
        live.examined(CaseResult("cases/a.py::x", "differ", [], []))
        assert len(shown()) == 1


@pytest.mark.parametrize(("detail", "said"), [(Detail.NORMAL, ["a", "b"]), (Detail.QUIET, ["b"])])
def test_in_a_log_each_case_that_is_done_has_a_line(detail: Detail, said: list[str]) -> None:
    console = Console(file=io.StringIO(), width=120)
    with Live(console, detail) as live:
        live.planned([SimpleNamespace()] * 2, [])  # type: ignore[list-item]
        live.judged(CaseResult("a", "agree", [], []))
        live.judged(CaseResult("b", "differ", [], []))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[1] for line in lines] == said


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_finding_is_told_when_it_is_judged_and_whose_it_is_when_that_is_known(is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=200, color_system=None)
    judgement = Judgement(Verdict.MISMATCH, "exact", cause=Missing(on_target=True))
    finding = Finding("loss/0/loss", "loss", "loss", 0, None, judgement)
    found = Comparison("jax", "torch", Verdict.MISMATCH, unexpected=Verdict.MISMATCH, first=finding)
    result = CaseResult("cases/a.py::x", "differ", [], [found])
    blame = Blame("jax", "dense", None, None, "loss", 0, True, "introduced in layer 'dense'")
    with Live(console, Detail.QUIET) as live:
        live.planned([SimpleNamespace()] * 2, [])  # type: ignore[list-item]
        live.judged(result)
        judged = console.file.getvalue()  # type: ignore[attr-defined]
        live.examined(replace(result, comparisons=[replace(found, blame=blame)]))
    assert "[1/2] cases/a.py::x differ" in judged
    assert "jax: mismatch at loss/0/loss: it was not recorded" in judged
    assert "cases/a.py::x, jax: introduced in layer 'dense'" in console.file.getvalue()  # type: ignore[attr-defined]


@hostile.anything
def test_hostile_text_stays_text(run: RunFolder, text: str) -> None:
    for detail in Detail:
        shown = printed(hostile.poisoned(run, text), detail, width=100_000)
        assert [character for character in shown if not character.isprintable() and character != "\n"] == []
        flat = "".join(shown.split())
        assert "".join((printable(text) + "cases/a.py::differs[1]").split()) in flat
