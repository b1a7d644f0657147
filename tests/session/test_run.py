"""Runs: what is selected, and what becomes of cases that agree, differ, and end in every bad way there is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import CaseError
from harness.session import layout, selection
from harness.target import Target

IDS = st.text(min_size=1, max_size=120).map(lambda name: f"cases/x.py::{name}")


@given(IDS, IDS)
def test_two_cases_never_share_a_folder(left: str, right: str) -> None:
    target, folder = Target("torch"), Path("out")
    places = [layout.trace_folder(folder, target, case) for case in (left, right)]
    assert (places[0] == places[1]) == (left == right)


@given(IDS)
def test_the_folder_of_a_trace_is_one_safe_name_within_the_targets_own(case: str) -> None:
    place = layout.trace_folder(Path("out"), Target("jax", "cpu"), case)
    assert place.parent == Path("out/traces/jax-cpu")
    assert re.fullmatch(r"[\w.-]+", place.name)
    assert not place.name.startswith((".", "-"))
    assert len(place.name.encode()) < 255


@given(IDS, st.integers(1, 100))
def test_the_seed_is_31_bits_of_a_hash_of_the_id_and_of_the_seed_of_the_run(case: str, seed: int) -> None:
    assert layout.seed_of(case) == int(hashlib.sha256(case.encode()).hexdigest()[:8], 16) // 2
    assert layout.seed_of(case, seed) == layout.seed_of(f"{case} {seed}")


def test_the_seed_of_a_case_is_the_same_on_every_machine() -> None:
    assert layout.seed_of("cases/x.py::y") == 1381632501


@pytest.mark.parametrize("marker", ["pyproject.toml", "tox.ini", "setup.cfg", "setup.py", ".git"])
def test_the_root_is_the_nearest_folder_with_a_marker_above_all_paths(tmp_path: Path, marker: str) -> None:
    (tmp_path / "pyproject.toml").touch()
    files = [tmp_path / "inner" / name for name in ("a/x.py", "b/c/y.py")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    (tmp_path / "inner" / marker).touch()
    (tmp_path / "inner" / "a" / marker).touch()
    assert selection.root_of(files) == tmp_path / "inner"
    assert selection.root_of(files[:1]) == tmp_path / "inner" / "a"
    assert selection.root_of([tmp_path / "inner" / "b"]) == tmp_path / "inner"
    assert selection.root_of([*files, tmp_path]) == tmp_path


def test_a_selection_is_a_path_and_perhaps_a_case(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project.write("cases/x.py", "")
    monkeypatch.chdir(project.folder)
    texts = ["cases", "cases/x.py", "cases/x.py::y", "cases/x.py::y[a::b/c]", str(file)]
    folder = file.parent
    expected = [(folder, None), (file, None), (file, "y"), (file, "y[a::b/c]"), (file, None)]
    assert [(found.path, found.case) for found in selection.select(texts)] == expected
    assert [found.text for found in selection.select(texts)] == texts


def test_without_arguments_the_folder_cases_is_selected(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project.write("cases/x.py", "")
    monkeypatch.chdir(project.folder)
    assert [(found.path, found.case) for found in selection.select([])] == [(file.parent, None)]
    monkeypatch.chdir(file.parent)
    with pytest.raises(CaseError, match="no folder 'cases'"):
        selection.select([])


def test_a_folder_gives_the_files_that_mention_the_harness(project: Any) -> None:
    wanted = [project.write(f"cases/{name}.py", "from harness import case") for name in ("a", "b/deep", "b0")]
    project.write("cases/other.py", "import keras")
    project.write("cases/notes.txt", "harness")
    project.write("cases/.venv/hidden.py", "from harness import case")
    project.write("cases/.hidden.py", "from harness import case")
    (folder,) = selection.select([str(project.folder / "cases")])
    assert sorted(selection.case_files([folder])) == sorted(wanted)


def test_a_file_that_is_named_is_taken_as_it_is_and_once(project: Any) -> None:
    named = project.write("cases/.hidden.py", "nothing of interest")
    other = project.write("cases/a.py", "harness")
    selections = selection.select([str(path) for path in (named, other, named.parent, other)])
    assert selection.case_files(selections) == [named, other]


ZOO = """
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np

