"""What the environment of a run holds, which may be a stranger's."""

from __future__ import annotations

from typing import Any

import pytest

from harness.result.environment import flattened, versions_of


@pytest.mark.parametrize(
    "environment", [{}, {"versions": None}, {"versions": ["keras"]}, {"versions": {"keras": None}}]
)
def test_an_environment_without_versions_has_none(environment: dict[str, Any]) -> None:
    assert versions_of(environment) == {}


def test_versions_are_text() -> None:
    assert versions_of({"versions": {"keras": "3.15.1", "other": 2}}) == {"keras": "3.15.1", "other": "2"}


def test_settings_have_dotted_names() -> None:
    settings = {"device": "cpu", "threads": {"intra_op": 1, "more": {"x": [1, 2]}}, "none": {}}
    assert dict(flattened(settings)) == {"device": "cpu", "threads.intra_op": 1, "threads.more.x": [1, 2]}
