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
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from harness import backends, files, processes, trace
from harness.backends import runtime
from harness.case import Fit, Forward, fingerprint
from harness.errors import CaseError, HarnessError, InferenceOnly, message_of
from harness.plain import to_plain
from harness.target import Target
from harness.wire import Collect, Collected, Request, Run, Script, Suite
from harness.worker import collect, execution, keras_internals, origin, own_generator, proof, randomness, suite
from harness.worker.capture.forward import call_again, record_forward
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
        processes.adopt_orphans()
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
        result = Collected(error=message_of(error))
    except BaseException as error:
        traceback.print_exc()
        result = Collected(error=_describe(error, work.root))
    work.result.write_text(json.dumps(to_plain(result)), encoding="utf-8")


def _script(work: Script) -> None:
    runtime.current().set_threads(1)
    forms, numbers = runpy.run_path(str(work.file))["value"]()
    np.savez(work.result, forms=np.array(forms, np.str_), numbers=numbers)


def _run(work: Run, folder: Path, fresh_process: str | None) -> None:
    case = work.case
    target = Target.parse(work.target, backends.NAMES)
    target = target.eagerly() if work.eager else target
    meeting = folder / "meeting"
    rank = _forked(runtime.current().backend.processes(target))
    if rank:
        # Only the first process records. What the others write is thrown away with `folder`.
        folder = folder / f"rank{rank}"
        folder.mkdir()
        work = replace(work, trace=folder / "trace")
    recorder = Recorder(work.root, twin=work.twin, native=work.native)
    name = f"{work.target}, {trace.EAGER}" if work.eager else work.target
    header = trace.Header(case.id, name, work.precision, seed=work.seed, expect=case.expect, tags=list(case.tags))
    started = time.perf_counter()
    try:
        header.source = fingerprint(Path(case.file))
        for where, reason in runtime.current().backend.lacks(target):
            recorder.lack(where, reason)
        with contextlib.ExitStack() as stack:
            stack.enter_context(execution.as_target_says(target, work.precision, work.threads, rank, meeting))
            if work.full:
                runtime.current().compute_in_full()
            proven = functools.partial(proof.environment, native=work.native, fresh_process=fresh_process)
            stack.callback(lambda: header.environment.update(proven()))
            if work.native:
                # So far apart that no seed of one run is another seed of the next one.
                by = (work.generator_seed - work.seed) * _APART
                stack.enter_context(keras_internals.written_seeds_moved(by))
            order = None if work.native else stack.enter_context(randomness.shared_order(work.seed))
            own_generator.begin()
            _call(work, target, recorder, folder, order)
            if recorder.observations and work.replay is None and work.steps is None:
                own_generator.record(recorder)
        is_asked = not work.noise and work.replay is None and work.steps is None
        if not recorder.observations and is_asked:
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
    _take(recorder, header)
    header.pictures = [] if work.twin else _kept_pictures(folder / "tmp", work.trace / trace.PICTURES)
    trace.write(work.trace, header, recorder.observations)


def _take(recorder: Recorder, header: trace.Header) -> None:
    """Give a header what a recorder was told beside observations."""
    header.notes, header.lacks, header.raised = recorder.notes, recorder.lacks, recorder.raised
    header.plots, header.unowned, header.python_state = recorder.plots, recorder.unowned, recorder.python_state
    header.places, header.changes = recorder.places, recorder.changes


def _forked(processes: int) -> int:
    """Fork the further processes that run a case together. Returns the rank of this one: 0 for the first."""
    for rank in range(1, processes):
        if os.fork() == 0:
            return rank
    return 0


def _call(work: Run, target: Target, recorder: Recorder, folder: Path, order: randomness.Order | None) -> None:
    call = _call_of(work, target, recorder, folder / "tmp")
    if work.replay is not None:
        replay_case(call, recorder, work.replay)
        return
    noise, observed = Noise(work.noise), not work.unobserved
    result = call()
    if isinstance(result, Fit) and work.steps is not None:
        follow_fit(result, recorder, work.steps, order)
    elif isinstance(result, Fit):
        record_fit(result, recorder, folder, noise, observed=observed, order=order)
    elif isinstance(result, Forward):
        record_forward(result, recorder, noise, observed=observed, mode=target.mode)
        if work.both_ways and target.mode is None:
            _call_both_ways(work, target, result, recorder, folder)
    elif result is None and work.noise:
        recorder.observations.clear()  # the harness did not see its inputs, so nothing was disturbed
    elif result is None and target.mode is not None:
        recorder.note(f"+{target.mode}", "it acts on what `compile` compiles; what a case calls itself runs as written")
    elif result is not None:
        raise CaseError(
            f"{work.case.id} returned {type(result).__name__}. A case returns a Fit, a Forward, or nothing; "
            "anything else is recorded by name, with record(name, value)."
        )