from harness import case

LITTER = []


@case
def healthy_before(record):
    record("sum", keras.ops.sum(keras.ops.ones(10)))


@case
def injected(rng, record, target, tmp_path):
    record("rng", rng.normal(size=5))
    record("global", np.random.normal(size=5))
    record("target", [str(target), target.backend, type(target).__name__])
    record("found", sorted(os.listdir(tmp_path)))
    (tmp_path / "file").write_text("kept")
    record("read back", (tmp_path / "file").read_text())
    record("folder", str(tmp_path))


@case
def injected_again(rng, record, tmp_path):
    record("rng", rng.normal(size=5))
    record("global", np.random.normal(size=5))
    record("found", sorted(os.listdir(tmp_path)))


@case
def litters(record):
    LITTER.append("litter")
    os.environ["LITTER"] = "litter"
    keras.litter = "litter"
    keras.config.set_image_data_format("channels_first")
    record("left", len(LITTER))
    os.chdir("/")


@case
def finds_no_litter(record):
    LITTER.append("litter")
    record("left", len(LITTER))
    record("environment", "LITTER" in os.environ)
    record("keras", hasattr(keras, "litter"))
    record("format", keras.config.image_data_format())
    record("folder", os.getcwd())


@case
def raises():
    raise ValueError("boom")


@case
def raises_deeper(record):
    keras.ops.matmul(np.ones((2, 3)), np.ones((2, 3)))


@case
def raises_halfway(record):
    record("first", 1)
    raise ValueError("boom")


@case
def returns():
    return {"loss": 42}


@case
def twice(record):
    record("x", 1)
    record("x", 2)


@case
def nothing():
    pass


