"""How large the page of a large run is, how long it takes to make, and how long a browser takes to open it.

    python benchmarks/reports.py [--cases N] [--targets N] [--steps N] [--out DIR]

The run is synthetic: traces like those of trainings, of twenty cases, two of them with a difference, and copies of
these cases under other names. This needs Playwright and an installed Chromium.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "report")]

from synthetic import Case, write_run  # noqa: E402

from harness.report import html, junit, markdown, table, tensorboard  # noqa: E402
from harness.result.file import FILE  # noqa: E402
from harness.result.run_folder import RunFolder  # noqa: E402
from harness.trace import INDEX  # noqa: E402

TARGETS = ("torch", "tensorflow", "jax", "torch:cpu", "jax:cpu")
#: Cases that are not copies of others.
DISTINCT = 20
LAYERS = ("stem", "first", "second", "third", "head")
#: Evaluated in the page: milliseconds from the start of navigation until it is loaded, and bytes of the heap.
LOADED = "() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
HEAP = "() => performance.memory.usedJSHeapSize"
#: Milliseconds from the click on the first case to the frame after its charts are there.
OPENED = """() => new Promise(resolve => {
  const start = performance.now();
  const drawn = () => requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
  addEventListener("hashchange", drawn);
  location.hash = "#case-0";
})"""
FILTERED = """() => {
  const start = performance.now();
  const text = document.getElementById("text");
  text.value = "7";
  text.dispatchEvent(new Event("input", { bubbles: true }));
  document.body.getBoundingClientRect();
  return performance.now() - start;
}"""


@click.command()
@click.option("--cases", default=500, show_default=True)
@click.option("--targets", default=4, show_default=True, type=click.IntRange(2, len(TARGETS)))
@click.option("--steps", default=200, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the run here, or take it from here.")
def main(cases: int, targets: int, steps: int, out: Path | None) -> None:
    folder = out or Path(tempfile.mkdtemp())
    try:
        if not (folder / "result.json").exists():
            timed("traces, written and judged", lambda: _invent(folder, cases, TARGETS[:targets], steps))
        run = RunFolder.open(folder)
        observations = sum(item["observations"] for case in run.result["cases"] for item in case["comparisons"])
        print(f"{len(run.result['cases'])} cases, {len(run.result['targets'])} targets, {observations} comparisons")
        page = folder / "report.html"
        page.write_bytes(timed("page", lambda: html.page(run)))
        print(f"{'page':<30}{page.stat().st_size / 1e6:8.2f} MB")
        _browse(page)
        timed("JUnit XML", lambda: junit.document(run))
        timed("Markdown", lambda: markdown.summary(run))
        timed("event files", lambda: tensorboard.write(run, folder / "events"))
        timed("CSV", lambda: table.write_csv(run, folder / "table.csv"))
    finally:
        if out is None:
            shutil.rmtree(folder)


def _invent(folder: Path, count: int, targets: Sequence[str], steps: int) -> None:
    """Write a run of `count` cases. All but the first `DISTINCT` are copies of those under other names."""
    distinct = [_case(number, steps) for number in range(min(count, DISTINCT))]
    write_run(folder, distinct, targets)
    result = json.loads((folder / FILE).read_text(encoding="utf-8"))
    originals = list(result["cases"])
    for number in range(DISTINCT, count):
        original = originals[number % DISTINCT]
        renamed = _name(number)
        text = json.dumps(original).replace(json.dumps(original["id"]), json.dumps(renamed))
        copied = json.loads(text)
        for run in copied["runs"]:
            place = f"{run['trace']}-{number}"
            shutil.copytree(folder / run["trace"], folder / place)
            for index in (folder / place).rglob(INDEX):
                text = index.read_text(encoding="utf-8")
                index.write_text(text.replace(json.dumps(original["id"]), json.dumps(renamed)), encoding="utf-8")
            run["trace"] = place
        result["cases"].append(copied)
    (folder / FILE).write_text(json.dumps(result), encoding="utf-8")


def _case(number: int, steps: int) -> Case:
    wrong = {"jax": f"forward/0/model/{LAYERS[number % 5]}/output"} if number % 10 == 0 else {}
    return Case(_name(number), wrong, steps, LAYERS, tags=[f"tag{number % 7}"])


def _name(number: int) -> str:
    return f"cases/file_{number // DISTINCT}.py::case[{number}]"


def timed(what: str, make: Any) -> Any:
    """Call `make`, and print how many seconds it took, and how many seconds of CPU time. Returns what it made."""
    started, worked = time.perf_counter(), time.process_time()
    made = make()
    spent = time.process_time() - worked
    print(f"{what:<30}{time.perf_counter() - started:8.2f} s, {spent:.2f} s of a processor", flush=True)
    return made


def _browse(page: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("google-chrome"))
        tab = browser.new_page(reduced_motion="reduce")
        tab.goto(page.as_uri())
        print(f"{'loaded':<30}{tab.evaluate(LOADED) / 1e3:8.2f} s")
        print(f"{'filtered':<30}{tab.evaluate(FILTERED) / 1e3:8.2f} s")
        print(f"{'a case opened':<30}{tab.evaluate(OPENED) / 1e3:8.2f} s")
        print(f"{'heap':<30}{tab.evaluate(HEAP) / 1e6:8.2f} MB")
        browser.close()


if __name__ == "__main__":
    main()
