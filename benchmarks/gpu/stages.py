"""The stages of benchmarks/gpu.sh, which says how to call it. Each writes its results as soon as it has them.

A stage that fails, or takes longer than it may, does not stop the others. Nothing here imports a framework.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness import backends, trace
from harness.report.blocks import blocks
from harness.result.run_folder import RunFolder
from harness.session.options import cores
from harness.target import Target
from harness.verdict import Verdict

REHEARSAL = os.environ.get("GPU_REHEARSAL") == "1"
#: Seconds that a stage may take. A rehearsal may run on a machine that has other things to do.
LIMIT = 600 if REHEARSAL else 170
#: What stands for the GPU. A backend that is told no device takes the processor where there is no other.
TORCH, JAX = ("torch", "jax") if REHEARSAL else ("torch:cuda", "jax:cuda")
JOBS = str(min(cores(), 16))
CASES = Path("benchmarks/gpu")
#: Files of the catalogue, the most telling first: those behind may find no time.
CATALOGUE = os.environ.get("GPU_FILES", "layers simple_dense train_step gradients models metrics tickets").split()
#: Seconds without which no file of the catalogue is begun.
ENOUGH = 40
#: How many findings of one run are printed. All of them are in the table.
PRINTED = 8
PACKAGES = ("torch", "jax", "jaxlib", "jax-cuda13-plugin", "nvidia-cudnn-cu13", "nvidia-cublas", "triton", "keras")
PACKAGES += ("numpy", "ml-dtypes", "optree")


class OutOfTimeError(Exception):
    """A stage has no time left."""


class Stage:
    """One stage: its log, its table, and the time it has left."""

    def __init__(self, name: str, out: Path) -> None:
        self.name = name
        self.out = out / name
        self.out.mkdir(parents=True, exist_ok=True)
        self.table: dict[str, Any] = {}
        self._deadline = time.monotonic() + LIMIT

    def left(self) -> float:
        return self._deadline - time.monotonic()

    def say(self, line: str) -> None:
        """A line of the summary, now and at the end."""
        print(line, flush=True)
        with (self.out.parent / "summary.txt").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def keep(self, name: str, value: Any) -> None:
        """An entry of the table, which is on disk at once."""
        self.table[name] = value
        (self.out.parent / f"{self.name}.json").write_text(json.dumps(self.table, indent=1) + "\n", encoding="utf-8")

    def call(self, *command: str, at_most: float = LIMIT, **variables: str) -> tuple[int, str]:
        """Run a command, with its output in the log, for as long as there is time. Its status, and what it printed.

        Raises:
            OutOfTimeError: it did not end in time.
        """
        output = self.out / "last.txt"
        environment = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **variables}
        started = time.monotonic()
        with output.open("wb") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
            )
            try:
                process.wait(timeout=max(0.0, min(self.left(), at_most)))
                timed_out = False
            except subprocess.TimeoutExpired:
                timed_out = True
                _end(process)
        text = output.read_text(encoding="utf-8", errors="replace")
        with (self.out.parent / f"{self.name}.txt").open("a", encoding="utf-8") as log:
            how = "stopped: no time was left" if timed_out else f"status {process.returncode}"
            log.write(f"$ {' '.join(command)}\n{text}\n[{how}, {time.monotonic() - started:.1f} s]\n\n")
        if timed_out:
            raise OutOfTimeError(" ".join(command[:6]))
        return process.returncode, text

    def run(self, name: str, *arguments: str, jobs: str = JOBS, **variables: str) -> RunFolder | None:
        """`harness run`, with its result in the table under a name and in the summary; None where there is none."""
        place = self.out / name
        shutil.rmtree(place, ignore_errors=True)
        started = time.monotonic()
        command = ["run", *arguments, "--jobs", jobs, "--timeout", "100", "--out", str(place)]
        status, text = self.call(sys.executable, "-m", "harness", *command, **variables)
        return self._tell(name, place, status, text, time.monotonic() - started)

    def compare(self, name: str, *folders: Path) -> RunFolder | None:
        """`harness compare`, likewise."""
        place = self.out / name
        started = time.monotonic()
        command = ["compare", *map(str, folders), "--out", str(place)]
        status, text = self.call(sys.executable, "-m", "harness", *command)
        return self._tell(name, place, status, text, time.monotonic() - started)

    def _tell(self, name: str, place: Path, status: int, text: str, seconds: float) -> RunFolder | None:
        if not (place / "result.json").exists():
            self.keep(name, {"status": status, "said": text[-2000:]})
            self.say(f"  {name}: status {status}: {_last_line(text)}")
            return None
        run = RunFolder.open(place)
        told = _described(run, seconds)
        self.keep(name, told)
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in told["outcomes"].items())
        self.say(f"  {name}: status {status}, {seconds:.0f} s: {outcomes}")
        for target, counts in told["verdicts"].items():
            cases, observations = _counted(counts["cases"]), _counted(counts["observations"])
            self.say(f"    {target}: cases: {cases}; observations: {observations}")
        for line in (told["failures"] + told["findings"])[:PRINTED]:
            self.say(f"    {line}")
        return run


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, on which the harness ends its workers; and then for certain."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _described(run: RunFolder, seconds: float) -> dict[str, Any]:
    """What a run came to: outcomes, verdicts of each target, what failed, and what differs and has a name."""
    verdicts: dict[str, dict[str, Counter[str]]] = {}
    failures, findings, imprecise = [], [], []
    for case in run.result["cases"]:
        failures += [
            f"{case['id']} on {side['target']}: {side['status']}: {_one_line(side['error'])}"
            for side in case["runs"]
            if side["status"] != "ok"
        ]
        for comparison in case["comparisons"]:
            counts = verdicts.setdefault(comparison["target"], {"cases": Counter(), "observations": Counter()})
            counts["cases"][comparison["verdict"]] += 1
            counts["observations"].update(comparison["counts"])
            first = comparison["first"]
            if first is None or Verdict.parse(first["verdict"]) < Verdict.IMPRECISE:
                continue
            line = f"{case['id']} on {comparison['target']}: {first['verdict']} at {first['key']}: "
            line += _one_line(first["reason"])
            if first["verdict"] == "imprecise":
                imprecise.append(line)
            elif case["outcome"] != "known":
                blame = comparison["blame"]
                findings.append(f"{line}; {case['outcome']}" + (f"; blame: {_blamed(blame)}" if blame else ""))
    return {
        "seconds": round(seconds, 1),
        "status": run.result["exit_status"],
        "outcomes": dict(Counter(case["outcome"] for case in run.result["cases"])),
        "verdicts": {target: {name: dict(n) for name, n in counts.items()} for target, counts in verdicts.items()},
        "failures": failures,
        "findings": findings,
        "imprecise": imprecise,
    }


def _blamed(blame: Any) -> str:
    return ", ".join(f"{name} {blame[name]}" for name in ("target", "layer", "op") if blame.get(name))


def _one_line(text: str | None) -> str:
    return " | ".join((text or "").split("\n"))[:300]


def doctor(stage: Stage) -> None:
    """What is here."""
    if REHEARSAL:
        stage.say("  a rehearsal: the processor stands for the GPU")
    stage.keep("GPU", _smi("name,driver_version,memory.total,memory.used,compute_mode"))
    stage.say(f"  {stage.table['GPU'] or 'nvidia-smi is not here, or sees nothing'}")
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    stage.keep("versions", versions)
    stage.say("  " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    for command in (["nvidia-smi"], [sys.executable, "-m", "pip", "list", "--disable-pip-version-check"]):
        with contextlib.suppress(FileNotFoundError):
            stage.call(*command, at_most=30)
    status, text = stage.call(sys.executable, "-m", "harness", "doctor")
    stage.keep("doctor", {"status": status, "said": text.splitlines()})
    for line in text.splitlines():
        stage.say(f"  {line}")


def catalogue(stage: Stage) -> None:
    """Quick cases of the catalogue, on both devices of both backends."""
    targets = ",".join(dict.fromkeys(("torch:cpu", TORCH, "jax:cpu", JAX)))
    keyword = ["-k", "dense and not sequences"] if REHEARSAL else []
    for name in CATALOGUE[:1] if REHEARSAL else CATALOGUE:
        if stage.left() < ENOUGH:
            stage.say(f"  no time was left for {name}")
            continue
        options = ["--tag", "not slow", *keyword, "--targets", targets, "--reference", "torch:cpu"]
        stage.run(name, f"cases/{name}.py", *options)


def tf32(stage: Stage) -> None:
    """TF32 by default, on and off: `imprecise`, with the switch named, where it is on, and nothing where it is off."""
    keyword = ["-k", "matmul"] if REHEARSAL else []
    targets = f"torch:cpu,{TORCH},{JAX}"
    run = stage.run("tf32", f"{CASES}/tf32.py", *keyword, "--targets", targets, "--reference", "torch:cpu")
    if run is None:
        return
    said = []
    for case in run.result["cases"]:
        found = blocks(run, [case], Verdict.IDENTICAL)
        by_target = {target: block for block in found for _, target in block.on}
        for comparison in case["comparisons"]:
            block = by_target.get(comparison["target"])
            switches = [fact for label, fact in block.facts if label == "switch"] if block else []
            said.append([case["id"].partition("::")[2], comparison["target"], comparison["verdict"], switches])
            stage.say(f"    {said[-1][0]} {said[-1][1]}: {said[-1][2]}; {'; '.join(switches) or 'no switch named'}")
    stage.keep("switches", said)


def mixed(stage: Stage) -> None:
    """Low precisions on the GPU, against the processor in the same one."""
    files = ["cases/simple_dense.py", "cases/layers.py"]
    keyword = ["-k", "relu" if REHEARSAL else "by_rank or relu or trains"]
    for precision in ("mixed_bfloat16", "mixed_float16"):
        targets = [f"{target}+{precision}" for target in ("torch:cpu", TORCH, JAX)]
        options = ["--tag", "not slow", *keyword, "--targets", ",".join(targets), "--reference", targets[0]]
        stage.run(precision, *files, *options)


def repeats(stage: Stage) -> None:
    """Which kernels do not repeat themselves, and whether that is told from a difference."""
    keyword = ["-k", "fault or scatter"] if REHEARSAL else []
    options = [f"{CASES}/kernels.py", *keyword, "--targets", f"torch:cpu,{TORCH},{JAX}", "--reference", "torch:cpu"]
    first = stage.run("first", *options)
    second = stage.run("second", *options, "--no-blame")
    if first is None or second is None:
        return
    run = stage.compare("first against second", first.path, second.path)
    for case in run.result["cases"] if run else ():
        for comparison in case["comparisons"]:
            stage.say(f"    {case['id'].partition('::')[2]} {comparison['target']}: {_counted(comparison['counts'])}")


def together(stage: Stage) -> None:
    """Many processes on one GPU, and workers in which CUDA has started before they fork."""
    options = [f"{CASES}/shared.py", "--targets", f"torch:cpu,{TORCH},{JAX}", "--reference", "torch:cpu"]
    with _memory(stage, "memory, forked"):
        stage.run("forked", *options, *(["-k", "0 or 1"] if REHEARSAL else []))
    if _driver_is_missing():
        stage.say("  there is no driver of CUDA here, so it cannot start before a fork")
        return
    for name, text in _BROKEN.items():
        status, said = stage.call(sys.executable, "-c", _START + text, at_most=60)
        stage.keep(f"a fork after CUDA has started, {name}", {"status": status, "said": said[-2000:]})
        stage.say(f"  a fork after CUDA has started, {name}: status {status}: {_last_line(said)[:200]}")
    place = stage.out / "started"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
    path = os.pathsep.join([str(place), os.environ["PYTHONPATH"]])
    with _memory(stage, "memory, fresh processes"):
        run = stage.run("fresh", *options, "-k", "0 or 1", PYTHONPATH=path)
    sides = [side for case in run.result["cases"] for side in case["runs"]] if run else []
    reasons = Counter(str(side["environment"].get("fresh_process")) for side in sides)
    stage.keep("why the processes were fresh", dict(reasons))
    stage.say(f"  why the processes were fresh: {_counted(reasons)}")


_START = """
import ctypes, os, sys
assert ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
"""
#: Starts CUDA in workers, as a library might that looks for devices when it is imported.
_SITE = f"""
import sys
if "harness.worker" in sys.orig_argv and "--once" not in sys.orig_argv:
{_START.strip().replace("import", "    import").replace("assert", "    assert")}
"""
_FORK = """
process = os.fork()
if process:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""
_BROKEN = {
    "torch": f"import torch{_FORK}print(torch.ones(2, device='cuda').sum())",
    "jax": f"import jax{_FORK}print(jax.numpy.ones(2, device=jax.devices('cuda')[0]).sum())",
}


