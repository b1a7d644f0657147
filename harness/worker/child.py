"""One request, in a process of its own."""

from __future__ import annotations

import contextlib
import faulthandler
import inspect
import json
import os
import random
import re
import runpy
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from harness import backends, randomness, trace
from harness.capture.forward import record_forward
from harness.capture.noise import Noise
from harness.capture.record import Recorder
from harness.capture.replay import Replay, replay_case
from harness.capture.steps import Steps, follow_fit
from harness.capture.training import record_fit
from harness.case import CaseRef, Fit, Forward
from harness.errors import CaseError, HarnessError, InferenceOnly
from harness.target import Target
from harness.worker import collect, proof, settings, suite

#: Characters of an error's message that are kept. The whole of it is in the case's output.
_LONGEST = 1000
#: Where this package lies: its frames are not the user's.
_HARNESS = Path(__file__).resolve().parents[1]


def main(request: dict[str, Any], folder: str) -> NoReturn:
    """Carry out a request and end the process. `folder` is empty, and removed afterwards.

    Requests:
        collect: `file`, `root`, `result` (a path): writes the cases of a file, or why there are none, as JSON.
        run: `case`, `root`, `target`, `precision`, `twin` (whether that is the target's other one), `native` (whether
            the backend keeps its own randomness), `seed` (of the data), `generator_seed` (of everything else),
            `threads`, `trace` (a path): runs a case, writes a trace.
            With `noise` (a number) inputs and weights are disturbed, with `unobserved` the instruments are off.
            With `replay` or `steps` the trace is of its parts or of some steps of its training: see
            `harness.capture.replay` and `harness.capture.steps`.
        suite: `tests` (for each test's id its `trace`, a path, and `seed`; or None to collect only), `args` of pytest,
            `cwd`, `path` (of imports), `limit` (seconds for each test), `assertions` (whether what they are given is
            recorded), `target`, `precision`, `threads`, `results` (a path): see `harness.worker.suite`.
        script: `file`, `result` (a path): calls `value` of a script of `harness.repro`, and saves the array it returns.

    All have `output`, the file that standard output and error go to, and `timeout` in seconds. One that is carried out
    in a process that was not forked has `fresh_process`, the reason.
    """
    code = 1
    try:
        os.setpgid(0, 0)
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        faulthandler.enable(file=2)
        # Shortly before its deadline a case that hangs says where.
        faulthandler.dump_traceback_later(max(request["timeout"] - 0.5, request["timeout"] / 2), file=2)
        {"collect": _collect, "run": _run, "script": _script, "suite": _suite}[request["kind"]](request, Path(folder))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _collect(request: dict[str, Any], _: Path) -> None:
    result: dict[str, Any]
    try:
        cases = collect.cases_of(Path(request["file"]), Path(request["root"]))
        result = {"cases": [case.to_json() for case in cases]}
    except CaseError as error:
        result = {"error": str(error)}
    except BaseException as error:
        traceback.print_exc()
        result = {"error": _describe(error, Path(request["root"]))}
    Path(request["result"]).write_text(json.dumps(result), encoding="utf-8")


def _script(request: dict[str, Any], _: Path) -> None:
    backends.current().set_threads(1)
    np.save(request["result"], runpy.run_path(request["file"])["value"]())


def _suite(request: dict[str, Any], folder: Path) -> None:
    suite.run(request, folder)


