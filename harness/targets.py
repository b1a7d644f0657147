"""Which targets a session has, of those that are asked for and those that are here."""

from __future__ import annotations

from collections.abc import Sequence

from harness import backends
from harness.errors import TargetError
from harness.target import Target


def choose(text: str | None, at_most: int | None = None) -> list[Target]:
    """The targets that a comma-separated list names; without one, every backend that trains and is installed.

    Raises:
        TargetError: there is none or more than `at_most`, one is malformed, or its backend is not installed.
    """
    if text is None:
        names: Sequence[str] = backends.installed()
        if not names:
            reasons = "; ".join(str(backends.why_not(name)) for name in backends.training())
            raise TargetError(f"No backend is installed here. {reasons}.")
    else:
        names = [name for name in text.split(",") if name.strip()]
    targets = list(dict.fromkeys(Target.parse(name, backends.NAMES) for name in names))
    if not targets or (at_most is not None and len(targets) > at_most):
        raise TargetError(f"{text!r} names {len(targets)} targets. Name one, such as torch.")
    for target in targets:
        reason = backends.why_not(target.backend)
        if reason is not None:
            raise TargetError(f"Target {str(target)!r} cannot run here: {reason}.")
        backends.get(target.backend).check(target)
    return targets


def choose_reference(text: str | None, targets: Sequence[Target]) -> Target:
    """The target of that name; without one, the first on PyTorch or, failing that, the first that trains, or the first.

    Raises:
        TargetError: it is malformed, or not among the targets.
    """
    if text is not None:
        reference = Target.parse(text, backends.NAMES)
        if reference not in targets:
            raise TargetError(
                f"The reference {text!r} is not among the targets {', '.join(map(str, targets))}. Add it to --targets."
            )
        return reference
    preferred = [target for target in targets if target.backend == backends.NAMES[0]]
    preferred += [target for target in targets if backends.get(target.backend).trains]
    return next(iter(preferred), targets[0])


def left_out() -> list[tuple[str, str]]:
    """The backends that train and are not here, and why."""
    reasons = [(name, backends.why_not(name)) for name in backends.training()]
    return [(name, reason) for name, reason in reasons if reason is not None]