def large(stage: Stage) -> None:
    """What recording costs a network of 20 million parameters: one run at a time, each in a process of its own."""
    case = f"{CASES}/large.py::dense[{'700 thousand' if REHEARSAL else '20 million'}]"
    for target in (TORCH, JAX):
        place = stage.out / Target.parse(target, backends.NAMES).slug
        shutil.rmtree(place, ignore_errors=True)
        command = ["record", case, "--target", target, "--out", str(place), "--jobs", "1", "--observer-check"]
        started = time.monotonic()
        status, text = stage.call(sys.executable, "-m", "harness", *command)
        stage.keep(f"{target}, harness record", {"status": status, "seconds": time.monotonic() - started})
        stage.say(f"  {target}: status {status}, {time.monotonic() - started:.0f} s: {_last_line(text)}")
        for index in sorted(place.rglob(trace.INDEX)):
            what = f"{target}, {index.parent.name if index.parent.name in _VARIANTS else 'recorded'}"
            stage.keep(what, _timed(index))
            stage.say(f"    {what}: {stage.table[what]}")


def compared(stage: Stage) -> None:
    """The network of 20 million parameters on two targets, recorded and judged: seconds, from start to end."""
    case = f"{CASES}/large.py::dense[{'700 thousand' if REHEARSAL else '20 million'}]"
    stage.run("run", case, "--targets", f"{TORCH},{JAX}", "--reference", TORCH, "--no-blame")


