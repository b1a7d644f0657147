"""Runs that no framework made: traces of an invented training, written and judged as real ones are."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.case import Expected
from harness.judge.case import judge_case
from harness.result import file
from harness.result.model import CaseResult, Result
from harness.trace import Header, Note, Observation, Trace, write
from harness.verdict import Verdict

TARGETS = ("torch", "tensorflow", "jax")
LAYERS = ("widen", "smooth", "head")
VERSIONS = {"torch": "2.13.0", "tensorflow": "2.21.0", "jax": "0.10.2", "numpy": "2.4.6"}


@dataclass
class Case:
    """An invented case.

    Attributes:
        wrong: by target, the first observation's key from which on its values are one percent too large.
        steps: of training.
        status: by target, how it ended if not well, and the error.
        events: by target, the hooks that were called, where they are not those of the others.
    """

    id: str
    wrong: Mapping[str, str] = field(default_factory=dict)
    steps: int = 4
    layers: Sequence[str] = LAYERS
    status: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    events: Mapping[str, list[Any]] = field(default_factory=dict)
    expect: Mapping[str, Expected] = field(default_factory=dict)
    tags: Sequence[str] = ()
    notes: Sequence[Note] = ()


def write_run(folder: Path, cases: Sequence[Case], targets: Sequence[str] = TARGETS) -> Path:
    """Write a run: traces and `result.json`. The first target is the reference."""
    judged: list[CaseResult] = []
    for number, case in enumerate(cases):
        traces: dict[str, Trace | None] = {}
        for position, target in enumerate(targets):
            place = folder / "traces" / str(position) / str(number)
            write_trace(place, case, target)
            traces[target] = Trace(place)
        judged.append(judge_case(case.id, traces, targets[0], Verdict.DIVERGENT, folder))
    result = Result(targets[0], list(targets), "both", Verdict.DIVERGENT, cases=judged)
    file.write(folder / file.FILE, result.to_json())
    return folder


def write_trace(place: Path, case: Case, target: str) -> None:
    """Write what one target recorded of a case, and its twin."""
    status, error = case.status.get(target, ("ok", None))
    header: dict[str, Any] = {
        "status": status,
        "error": error,
        "seconds": 1.25,
        "expect": case.expect,
        "tags": list(case.tags),
        "notes": list(case.notes),
        "environment": {
            "backend": target.partition(":")[0],
            "versions": {"keras": "3.15.1", **{k: v for k, v in VERSIONS.items() if k in (target, "numpy")}},
            "device": "cpu",
            "threads": {"intra_op": 1},
        },
    }
    exact = observations(case, target) if status == "ok" else []
    for folder, precision, dtype, roundoff in (
        (place, "float32", np.float32, 2.0**-24),
        (place / "twin", "float64", np.float64, 2.0**-53),
    ):
        items = [_rounded(item, dtype, roundoff, target) for item in exact]
        write(folder, Header(case.id, target, precision, **header), items)


def observations(case: Case, target: str) -> list[Observation]:
    """What a training records, in order of execution, in float64."""
    rng = np.random.default_rng(7)
    made: list[Observation] = []
    wrong = False

    def add(phase: Any, step: int, name: str, layer: str | None, value: Any) -> None:
        nonlocal wrong
        key = f"{phase}/{step}/{name}"
        wrong = wrong or case.wrong.get(target) == key
        if isinstance(value, np.ndarray):
            made.append(
                Observation(key, phase, step, name, layer, "float64", np.asarray(value * (1.01 if wrong else 1.0)))
            )
        else:
            made.append(Observation(key, phase, step, name, layer, None, value))

    weights = {layer: rng.normal(size=(4, 4)) for layer in case.layers}
    for layer in case.layers:
        add("initial", 0, f"{layer}/kernel", layer, weights[layer])
    signal = rng.normal(size=(8, 4))
    add("forward", 0, "model/input", "model", signal)
    for layer in case.layers:
        add("forward", 0, f"model/{layer}/input", layer, signal)
        signal = np.tanh(signal @ weights[layer])
        add("forward", 0, f"model/{layer}/output", layer, signal)
        signal = made[-1].array
    add("forward", 0, "model/output", "model", signal)
    add("loss", 0, "loss", None, np.array(1.0))
    for layer in reversed(case.layers):
        add("gradient", 0, f"{layer}/kernel", layer, rng.normal(size=(4, 4)))
    for step in range(case.steps):
        add("log", step, "batch/loss", None, np.array(np.exp(-step / 10)))
        add("log", step, "batch/mae", None, np.array(np.exp(-step / 20)))
        if step in (0, case.steps - 1):
            for layer in case.layers:
                add("update", step, f"{layer}/kernel", layer, weights[layer] * 0.9 ** (step + 1))
    hooks = [["on_train_begin", None, []]]
    for step in range(case.steps):
        hooks += [["on_train_batch_begin", step, []], ["on_train_batch_end", step, ["loss", "mae"]]]
    add("event", max(case.steps - 1, 0), "fit", None, case.events.get(target, [*hooks, ["on_train_end", None, []]]))
    return made


def _rounded(item: Observation, dtype: Any, roundoff: float, target: str) -> Observation:
    """An observation as a target would have it, with its own rounding: the same wherever the value is the same."""
    if not item.is_array:
        return item
    rng = np.random.default_rng(
        [zlib.crc32(item.array.tobytes()), zlib.crc32(target.encode("utf-8", "backslashreplace"))]
    )
    noise = 1 + 2 * roundoff * rng.uniform(-1, 1, size=item.array.shape)
    value = np.asarray(item.array * noise, dtype)
    return Observation(item.key, item.phase, item.step, item.name, item.layer, value.dtype.name, value)


def blame(comparison: Mapping[str, Any], **told: Any) -> Any:
    """An invented blame of a comparison's finding, as `result.json` has it."""
    return {
        "target": comparison["target"],
        "layer": comparison["first"]["layer"],
        "part": "model/smooth",
        "op": None,
        "phase": "forward",
        "step": 0,
        "confirmed": True,
        "text": "introduced in layer 'smooth'",
        "repro": None,
        "kind": "output",
        **told,
    }