def _run(request: dict[str, Any], folder: Path) -> None:
    root = Path(request["root"])
    case = CaseRef.from_json(request["case"])
    target = Target.parse(request["target"], backends.NAMES)
    meeting = folder / "meeting"
    rank = _forked(backends.current().processes(target))
    if rank:
        # The first process records. The others leave what they write where it is thrown away.
        folder = folder / f"rank{rank}"
        folder.mkdir()
        request = {**request, "trace": str(folder / "trace")}
    seed, generator_seed = request["seed"], request["generator_seed"]
    random.seed(generator_seed)
    np.random.seed(generator_seed)

    recorder = Recorder(twin=request["twin"], native=request["native"])
    header = trace.Header(
        case.id, request["target"], request["precision"], seed=seed, expect=case.expect, tags=list(case.tags)
    )
    started = time.perf_counter()
    try:
        header.source = proof.fingerprint(Path(case.file))
        for where, reason in backends.current().lacks(target):
            recorder.lack(where, reason)
        with contextlib.ExitStack() as stack:
            stack.enter_context(settings.in_force(target, request["precision"], request["threads"], rank, meeting))
            stack.callback(lambda: header.environment.update(proof.environment(request, native=request["native"])))
            backends.current().seed(generator_seed)
            order = None if request["native"] else stack.enter_context(randomness.shared_order(seed))
            _call(case, root, request, target, recorder, folder, order)
        if not recorder.observations and not request.get("noise"):
            raise CaseError(f"{case.id} recorded nothing. Return a Fit or a Forward, or call record(name, value).")
        proof.check_placement(target, proof.placement(recorder.observations))
    except BaseException as error:
        traceback.print_exc()
        header.inference_only = isinstance(error, InferenceOnly)
        header.status, header.error = "unavailable" if header.inference_only else "error", _describe(error, root)
    header.seconds = time.perf_counter() - started
    header.environment |= {
        "placement": proof.placement(recorder.observations),
        "generator_seed": generator_seed,
        **recorder.environment,
    }
    header.notes, header.lacks = recorder.notes, recorder.lacks
    header.plots = recorder.plots
    header.pictures = [] if request["twin"] else _kept_pictures(folder / "tmp", Path(request["trace"]) / trace.PICTURES)
    trace.write(Path(request["trace"]), header, recorder.observations)


def _forked(processes: int) -> int:
    """Which of the processes that run a case together this is: the others are forked here."""
    for rank in range(1, processes):
        if os.fork() == 0:
            return rank
    return 0


def _call(
    case: CaseRef,
    root: Path,
    request: dict[str, Any],
    target: Target,
    recorder: Recorder,
    folder: Path,
    order: randomness.Order | None,
) -> None:
    function, values = collect.find(case, root)
    (folder / "tmp").mkdir()
    injected = {
        "rng": np.random.default_rng(request["seed"]),
        "record": recorder.record,
        "target": target,
        "tmp_path": folder / "tmp",
        **values,
    }
    arguments = {name: injected[name] for name in inspect.signature(function).parameters}
    if request.get("replay") is not None:
        replay_case(lambda: function(**arguments), recorder, Replay.from_json(request["replay"]))
        return
    noise, observed = Noise(request.get("noise", 0)), not request.get("unobserved", False)
    result = function(**arguments)
    if isinstance(result, Fit) and request.get("steps") is not None:
        follow_fit(result, recorder, Steps.from_json(request["steps"]), order)
    elif isinstance(result, Fit):
        record_fit(result, recorder, folder, noise, observed=observed)
    elif isinstance(result, Forward):
        record_forward(result, recorder, noise, observed=observed, mode=target.mode)
    elif result is None and request.get("noise"):
        recorder.observations.clear()  # the harness did not see its inputs, so nothing was disturbed
    elif result is None and target.mode is not None:
        recorder.note(f"+{target.mode}", "it acts on what `compile` compiles; what a case calls itself runs as written")
    elif result is not None:
        raise CaseError(
            f"{case.id} returned {type(result).__name__}. A case returns a Fit, a Forward, or nothing; "
            "anything else is recorded by name, with record(name, value)."
        )


def _kept_pictures(source: Path, place: Path) -> list[str]:
    """Copy the pictures that a case left in its `tmp_path`, under names that are safe anywhere."""
    names = []
    for path in sorted(source.rglob("*")):
        if path.suffix in trace.PICTURE_ENDINGS and path.is_file():
            name = re.sub(r"[^\w.-]+", "-", path.relative_to(source).as_posix()).lstrip(".-")
            place.mkdir(exist_ok=True)
            shutil.copyfile(path, place / name)
            names.append(name)
    return names


def _describe(error: BaseException, root: Path) -> str:
    """What was raised, and the innermost line of the user's own code that raised it."""
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, SyntaxError):
        return "".join(traceback.format_exception_only(error)).strip()
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        ours = path.is_relative_to(_HARNESS)
        if path.is_relative_to(root) and "site-packages" not in path.parts and not ours:
            return f"{text}\n  at {path.relative_to(root).as_posix()}:{frame.lineno}, in {frame.name}"
    return text
