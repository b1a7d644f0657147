"""Cases as pytest items: one for each case and compared target."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import HarnessError
from harness.pytest_plugin import findings
from harness.pytest_plugin.session import SESSION, ParitySession
from harness.target import Target

if TYPE_CHECKING:
    from harness.result.schema import CaseJson
    from harness.session.plan import Planned


def is_case_file(path: Path) -> bool:
    """Whether a file uses `harness.case`, judged by its source. Nothing is imported."""
    try:
        source = path.read_bytes()
        return path.suffix == ".py" and b"harness" in source and _uses_case(ast.parse(source))
    except (OSError, SyntaxError, ValueError):
        return False


def is_test_file(path: Path, config: pytest.Config) -> bool:
    """Whether a file's name matches pytest's option `python_files`."""
    patterns = config.getini("python_files")
    return any(path.match(pattern) if "/" in pattern else fnmatch.fnmatch(path.name, pattern) for pattern in patterns)


def _uses_case(tree: ast.Module) -> bool:
    names, modules = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "harness":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "case"}
        elif isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name for alias in node.names if alias.name == "harness"}
    return any(
        (isinstance(node, ast.Name) and node.id in names)
        or (
            isinstance(node, ast.Attribute)
            and node.attr == "case"
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
        )
        for node in ast.walk(tree)
    )


class CaseFile(pytest.File):
    """A file that declares cases. Workers import it; pytest's own process never does."""

    def collect(self) -> Iterator[CaseItem]:
        session = self.config.stash[SESSION]
        try:
            planned = _planned(session, self.path)
        except HarnessError as error:
            raise self.CollectError(str(error)) from None
        lines = _lines(self.path)
        for item in planned:
            for tag in item.case.tags:
                self.config.addinivalue_line("markers", f"{tag}: a tag of cases")
            for target in session.settings.compared:
                function, _, rest = item.case.id.partition("::")[2].partition("[")
                name = f"{function}[{rest[:-1]}-{target}]" if rest else f"{function}[{target}]"
                yield CaseItem.from_parent(
                    self,
                    name=name,
                    nodeid=f"{self.nodeid}::{name}",  # what users select the item by, brackets included
                    planned=item,
                    target=target,
                    line=lines.get(item.case.function, 0),
                )


class CaseItem(pytest.Item):
    """A case on a target that is compared with the reference."""

    def __init__(self, *, planned: Planned, target: Target, line: int, **more: Any) -> None:
        super().__init__(**more)
        self.planned = planned
        self.target = target
        self._line = line
        for tag in planned.case.tags:
            self.add_marker(tag)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self._line, self.name

    def runtest(self) -> None:
        session = self.config.stash[SESSION]
        wanted = {
            item.target
            for item in self.session.items
            if isinstance(item, CaseItem) and item.planned.case.id == self.planned.case.id
        }
        targets = [t for t in session.settings.targets if t in wanted or t == session.settings.reference]
        case = _judged(session, self.planned, targets)
        findings.settle(self, case, self.target, session)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, findings.FoundError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


def _lines(path: Path) -> dict[str, int]:
    """The line of each function of a file, counted from 0."""
    tree = ast.parse(path.read_bytes())
    return {node.name: node.lineno - 1 for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _planned(session: ParitySession, file: Path) -> list[Planned]:
    """The cases that the targets' workers find in a file."""
    from harness.case import CaseRef
    from harness.plain import from_plain, to_plain
    from harness.session.layout import slug_of
    from harness.session.plan import Planned
    from harness.session.selection import Selection

    slug = slug_of(str(file))

    def collect() -> list[dict[str, Any]]:
        planned = session.workflow.plan([Selection(str(file), file, None)], logs=slug)
        return [
            {"case": to_plain(item.case), "missing": {str(target): why for target, why in item.missing.items()}}
            for item in planned
        ]

    by_name = {str(target): target for target in session.settings.targets}
    return [
        Planned(from_plain(data["case"], CaseRef), {by_name[name]: why for name, why in data["missing"].items()})
        for data in session.once(f"collected-{slug}", collect)
    ]


def _judged(session: ParitySession, planned: Planned, targets: Sequence[Target]) -> CaseJson:
    """Run a case on targets, the reference among them, and compare. Returns the case as in `result.json`."""
    from harness.session.layout import slug_of

    def judge() -> CaseJson:
        (result,) = session.workflow.run([planned], targets)
        return result.to_json()

    judged: CaseJson = session.once(f"judged-{slug_of(planned.case.id)}", judge)
    return judged
