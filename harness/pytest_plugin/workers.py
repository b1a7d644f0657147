"""Tests in the workers. The unit of work is a file: its selected tests run in one child for each target and precision,
as pytest would run them in a process of its own. A test that takes its process down is reported as such, and those that
have not run yet run in another child.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.pytest_plugin.session import ParitySession
from harness.target import Target

if TYPE_CHECKING:
    from harness.result.schema import CaseJson
    from harness.session.pool import Reply, Request
    from harness.trace import Status

#: Seconds that a child has beside those of its tests: for imports and collection.
_BESIDE = 120.0
_COLLECTED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.INTERRUPTED)


def collect(session: ParitySession) -> Mapping[str, Any]:
    """The tests of the suite that the session was called with, by file, as pytest finds them on every target.

    Each file has `tests`, as `harness.worker.suite` describes them, with the `targets` that have them; and `faults`, a
    `target` and a `report` where it could not be collected, or skips itself.

    Raises:
        pytest.UsageError: pytest itself refuses, on some target.
    """

    def make() -> dict[str, Any]:
        config = session.config
        arguments = [*(["--pyargs"] if config.option.pyargs else []), *config.args]
        files: dict[str, dict[str, Any]] = {}
        requests = [
            _request(session, target, False, arguments, None, session.folder / "logs" / f"collect-{target.slug}")
            for target in session.settings.targets
        ]
        for reply in _carried_out(session, requests):
            _add_collected(files, reply)
        return files

    collected: Mapping[str, Any] = session.once("collected-suite", make)
    return collected


def run_file(
    session: ParitySession, path: Path, tests: Sequence[tuple[str, Target]], *, assertions: bool
) -> Mapping[str, Any]:
    """Run tests of a file on their targets and on the reference, and compare what they observed.

    Args:
        tests: ids, see `harness.pytest_plugin.ids`, and targets.
        assertions: whether observations are what assertions are given; else they are what tests record.

    Returns:
        For each id the `targets`, with pytest's `reports` on each and how it `ended` if it took its process down, and
        the `case`, as in `result.json`, or None where there is nothing to compare.
    """
    from harness.session.run import slug_of

    def make() -> dict[str, Any]:
        ids = list(dict.fromkeys(test for test, _ in tests))
        wanted = {target for _, target in tests} | {session.settings.reference}
        targets = [target for target in session.settings.targets if target in wanted]
        collected = collect(session)[str(path)]["tests"] if assertions else []
        there = {test["id"]: test["targets"] for test in collected}
        held = {target: [test for test in ids if not assertions or str(target) in there[test]] for target in targets}
        return _File(session, path, held, assertions=assertions).run(ids)

    ended: Mapping[str, Any] = session.once(f"suite-{slug_of(str(path))}", make)
    return ended


@dataclass
class _Progress:
    """The tests of a file on one target, in its precision or as twins: those to come, and what became of the others."""

    target: Target
    twin: bool
    tests: list[str]
    waiting: list[str]
    reports: dict[str, list[Any]] = field(default_factory=dict)
    ended: dict[str, tuple[Status, str]] = field(default_factory=dict)

    def advance(self, reply: Reply, limit: float) -> None:
        """Take in what a child did. Each child ends a test at least, or all of them."""
        lines = _lines(reply)
        running: dict[str, Any] | None = None
        done = []
        for line in lines:
            if "start" in line:
                running = line
            elif "report" in line:
                self.reports.setdefault(line["of"], []).append(line["report"])
            elif "end" in line:
                done.append(line["end"])
                running = None
        left = [test for test in self.waiting if test not in done]
        if running is not None and time.time() - running["at"] >= limit:
            self.ended[running["start"]] = "timeout", f"ran past its limit of {limit:g} s\n{reply.output}"
        elif running is not None:
            self.ended[running["start"]] = "crashed", _how(reply)
        elif not done or any("exit" in line for line in lines):
            self.ended |= dict.fromkeys(left, ("error", f"did not run on {self.target}: {_how(reply)}"))
        self.waiting = [test for test in left if test not in self.ended]


class _File:
    """The tests of a file on several targets."""

    def __init__(
        self, session: ParitySession, path: Path, held: Mapping[Target, list[str]], *, assertions: bool
    ) -> None:
        self._session = session
        self._path = path
        self._held = held
        self._assertions = assertions

    def run(self, ids: Sequence[str]) -> dict[str, Any]:
        variants = [False, True] if self._session.settings.twins and len(self._held) > 1 else [False]
        progress = [_Progress(target, twin, held, held) for target, held in self._held.items() for twin in variants]
        for attempt in itertools.count():
            going = [item for item in progress if item.waiting]
            if not going:
                break
            replies = _carried_out(self._session, [self._request(item, attempt) for item in going])
            for item, reply in zip(going, replies, strict=True):
                item.advance(reply, self._session.settings.timeout)
        for item in progress:
            for test, (status, why) in item.ended.items():
                self._write_missing(item, test, status, why)
        first = [item for item in progress if not item.twin]
        return {test: {"targets": _by_target(first, test), "case": self._judged(test)} for test in ids}

    def _request(self, item: _Progress, attempt: int) -> Request:
        from harness.session.run import slug_of

        stem = f"{slug_of(str(self._path))}-{item.target.slug}-{item.target.precision_of(twin=item.twin)}-{attempt}"
        tests = {test: self._place(item.target, item.twin, test) for test in item.waiting}
        place = self._session.folder / "logs" / stem
        return _request(
            self._session, item.target, item.twin, [str(self._path)], tests, place, assertions=self._assertions
        )

    def _place(self, target: Target, twin: bool, test: str) -> Path:
        from harness.session.run import trace_folder
        from harness.trace import TWIN

        place = trace_folder(self._session.folder, target, test)
        return place / TWIN if twin else place

    def _write_missing(self, item: _Progress, test: str, status: Status, why: str) -> None:
        from harness import trace

        place = self._place(item.target, item.twin, test)
        if not (place / trace.INDEX).exists():
            precision = item.target.precision_of(twin=item.twin)
            trace.write(place, trace.Header(test, str(item.target), precision, status, why), [])

    def _judged(self, test: str) -> CaseJson | None:
        from harness.session.run import judge

        session, settings = self._session, self._session.settings
        places = {target: self._place(target, False, test) for target, held in self._held.items() if test in held}
        if settings.reference not in places or len(places) < 2:
            return None
        return judge(
            test,
            places,
            settings.reference,
            settings.fail_on,
            session.folder,
            session.known,
            shared_only=self._assertions,
        ).to_json()


def _by_target(progress: Sequence[_Progress], test: str) -> dict[str, Any]:
    return {
        str(item.target): {"reports": item.reports.get(test, []), "ended": item.ended.get(test, (None, None))[1]}
        for item in progress
        if test in item.tests
    }


def _request(
    session: ParitySession,
    target: Target,
    twin: bool,
    arguments: Sequence[str],
    tests: Mapping[str, Path] | None,
    stem: Path,
    *,
    assertions: bool = False,
) -> Request:
    """Ask for tests to be collected or, where `tests` has the places of their traces, to be run."""
    from harness.session.pool import Request

    config, limit = session.config, session.settings.timeout
    stem.parent.mkdir(parents=True, exist_ok=True)
    for place in (tests or {}).values():
        place.mkdir(parents=True, exist_ok=True)
    body = {
        "kind": "suite",
        "target": str(target),
        "twin": twin,
        "precision": target.precision_of(twin=twin),
        "threads": 1,
        "tests": None if tests is None else {test: _told(test, place) for test, place in tests.items()},
        "args": [
            f"--rootdir={config.rootpath}",
            *(["-c", str(config.inipath)] if config.inipath else []),
            "-q",
            "--no-header",
            *(["-n0"] if config.pluginmanager.hasplugin("xdist") else []),
            *session.settings.arguments,
            *arguments,
        ],
        "cwd": str(config.invocation_params.dir),
        "path": [path for path in sys.path if path],
        "limit": limit,
        "assertions": assertions,
        "results": f"{stem}.jsonl",
    }
    return Request(target, body, limit * max(1, len(tests or {})) + _BESIDE, Path(f"{stem}.txt"))


def _told(test: str, place: Path) -> dict[str, Any]:
    from harness.session.run import seed_of

    return {"trace": str(place), "seed": seed_of(test)}


def _carried_out(session: ParitySession, requests: Sequence[Request]) -> list[Reply]:
    """The replies, in the order of the requests."""
    replies: dict[int, Reply] = {}
    session.pool.run(requests, lambda reply: replies.update({requests.index(reply.request): reply}))
    return [replies[number] for number in range(len(requests))]


def _add_collected(files: dict[str, dict[str, Any]], reply: Reply) -> None:
    target, lines = str(reply.request.target), _lines(reply)
    if next((line["exit"] for line in lines if "exit" in line), None) not in _COLLECTED:
        raise pytest.UsageError(f"pytest cannot collect the tests on {target}: {_how(reply)}")
    for line in lines:
        if "test" in line:
            tests = files.setdefault(line["test"]["path"], {"tests": [], "faults": []})["tests"]
            same = next((test for test in tests if test["id"] == line["test"]["id"]), None)
            if same is None:
                tests.append({**line["test"], "targets": [target]})
            else:
                same["targets"].append(target)
        elif "collect" in line:
            fault = {"target": target, "report": line["report"]}
            files.setdefault(line["collect"], {"tests": [], "faults": []})["faults"].append(fault)


def _lines(reply: Reply) -> list[dict[str, Any]]:
    """What a child wrote. The last line of one that was killed may be half a line."""
    try:
        text = Path(reply.request.body["results"]).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _how(reply: Reply) -> str:
    return reply.output or "pytest said nothing" if reply.ended == "exit" else reply.describe()
