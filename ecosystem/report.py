"""The page about packages: what runs of `ecosystem/cases` found, in `docs/ecosystem.md`.

    python ecosystem/report.py RUN [RUN ...] [--out FILE]

Figures come from each run's `result.json`, versions from `requirements.txt`, and what was looked at by hand from
`findings.toml`. Nothing else is on the page.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten

from harness.case import matches
from harness.result.file import read
from harness.result.schema import CaseJson, ComparisonJson, ResultJson
from harness.verdict import Verdict

HERE = Path(__file__).parent
#: Characters that are shown of an error.
LONGEST = 200
VERDICTS = [str(verdict) for verdict in Verdict]
KINDS = {
    "real": "a difference of the package",
    "keras": "a difference of Keras or of a backend, which the package meets",
    "documented": "told by the package itself",
}
HEAD = """# On the packages that people have

Layers, losses, metrics, callbacks and a training of {packages} packages for Keras 3, each as its registry has it, on
{targets}. The case files are in `ecosystem/cases`, the pins in `ecosystem/requirements.txt`:

```
python -m pip install -c constraints.txt -e '.[all]'
python -m pip install --no-deps -r ecosystem/requirements.txt
harness run ecosystem/cases/on_k3_node.py            one package
harness run ecosystem/cases                          all of them
python ecosystem/report.py RUN                       this page
```

{agreeing} of the packages do the same on every backend in all that was tried. What differs is told so that authors can
use it: what, where, and a script of a few lines that shows it with Keras and NumPy alone.

`ecosystem/report.py` wrote this page from runs with {versions}. Of a package, `compared` counts observations, each of
them an array, a number or a plain value, which are held against those of {reference}; `seconds` are those of all its
cases on all targets, twins included, one after the other.
"""


@dataclass(frozen=True)
class Remark:
    """What somebody who looked at a difference says of it.

    Attributes:
        package: as the registry calls it.
        cases: names of cases, as patterns in which `*` stands for anything.
        kind: one of `KINDS`.
        what: what differs, and where.
        script: a script in `confirmed/` that shows it without the harness, or None.
    """

    package: str
    cases: Sequence[str]
    kind: str
    what: str
    script: str | None = None

    def is_of(self, name: str) -> bool:
        return any(matches(pattern, name) for pattern in self.cases)


@dataclass
class Package:
    """A package, and what its cases found."""

    name: str
    version: str
    cases: list[CaseJson] = field(default_factory=list)

    @property
    def comparisons(self) -> list[ComparisonJson]:
        return [comparison for case in self.cases for comparison in case["comparisons"]]


def pins(text: str) -> dict[str, str]:
    """Versions by the name of a distribution, with `_` for `-`, which is how a case file is called after it."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    pairs = (line.split("==") for line in lines if line)
    return {name.replace("-", "_"): version for name, version in pairs}


def remarks(text: str) -> list[Remark]:
    """The entries of `findings.toml`.

    Raises:
        ValueError: an entry has a kind that is none, or a script that is not there.
    """
    found = [Remark(**entry) for entry in tomllib.loads(text).get("finding", [])]
    for remark in found:
        if remark.kind not in KINDS:
            raise ValueError(f"{remark.package}: {remark.kind!r} is not a kind. It is one of {', '.join(KINDS)}.")
        if remark.script is not None and not (HERE / "confirmed" / remark.script).is_file():
            raise ValueError(f"{remark.package}: there is no script {remark.script!r} in ecosystem/confirmed.")
    return found


def packages(results: Iterable[ResultJson], versions: dict[str, str]) -> list[Package]:
    """The packages that have cases in the results, by name.

    Raises:
        ValueError: a case is in a file that is not called after a package that is pinned.
    """
    found: dict[str, Package] = {}
    for result in results:
        for case in result["cases"]:
            module = Path(case["id"].partition("::")[0]).stem.removeprefix("on_")
            if module not in versions:
                raise ValueError(f"{case['id']} is in no file on_NAME.py after a package of requirements.txt.")
            name = module.replace("_", "-")
            found.setdefault(name, Package(name, versions[module])).cases.append(case)
    return [found[name] for name in sorted(found)]


def name_of(case: CaseJson) -> str:
    return case["id"].partition("::")[2]


def escaped(text: str) -> str:
    """Text for a line of Markdown, in which nothing is markup."""
    plain = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>#|" else letter for letter in plain)


