"""The plugin's settings, from its options and from the keys of the same names in pytest's configuration."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from harness.errors import HarnessError
from harness.suite import OPTIONS

if TYPE_CHECKING:
    from harness.target import Target
    from harness.verdict import Verdict

_PRECISIONS = ("both", "float32")


@dataclass(frozen=True)
class Settings:
    """The values of the plugin's options.

    Attributes:
        arguments: further arguments for the pytest in each worker.
    """

    targets: list[Target]
    reference: Target
    precision: Literal["float32", "both"]
    fail_on: Verdict
    timeout: float
    blame: bool
    blame_seconds: float
    arguments: list[str]

    @property
    def compared(self) -> list[Target]:
        """The targets that are compared with the reference; the reference itself if it is the only target."""
        return [target for target in self.targets if target != self.reference] or [self.reference]


def given(config: pytest.Config) -> dict[str, Any]:
    """The options that were given, on the command line or in the configuration."""
    values = {}
    for option in OPTIONS:
        value = config.getoption(option.key)
        value = config.getini(option.key) if value is None else value
        if value not in (None, "", False):
            values[option.key] = value
    return values


def read(config: pytest.Config) -> Settings:
    """The settings of a session.

    Raises:
        pytest.UsageError: an option's value is wrong, or no backend is here.
    """
    from harness.session.options import DEFAULT_BLAME_SECONDS, DEFAULT_TIMEOUT
    from harness.session.targets import choose, choose_reference
    from harness.verdict import Verdict

    values = given(config)
    try:
        targets = choose(values.get("parity_targets"), config.rootpath)
        return Settings(
            targets=targets,
            reference=choose_reference(values.get("parity_reference"), targets),
            precision=_precision(values.get("parity_precision", "both")),
            fail_on=Verdict.parse(values.get("parity_fail_on", "divergent")),
            timeout=_seconds("--parity-timeout", values.get("parity_timeout", DEFAULT_TIMEOUT)),
            blame=not values.get("parity_no_blame"),
            blame_seconds=_seconds("--parity-blame-seconds", values.get("parity_blame_seconds", DEFAULT_BLAME_SECONDS)),
            arguments=shlex.split(values.get("parity_args", "")),
        )
    except (HarnessError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None


def _precision(value: str) -> Any:
    if value not in _PRECISIONS:
        raise HarnessError(f"--parity-precision {value!r} is not one of {', '.join(_PRECISIONS)}.")
    return value


def _seconds(option: str, value: Any) -> float:
    from harness.session.options import seconds_of

    try:
        return seconds_of(value)
    except ValueError as error:
        raise HarnessError(f"{option}: {error}") from None
