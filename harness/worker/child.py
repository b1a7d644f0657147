"""Carries out one request, in a process of its own."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
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
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from harness import backends, trace
from harness.backends import runtime
from harness.case import Fit, Forward
from harness.errors import CaseError, HarnessError, InferenceOnly
from harness.plain import to_plain
from harness.target import Target
from harness.wire import Collect, Collected, Request, Run, Script, Suite
from harness.worker import collect, execution, keras_internals, origin, own_generator, proof, randomness, suite
from harness.worker.capture.forward import record_forward
from harness.worker.capture.noise import Noise
from harness.worker.capture.record import Recorder
from harness.worker.capture.replay import replay_case
from harness.worker.capture.steps import follow_fit
from harness.worker.capture.training import record_fit
from harness.worker.seeding import seed_frameworks

#: What is added to seeds that are written in the code, for each repeat under `--randomness native`.
_APART = 100_003


def main(request: Request, folder: Path) -> NoReturn:
    """Carry out a request and end the process. `folder` is empty, and the worker removes it afterwards."""
    code = 1
    try:
        os.setpgid(0, 0)
        output = os.open(request.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        faulthandler.enable(file=2)
        # A case that hangs prints its stack shortly before the deadline.
        faulthandler.dump_traceback_later(max(request.timeout - 0.5, request.timeout / 2), file=2)
        match request.work:
            case Collect() as work:
                _collect(work)
            case Run() as work:
                _run(work, folder, request.fresh_process)
            case Suite() as work:
                suite.run(work, folder, request.fresh_process)
            case Script() as work:
                _script(work)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _collect(work: Collect) -> None:
    try:
        result = Collected(tuple(collect.cases_of(work.file, work.root)))
    except CaseError as error:
        result = Collected(error=str(error))
    except BaseException as error:
        traceback.print_exc()
        result = Collected(error=_describe(error, work.root))
    work.result.write_text(json.dumps(to_plain(result)), encoding="utf-8")


def _script(work: Script) -> None:
    runtime.current().set_threads(1)
    np.save(work.result, runpy.run_path(str(work.file))["value"]())


def _run(work: Run, folder: Path, fresh_process: str | None) -> None:
    case = work.case
    target = Target.parse(work.target, backends.NAMES)
    meeting = folder / "meeting"
    rank = _forked(runtime.current().backend.processes(target))
    if rank:
        # Only the first process records. What the others write is thrown away with `folder`.
        folder = folder / f"rank{rank}"
        folder.mkdir()
        work = replace(work, trace=folder / "trace")
    random.seed(work.generator_seed)
    np.random.seed(work.generator_seed)

    recorder = Recorder(work.root, twin=work.twin, native=work.native)
    header = trace.Header(
        case.id, work.target, work.precision, seed=work.seed, expect=case.expect, tags=list(case.tags)
    )
    started = time.perf_counter()
    try:
        header.source = proof.fingerprint(Path(case.file))
        for where, reason in runtime.current().backend.lacks(target):
            recorder.lack(where, reason)
        with contextlib.ExitStack() as stack:
            stack.enter_context(execution.as_target_says(target, work.precision, work.threads, rank, meeting))
            proven = functools.partial(proof.environment, native=work.native, fresh_process=fresh_process)
            stack.callback(lambda: header.environment.update(proven()))
            seed_frameworks(work.generator_seed)
            if work.native:
                # So far apart that no seed of one run is another seed of the next one.
                by = (work.generator_seed - work.seed) * _APART
                stack.enter_context(keras_internals.written_seeds_moved(by))
            order = None if work.native else stack.enter_context(randomness.shared_order(work.seed))
            own_generator.begin()
            _call(work, target, recorder, folder, order)
            if recorder.observations and work.replay is None and work.steps is None:
                own_generator.record(recorder)
        if not recorder.observations and not work.noise:
            raise CaseError(f"{case.id} recorded nothing. Return a Fit or a Forward, or call record(name, value).")
        proof.check_placement(target, proof.placement(recorder.observations))
    except BaseException as error:
        traceback.print_exc()
        header.inference_only = isinstance(error, InferenceOnly)
        header.status, header.error = "unavailable" if header.inference_only else "error", _describe(error, work.root)
    header.seconds = time.perf_counter() - started
    header.environment |= {
        "placement": proof.placement(recorder.observations),
        "generator_seed": work.generator_seed,
        **recorder.environment,
    }
    header.notes, header.lacks, header.raised = recorder.notes, recorder.lacks, recorder.raised
    header.plots = recorder.plots
    header.pictures = [] if work.twin else _kept_pictures(folder / "tmp", work.trace / trace.PICTURES)
    trace.write(work.trace, header, recorder.observations)


def _forked(processes: int) -> int:
    """Fork the further processes that run a case together. Returns the rank of this one: 0 for the first."""
    for rank in range(1, processes):
        if os.fork() == 0:
            return rank
    return 0


def _call(work: Run, target: Target, recorder: Recorder, folder: Path, order: randomness.Order | None) -> None:
    function, values = collect.find(work.case, work.root)
    (folder / "tmp").mkdir()
    injected = {
        "rng": np.random.default_rng(work.seed),
        "record": recorder.record,
        "target": target,
        "tmp_path": folder / "tmp",
        **values,
    }
    arguments = {name: injected[name] for name in inspect.signature(function).parameters}
    if work.replay is not None:
        replay_case(lambda: function(**arguments), recorder, work.replay)
        return
    noise, observed = Noise(work.noise), not work.unobserved
    result = function(**arguments)
    if isinstance(result, Fit) and work.steps is not None:
        follow_fit(result, recorder, work.steps, order)
    elif isinstance(result, Fit):
        record_fit(result, recorder, folder, noise, observed=observed, order=order)
    elif isinstance(result, Forward):
        record_forward(result, recorder, noise, observed=observed, mode=target.mode)
    elif result is None and work.noise:
        recorder.observations.clear()  # the harness did not see its inputs, so nothing was disturbed
    elif result is None and target.mode is not None:
        recorder.note(f"+{target.mode}", "it acts on what `compile` compiles; what a case calls itself runs as written")
    elif result is not None:
        raise CaseError(
            f"{work.case.id} returned {type(result).__name__}. A case returns a Fit, a Forward, or nothing; "
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
    """What was raised, for whoever reads it."""
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, SyntaxError):
        return "".join(traceback.format_exception_only(error)).strip()
    return origin.described(error, root)