def compiled(stage: Stage) -> None:
    """torch.compile on the GPU, which needs a C++ compiler and Triton."""
    options = ["cases/simple_dense.py", "cases/train_step.py", "--tag", "not slow", "-k", "relu or overridden"]
    stage.run("jit", *options, "--targets", f"{TORCH},{TORCH}+jit", "--reference", TORCH)


_VARIANTS = (trace.TWIN, trace.UNOBSERVED)


def _timed(index: Path) -> dict[str, Any]:
    """Seconds of a run of the large case: from its start to its end, and its epochs of 10 steps; and its trace's size.

    The whole includes starting the GPU, making data and weights, and compiling, but not writing the trace.
    """
    header = json.loads(index.read_text(encoding="utf-8"))
    text = (index.parent / "output.txt").read_text(encoding="utf-8")
    epochs = [float(seconds) for seconds in re.findall(r"took ([\d.]+) s", text)]
    return {"status": header["status"], "whole": header["seconds"], "epochs": epochs, "MB": _megabytes(index.parent)}


def _megabytes(place: Path) -> int:
    return round(sum(path.stat().st_size for path in place.iterdir() if path.is_file()) / 1e6)


def _smi(what: str, of: str = "gpu") -> list[str]:
    """What nvidia-smi says, line by line; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
        command = ["nvidia-smi", f"--query-{of}={what}", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip().splitlines()
    return []


@contextlib.contextmanager
def _memory(stage: Stage, name: str) -> Iterator[None]:
    """What memory of the GPU is used while the context is open, looked at twice a second."""
    seen: list[int] = []
    processes: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            seen.extend(int(line.split()[0]) for line in _smi("memory.used"))
            processes.append(len(_smi("pid", "compute-apps")))

    before = _smi("memory.used")
    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        told = {"before": before, "most MiB": max(seen, default=None), "most processes": max(processes, default=None)}
        stage.keep(name, {**told, "MiB": seen})
        stage.say(f"  {name}: {told}")


def _driver_is_missing() -> bool:
    """Whether there is no driver of CUDA, asked in another process: CUDA must not start in this one."""
    command = [sys.executable, "-c", 'import ctypes; ctypes.CDLL("libcuda.so.1")']
    return subprocess.run(command, capture_output=True, timeout=60).returncode != 0


STAGES: dict[str, Callable[[Stage], None]] = {
    "1": doctor,
    "2": catalogue,
    "3": tf32,
    "4": mixed,
    "5": repeats,
    "6": together,
    "7": large,
    "8": compared,
    "9": compiled,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("stages", nargs="*", choices=[[], *STAGES], metavar="STAGE")
    arguments = parser.parse_args()
    (arguments.out / "summary.txt").unlink(missing_ok=True)
    ended = {}
    for number in arguments.stages or STAGES:
        name = f"{number}-{STAGES[number].__name__}"
        for file in (f"{name}.txt", f"{name}.json"):
            (arguments.out / file).unlink(missing_ok=True)
        stage = Stage(name, arguments.out)
        stage.say(f"{name}: {STAGES[number].__doc__}")
        started = time.monotonic()
        try:
            STAGES[number](stage)
            how = "done"
        except OutOfTimeError as error:
            how = f"out of time in: {error}"
        except Exception as error:
            traceback.print_exc()
            how = f"failed: {type(error).__name__}: {error}"
        ended[name] = how
        stage.keep("ended", how)
        stage.say(f"  [{how}, {time.monotonic() - started:.0f} s]")
    print("\n".join(f"{name:<14} {how}" for name, how in ended.items()))
    sys.exit(any(how != "done" for how in ended.values()))


if __name__ == "__main__":
    main()