@case
def faults():
    print("last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), 11)


@case
def faults_silently():
    os.kill(os.getpid(), signal.SIGKILL)


@case
def leaves():
    print("last words", file=sys.stderr, flush=True)
    os._exit(0)


@case
def leaves_with_a_status():
    os._exit(7)


@case
def exits():
    sys.exit("enough")


@case
def asks():
    input()


@case
def sleeps():
    print("last words", file=sys.stderr, flush=True)
    time.sleep(600)


@case
def has_a_child_that_sleeps():
    lock = open("child.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
    time.sleep(600)


@case
def leaves_a_child_that_sleeps(record):
    lock = open("orphan.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
    record("child", "started")


@case
def leaves_a_thread_that_sleeps(record):
    threading.Thread(target=time.sleep, args=(600,)).start()
    record("thread", "started")


@case
def healthy_after(record):
    record("sum", keras.ops.sum(keras.ops.ones(10)))
"""

#: How each unhealthy case of the zoo ends, what is said of it, and the line it ends at.
ENDS = {
    "raises": ("error", ["ValueError: boom", "in raises"], 'raise ValueError("boom")'),
    "raises_deeper": ("error", ["TypeError", "in raises_deeper"], "keras.ops.matmul"),
    "raises_halfway": ("error", ["ValueError: boom"], None),
    "returns": ("error", ["returned dict", "a Fit, a Forward, or nothing", "record(name, value)"], None),
    "twice": ("error", ["'x'", "one name"], None),
    "nothing": ("error", ["recorded nothing", "record(name, value)"], None),
    "faults": ("crashed", ["SIGSEGV", "last words"], "os.kill(os.getpid(), 11)"),
    "faults_silently": ("crashed", ["SIGKILL"], None),
    "leaves": ("crashed", ["status 0", "last words"], None),
    "leaves_with_a_status": ("crashed", ["status 7"], None),
    "exits": ("error", ["SystemExit: enough"], 'sys.exit("enough")'),
    "asks": ("error", ["EOFError"], "input()"),
    "sleeps": ("timeout", ["limit of 4 s", "last words"], "    time.sleep(600)"),
    "has_a_child_that_sleeps": ("timeout", ["limit of 4 s"], "    time.sleep(600)"),
}
HEALTHY = ["healthy_before", "injected", "injected_again", "litters", "finds_no_litter", "leaves_a_child_that_sleeps"]
HEALTHY += ["leaves_a_thread_that_sleeps", "healthy_after"]


class Zoo:
    """One run over every way in which a case can end."""

    def __init__(self, project: Any) -> None:
        self.project = project
        self.file = project.write("cases/zoo.py", ZOO)
        self.process = project.harness("run", "--targets", "jax", "--timeout", "4", "--out", "out")
        self.cases = project.cases()

    def run(self, name: str) -> dict[str, Any]:
        (found,) = self.cases[name]["runs"]
        return dict(found)

    def values(self, name: str, *, twin: bool = False) -> dict[str, Any]:
        trace = self.project.trace(name, "jax")
        return {observation.name: observation.value for observation in (trace.twin if twin else trace)}

    def line(self, name: str, text: str) -> int:
        """The number of the first line with a text in a case."""
        lines = self.file.read_text().splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith(f"def {name}("))
        return next(number for number, line in enumerate(lines[start:], start + 1) if text in line)


@pytest.fixture(scope="module")
def zoo(make_project: Callable[[], Any]) -> Zoo:
    return Zoo(make_project())


@pytest.mark.slow
class TestEveryWayToEnd:
    def test_every_case_is_reported_in_order_and_the_status_is_3(self, zoo: Zoo) -> None:
        assert zoo.process.returncode == 3
        assert zoo.project.result()["exit_status"] == 3
        assert list(zoo.cases) == re.findall(r"^@case\ndef (\w+)", ZOO, re.MULTILINE)
        assert {name for name, case in zoo.cases.items() if case["outcome"] == "error"} == set(ENDS)
        assert {name for name, case in zoo.cases.items() if case["outcome"] == "agree"} == set(HEALTHY)

    @pytest.mark.parametrize("name", ENDS)
    def test_an_end_has_its_status_and_is_explained(self, zoo: Zoo, name: str) -> None:
        status, words, _ = ENDS[name]
        assert zoo.run(name)["status"] == status
        assert [word for word in words if word not in zoo.run(name)["error"]] == []

    @pytest.mark.parametrize("name", [name for name, (_, _, line) in ENDS.items() if line])
    def test_the_line_of_the_case_is_reported(self, zoo: Zoo, name: str) -> None:
        number = zoo.line(name, str(ENDS[name][2]))
        assert re.search(rf'zoo\.py(:|", line ){number}\b', zoo.run(name)["error"])

    @pytest.mark.parametrize("name", ENDS)
    def test_the_report_tells_it_in_the_terminal(self, zoo: Zoo, name: str) -> None:
        block = zoo.process.stdout.partition(f"zoo.py::{name} on jax: {ENDS[name][0]}\n")[2].partition("\n\n")[0]
        assert block.splitlines()[0] == "  what    " + zoo.run(name)["error"].splitlines()[0]

    @pytest.mark.parametrize("name", ["healthy_before", "healthy_after"])
    def test_healthy_cases_around_keep_their_results(self, zoo: Zoo, name: str) -> None:
        assert (zoo.run(name)["status"], zoo.run(name)["error"]) == ("ok", None)
        single, double = zoo.values(name)["sum"], zoo.values(name, twin=True)["sum"]
        assert (single, single.dtype.name, double, double.dtype.name) == (10, "float32", 10, "float64")

    def test_what_was_recorded_before_an_exception_is_kept(self, zoo: Zoo) -> None:
        assert zoo.values("raises_halfway") == {"first": 1}

    def test_the_whole_output_of_a_crash_is_kept(self, zoo: Zoo) -> None:
        output = (zoo.project.trace("faults", "jax").folder / "output.txt").read_text()
        assert output.startswith("last words\n")

    def test_a_child_of_a_case_that_is_killed_is_killed_too(self, zoo: Zoo, comes_true: Callable[..., bool]) -> None:
        assert comes_true(lambda: not zoo.project.is_held("child.lock"))

    def test_a_child_that_a_case_leaves_running_is_killed(self, zoo: Zoo, comes_true: Callable[..., bool]) -> None:
        assert comes_true(lambda: not zoo.project.is_held("orphan.lock"))

    def test_no_temporary_folder_is_left(self, zoo: Zoo) -> None:
        assert list(zoo.project.temporary.glob("harness-*")) == []
        assert not Path(zoo.values("injected")["folder"]).exists()

    def test_cases_do_not_leak_into_one_another(self, zoo: Zoo) -> None:
        assert zoo.values("litters") == {"left": 1}
        assert zoo.values("finds_no_litter") == {
            "left": 1,
            "environment": False,
            "keras": False,
            "format": "channels_last",
            "folder": str(zoo.project.folder),
        }

    def test_what_is_injected_is_what_is_promised(self, zoo: Zoo) -> None:
        values = zoo.values("injected")
        assert values["target"] == ["jax", "jax", "Target"]
        assert values["found"] == []
        assert values["read back"] == "kept"
        assert zoo.values("injected_again")["found"] == []

    @pytest.mark.parametrize("name", ["injected", "injected_again"])
    def test_the_generator_is_seeded_from_the_id_alone(self, zoo: Zoo, name: str) -> None:
        seed = layout.seed_of(f"cases/zoo.py::{name}")
        expected = np.random.default_rng(seed).normal(size=5)
        np.testing.assert_array_equal(zoo.values(name)["rng"], expected)
        np.testing.assert_array_equal(zoo.values(name, twin=True)["rng"], expected)
        np.testing.assert_array_equal(zoo.values(name)["global"], np.random.RandomState(seed).normal(size=5))
        assert zoo.project.trace(name, "jax").header.seed == seed

    def test_a_trace_tells_the_case_file_that_it_was_made_from(self, zoo: Zoo) -> None:
        file = zoo.project.folder / "cases" / "zoo.py"
        trace = zoo.project.trace("injected", "jax")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert (trace.header.source, trace.twin.header.source if trace.twin else None) == (digest, digest)


PAIR = """
import keras
import numpy as np
import pytest

from harness import Fit, Forward, case

BACKEND = keras.backend.backend()
both = pytest.mark.parametrize("bug", [False, True], ids=["healthy", "bug"])


def normalisation(bug):
    eps = 1e-3 * (1.01 if bug and BACKEND == "jax" else 1)
    return keras.layers.BatchNormalization(epsilon=eps, name="norm")


@case
@both
def forward(bug, rng):
    return Forward(normalisation(bug), rng.normal(size=(16, 4)).astype("float32"), training=True)


@case
@both
def fit(bug, rng):
    layers = [keras.layers.Dense(8, name="hidden"), normalisation(bug), keras.layers.Dense(1, name="head")]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(64, 4)).astype("float32"), rng.normal(size=(64, 1)).astype("float32")
    return Fit(model, x, y, epochs=1, batch_size=32)


@case
def healthy_order_of_addition(rng, record, target):
    a, b, c = (keras.ops.convert_to_tensor(row, keras.config.floatx()) for row in rng.normal(size=(3, 100)))
    record("sum", a + (b + c) if str(target) == "jax" else (a + b) + c)


@case
def healthy_generator(rng, record):
    record("rng", rng.normal(size=5))
    record("global", np.random.normal(size=5))
    record("initial", keras.initializers.GlorotUniform()((3, 3)))
"""
"""The cases with `bug` have the epsilon of batch normalisation 1 % off on jax."""

PAIR_TARGETS = ("torch", "jax")


def verdicts(result: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What a result says of each case, without where and how long it ran, and without blame, which needs a run."""
    return {
        case["id"]: (
            case["outcome"],
            [run["status"] for run in case["runs"]],
            [comparison | {"blame": None} for comparison in case["comparisons"]],
        )
        for case in result["cases"]
    }


@pytest.fixture(scope="module")
def pair(make_project: Callable[[], Any]) -> Any:
    """Torch and jax, over healthy cases in `healthy` and over those with the bug in `bug`."""
    project = make_project()
    project.write("cases/pair.py", PAIR)
    arguments = ("run", "--targets", ",".join(PAIR_TARGETS))
    project.healthy = project.harness(*arguments, "-k", "healthy", "--out", "healthy")
    project.bug = project.harness(*arguments, "-k", "bug", "--out", "bug")
    return project


@pytest.mark.slow
class TestTwoTargets:
    def test_healthy_cases_agree_and_the_status_is_0(self, pair: Any) -> None:
        assert pair.healthy.returncode == 0
        assert {case["outcome"] for case in pair.result("healthy")["cases"]} == {"agree"}
        assert list(pair.cases("healthy")) == [
            "forward[healthy]",
            "fit[healthy]",
            "healthy_order_of_addition",
            "healthy_generator",
        ]

    @pytest.mark.parametrize("name", ["forward[bug]", "fit[bug]"])
    def test_an_epsilon_that_is_one_percent_off_is_found_in_its_layer(self, pair: Any, name: str) -> None:
        (comparison,) = pair.cases("bug")[name]["comparisons"]
        assert pair.cases("bug")[name]["outcome"] == "differ"
        assert (comparison["target"], comparison["reference"]) == ("jax", "torch")
        assert comparison["verdict"] == "divergent"
        first = comparison["first"]
        assert (first["phase"], first["layer"], first["verdict"], first["step"]) == ("forward", "norm", "divergent", 0)

    def test_a_difference_makes_the_status_1_and_the_report_names_the_layer(self, pair: Any) -> None:
        assert pair.bug.returncode == pair.result("bug")["exit_status"] == 1
        assert "layer norm" in pair.bug.stdout
        assert "2 cases on torch, jax: 2 differ." in pair.bug.stdout

    def test_every_generator_gives_the_same_on_both_targets(self, pair: Any) -> None:
        torch, jax = (pair.trace("healthy_generator", target, "healthy") for target in PAIR_TARGETS)
        assert torch.keys == jax.keys
        for mine, theirs in zip(torch, jax, strict=True):
            np.testing.assert_array_equal(mine.value, theirs.value)

    def test_another_order_of_addition_is_rounding(self, pair: Any) -> None:
        (comparison,) = pair.cases("healthy")["healthy_order_of_addition"]["comparisons"]
        assert comparison["verdict"] == "rounding"
        torch, jax = (pair.trace("healthy_order_of_addition", target, "healthy") for target in PAIR_TARGETS)
        assert not np.array_equal(torch["recorded/sum"].value, jax["recorded/sum"].value)

    def test_every_observation_of_healthy_cases_was_judged_by_its_twins(self, pair: Any) -> None:
        cases = pair.result("healthy")["cases"]
        assert len(cases) > 1
        for case in cases:
            (comparison,) = case["comparisons"]
            assert comparison["not_compared"] == 0
            assert set(comparison["bases"]) <= {"twins", "exact"}
            assert comparison["bases"]["twins"] > 0

    def test_a_run_proves_what_ran(self, pair: Any) -> None:
        cases = pair.result("healthy")["cases"]
        assert len(cases) > 1
        for case in cases:
            assert [run["environment"]["backend"] for run in case["runs"]] == list(PAIR_TARGETS)

    def test_fail_on_rounding_makes_rounding_a_difference(self, pair: Any) -> None:
        name = "cases/pair.py::healthy_order_of_addition"
        arguments = ("--targets", "jax:cpu,jax", "--fail-on", "rounding", "--out", "strict")
        assert pair.harness("run", name, *arguments).returncode == 1
        assert pair.cases("strict")["healthy_order_of_addition"]["outcome"] == "differ"

    def test_targets_recorded_apart_compare_as_in_one_run(self, pair: Any) -> None:
        for target in PAIR_TARGETS:
            process = pair.harness("record", "-k", "forward", "--target", target, "--out", f"apart/{target}")
            assert process.returncode == 0
            assert "2 cases recorded" in process.stdout
        process = pair.harness("compare", "apart/torch", "apart/jax", "--json", "apart/result.json")
        assert process.returncode == 1
        together = {**verdicts(pair.result("healthy")), **verdicts(pair.result("bug"))}
        names = [f"cases/pair.py::forward[{row}]" for row in ("healthy", "bug")]
        assert verdicts(pair.result("apart")) == {name: together[name] for name in names}

    def test_compare_fails_on_what_it_is_told_to(self, pair: Any) -> None:
        assert pair.harness("compare", "healthy").returncode == 0
        assert pair.harness("compare", "healthy", "--fail-on", "rounding").returncode == 1
        assert pair.harness("compare", "bug", "--fail-on", "mismatch").returncode == 0


ONE_SIDED = """
import keras
from harness import case

BACKEND = keras.backend.backend()


@case
def everywhere(record):
    record("x", 1)


if BACKEND == "jax":

    @case
    def only_jax(record):
        record("x", 1)


@case
def raises_on_torch(record):
    record("before", 1)
    if BACKEND == "torch":
        raise RuntimeError("torch has had enough")
    record("after", 1)
"""
UNIMPORTABLE = """
import keras
from harness import case

if keras.backend.backend() == "torch":
    raise ImportError("nothing for torch here")


@case
def not_for_torch(record):
    record("x", 1)
"""


@pytest.fixture(scope="module")
def one_sided(make_project: Callable[[], Any]) -> Any:
    project = make_project()
    project.write("cases/one_sided.py", ONE_SIDED)
    project.write("cases/unimportable.py", UNIMPORTABLE)
    project.process = project.harness("run", "--targets", "torch,jax", "--out", "out")
    return project


@pytest.mark.slow
class TestOneSide:
    def test_what_fails_on_one_target_only_is_a_failure_and_no_difference(self, one_sided: Any) -> None:
        assert one_sided.process.returncode == 3
        outcomes = {name: case["outcome"] for name, case in one_sided.cases().items()}
        assert outcomes.pop("everywhere") == "agree"
        assert outcomes == dict.fromkeys(["only_jax", "raises_on_torch", "not_for_torch"], "error")

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("only_jax", "does not declare the case"),
            ("raises_on_torch", "torch has had enough"),
            ("not_for_torch", "nothing for torch here"),
        ],
    )
    def test_the_target_that_failed_and_the_reason_are_told(self, one_sided: Any, name: str, reason: str) -> None:
        torch, jax = one_sided.cases()[name]["runs"]
        assert (torch["target"], torch["status"]) == ("torch", "error")
        assert reason in torch["error"]
        assert (jax["target"], jax["status"], jax["error"]) == ("jax", "ok", None)
        assert reason in one_sided.process.stdout

    def test_what_a_failed_run_did_not_reach_is_counted(self, one_sided: Any) -> None:
        (comparison,) = one_sided.cases()["raises_on_torch"]["comparisons"]
        assert (comparison["observations"], comparison["not_compared"]) == (1, 1)


