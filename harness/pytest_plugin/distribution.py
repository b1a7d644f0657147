"""What the first process of pytest-xdist tells the others, if pytest-xdist is installed."""

from __future__ import annotations

from typing import Any

import pytest

from harness.pytest_plugin.session import TOLD, ParitySession


class Distribution:
    """Lets every process of pytest-xdist take part in the session of the first."""

    def __init__(self, session: ParitySession) -> None:
        self._session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[TOLD] = self._session.tell()
