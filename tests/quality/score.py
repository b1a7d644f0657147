"""The quality suite's scores: how many injected bugs the harness finds, and where it says they are.

    python tests/quality/score.py                    every bug, and five seeds of every healthy scenario
    python tests/quality/score.py -k dropout         some bugs
    python tests/quality/score.py --healthy 0        no healthy runs
    python tests/quality/score.py --no-blame         what the comparison alone says, in less time
    python tests/quality/score.py RUN                nothing runs: a folder that an earlier call left is scored

Beside the harness stand three usual ways to judge the same traces: every float32 array by
`numpy.testing.assert_allclose` with a relative tolerance of 1e-3 and of 1e-5, and the last loss alone. They are given
as much of an array's largest value as an absolute tolerance, without which rounding alone raises alarms everywhere.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from bugs import BUGS, REACHED, Bug  # noqa: E402
from scenarios import UNSEEDED  # noqa: E402

from harness.result.file import FILE  # noqa: E402
from harness.trace import Trace  # noqa: E402
from harness.verdict import Verdict  # noqa: E402

CORPUS = FOLDER / "corpus.py"
BUGS_RUN, HEALTHY_RUN, SCORES = "bugs", "healthy-{}", "scores.json"
#: What has to be reached, of 1. The first is of every bug.
GOALS = {"detected": 1.0, "phase": 0.95, "layer": 0.90, "op": 0.80, "target": 0.95}
#: The outcome of a case that differs from run to run.
UNREPEATABLE = "nondeterministic"

Judge = Callable[[Trace, Trace], bool]


@dataclass
class Row:
    """What was said of one bug. None where there is nothing to say, as of the layer of a schedule."""

    bug: str
    kind: str
    victim: str
    below: bool
    reached: bool
    ran: bool
    verdicts: dict[str, str | None]
    detected: bool
    phase: bool | None
    layer: bool | None
    op: bool | None
    target: bool | None
    bystander_differs: bool
    said: dict[str, Any]
    others: dict[str, bool]


def main() -> None:
    options = _options()
    if options.run is None:
        folder = options.out or Path("runs") / time.strftime("quality-%Y%m%d-%H%M%S")
        _run(folder, options)
    else:
        folder = options.run
    rows = [_score(bug, case, folder / BUGS_RUN) for bug, case in _cases_of_bugs(folder)]
    healthy = list(_healthy(folder))
    scores = _scores(rows, healthy)
    report = {"scores": scores, "bugs": [asdict(row) for row in rows], "healthy": healthy}
    text = json.dumps(report, indent=1) + "\n"
    (folder / SCORES).write_text(text, encoding="utf-8")
    if options.json is not None:
        options.json.write_text(text, encoding="utf-8")
    _print(rows, healthy, scores)
    sys.exit(0 if scores["reached goals"] else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="a folder that an earlier call left: score it, run nothing")
    parser.add_argument("-k", help="the bugs to run, as `harness run -k` takes it")
    parser.add_argument("--healthy", type=int, default=5, metavar="N", help="seeds of every healthy scenario [5]")
    parser.add_argument("--out", type=Path, help="where the runs go")
    parser.add_argument("--no-blame", action="store_true", help="do not replay: layers and operations stay unknown")
    parser.add_argument("--jobs", type=int, help="cases at once")
    parser.add_argument("--json", type=Path, help="write the scores here as well")
    return parser.parse_args()


def _run(folder: Path, options: argparse.Namespace) -> None:
    _harness("injected", folder / BUGS_RUN, options, *(["-k", options.k] if options.k else []))
    for seed in range(options.healthy):
        _harness("healthy", folder / HEALTHY_RUN.format(seed), options, "--seed", str(seed))


def _harness(function: str, out: Path, options: argparse.Namespace, *arguments: str) -> None:
    # Bugs below rounding are leaks, which `harness run` lets pass.
    how = ["run", "--no-blame"] if options.no_blame or function == "healthy" else ["blame"]
    command = [sys.executable, "-m", "harness", *how, f"{CORPUS}::{function}", "--out", str(out), *arguments]
    command += ["--jobs", str(options.jobs)] if options.jobs else []
    # Bugs differ and some raise: status 0, 1 and 3 are results.
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}")


def _cases(run: Path) -> dict[str, dict[str, Any]]:
    """The cases of a run by what stands in brackets in their ids."""
    result = json.loads((run / FILE).read_text(encoding="utf-8"))
    return {case["id"].rpartition("[")[2].rstrip("]"): case for case in result["cases"]}


def _cases_of_bugs(folder: Path) -> Iterator[tuple[Bug, dict[str, Any]]]:
    cases = _cases(folder / BUGS_RUN)
    return ((bug, cases[bug.name]) for bug in BUGS if bug.name in cases)


def _score(bug: Bug, case: dict[str, Any], run: Path) -> Row:
    places = {item["target"]: run / item["trace"] for item in case["runs"]}
    by_target = {item["target"]: item for item in case["comparisons"]}
    reference = case["comparisons"][0]["reference"]
    # A bug of the reference shows in every comparison, and one of another target in its own.
    touched = compared = [item for target, item in by_target.items() if bug.victim in (target, reference)]
    enough = Verdict.LEAK if bug.below else Verdict.DIVERGENT
    # A bug of compiled calls alone shows where these are held against the victim's own eager ones.
    calls = next(item.get("compiled") for item in case["runs"] if item["target"] == bug.victim)
    if calls is not None and _is_as_bad(calls, enough):
        touched = [calls]
    does_not_repeat = case["outcome"] == UNREPEATABLE
    detected = does_not_repeat if bug.unseeded else all(_is_as_bad(item, enough) for item in touched)
    found = next((item for item in touched if item.get("blame")), touched[0])
    first, blame = found["first"] or {}, found.get("blame") or {}
    said = {
        "phase": blame["phase"] if blame.get("confirmed") else first.get("phase"),
        "step": first.get("step"),
        "layer": blame.get("layer") or first.get("layer"),
        "op": blame.get("op"),
        "target": blame.get("target"),
        "confirmed": blame.get("confirmed"),
        "key": first.get("key"),
        "reason": first.get("reason"),
    }
    traces = {target: Trace(place) for target, place in places.items()}
    bystanders = [item for target, item in by_target.items() if bug.victim not in (target, reference)]
    return Row(
        bug=bug.name,
        kind=bug.kind,
        victim=bug.victim,
        below=bug.below,
        reached=REACHED in (places[bug.victim] / "output.txt").read_text(encoding="utf-8", errors="replace"),
        ran=all(item["status"] == "ok" for item in case["runs"]),
        verdicts={target: item["verdict"] for target, item in by_target.items()},
        detected=detected,
        phase=None if bug.unseeded else said["phase"] in bug.phases,
        layer=None if bug.layers is None else said["layer"] in bug.layers,
        op=None if bug.op is None else said["op"] == bug.op,
        target=None if bug.unseeded else said["target"] == bug.victim,
        bystander_differs=not bug.unseeded and any(_is_alarm(item) for item in bystanders),
        said=said,
        others={
            name: all(judge(traces[item["target"]], traces[reference]) for item in compared)
            for name, judge in OTHERS.items()
        },
    )


def _healthy(folder: Path) -> Iterator[dict[str, Any]]:
    """Every target of every healthy case, and who raises an alarm on it."""
    for run in sorted(file.parent for file in folder.glob(f"{HEALTHY_RUN.format('*')}/{FILE}")):
        for name, case in _cases(run).items():
            repeats = case["outcome"] != UNREPEATABLE
            alarms = {
                item["target"]: repeats if name in UNSEEDED else _is_alarm(item) or not repeats
                for item in case["comparisons"]
            }
            alarms |= {
                item["target"]: True
                for item in case["runs"]
                if item.get("compiled") is not None and _is_alarm(item["compiled"])
            }
            traces = {item["target"]: Trace(run / item["trace"]) for item in case["runs"]}
            for item in case["runs"]:
                target = item["target"]
                compared = target in alarms
                reference = case["comparisons"][0]["reference"]
                yield {
                    "scenario": name,
                    "run": run.name,
                    "target": target,
                    "ran": item["status"] == "ok",
                    "alarm": alarms.get(target, False),
                    "others": {
                        other: compared and judge(traces[target], traces[reference]) for other, judge in OTHERS.items()
                    },
                }


def _is_alarm(comparison: dict[str, Any]) -> bool:
    return comparison["verdict"] is None or _is_as_bad(comparison, Verdict.DIVERGENT)


def _is_as_bad(comparison: dict[str, Any], verdict: Verdict) -> bool:
    return comparison["verdict"] is not None and Verdict.parse(comparison["verdict"]) >= verdict


# Other ways to judge the same traces. Each says whether two traces differ.


def _any_array(rtol: float) -> Judge:
    def differs(mine: Trace, theirs: Trace) -> bool:
        return mine.keys != theirs.keys or any(_differ(mine[key], theirs[key], rtol) for key in theirs.keys)

    return differs


def _differ(mine: Any, theirs: Any, rtol: float) -> bool:
    if not (mine.is_array and theirs.is_array):
        return bool(mine.is_array != theirs.is_array or mine.value != theirs.value)
    if mine.array.shape != theirs.array.shape:
        return True
    finite = np.abs(theirs.array[np.isfinite(theirs.array)])
    try:
        np.testing.assert_allclose(mine.array, theirs.array, rtol=rtol, atol=rtol * float(finite.max(initial=0.0)))
    except AssertionError:
        return True
    return False


def _last_loss(rtol: float) -> Judge:
    def last(trace: Trace) -> Any:
        losses = [key for key in trace.keys if key.startswith("log/") and key.endswith("/loss")]
        return trace[losses[-1]] if losses else None

    def differs(mine: Trace, theirs: Trace) -> bool:
        one, other = last(mine), last(theirs)
        return one is not None and other is not None and _differ(one, other, rtol)

    return differs


OTHERS: dict[str, Judge] = {
    "allclose 1e-3": _any_array(1e-3),
    "allclose 1e-5": _any_array(1e-5),
    "last loss": _last_loss(1e-3),
}


def _scores(rows: list[Row], healthy: list[dict[str, Any]]) -> dict[str, Any]:
    shares: dict[str, Any] = {}
    for what in GOALS:
        asked = [getattr(row, what) for row in rows if getattr(row, what) is not None]
        shares[what] = {"right": sum(asked), "of": len(asked)}
    alarms = [item for item in healthy if item["alarm"] or not item["ran"]]
    reached = all(score["right"] >= GOALS[what] * score["of"] for what, score in shares.items())
    return {
        **shares,
        "bugs": len(rows),
        "never reached": [row.bug for row in rows if not row.reached],
        "bystanders that differ": [row.bug for row in rows if row.bystander_differs],
        "healthy runs": len(healthy),
        "false alarms": len(alarms),
        "others": {
            name: {
                "detected": sum(row.others[name] for row in rows),
                "false alarms": sum(item["others"][name] for item in healthy),
            }
            for name in OTHERS
        },
        "reached goals": reached and not alarms and all(row.reached for row in rows),
    }


def _print(rows: list[Row], healthy: list[dict[str, Any]], scores: dict[str, Any]) -> None:
    marks = {True: "yes", False: "NO", None: "-"}
    width = max((len(row.bug) for row in rows), default=10)
    print(f"{'bug':<{width}}  {'in':<10}  {'kind':<11}  {'verdict':<9}  found  phase  layer  op   target  others")
    for row in rows:
        verdict = row.verdicts.get(row.victim) or next(iter(row.verdicts.values()))
        others = " ".join("x" if row.others[name] else "." for name in OTHERS)
        print(
            f"{row.bug:<{width}}  {row.victim:<10}  {row.kind:<11}  {verdict!s:<9}  {marks[row.detected]:<5}  "
            f"{marks[row.phase]:<5}  {marks[row.layer]:<5}  {marks[row.op]:<3}  {marks[row.target]:<6}  {others}"
        )
        wrong = [what for what in GOALS if getattr(row, what) is False and (what != "target" or row.said["target"])]
        if wrong or not row.reached or row.bystander_differs or not row.ran:
            notes = [f"{what}: {row.said.get(what)}" for what in wrong if what != "detected"]
            notes += ["never reached"] * (not row.reached) + ["a run failed"] * (not row.ran)
            notes += ["a healthy target differs as well"] * row.bystander_differs
            print(f"{'':<{width}}  first: {row.said['key']}  {'; '.join(notes)}")
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        kinds[row.kind].append(row)
    print("\nfound by kind: " + ", ".join(f"{k} {sum(r.detected for r in v)}/{len(v)}" for k, v in kinds.items()))
    print("bugs by backend: " + ", ".join(f"{k} {v}" for k, v in Counter(row.victim for row in rows).items()))
    print(f"\n{'':<16}{'right':>6}{'of':>5}{'share':>8}{'goal':>7}")
    for what, goal in GOALS.items():
        right, of = scores[what]["right"], scores[what]["of"]
        print(f"{what:<16}{right:>6}{of:>5}{right / max(of, 1):>8.1%}{goal:>7.0%}")
    print(f"\n{'':<16}{'found':>6}{'of':>5}  {'false alarms':>13}{'of':>5}")
    lines = {"harness": {"detected": scores["detected"]["right"], "false alarms": scores["false alarms"]}}
    for name, line in {**lines, **scores["others"]}.items():
        print(f"{name:<16}{line['detected']:>6}{len(rows):>5}  {line['false alarms']:>13}{len(healthy):>5}")
    for item in healthy:
        if item["alarm"] or not item["ran"]:
            print(f"false alarm: {item['scenario']} on {item['target']} in {item['run']}")


if __name__ == "__main__":
    main()
