"""The pytest plugin: cases as items, a fixture for ordinary tests, and existing suites on every backend.

pytest loads it in every project, so it imports only what it needs at once, and prints nothing in a project that does
not use it.
"""

from __future__ import annotations

import pytest

from harness import suite

pytest_addoption = suite.pytest_addoption


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    suite.pytest_configure(config)
    if config.pluginmanager.hasplugin(suite.INSIDE):
        return  # this pytest runs in a worker, for a session outside
    from harness.pytest_plugin.collection import Collection
    from harness.pytest_plugin.distribution import Distribution
    from harness.pytest_plugin.session import SESSION, ParitySession
    from harness.pytest_plugin.summary import Summary

    session = ParitySession(config)
    config.stash[SESSION] = session
    for plugin in (Collection(session), Summary(session), Distribution(session)):
        config.pluginmanager.register(plugin)
    config.add_cleanup(session.close)
