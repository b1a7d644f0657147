"""Whether every reader of the harness takes what strangers make: files are spoiled at random, and each is read.

    python benchmarks/fuzz.py [--mutations N] [--seed N] [--seconds S]

A reader reads a spoiled file or refuses it with a `HarnessError`. Another exception, a reader that takes longer than
the limit, or a file outside of the folder that is written to, is a fault of the harness: it is printed with what
happened, and the status is 1. Counts are printed by reader and outcome.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.errors import HarnessError  # noqa: E402
from harness.judge.case import judge_case  # noqa: E402
from harness.judge.folders import common_folder, compare_folders  # noqa: E402
from harness.project import configuration, known, scaffold  # noqa: E402
from harness.report import github, html, junit, markdown, show, table, tensorboard  # noqa: E402
from harness.report.console import Detail, print_result  # noqa: E402
from harness.result import file  # noqa: E402
from harness.result.model import Result  # noqa: E402
from harness.result.run_folder import RunFolder  # noqa: E402
from harness.trace import Header, Lack, Note, Observation, Trace, compact, write  # noqa: E402
from harness.verdict import Verdict  # noqa: E402

#: Seconds that a reader may take for one file.
LIMIT = 30
CASE = "cases/x.py::y"
PYPROJECT = """[project]
name = "x"
[tool.harness.targets]
ci = ["torch", "jax"]
[[tool.harness.known]]
case = "cases/*::y"
target = "jax"
verdict = "leak"
reason = "it is so"
"""
#: What stands in the place of a value: numbers without end, text that leads elsewhere, and what is nested too deeply.
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**63, -(2**63), 10**400, 1e308, -1e308, 5e-324),
    *("", "\0", "\ud800", "\n", "*a" * 40, "x" * 100_000, "../../outside", "/etc/passwd", "float32", "forward", "t0"),
    *([], {}, [[]], [None], {"": None}, [1] * 1000, {"a": {"b": []}}),
    *("traces/jax", "\x1b[31m", "<script>", "divergent", "error", "torch", "jax", "jax:cuda", "9" * 5000),
]
LITERALS = [b"NaN", b"Infinity", b"1e999", b"9" * 5000, b"[" * 5000, b"{}", b'"\\ud800"', b"null", b"-", b""]


class TookTooLongError(BaseException):
    """A reader did not end. No reader catches it."""


@dataclass(frozen=True)
class Reader:
    """A way to read files: which of them is spoiled, and what is done then."""

    files: tuple[str, ...]
    read: Callable[[Path], object]


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def read_trace(folder: Path) -> None:
    trace = Trace(folder / "run/traces/jax")
    show.print_trace(console(), trace)
    show.print_pair(console(), trace, Trace(folder / "run/traces/torch"))


def compare(folder: Path) -> None:
    places = [folder / "run/traces/jax", folder / "run/traces/torch"]
    result = compare_folders(places, None, Verdict.DIVERGENT, known.read(folder), common_folder(places))
    file.as_json(result.to_json())


def read_result(folder: Path) -> None:
    run = RunFolder.open(folder / "run")
    for make in (html.page, junit.document, markdown.summary, github.failures):
        make(run)
    print_result(console(), run, "x", Detail.VERBOSE)
    tensorboard.write(run, folder / "told/events")
    table.write_csv(run, folder / "told/table.csv")


def read_recording(folder: Path) -> None:
    traces = compact.read(folder / "golden")
    compact.let_forms_differ(traces)
    for trace in traces:
        show.print_trace(console(), trace)
    compact.write(folder / "told/golden", traces)


def read_project(folder: Path) -> None:
    known.read(folder)
    configuration.target_sets(folder, ["all"])


READERS = {
    "trace": Reader(("run/traces/jax/trace.json", "run/traces/jax/twin/trace.json"), read_trace),
    "arrays": Reader(("run/traces/jax/arrays.safetensors", "run/traces/jax/twin/arrays.safetensors"), read_trace),
    "compare": Reader(("run/traces/jax/trace.json", "run/traces/torch/arrays.safetensors"), compare),
    "result": Reader(("run/result.json",), read_result),
    "recording": Reader(("golden",), read_recording),
    "project": Reader(("pyproject.toml",), read_project),
    "init": Reader(("pyproject.toml", ".gitignore", "tox.ini", "setup.cfg", "cases"), lambda f: scaffold.init(f)),
}


def write_originals(folder: Path) -> None:
    """A run with a difference, a compact recording of it, and a project."""
    rng = np.random.default_rng(0)
    weights, losses = rng.normal(size=(4, 3)), rng.normal(size=4)
    traces: dict[str, Trace | None] = {}
    for target, factor in (("torch", 1.0), ("jax", 1.01)):
        for place, kind in ((f"run/traces/{target}", "float32"), (f"run/traces/{target}/twin", "float64")):
            items = [
                Observation("initial/0/w", "initial", 0, "w", "dense", kind, weights.astype(kind)),
                Observation(
                    "forward/0/m/dense/output", "forward", 0, "m/dense/output", "dense", kind, losses.astype(kind)
                ),
                *(
                    Observation(f"log/{n}/batch/loss", "log", n, "batch/loss", None, kind, np.asarray(x * factor, kind))
                    for n, x in enumerate(losses)
                ),
                Observation("event/0/fit", "event", 0, "fit", None, None, [["on_train_begin", None, []]]),
                Observation("recorded/b", "recorded", 0, "b", None, "bfloat16", np.asarray([1, 2], "bfloat16")),
            ]
            header = Header(CASE, target, kind, notes=[Note("save", "no")], lacks=[Lack("none/*", "no")], tags=["slow"])
            header.environment = {"backend": target, "versions": {"keras": "3.15.1"}, "device": "cpu"}
            write(folder / place, header, items)
        traces[target] = Trace(folder / "run/traces" / target)
    case = judge_case(CASE, traces, "torch", Verdict.DIVERGENT, folder / "run")
    result = Result("torch", ["torch", "jax"], "both", Verdict.DIVERGENT, cases=[case])
    file.write(folder / "run" / file.FILE, result.to_json())
    compact.write(folder / "golden", [trace for trace in traces.values() if trace is not None])
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (folder / ".gitignore").write_bytes(b"*.pyc\r\n")


def spoil(path: Path, rng: random.Random) -> str:
    """Spoil a file, and say how."""
    how = rng.choice([*["bytes", "bytes", "cut", "literal", "literal", "hole", "none"], *["value"] * 13])
    if how == "none":
        return put_what_is_no_file(path, rng)
    if not path.is_file():
        path.write_bytes(b"")
    if how == "hole":
        os.truncate(path, rng.choice([path.stat().st_size + 1, 1 << 20, 5 << 30]))
        return how
    data = path.read_bytes()
    packed = data.startswith(b"\x1f\x8b") and rng.random() < 0.95
    text = gzip.decompress(data) if packed else data
    if how == "value":
        text = with_other_value(text, rng)
    elif how == "literal":
        places = [n for n, byte in enumerate(text) if byte in b':,[="'] or [0]
        place = rng.choice(places) + 1
        text = text[:place] + rng.choice(LITERALS) + text[place + rng.randrange(3) :]
    elif how == "cut":
        text = text[: rng.randrange(len(text) + 1)]
    else:
        spoiled = bytearray(text or b"x")
        for _ in range(rng.randrange(1, 9)):
            spoiled[rng.randrange(len(spoiled))] = rng.choice([rng.randrange(256), rng.choice(b'019-.e"a')])
        text = bytes(spoiled)
    path.write_bytes(gzip.compress(text, 1) if packed else text)
    return how


def put_what_is_no_file(path: Path, rng: random.Random) -> str:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    how = rng.choice(["a pipe", "a folder", "a device", "a loop", "nothing", "a link outside"])
    if how == "a pipe":
        os.mkfifo(path)
    elif how == "a folder":
        path.mkdir()
    elif how != "nothing":
        path.symlink_to({"a device": "/dev/zero", "a loop": path.name}.get(how, path.parents[-1] / "dev/full"))
    return how


def with_other_value(text: bytes, rng: random.Random) -> bytes:
    """JSON, or the header of a file of arrays, with another value, one value less, or one twice."""
    start = 8 if not text.startswith(b"{") and text[8:9] == b"{" else 0
    end = 8 + int.from_bytes(text[:8], "little") if start else len(text)
    try:
        data = json.loads(text[start:end])
    except ValueError:
        lines = text.splitlines(keepends=True) or [b""]
        lines[rng.randrange(len(lines))] = f"x = {json.dumps(rng.choice(VALUES))}\n".encode()
        return b"".join(lines)
    nodes = [
        (holder, key)
        for holder in containers(data)
        for key in (holder if isinstance(holder, dict) else range(len(holder)))
    ]
    for _ in range(rng.choice([1, 1, 1, 3])):
        holder, key = rng.choice(nodes)
        action = rng.random()
        if isinstance(holder, list) and action < 0.1:
            holder.append(copy.deepcopy(holder[key]) if key < len(holder) else None)
        elif action < 0.2 and isinstance(holder, dict):
            holder.pop(key, None)
        elif key in holder if isinstance(holder, dict) else key < len(holder):
            values = [*VALUES, *(other[its] for other, its in nodes if isinstance(other, dict) and its in other)]
            alike = [value for value in values if type(value) is type(holder[key])]
            holder[key] = copy.deepcopy(rng.choice(alike if alike and rng.random() < 0.85 else values))
    spoiled = json.dumps(data).encode()
    return len(spoiled).to_bytes(8, "little") + spoiled + text[end:] if start else spoiled


def containers(data: Any) -> list[Any]:
    """All lists and objects in some data."""
    found, waiting = [], [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (dict, list)):
            found.append(item)
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return found


def outcome_of(reader: Reader, folder: Path) -> tuple[str, str]:
    """How a reader ended, and, of a fault, what there is to say."""
    signal.alarm(LIMIT)
    try:
        reader.read(folder)
    except HarnessError:
        return "refused", ""
    except TookTooLongError:
        return "hang", "".join(traceback.format_exc(limit=-3))
    except BaseException as error:
        return type(error).__name__, "".join(traceback.format_exc(limit=-3))
    finally:
        signal.alarm(0)
    return "read", ""


def stop(*_: object) -> None:
    raise TookTooLongError


@click.command()
@click.option("--mutations", default=2000, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True)
@click.option("--seconds", default=3600.0, show_default=True, help="Stop earlier after so long.")
def main(mutations: int, seed: int, seconds: float) -> None:
    """Spoil files and read them."""
    signal.signal(signal.SIGALRM, stop)
    counts: dict[str, Counter[str]] = {name: Counter() for name in READERS}
    faults, started, number = 0, time.monotonic(), 0
    with tempfile.TemporaryDirectory() as temporary, np.errstate(all="ignore"):
        originals, work = Path(temporary, "originals"), Path(temporary, "work")
        write_originals(originals)
        for number in range(mutations):
            if time.monotonic() - started > seconds:
                break
            rng = random.Random(f"{seed} {number}")
            name = rng.choice(list(READERS))
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(originals, work / "folder")
            (work / "outside").write_text("mine", encoding="utf-8")
            path = work / "folder" / rng.choice(READERS[name].files)
            how = spoil(path, rng)
            outcome, told = outcome_of(READERS[name], work / "folder")
            written = sorted(place.name for place in work.iterdir())
            if written != ["folder", "outside"] or (work / "outside").read_text(encoding="utf-8") != "mine":
                outcome, told = "outside", str(written)
            counts[name][outcome] += 1
            if told:
                faults += 1
                click.echo(f"mutation {number} of seed {seed}, {name}, {path.name}, {how}: {outcome}\n{told}")
        else:
            number += 1
    click.echo(f"{number} mutations, seed {seed}: {faults} faults, in {time.monotonic() - started:.0f} s")
    for name, outcomes in counts.items():
        click.echo(f"{name:<10}" + ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items())))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