IDENTITY = """
import pytest
from harness import case


@case
@pytest.mark.parametrize("value", [1.5, "a/b", "c::d", "e f"])
def it(value, record):
    record("value", value)
"""


@pytest.fixture(scope="module")
def identity(make_project: Callable[[], Any]) -> Any:
    project = make_project()
    project.write("cases/deep/x.py", IDENTITY)
    project.write("elsewhere/.keep", "")
    return project


def test_ids_are_relative_to_the_root_of_the_project_from_wherever_it_runs(identity: Any) -> None:
    process = identity.harness("run", "../cases", "--targets", "jax", "--out", "../out", cwd="elsewhere")
    assert process.returncode == 0
    prefix = "cases/deep/x.py::it"
    ids = [case["id"] for case in identity.result()["cases"]]
    assert ids == [f"{prefix}[1.5]", f"{prefix}[a/b]", f"{prefix}[c::d]", f"{prefix}[e f]"]


def test_an_id_selects_the_case_again(identity: Any) -> None:
    ids = ["cases/deep/x.py::it[c::d]", "cases/deep/x.py::it[a/b]"]
    process = identity.harness("run", *ids, "--targets", "jax", "--out", "again", "--precision", "float32")
    assert process.returncode == 0
    assert [case["id"] for case in identity.result("again")["cases"]] == ids


def test_a_trace_is_found_where_the_result_says(identity: Any) -> None:
    identity.harness("run", "cases/deep/x.py::it[1.5]", "--targets", "jax", "--out", "found", "--json", "a/b.json")
    (case,) = identity.result("found")["cases"]
    assert identity.trace("it[1.5]", "jax", "found")["recorded/value"].value == 1.5
    assert case["runs"][0]["trace"].startswith("traces/jax/")
    assert (identity.folder / "a/b.json").read_text() == (identity.folder / "found/result.json").read_text()