def table(found: Sequence[Package]) -> list[str]:
    heads = ["package", "version", "cases", "compared", *VERDICTS, "do not agree", "seconds"]
    rows = [heads, ["---"] * len(heads)]
    total: Counter[str] = Counter()
    for package in found:
        counts = Counter[str]()
        for comparison in package.comparisons:
            counts.update(comparison["counts"])
        figures = Counter(
            {
                "cases": len(package.cases),
                "compared": sum(comparison["observations"] for comparison in package.comparisons),
                **counts,
                "do not agree": sum(case["outcome"] != "agree" for case in package.cases),
                "seconds": round(sum(run["seconds"] for case in package.cases for run in case["runs"])),
            }
        )
        total.update(figures)
        rows.append([package.name, package.version, *(f"{figures[head]:,}" for head in heads[2:])])
    rows.append(["all", "", *(f"{total[head]:,}" for head in heads[2:])])
    return [f"| {' | '.join(row)} |" for row in rows]


def told(case: CaseJson) -> list[str]:
    """What the run says of a case that does not agree: what failed, differs, or is declared, by target."""
    lines = [
        f"{run['target']}: {run['status']}: {escaped(shorten(run['error'], LONGEST, placeholder=' ...'))}"
        for run in case["runs"]
        if run["error"] is not None
    ]
    for comparison in [*case["comparisons"], *(run["compiled"] for run in case["runs"] if run.get("compiled"))]:
        first_finding = comparison["first"]
        if first_finding is None or Verdict.parse(first_finding["verdict"]) < Verdict.DIVERGENT:
            continue
        line = f"{comparison['target']} against {comparison['reference']}: {first_finding['verdict']} at "
        line += f"`{first_finding['key']}`: {escaped(shorten(first_finding['reason'], LONGEST, placeholder=' ...'))}"
        if comparison["blame"] is not None:
            line += f" ({escaped(comparison['blame']['text'])})"
        lines.append(line)
        lines += [f"{comparison['target']}: declared: {escaped(known['reason'])}" for known in comparison["known"]]
    return lines or [case["outcome"]]


def listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def chapter(package: Package, known: Sequence[Remark]) -> list[str]:
    """What is said of one package's cases that do not agree; nothing if all of them do."""
    differing = [case for case in package.cases if case["outcome"] != "agree"]
    remarks_of = [remark for remark in known if remark.package == package.name]
    lines = []
    for remark in remarks_of:
        shown = [name_of(case) for case in differing if remark.is_of(name_of(case))]
        where = f"shown by {listed(shown)}" if shown else f"not found in this run ({listed(remark.cases)})"
        script = "" if remark.script is None else f" Without the harness: `ecosystem/confirmed/{remark.script}`."
        kind = KINDS[remark.kind]
        lines += ["", f"**{kind[0].upper()}{kind[1:]}**, {where}. {remark.what}{script}"]
    left = [case for case in differing if not any(remark.is_of(name_of(case)) for remark in remarks_of)]
    if left:
        lines += ["", "**Not looked at yet:**", ""]
        lines += [f"- `{name_of(case)}`: {line}" for case in left for line in told(case)]
    return [f"## {package.name} {package.version}", *lines, ""] if lines else []


def versions_of(results: Iterable[ResultJson]) -> str:
    """Versions of Keras and the backends, of NumPy and Python, as the runs' environments have them."""
    found: dict[str, set[str]] = {}
    for result in results:
        for run in (run for case in result["cases"] for run in case["runs"]):
            environment = run["environment"]
            for name, version in {**environment.get("versions", {}), "python": environment.get("python")}.items():
                if version:
                    found.setdefault(name, set()).add(str(version))
    return ", ".join(f"{name} {' or '.join(sorted(versions))}" for name, versions in sorted(found.items()))


def page(results: Sequence[ResultJson], versions: dict[str, str], known: Sequence[Remark]) -> str:
    """The whole page.

    Raises:
        ValueError: see `packages`.
    """
    found = packages(results, versions)
    targets = list(dict.fromkeys(target for result in results for target in result["targets"]))
    head = HEAD.format(
        packages=len(found),
        agreeing=sum(all(case["outcome"] == "agree" for case in package.cases) for package in found),
        targets=f"{', '.join(targets[:-1])} and {targets[-1]}" if len(targets) > 1 else targets[0],
        versions=versions_of(results),
        reference=" or ".join(sorted({result["reference"] for result in results})),
    )
    chapters = [line for package in found for line in chapter(package, known)]
    return "\n".join([head, *table(found), "", *chapters]).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the page about packages from runs of ecosystem/cases.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, or their result.json")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "ecosystem.md")
    call = parser.parse_args()
    results = [read(run / "result.json" if run.is_dir() else run) for run in call.runs]
    versions = pins((HERE / "requirements.txt").read_text(encoding="utf-8"))
    known = remarks((HERE / "findings.toml").read_text(encoding="utf-8"))
    call.out.write_text(page(results, versions, known), encoding="utf-8")
    print(call.out)


if __name__ == "__main__":
    main()