def _call_of(work: Run, target: Target, recorder: Recorder, folder: Path) -> Callable[[], Any]:
    """The call of the case's function. Its file is imported anew, and every generator seeded.

    Args:
        folder: the case's `tmp_path`, which is made here.
    """
    _seed(work.generator_seed)
    function, values = collect.find(work.case, work.root)
    _seed(work.generator_seed)  # what was imported may have drawn, and is not imported again for a second call
    folder.mkdir()
    injected = {
        "rng": np.random.default_rng(work.seed),
        "record": recorder.record,
        "target": target,
        "tmp_path": folder,
        **values,
    }
    return functools.partial(function, **{name: injected[name] for name in inspect.signature(function).parameters})


def _seed(seed: int) -> None:
    """Seed every generator: of Python, of NumPy, of all frameworks, and that of unseeded calls of `keras.random`."""
    random.seed(seed)
    np.random.seed(seed)
    seed_frameworks(seed)
    keras_internals.forget_global_seed()


def _call_both_ways(work: Run, target: Target, forward: Forward, recorder: Recorder, folder: Path) -> None:
    """Call what a `Forward` calls again, eagerly and then compiled as `fit` compiles here, and write a trace of each.

    There are no traces, and a note says so, where the case does not want it, or calls that are not compiled already
    give something else the second time.
    """
    mode, part = runtime.current().backend.compiles, "compiled call"
    if mode is None:
        return
    if not forward.compiled:
        recorder.note(part, "the case leaves it out: compiled=False")
        return

    def called(way: str, how: str | None) -> Recorder:
        own = Recorder(work.root, twin=True)  # what raises here ends nothing
        with own.part(part):
            call_again(lambda: _call_of(work, target, own, folder / way)(), own, how)
        return own

    eager = called(trace.EAGER, None)
    if eager.raised or not _repeats(recorder, eager):
        recorder.note(part, "the case gives something else when it is made and called a second time in one process")
        return
    for way, own in ((trace.EAGER, eager), (trace.COMPILED, called(trace.COMPILED, mode))):
        header = trace.Header(work.case.id, f"{work.target}, {way}", work.precision, seed=work.seed)
        _take(own, header)
        place = work.trace.parent / way / trace.TWIN if work.twin else work.trace / way
        trace.write(place, header, own.observations)


def _repeats(recorder: Recorder, again: Recorder) -> bool:
    """Whether the first output of a call is what it was before, but for rounding."""
    before = {item.key: item for item in recorder.observations}
    first = [item for item in again.observations if item.phase == "forward" and item.step == 0]
    return all(item.key in before and _is_alike(item, before[item.key]) for item in first)


def _is_alike(item: trace.Observation, other: trace.Observation) -> bool:
    if not (item.is_array and other.is_array):
        return item.is_array == other.is_array and bool(item.value == other.value)
    if item.array.shape != other.array.shape:
        return False
    # An extended dtype, such as bfloat16, has no tolerance in NumPy.
    one, two = (array.astype(np.complex128) for array in (item.array, other.array))
    return bool(np.allclose(one, two, rtol=1e-3, atol=1e-6, equal_nan=True))


def _kept_pictures(source: Path, place: Path) -> list[str]:
    """Copy the pictures that a case left in its `tmp_path`, under names that are safe anywhere."""
    names = []
    for path in sorted(source.rglob("*")):
        if path.suffix in trace.PICTURE_ENDINGS and path.is_file():
            name = re.sub(r"[^\w.-]+", "-", path.relative_to(source).as_posix()).lstrip(".-")
            with contextlib.suppress(OSError, ValueError):  # it is too large, or cannot be read
                files.write(place / name, files.read(path))
                names.append(name)
    return names


def _describe(error: BaseException, root: Path) -> str:
    """What was raised, for whoever reads it."""
    if isinstance(error, HarnessError):
        return message_of(error)
    if isinstance(error, SyntaxError):
        return "".join(traceback.format_exception_only(error)).strip()
    return origin.described(error, root)
