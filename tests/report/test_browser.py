"""The page in a real browser: headless Chromium, from disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from synthetic import Case, write_run

from harness.report import html
from harness.result.run_folder import RunFolder

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


class Visit:
    """A page that was opened from disk, and whatever went wrong on it."""

    def __init__(self, browser: Browser, file: Path, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1100, "height": 800}, reduced_motion="reduce", **options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.file = file
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on(
            "request", lambda request: self.wrong.append(request.url) if self.is_foreign(request.url) else None
        )
        self.page.goto(file.as_uri())

    def is_foreign(self, url: str) -> bool:
        return url.partition("#")[0] != self.file.as_uri()

    def cases(self) -> list[str]:
        """The cases that are shown."""
        return self.page.locator("#cases tbody tr:visible th").all_inner_texts()

    def open(self, case: str) -> None:
        self.page.locator("#cases").get_by_role("link", name=case, exact=True).click()

    def option(self, chart: str) -> Any:
        """What a chart was given to draw."""
        script = "box => echarts.getInstanceByDom(box).getOption()"
        return self.page.locator(f'[data-chart="{chart}"]').evaluate(script)

    def charts(self) -> list[str]:
        return self.page.eval_on_selector_all("[data-chart]", "found => found.map(one => one.dataset.chart)")


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(html.page(RunFolder.open(folder)))
    return path


@pytest.fixture
def visit(browser: Browser, file: Path) -> Iterator[Visit]:
    """The page of the invented run. Nothing may go wrong on it, whatever a test does."""
    visit = Visit(browser, file)
    yield visit
    visit.context.close()
    assert visit.wrong == []


def test_all_cases_are_there_and_charts_are_not_made_before_a_case_is_opened(visit: Visit) -> None:
    assert len(visit.cases()) == 6
    assert visit.page.get_by_role("status").inner_text() == "6 of 6 cases"
    assert visit.charts() == []
    assert visit.page.locator("article:visible").count() == 0


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"Text": "B.py event"}, ["cases/b.py::events"]),
        ({"Verdict": "divergent"}, ["cases/a.py::differs[1]"]),
        ({"Verdict": "known"}, ["cases/b.py::declared"]),
        ({"Verdict": "mismatch", "Target": "tensorflow"}, ["cases/b.py::events"]),
        ({"Verdict": "mismatch", "Target": "jax"}, []),
        ({"Tag": "slow"}, ["cases/a.py::differs[1]"]),
        ({"Tag": "quick", "Text": "differs"}, []),
    ],
)
def test_filters_leave_what_is_asked_for(visit: Visit, filters: dict[str, str], expected: list[str]) -> None:
    for label, value in filters.items():
        field = visit.page.get_by_label(label, exact=True)
        field.fill(value) if label == "Text" else field.select_option(value)
    assert visit.cases() == expected
    assert visit.page.get_by_role("status").inner_text() == f"{len(expected)} of 6 cases"


def test_the_filter_for_a_target_leaves_its_column(visit: Visit) -> None:
    visit.page.get_by_label("Target").select_option("jax")
    assert visit.page.locator("#cases th[scope=col]:visible").all_inner_texts() == ["case", "jax"]


def test_a_case_that_differs_opens_with_every_chart_and_as_many_points_as_it_has(visit: Visit) -> None:
    visit.open("cases/a.py::differs[1]")
    assert visit.page.locator("#overview").is_hidden()
    assert visit.page.get_by_text("only jax differs").is_visible()
    assert visit.charts() == [
        "The model's graph",
        "Curves of loss",
        "Curves of mae",
        "Divergence of jax",
        "Divergence of tensorflow",
        "Gradients by layer",
    ]
    lines = visit.option("Curves of loss")["series"]
    assert [line["name"] for line in lines] == ["torch", "tensorflow", "jax"]
    assert [len(line["data"]) for line in lines] == [12, 12, 12]
    measured, other = visit.option("Divergence of jax")["series"]
    assert len(measured["data"]) + len(other["data"]) == 46  # observations
    outlined = [cell for cell in measured["data"] if cell["itemStyle"].get("borderWidth")]
    assert len(outlined) == 38  # of them divergent
    assert all(cell["value"][2] > 0 for cell in outlined)
    (graph,) = visit.option("The model's graph")["series"]
    assert [len(graph["data"]), len(graph["links"])] == [3, 2]
    bars = visit.option("Gradients by layer")["series"]
    assert [len(bar["data"]) for bar in bars] == [3, 3, 3]


def test_charts_are_drawn_and_not_blank(visit: Visit) -> None:
    visit.open("cases/a.py::differs[1]")
    colours = visit.page.eval_on_selector_all(
        "[data-chart] canvas:first-of-type",
        """found => found.map(canvas => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return new Set(new Uint32Array(data.buffer)).size;
        })""",
    )
    assert len(colours) == 6
    assert min(colours) > 10


def test_every_chart_stays_in_its_place(visit: Visit) -> None:
    visit.open("cases/a.py::differs[1]")
    script = "all => all.map(one => [one.clientWidth, one.querySelector('canvas').clientWidth])"
    widths = visit.page.eval_on_selector_all("[data-chart]", script)
    assert [width for width, canvas in widths if width != canvas] == []


def test_a_chart_can_be_read_as_a_table(visit: Visit) -> None:
    visit.open("cases/a.py::differs[1]")
    figure = visit.page.locator("figure").filter(has_text="mae").first
    figure.get_by_text("As a table").click()
    assert figure.locator("thead th").all_inner_texts() == ["step", "torch", "tensorflow", "jax"]
    assert figure.locator("tbody tr").first.locator("td").all_inner_texts() == ["0", "1", "1", "1.01"]
    assert figure.locator("tbody tr").count() == 12


def test_everything_is_reached_by_keyboard_and_the_way_back_too(visit: Visit) -> None:
    keyboard, title = visit.page.keyboard, visit.page.locator("article:visible h1")
    keyboard.press("/")
    keyboard.type("b.py")
    assert len(visit.cases()) == 3
    keyboard.press("Enter")  # sends no form
    visit.page.get_by_label("Text").blur()
    for key, case in (("n", "cases/b.py::events"), ("n", "cases/b.py::fails"), ("p", "cases/b.py::events")):
        keyboard.press(key)
        assert title.inner_text() == case
    assert title.evaluate("title => title === document.activeElement")
    keyboard.press("Escape")
    assert visit.page.locator("#overview").is_visible()
    assert visit.charts() == []
    visit.page.go_back()
    assert title.inner_text() == "cases/b.py::events"


def test_a_reproducer_is_copied(browser: Browser, tmp_path: Path) -> None:
    run = RunFolder.open(write_run(tmp_path / "run", [Case("a", wrong={"jax": "loss/0/loss"})]))
    (run.path / "repro.py").write_text("print('<b>&')\n", encoding="utf-8")
    blame = {"target": "jax", "layer": None, "part": "loss", "op": None, "phase": "loss", "step": 0, "text": "there"}
    blame |= {"repro": "repro.py", "confirmed": True, "nondeterministic": []}
    run.result["cases"][0]["comparisons"][1]["blame"] = blame  # type: ignore[typeddict-item]
    (tmp_path / "page.html").write_bytes(html.page(run))
    visit = Visit(browser, tmp_path / "page.html", permissions=["clipboard-read", "clipboard-write"])
    visit.open("a")
    visit.page.get_by_role("button", name="Copy").click()
    visit.page.get_by_role("button", name="Copied").wait_for()
    assert visit.page.evaluate("navigator.clipboard.readText()") == "print('<b>&')\n"
    visit.context.close()
    assert visit.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(browser: Browser, file: Path, scheme: Any) -> None:
    """At least 4.5 to 1, as WCAG 2 asks for at level AA, computed by its formula."""
    visit = Visit(browser, file, color_scheme=scheme)
    names = ["--ink", "--soft", "--link", "--good", "--mild", "--bad", "--failed", "--known"]
    script = "names => names.map(name => getComputedStyle(document.documentElement).getPropertyValue(name))"
    colours = dict(zip(names, visit.page.evaluate(script, names), strict=True))
    grounds = visit.page.evaluate(script, ["--paper", "--shade"])
    ratios = {(name, ground): contrast(colour, ground) for name, colour in colours.items() for ground in grounds}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}
    assert (
        visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(17, 21, 26)",
        }[scheme]
    )
    visit.context.close()


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    digits = colour.strip().lstrip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_field_has_a_name_and_every_chart_words(visit: Visit) -> None:
    unnamed = "[...document.querySelectorAll('input, select')].filter(field => !field.labels.length).length"
    assert visit.page.evaluate(unnamed) == 0
    visit.open("cases/a.py::differs[1]")
    words = visit.page.eval_on_selector_all(
        "[data-chart]", "all => all.map(one => [one.role, one.ariaLabel.length > 40])"
    )
    assert {tuple(one) for one in words} <= {("img", True), ("img", False)}
    assert visit.page.locator("[data-chart]:not([aria-label])").count() == 0


def test_without_scripts_cases_still_open(browser: Browser, file: Path) -> None:
    visit = Visit(browser, file, java_script_enabled=False)
    visit.open("cases/a.py::differs[1]")
    assert visit.page.get_by_text("only jax differs").is_visible()
    assert visit.page.locator("#overview").is_hidden()
    visit.context.close()


@pytest.mark.parametrize("text", hostile.SAMPLES, ids=range(len(hostile.SAMPLES)))
def test_hostile_text_does_nothing(browser: Browser, tmp_path: Path, text: str) -> None:
    layer = text.encode("utf-8", "replace").decode().replace("/", "|")
    case = Case(text, layers=[layer, "x"], wrong={"jax": "loss/0/loss"}, tags=[text], events={"tensorflow": [text]})
    run = RunFolder.open(write_run(tmp_path / "run", [case, Case("b", status={"jax": ("error", text)})]))
    (tmp_path / "page.html").write_bytes(html.page(hostile.poisoned(run, "")))
    visit = Visit(browser, tmp_path / "page.html")
    for number in range(2):
        visit.page.goto(f"{visit.file.as_uri()}#case-{number}")
        assert visit.page.locator("article:visible").count() == 1
        assert visit.charts()
    visit.context.close()
    assert visit.wrong == []
