"""Text that means harm, in every place of a result that is free text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.plain import from_plain
from harness.result.run_folder import RunFolder
from harness.result.schema import ResultJson

#: What has a fixed set of words.
_FIXED = {"verdict", "unexpected", "outcome", "status", "phase", "fail_on", "precision", "randomness"}
#: Objects whose keys are free text as well.
_OPEN = {"counts", "bases", "environment", "versions", "threads"}

SAMPLES = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "</pre></code></td></table>\n\n# heading\n\n![x](http://example.org/x.png)",
    "`a` **b** [c](javascript:alert(1)) @someone #1 a@example.org www.example.org :smile: | x | y |",
    "{{ 7 * 7 }} {% raw %} ${7*7} <!-- ]]> <![CDATA[ &amp; &#10;",
    "\x1b[31mred\x1b]0;title\x07\x00\x9b\r\n\u2028\u202e\ud800\ufffe",
    "::error::x\n::set-output name=a::b%0A%25,file=c",
    "[bold red]x[/] \\[x] C:\\x 'quoted' \"double\"",
]
#: Any text, more of it such as may do harm.
texts = st.text(max_size=40) | st.text(alphabet="<>&\"'`|%:,\n\r\x1b[]/!-", max_size=20)


def anything(test: Any) -> Any:
    """Run a test with every sample as its `text`, and with text that hypothesis makes up."""
    for sample in SAMPLES:
        test = example(text=sample)(test)
    limits = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    return limits(given(text=texts)(test))


def poisoned(run: RunFolder, text: str) -> RunFolder:
    """The same run with a text before every free text of its result, so that equal texts stay equal."""
    result: Any = _poisoned(run.result, text)
    return replace(run, result=from_plain(result, ResultJson), shown=text + run.shown)


def _poisoned(value: Any, text: str, name: str = "") -> Any:
    if isinstance(value, dict):
        before = text if name in _OPEN else ""
        return {before + key: _poisoned(item, text, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_poisoned(item, text, name) for item in value]
    return text + value if isinstance(value, str) and name not in _FIXED else value
