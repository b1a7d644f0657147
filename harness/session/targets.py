"""The choice of a session's targets and reference, from what was asked for and what is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness import backends
from harness.errors import TargetError
from harness.project.configuration import ALL, target_sets
from harness.session import interpreter
from harness.target import Target


def choose(text: str | None, project: Path, at_most: int | None = None) -> list[Target]:
    """The targets that a comma-separated list names; without one, every backend that trains and is installed.

    Args:
        text: names of targets, of sets in `pyproject.toml`, and `all`: every installed backend on every kind of device.
        project: the folder of that `pyproject.toml`.

    Raises:
        TargetError: there is none or more than `at_most`, one is malformed, or it cannot run here.
        HarnessError: the table of sets is wrong.
    """
    if text is None:
        names: Sequence[str] = backends.installed()
        if not names:
            reasons = "; ".join(str(backends.why_not(name)) for name in backends.training())
            raise TargetError(f"No backend is installed here. {reasons}.")
    else:
        sets = target_sets(project, reserved=(ALL, *backends.NAMES))
        names = list(_expanded([name.strip() for name in text.split(",") if name.strip()], sets))
    targets = list(dict.fromkeys(Target.parse(name, backends.NAMES) for name in names))
    if not targets or (at_most is not None and len(targets) > at_most):
        raise TargetError(f"{text!r} names {len(targets)} targets. Name one, such as torch.")
    for target in targets:
        reason = interpreter.why_not(target)
        if reason is not None:
            raise TargetError(f"Target {str(target)!r} cannot run here: {reason}.")
        backends.get(target.backend).check(target)
    _check_devices(targets)
    return targets


def choose_reference(text: str | None, targets: Sequence[Target]) -> Target:
    """The target of that name; without one, the first on PyTorch, else the first that can train, else the first.

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
    """The backends that can train but are not installed, each with the reason."""
    reasons = [(name, backends.why_not(name)) for name in backends.training()]
    return [(name, reason) for name, reason in reasons if reason is not None]


def _expanded(names: Sequence[str], sets: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Names of targets only: `all` and names of sets are replaced by the targets that they stand for."""
    for name in names:
        if name == ALL:
            yield from _all()
        elif name in sets:
            yield from _expanded(sets[name], {other: targets for other, targets in sets.items() if other != name})
        else:
            yield name


def _all() -> Iterator[str]:
    """Every installed backend; one that sees several kinds of devices comes once for each kind."""
    from harness.session.doctor import devices_of

    here = [name for name in backends.NAMES if backends.why_not(name) is None]
    for target, devices in devices_of([Target(name) for name in here]).items():
        kinds = list(dict.fromkeys(device.split(":")[0] for device in devices))
        yield from (f"{target.backend}:{kind}" for kind in kinds) if len(kinds) > 1 else [target.backend]


def _check_devices(targets: Sequence[Target]) -> None:
    """Raise TargetError for a target that names a device, other than the CPU, which its backend does not see."""
    from harness.session.doctor import devices_of

    named = [target for target in targets if target.kind not in (None, "cpu")]
    bare = {target: Target(target.backend, python=target.python) for target in named}
    seen = devices_of(list(dict.fromkeys(bare.values()))) if named else {}
    for target in named:
        last = max(target.index, target.count("data_parallel") - 1)
        device = f"{target.kind}:{last}"
        if device not in seen[bare[target]]:
            raise TargetError(
                f"Target {str(target)!r} asks for {device}, which {target.backend} does not see here. It sees: "
                f"{', '.join(seen[bare[target]]) or 'no device'}. See `harness doctor`."
            )
