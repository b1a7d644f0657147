"""How large the page of a large run is, how long it takes to make, and how long a browser takes to open it.

    python benchmarks/reports.py [--cases N] [--targets N] [--steps N] [--out DIR]

The run is invented: traces as trainings leave them, one case in ten with a difference. It needs Playwright, and a
Chromium that is installed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "report")]

from synthetic import Case, write_run  # noqa: E402

from harness.report import html, junit, markdown, table, tensorboard  # noqa: E402
from harness.report.run_folder import RunFolder  # noqa: E402

TARGETS = ("torch", "tensorflow", "jax", "torch:cpu", "jax:cpu")
LAYERS = ("stem", "first", "second", "third", "head")
#: In the page: from the start of navigation, in milliseconds, and bytes.
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
            invented = [_case(number, steps) for number in range(cases)]
            timed("traces, written and judged", lambda: write_run(folder, invented, TARGETS[:targets]))
        run = RunFolder.open(folder)
        observations = sum(item["observations"] for case in run.result["cases"] for item in case["comparisons"])
        print(f"{len(run.result['cases'])} cases, {len(run.result['targets'])} targets, {observations} comparisons")
        page = folder / "report.html"
        page.write_bytes(timed("page", lambda: html.page(run)))
        print(f"{'page':<30}{page.stat().st_size / 1e6:8.2f} MB")
        timed("JUnit XML", lambda: junit.document(run))
        print(f"{'Markdown':<30}{len(timed('Markdown', lambda: markdown.summary(run))) / 1e6:8.2f} MB")
        timed("event files", lambda: tensorboard.write(run, folder / "events"))
        timed("CSV", lambda: table.write_csv(run, folder / "table.csv"))
        _browse(page)
    finally:
        if out is None:
            shutil.rmtree(folder)


def _case(number: int, steps: int) -> Case:
    wrong = {"jax": f"forward/0/model/{LAYERS[number % 5]}/output"} if number % 10 == 0 else {}
    return Case(f"cases/file_{number // 20}.py::case[{number}]", wrong, steps, LAYERS, tags=[f"tag{number % 7}"])


def timed(what: str, make: Any) -> Any:
    started = time.perf_counter()
    made = make()
    print(f"{what:<30}{time.perf_counter() - started:8.2f} s", flush=True)
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
