"""The summary in Markdown, read by a parser of CommonMark and one of HTML."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import hostile
import pytest
from markdown_it import MarkdownIt

from harness.errors import printable
from harness.report.markdown import LIMIT, summary
from harness.result.run_folder import RunFolder

TAGS = {"p", "code", "table", "tr", "th", "td", "details", "summary", "pre"}


class Reader(HTMLParser):
    """Collects the text of each element, and sees that all of them are ours and have no attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        assert tag in TAGS
        assert attributes == []
        self.stack.append(tag)
        if tag in ("code", "pre"):
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] in ("code", "pre"):
            tag, before = self.texts[-1]
            self.texts[-1] = (tag, before + data)

    def handle_comment(self, data: str) -> None:
        pytest.fail(f"a comment: {data}")


def read(text: str) -> Reader:
    """What is in a summary, of which Markdown itself may see but our heading, blocks of HTML, and our last line."""
    tokens = MarkdownIt("commonmark").parse(text)
    assert {token.type for token in tokens} <= {
        *("heading_open", "inline", "heading_close", "html_block", "paragraph_open", "paragraph_close")
    }
    inline = [token.content for token in tokens if token.type == "inline"]
    assert inline[0] == "harness"
    assert all(content.startswith("For want of room") for content in inline[1:])
    reader = Reader()
    reader.feed("".join(token.content for token in tokens if token.type == "html_block"))
    assert reader.stack == []
    return reader


def test_the_sum_and_every_case_and_what_fails_are_in_it_worst_first(run: RunFolder) -> None:
    read_texts = read(summary(run)).texts
    texts = [text for _, text in read_texts]
    assert texts[0] == "6 cases on torch, tensorflow, jax: 2 differ, 2 failed to run, 1 differ as declared, 1 agree."
    ids = {case["id"] for case in run.result["cases"]}
    assert [text for kind, text in read_texts if kind == "code" and text in ids] == [
        "cases/a.py::differs[1]",
        "cases/b.py::events",
        "cases/b.py::fails",
        "cases/c.py::reference_fails",
        "cases/b.py::declared",
        "cases/a.py::agrees",
    ]
    assert any(text.startswith("jax: 'model/smooth/output' in the forward pass differs: ") for text in texts)
    assert f"harness show {run.shown} 'differs[1]' jax" in texts


@pytest.mark.parametrize("limit", [LIMIT, 6_000])
def test_a_large_run_stays_within_the_limit_and_says_what_is_left_out(run: RunFolder, limit: int) -> None:
    cases = [{**run.result["cases"][1], "id": f"cases/a.py::differs[{number}]"} for number in range(1_000)]
    text = summary(replace(run, result={**run.result, "cases": cases}), limit)
    assert limit / 2 < len(text) <= limit
    shown = {text for _, text in read(text).texts} & {case["id"] for case in cases}
    assert f"For want of room {1_000 - len(shown)} cases and " in text


@hostile.anything
def test_hostile_text_stays_text(run: RunFolder, text: str) -> None:
    expected = [kind for kind, _ in read(summary(run)).texts]
    texts = read(summary(hostile.poisoned(run, text))).texts
    assert [kind for kind, _ in texts] == expected
    assert printable(text) + "cases/a.py::agrees" in [text for _, text in texts]
