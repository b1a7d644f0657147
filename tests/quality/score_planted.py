"""A table of planted mistakes: whether each is found, and whether what is said of it names what to open.

    python tests/quality/score_planted.py                  every mistake, and its healthy twin
    python tests/quality/score_planted.py -k metric        some of them
    python tests/quality/score_planted.py --no-blame       whether they are found, in less time
    python tests/quality/score_planted.py RUN              nothing runs: a folder that an earlier call left is scored

It looks at `result.json` alone: at `blame.target`, and in `blame.culprit` and `blame.text` for the class, the method
and `file:line` of the code at fault, or the rows of the data.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from planted_bugs import BUGS, FILE, Planted  # noqa: E402

from harness.result import file as result_file  # noqa: E402
from harness.result import words  # noqa: E402
from harness.verdict import Verdict  # noqa: E402

PLANTED, HEALTHY, SCORES = "planted", "healthy", "planted.json"
#: The columns of the table.
COLUMNS = ("found", "target", "class", "method", "line", "rows")


@dataclass(frozen=True)
class Row:
    """What was said of one mistake: yes or no for each column, and None where the column asks nothing of it."""

    bug: str
    columns: dict[str, bool | None]
    said: str
    expected: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return all(answer is not False for answer in self.columns.values())


def main() -> None:
    options = _options()
    if options.run is None:
        folder = options.out or Path("runs") / time.strftime("planted-%Y%m%d-%H%M%S")
        _harness(PLANTED, folder, options, options.k, *(["--no-blame"] if options.no_blame else []))
        ran = _cases(folder / PLANTED)
        scenarios = sorted({f"[{bug.scenario}]" for bug in BUGS if bug.name in ran})
        _harness(HEALTHY, folder, options, " or ".join(scenarios), "--no-blame")
    else:
        folder = options.run
    cases, twins = (_cases(folder / function) for function in (PLANTED, HEALTHY))
    rows = [scored(bug, cases[bug.name]) for bug in BUGS if bug.name in cases]
    alarms = [name for name, case in twins.items() if case["outcome"] != "agree"]
    told = {"bugs": [asdict(row) for row in rows], "twins": len(twins), "twins that do not agree": alarms}
    (folder / SCORES).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(rows)))
    print(f"\nhealthy twins that agree: {len(twins) - len(alarms)} of {len(twins)}")
    print("".join(f"false alarm: the twin of {name}\n" for name in alarms), end="")
    sys.exit(0 if rows and not alarms and all(row.is_right for row in rows) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="a folder that an earlier call left: score it, run nothing")
    parser.add_argument("-k", help="the mistakes to run, as `harness run -k` takes it")
    parser.add_argument("--out", type=Path, help="where the runs go")
    parser.add_argument("--no-blame", action="store_true", help="do not search: only `found` can be right then")
    parser.add_argument("--targets", default="torch,tensorflow,jax", help="[torch,tensorflow,jax]")
    parser.add_argument("--jobs", type=int, help="cases at once")
    return parser.parse_args()


def _harness(function: str, folder: Path, options: argparse.Namespace, wanted: str | None, *more: str) -> None:
    command = [sys.executable, "-m", "harness", "run", f"{FILE}::{function}", "--out", str(folder / function), *more]
    command += ["--targets", options.targets]
    command += ["-k", wanted] if wanted else []
    command += ["--jobs", str(options.jobs)] if options.jobs else []
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1, 3):  # mistakes differ, and some may raise
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}")


def _cases(run: Path) -> dict[str, dict[str, Any]]:
    """The cases of a run by what stands in brackets in their ids."""
    result = json.loads((run / result_file.FILE).read_text(encoding="utf-8"))
    return {case["id"].rpartition("[")[2].rstrip("]"): case for case in result["cases"]}


def scored(bug: Planted, case: dict[str, Any]) -> Row:
    """What a case of `result.json` says of a mistake."""
    touched = [item for item in case["comparisons"] if bug.target in (item["target"], item["reference"])]
    verdicts = [Verdict.parse(item["verdict"]) for item in touched if item["verdict"] is not None]
    blame = next((item["blame"] for item in touched if item.get("blame")), {})
    # Code that is left to look at is not said to be at fault.
    left = re.compile(rf"\. {words.STILL_TO_LOOK_AT}: .*", re.IGNORECASE | re.DOTALL)
    said = " | ".join(left.sub("", str(blame[key])) for key in ("culprit", "text") if blame.get(key))
    columns = {
        "found": bool(verdicts) and len(verdicts) == len(touched) and min(verdicts) >= Verdict.DIVERGENT,
        "target": blame.get("target") == bug.target,
        "class": any(_has(said, name) for name in bug.classes) if bug.code else None,
        "method": None if bug.method is None else _has(said, bug.method),
        "line": any(_has(said, place) for place in bug.places) if bug.code else None,
        "rows": all(_has(said, str(row)) for row in bug.rows) and "row" in said if bug.rows else None,
    }
    return Row(bug.name, columns, said, bug.places or tuple(f"row {row}" for row in bug.rows))


def _has(text: str, word: str) -> bool:
    """Whether a text has a word, and not only as a part of a longer one."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def table(rows: list[Row]) -> Iterator[str]:
    """The lines of the table, with what was said beneath each row that is not right."""
    marks = {True: "yes", False: "NO", None: "-"}
    width = max((len(row.bug) for row in rows), default=3)
    yield "  ".join([f"{'bug':<{width}}", *(f"{name:<6}" for name in COLUMNS)]).rstrip()
    for row in rows:
        answers = [f"{marks[row.columns[name]]:<6}" for name in COLUMNS]
        yield "  ".join([f"{row.bug:<{width}}", *answers]).rstrip()
        if not row.is_right:
            yield f"    expected {' or '.join(row.expected)}; said: {row.said or 'nothing'}"
    asked = {name: [row.columns[name] for row in rows if row.columns[name] is not None] for name in COLUMNS}
    yield "  ".join([f"{'right':<{width}}", *(f"{f'{sum(asked[n])}/{len(asked[n])}':<6}" for n in COLUMNS)]).rstrip()


if __name__ == "__main__":
    main()
