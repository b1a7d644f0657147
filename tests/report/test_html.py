"""The page as a file: everything in it, nothing from outside, and no text of a case that is more than text."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import hostile
import pytest
from lxml import etree
from lxml import html as parser
from synthetic import Case, write_run

from harness.errors import printable
from harness.report import html
from harness.result.run_folder import RunFolder

TEMPLATES = resources.files("harness.report") / "templates"
#: `dist/echarts.min.js` of the package echarts 6.1.0 on npm.
ECHARTS = "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"


def tree(run: RunFolder, **options: Any) -> Any:
    return parser.document_fromstring(html.page(run, **options).decode("utf-8"))


def embedded(page: Any) -> Any:
    (element,) = page.xpath("//script[@type='application/json']")
    return json.loads(element.text)


def article(page: Any, case: str) -> Any:
    (link,) = page.xpath("//table[@id='cases']//a[text()=$id]", id=case)
    (found,) = page.xpath("//article[@id=$id]", id=link.get("href")[1:])
    return found


def test_the_chart_library_is_the_pinned_release_with_its_licence() -> None:
    script = (TEMPLATES / "echarts" / "echarts.min.js").read_bytes()
    assert hashlib.sha256(script).hexdigest() == ECHARTS
    assert b"Licensed to the Apache Software Foundation" in script[:200]
    assert "Apache License" in (TEMPLATES / "echarts" / "LICENSE").read_text(encoding="utf-8")
    assert "Apache ECharts" in (TEMPLATES / "echarts" / "NOTICE").read_text(encoding="utf-8")


def test_nothing_comes_from_outside_and_only_our_own_script_and_style_are_allowed(run: RunFolder) -> None:
    page = tree(run)
    assert page.xpath("//@src | //link | //style[@src] | //img | //iframe | //object | //base | //@style") == []
    assert [href for href in page.xpath("//@href") if not href.startswith("#")] == []
    (policy,) = page.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    texts = [element.text for element in page.xpath("//script[not(@type)] | //style")]
    digests = {f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts}
    assert set(re.findall(r"'sha256-[^']+'", policy)) == digests
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_there_is_a_row_and_a_page_for_every_case_worst_first(run: RunFolder) -> None:
    page = tree(run)
    rows = [[cell.text_content() for cell in row] for row in page.xpath("//table[@id='cases']/tbody/tr")]
    assert rows == [
        ["cases/a.py::differs[1]", "reference", "rounding", "divergent"],
        ["cases/b.py::events", "reference", "mismatch", "rounding"],
        ["cases/b.py::fails", "reference", "rounding", "crashed"],
        ["cases/c.py::reference_fails", "error", "error on torch, reference instead", "rounding, against tensorflow"],
        ["cases/b.py::declared", "reference", "rounding", "divergent, known"],
        ["cases/a.py::agrees", "reference", "rounding", "rounding"],
    ]
    assert [title.text for title in page.xpath("//article/h1")] == [row[0] for row in rows]
    assert len(embedded(page)["cases"]) == len(rows)


def test_a_finding_is_told_with_what_to_type_next(run: RunFolder) -> None:
    text = article(tree(run), "cases/a.py::differs[1]").text_content()
    for words in ("layer smooth", "rounding of float32 explains", "only jax differs", "harness show"):
        assert words in text


def test_events_that_differ_stand_side_by_side_and_others_are_counted(run: RunFolder) -> None:
    page = tree(run)
    (around, counts) = article(page, "cases/b.py::events").xpath(".//table[@class='sides']")
    first = [cell.text for cell in around.xpath(".//tr[@class='differs']")[0]]
    assert first == ["1", "on_train_batch_begin 0", "on_train_end (loss)", "on_train_batch_begin 0"]
    assert [cell.text for cell in counts.xpath(".//tr")[2]] == ["on_train_batch_begin", "4", "0", "4"]
    (counts,) = article(page, "cases/a.py::agrees").xpath(".//table[@class='sides']")
    assert counts.xpath(".//tr[@class='differs']") == []


def test_environments_that_differ_in_every_case_are_told_once(run: RunFolder) -> None:
    page = tree(run)
    (table,) = page.xpath("//section[@id='overview']//table[@class='sides']")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.xpath(".//tbody/tr")}
    assert rows["backend"] == ["torch", "tensorflow", "jax"]
    assert rows["versions.jax"] == ["-", "-", "0.10.2"]
    assert "versions.keras" not in rows
    assert not page.xpath("//article//h2[text()='Environments']")


def test_an_environment_that_differs_in_one_case_is_told_there(run: RunFolder) -> None:
    case = json.loads(json.dumps(run.result["cases"][0]))
    case["runs"][2]["environment"]["threads"]["intra_op"] = 7
    cases = [case, *run.result["cases"][1:]]
    page = tree(replace(run, result={**run.result, "cases": cases}))
    (row,) = article(page, "cases/a.py::agrees").xpath(".//tr[th[text()='threads.intra_op']]")
    assert [cell.text for cell in row[1:]] == ["1", "1", "7"]


def with_blame(run: RunFolder, repro: str) -> RunFolder:
    blame = {"target": "jax", "layer": "head", "part": "model/head", "op": None, "phase": "forward", "step": 0}
    blame |= {"confirmed": True, "text": "introduced there", "repro": repro, "nondeterministic": []}
    result = json.loads(json.dumps(run.result))
    result["cases"][1]["comparisons"][1]["blame"] = blame
    return replace(run, result=result)


def test_a_reproducer_is_shown_with_the_layer_to_blame(tmp_path: Path) -> None:
    run = RunFolder.open(write_run(tmp_path / "run", [Case("a"), Case("b", wrong={"jax": "loss/0/loss"})]))
    (run.path / "blame").mkdir()
    (run.path / "blame" / "repro.py").write_text("print('<b>')\n", encoding="utf-8")
    page = tree(with_blame(run, "blame/repro.py"))
    (script,) = article(page, "b").xpath(".//pre")
    assert script.text == "print('<b>')\n"
    assert "python " in article(page, "b").text_content()
    assert embedded(page)["blamed"] == [["head"], []]


@pytest.mark.parametrize("kind", ["above", "absolute", "link", "another", "folder", "null", "gone"])
def test_a_script_that_is_no_file_of_the_run_is_not_read(tmp_path: Path, kind: str) -> None:
    run = RunFolder.open(write_run(tmp_path / "run", [Case("a"), Case("b", wrong={"jax": "loss/0/loss"})]))
    secret = tmp_path / "secret.py"
    secret.write_text("the secret", encoding="utf-8")
    (run.path / "link.py").symlink_to(secret)
    (run.path / "notes.txt").write_text("the secret", encoding="utf-8")
    (run.path / "folder.py").mkdir()
    path = {"above": "../secret.py", "absolute": str(secret), "link": "link.py", "another": "notes.txt"}
    path |= {"folder": "folder.py", "null": "a\0.py", "gone": "gone.py"}
    page = html.page(with_blame(run, path[kind])).decode("utf-8")
    assert "the secret" not in page
    assert "Reproducer" not in page


def test_a_trace_that_cannot_be_read_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    run = RunFolder.open(write_run(tmp_path / "run", [Case("a"), Case("b")]))
    (run.path / run.result["cases"][0]["runs"][2]["trace"] / "trace.json").unlink()
    run.result["cases"][1]["runs"][1]["trace"] = run.result["cases"][1]["runs"][0]["trace"]
    page = tree(run)
    assert "jax: nothing can be drawn of it" in article(page, "a").text_content()
    assert "it is the trace of b on torch" in article(page, "b").text_content()
    assert [[item["target"] for item in case["maps"]] for case in embedded(page)["cases"]] == [["tensorflow"], ["jax"]]


@pytest.mark.parametrize("budget", [100_000, 12_000, 3_000, 100])
def test_a_page_stays_within_its_budget_and_those_that_differ_get_most_of_it(tmp_path: Path, budget: int) -> None:
    cases = [Case(f"case {n}", steps=60, wrong={"jax": "log/30/batch/loss"} if n == 3 else {}) for n in range(6)]
    data = embedded(tree(RunFolder.open(write_run(tmp_path / "run", cases)), budget=budget))["cases"]
    sizes = [0 if case is None else len(json.dumps(case, separators=(",", ":"))) for case in data]
    assert sum(sizes) <= budget
    assert max(sizes) == sizes[0]
    if budget == 100:
        assert data == [None] * 6


@hostile.anything
def test_hostile_text_stays_text(run: RunFolder, text: str) -> None:
    run = replace(run, path=Path("/nowhere"))
    page, clean = tree(hostile.poisoned(run, text)), tree(run)
    for each in (page, clean):
        for element in each.xpath("//script | //p[@class='note']"):
            element.text = ""
    assert [element.tag for element in page.iter(etree.Element)] == [
        element.tag for element in clean.iter(etree.Element)
    ]
    links = [link.text for link in page.xpath("//table[@id='cases']//a")]
    assert links[-1].split() == (printable(text) + "cases/a.py::agrees").split()


@hostile.anything
def test_hostile_text_in_traces_stays_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    name = text.encode("utf-8", "replace").decode().replace("/", "|") + "layer"
    events = {"jax": [[text, 1, [text]], text]}
    case = Case(text, layers=[name], status={"tensorflow": ("error", text)}, tags=[text], events=events)
    page = tree(RunFolder.open(write_run(folder, [case])))
    assert len(page.xpath("//script")) == 3
    (path, _, _) = embedded(page)["cases"][0]["graph"]["layers"][0]
    assert path == f"model/{printable(name)}"
    (data,) = page.xpath("//script[@type='application/json']/text()")
    assert not set("<>&") & set(data)
