"""The pytest plugin: cases as items, a fixture for ordinary tests, and existing suites on every backend.

It is loaded wherever pytest runs, so it imports nothing that it does not need at once, and says nothing in a project
that does not use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.pytest_plugin import settings

if TYPE_CHECKING:
    from harness.worker.capture.parity import Parity
    from harness.worker.suite import Suite

#: The name of the plugin by which a worker's pytest is known.
INSIDE = "parity-inside"
_MARKER = (
    "parity(expect=None): of a test that asks for the fixture `parity`: the differences that are known, by backend or "
    "target, each a harness.Expected."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    settings.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    if config.pluginmanager.hasplugin(INSIDE):
        return  # the session is outside
    from harness.pytest_plugin import session

    session.register(config)


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Parity:
    """Runs the test on every target, and compares what it records there with the reference.

    parity.record(name, value): adds an observation: a tensor, array, number, or nested structure of them.
    parity.run(what): carries out a harness.Fit or harness.Forward, and records everything.
    parity.rng: a numpy.random.Generator that is equal on every target.
    parity.target: the target that the test runs on now.
    """
    inside: Suite | None = request.config.pluginmanager.get_plugin(INSIDE)
    if inside is None:
        pytest.fail("A test takes the fixture parity as an argument: then it runs on the targets. Add it to its def.")
    assert inside.parity is not None
    return inside.parity
