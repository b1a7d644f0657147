"""Other environments' interpreters: what is refused before anything runs, what is carried in, and what runs there."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from environments import environment, has, pretend, site

from harness import target as carried_module
from harness.errors import TargetError
from harness.session import interpreter
from harness.session.targets import choose
from harness.target import Target

ROOT = Path(__file__).parents[2]
TORCH = {"keras": "3.15.1", "torch": "2.13.0"}


def refusal(target: str) -> str:
    """The words in which a target is refused."""
    with pytest.raises(TargetError) as caught:
        choose(target, Path.cwd())
    words = str(caught.value)
    assert words.startswith(f"Target {target!r} cannot run here: ")
    assert "\n" not in words
    return words


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def python_with(tmp_path: Path) -> Callable[..., str]:
    """Makes environments of empty modules, each of a distribution and its version, and returns their interpreters."""

    def make(**versions: str) -> str:
        folder = tmp_path / f"env{len(list(tmp_path.glob('env*')))}"
        python = environment(folder)
        for distribution, version in versions.items():
            pretend(site(folder), distribution, version, distribution)
        return str(python)

    return make


def stub(folder: Path, text: str, mode: int = 0o755) -> str:
    """A program, by its path."""
    path = folder / "stub"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


# What is refused


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("old/bin/python", "the interpreter 'old/bin/python' does not exist"),
        ("python3.99", "there is no command 'python3.99' on PATH"),
        ("./empty", "'./empty' is a folder: name an environment's interpreter, as old/bin/python"),
        ("./venv", "'./venv' is a folder: name './venv/bin/python'"),
        ("venv", "there is no command 'venv' on PATH: name 'venv/bin/python'"),
    ],
)
def test_what_is_no_program_is_refused_with_what_to_name(here: Path, python: str, words: str) -> None:
    (here / "empty").mkdir()
    (here / "venv" / "bin").mkdir(parents=True)
    (here / "venv" / "bin" / "python").touch()
    assert words in refusal(f"jax@{python}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "#!/bin/sh\necho I am a shell script\n",
            "is not a Python: asked for its version it ended with status 0: I am a",
        ),
        (
            "#!/bin/sh\necho not for you >&2; exit 3\n",
            "is not a Python: asked for its version it ended with status 3: not",
        ),
        ("#!/bin/sh\necho '[3, 11]'\n", "is not a Python: asked"),
        ("#!/bin/sh\n", "is not a Python: asked for its version it ended with status 0: it said nothing"),
        ("#!/no/such/program\n", "is not a Python: No such file"),
        ("\x7fELF", "is not a Python: Exec format error"),
        ("#!/bin/sh\necho '{\"python\": [3, 10]}'\n", "is Python 3.10, and the harness needs 3.11 or newer"),
        ("#!/bin/sh\necho '{\"python\": [2, 7]}'\n", "is Python 2.7, and the harness needs 3.11 or newer"),
    ],
)
def test_a_program_that_is_no_python_of_ours_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = stub(tmp_path, text)
    assert f"{path!r} {words}" in refusal(f"jax@{path}")


def test_a_file_that_may_not_be_executed_is_refused(tmp_path: Path) -> None:
    path = stub(tmp_path, "", mode=0o644)
    assert f"the file {path!r} may not be executed" in refusal(f"jax@{path}")


def test_a_program_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "ANSWER_TIMEOUT", 0.2)
    path = stub(tmp_path, "#!/bin/sh\nexec sleep 600\n")
    assert f"{path!r} did not say within 0.2 s which Python it is" in refusal(f"jax@{path}")


def older_pythons() -> list[str]:
    """Interpreters on this machine that are too old, one for each version. What cannot be run is none."""
    names = ("python2.7", "python3.6", "python3.7", "python3.8", "python3.9", "python3.10")
    places = [*map(Path, os.environ["PATH"].split(os.pathsep)), *Path.home().glob(".pyenv/versions/*/bin")]
    there = [(name, place / name) for place in places for name in names if (place / name).exists()]
    found = {name: path for name, path in there if not subprocess.run([path, "-c", ""], check=False).returncode}
    return [str(path) for path in found.values()]


def test_a_real_python_that_is_too_old_says_so() -> None:
    found = older_pythons()
    if not found:
        pytest.skip("there is no Python older than 3.11 on this machine")
    for python in found:
        assert "and the harness needs 3.11 or newer" in refusal(f"jax@{python}")


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({}, "keras is not installed"),
        ({"torch": "2.13.0"}, "keras is not installed"),
        ({"keras": "3.15.1"}, "torch is not installed"),
        ({"keras": "3.9.2", "torch": "2.13.0"}, "keras 3.9.2 is installed, and the harness needs 3.10 or newer"),
        ({"keras": "2.15.0", "torch": "2.13.0"}, "keras 2.15.0 is installed"),
    ],
)
def test_an_environment_without_what_a_target_needs_is_refused_with_what_to_install(
    python_with: Callable[..., str], versions: dict[str, str], words: str
) -> None:
    python = python_with(**versions)
    told = refusal(f"torch@{python}")
    assert words in told
    assert told.endswith(f": {python} -m pip install 'keras>=3.10' torch.")


@pytest.mark.parametrize("keras", ["3.10.0", "3.10.0.dev20250601", "3.12.4", "3.99", "4.0"])
def test_keras_from_the_oldest_on_is_taken_however_new(python_with: Callable[..., str], keras: str) -> None:
    target = f"torch@{python_with(**TORCH | {'keras': keras})}"
    assert list(map(str, choose(target, Path.cwd()))) == [target]


def test_distributions_of_other_names_are_found_by_their_modules(tmp_path: Path) -> None:
    python = environment(tmp_path)
    pretend(site(tmp_path), "keras-nightly", "3.9.0.dev20250301", "keras")
    pretend(site(tmp_path), "tensorflow-cpu", "2.21.0", "tensorflow")
    assert "keras 3.9.0.dev20250301 is installed" in refusal(f"tensorflow@{python}")


def test_a_keras_that_tells_no_version_is_taken(tmp_path: Path) -> None:
    python = environment(tmp_path)
    for module in ("keras", "torch"):
        (site(tmp_path) / module).mkdir()
    assert interpreter.why_not(Target("torch", python=str(python))) is None


def test_our_own_keras_is_held_to_the_same(project: Any) -> None:
    pretend(project.folder / "site", "keras", "3.9.2", "keras")
    project.write("cases/x.py", CASES)
    done = project.harness("run", "--targets", "jax")
    assert done.returncode == 2
    assert "keras 3.9.2 is installed, and the harness needs 3.10 or newer" in done.stderr


def test_nothing_runs_before_every_interpreter_was_asked(project: Any) -> None:
    project.write("cases/x.py", CASES)
    done = project.harness("run", "--targets", "jax,jax@old/bin/python")
    assert done.returncode == 2
    assert "the interpreter 'old/bin/python' does not exist" in done.stderr
    assert not (project.folder / "runs").exists()


# Which interpreter it is


def test_a_path_is_relative_to_the_current_folder_and_keeps_its_links(here: Path) -> None:
    environment(here / "old env")
    path = interpreter.path_of(Target("jax", python="old env/bin/python"))
    assert path == str(here / "old env" / "bin" / "python")
    assert os.path.islink(path)
    told = subprocess.check_output([path, "-c", "import sys; print(sys.prefix)"], text=True)
    assert told.strip() == str(here / "old env")


def test_a_name_is_looked_for_on_the_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(environment(here / "old").parent), prepend=os.pathsep)
    assert interpreter.path_of(Target("jax", python="python3")) == str(here / "old" / "bin" / "python3")


def test_a_home_folder_is_written_as_in_a_shell(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert interpreter.path_of(Target("jax", python="~/old/bin/python")) == str(here / "old/bin/python")


def test_our_own_is_the_one_that_runs_this() -> None:
    assert interpreter.path_of(Target("jax")) == sys.executable


# What is carried


def test_nothing_but_the_workers_side_is_carried_and_variables_of_ours_stay_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONHOME", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, sys.prefix)
    monkeypatch.setenv("PYTHONPATH", "/mine")
    own = interpreter.environment(Target("jax"), tmp_path)
    assert own == dict(os.environ)
    assert list(tmp_path.iterdir()) == []
    theirs = interpreter.environment(Target("jax", python="old/bin/python"), tmp_path)
    (carried,) = tmp_path.iterdir()
    assert theirs == {
        **{name: value for name, value in own.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")},
        "PYTHONPATH": f"{carried}{os.pathsep}/mine",
    }
    names = {path.name for path in carried.iterdir()}
    pytests = {"pytest", "_pytest", "py.py", "pluggy", "iniconfig"}
    assert names == {"harness", "attr", "attrs", "cattrs", "typing_extensions.py", "safetensors", *pytests}
    assert (carried / "harness" / "target.py").samefile(carried_module.__file__)
    assert {path.name for path in (carried / "harness").iterdir()} == set(interpreter.WORKERS_SIDE)
    assert "session" not in interpreter.WORKERS_SIDE
    again = interpreter.environment(Target("torch", python="old/bin/python"), tmp_path)
    assert (again, list(tmp_path.iterdir())) == (theirs, [carried])


def test_our_own_libraries_do_not_reach_it_by_way_of_variables(
    tmp_path: Path, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of pytest-xdist has its whole `sys.path` in `PYTHONPATH`; a project may have something of its own."""
    mine = project.write("library/mine.py", "").parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*filter(None, sys.path), str(mine), ""]))
    python = environment(tmp_path / "env")
    variables = interpreter.environment(Target("jax", python=str(python)), tmp_path)
    text = "import importlib.util as u; print([name for name in %r if u.find_spec(name)])"
    asked = ("harness", "pytest", "mine", "numpy", "keras", "jax", "click")
    told = subprocess.check_output([python, "-P", "-c", text % (asked,)], env=variables, text=True)
    assert told.strip() == "['harness', 'pytest', 'mine']"


def test_where_there_are_no_links_copies_are_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    path = interpreter.environment(Target("jax", python="x"), tmp_path)["PYTHONPATH"].split(os.pathsep)[0]
    assert not any(file.is_symlink() for file in Path(path).rglob("*"))
    assert (Path(path) / "harness" / "target.py").read_text() == Path(carried_module.__file__).read_text()
    assert (Path(path) / "py.py").is_file()


def test_who_is_slower_takes_what_another_process_has_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, rename = Target("jax", python="x"), Path.rename

    def overtaken(path: Path, to: Path) -> Path:
        if not to.exists():
            shutil.copytree(path, to, symlinks=True)
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", overtaken)
    interpreter.environment(target, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [interpreter.FOLDER]


# What runs there

CASES = """
import keras
from harness import Forward, case


@case
def normalised(rng):
    return Forward(keras.layers.LayerNormalization(), rng.normal(size=(4, 8)).astype("float32"))


@case
def fails_there(record, target):
    record("x", 1)
    if target.python is not None:
        raise RuntimeError("on purpose")
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment of Keras, jax and what they require."""
    return environment(tmp_path_factory.mktemp("a bare one"), "keras", "jax")


@pytest.fixture(scope="module")
def ran(bare: Path, make_project: Callable[[], Any]) -> Any:
    """A run on our own jax, and on that of the bare environment."""
    project = make_project()
    project.write("cases/x.py", CASES)
    project.target = f"jax@{os.path.relpath(bare, project.folder)}"
    project.process = project.harness("run", "--targets", f"jax,{project.target}", "--out", "out")
    return project


def test_a_case_runs_in_an_environment_that_has_no_harness(bare: Path, ran: Any) -> None:
    assert [module for module in ("harness", *interpreter.LIBRARIES) if has(bare, module)] == [
        "typing_extensions"
    ]  # Keras requires it
    assert has(bare, "keras")
    assert ran.cases()["normalised"]["outcome"] == "agree", ran.process.stderr
    assert ran.cases()["normalised"]["comparisons"][0]["verdict"] == "identical"


def test_the_trace_proves_which_interpreter_ran(bare: Path, ran: Any) -> None:
    mine, theirs = (ran.trace("normalised", target).header.environment for target in ("jax", ran.target))
    assert (mine["interpreter"], theirs["interpreter"]) == (sys.executable, str(bare))
    assert mine["versions"] == theirs["versions"]
    assert mine["versions"]["jax"] == importlib.metadata.version("jax")


def test_what_fails_there_is_told_without_lines_of_the_harness(ran: Any) -> None:
    (failed,) = [run for run in ran.cases()["fails_there"]["runs"] if run["target"] == ran.target]
    assert (failed["status"], failed["error"]) == (
        "error",
        "RuntimeError: on purpose\n  at cases/x.py:15, in fails_there",
    )
    assert ran.process.returncode == 3


def test_what_was_carried_is_gone_with_the_run(ran: Any) -> None:
    assert list(ran.temporary.iterdir()) == []


def test_a_crash_there_is_told_by_lines_of_the_case_alone(bare: Path, project: Any) -> None:
    project.write("x.py", "import ctypes\nfrom harness import case\n@case\ndef it():\n    ctypes.string_at(0)\n")
    project.harness("run", "x.py", "--targets", f"jax@{bare}", "--precision", "float32", "--out", "out")
    (run,) = project.cases()["it"]["runs"]
    assert run["status"] == "crashed"
    frames = [line for line in run["error"].splitlines() if "  File" in line]
    assert any("x.py" in line for line in frames)
    assert [line for line in frames if "harness" in line or "site-packages" in line] == []


@pytest.mark.slow
def test_tests_of_a_suite_run_there_with_the_fixture_and_shared_workers(bare: Path, project: Any) -> None:
    project.write(
        "tests/test_x.py",
        """
        import numpy as np

        def test_fixture(parity):
            parity.record("x", 1.0)

        def test_assertion():
            np.testing.assert_allclose(1.0, 1.0)
        """,
    )
    options = ("--parity", "--parity-targets", f"jax,jax@{bare}", "-n", "2", "-p", "no:cacheprovider")
    done = project.python("-m", "pytest", "tests", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    assert list(project.temporary.rglob(interpreter.FOLDER)) == []


# Another Keras

CHANGES = {
    "src/version.py": (f'"{importlib.metadata.version("keras")}"', '"3.99.0"'),
    "src/layers/normalization/batch_normalization.py": ("epsilon=1e-3,", "epsilon=2e-3,"),
    "src/backend/jax/nn.py": ("return jnn.softplus(x)", "return jnn.softplus(x) * 1.001"),
}
MODELS = """
import keras
from harness import Fit, Forward, case


@case
def trained(rng):
    model = keras.Sequential([keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    x, y = rng.normal(size=(64, 8)).astype("float32"), rng.normal(size=(64, 1)).astype("float32")
    return Fit(model, x, y, epochs=1, batch_size=32)


@case
def normalised(rng):
    return Forward(keras.layers.BatchNormalization(name="norm"), rng.normal(size=(4, 8)).astype("float32"))


@case
def activated(rng):
    return Forward(keras.layers.Dense(4, activation="softplus", name="soft"), rng.normal(size=(4, 8)).astype("float32"))
"""


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[], Any]) -> Any:
    """A run on jax, and on jax in an environment with another Keras."""
    folder = tmp_path_factory.mktemp("upgraded")
    python = environment(folder, "keras", "jax")
    link = site(folder) / "keras"
    source = link.resolve()
    link.unlink()
    shutil.copytree(source, link, ignore=shutil.ignore_patterns("__pycache__"))
    for module, (old, new) in CHANGES.items():
        text = (link / module).read_text(encoding="utf-8")
        assert text.count(old) == 1
        (link / module).write_text(text.replace(old, new), encoding="utf-8")
    project = make_project()
    project.write("cases/x.py", MODELS)
    project.upgraded = python
    done = project.harness("run", "--targets", f"jax,jax@{python}", "-k", "not trained", "--out", "out")
    assert done.returncode == 1, done.stdout + done.stderr
    return project


@pytest.mark.slow
def test_a_default_that_an_upgrade_changed_is_blamed_on_its_layer(upgraded: Any) -> None:
    (comparison,) = upgraded.cases()["normalised"]["comparisons"]
    assert (comparison["target"], comparison["verdict"]) == (f"jax@{upgraded.upgraded}", "divergent")
    blame = comparison["blame"]
    assert (blame["layer"], blame["op"], blame["confirmed"]) == ("norm", "keras.ops.batch_normalization", True)
    # Not by its config, which may be another between two versions and mean nothing.
    assert "config" not in blame["text"]
    assert "it calls keras.ops.batch_normalization with " in blame["text"]
    versions = upgraded.trace("normalised", comparison["target"]).header.environment["versions"]
    assert versions["keras"] == "3.99.0"  # as it says itself


@pytest.mark.slow
def test_an_operation_that_an_upgrade_changed_comes_with_a_script_for_both_interpreters(upgraded: Any) -> None:
    (comparison,) = upgraded.cases()["activated"]["comparisons"]
    blame = comparison["blame"]
    assert (blame["layer"], blame["op"], blame["confirmed"]) == ("soft", "keras.ops.softplus", True)
    script = upgraded.folder / "out" / blame["repro"]
    text = script.read_text(encoding="utf-8")
    assert f"('jax of another environment', {str(upgraded.upgraded)!r}, " in text
    assert "differs between jax and jax of another environment" in text
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr


def pinned(*names: str) -> list[str]:
    """Requirements as constraints.txt pins them."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.partition("==")[0] in names]


@pytest.fixture(scope="module")
def installed_jax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `site-packages` of an environment into which pip has installed the pinned jax."""
    folder = tmp_path_factory.mktemp("jax")
    environment(folder)
    install(folder, *pinned("jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "opt_einsum"))
    return site(folder)


def install(folder: Path, *requirements: str) -> None:
    """Install from the package index into an environment that has no pip."""
    command = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.12"])
def test_a_real_older_keras_with_nothing_beside_it(
    version: str, installed_jax: Path, tmp_path: Path, project: Any
) -> None:
    python = environment(tmp_path / "old")
    (site(tmp_path / "old") / "jax.pth").write_text(str(installed_jax))
    install(tmp_path / "old", f"keras=={version}.*", *pinned("numpy", "h5py", "optree", "ml_dtypes"))
    assert not any(has(python, module) for module in ("harness", "cattrs", "safetensors", "pytest"))
    project.write("cases/x.py", MODELS)
    options = ("-k", "trained", "--precision", "float32", "--out", "out")
    done = project.harness("run", "--targets", f"jax,jax@{python}", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    mine, theirs = (project.trace("trained", t).header.environment for t in ("jax", f"jax@{python}"))
    assert theirs["versions"]["keras"].startswith(f"{version}.")
    assert (mine["versions"]["jax"], theirs["interpreter"]) == (theirs["versions"]["jax"], str(python))
    assert f"keras {theirs['versions']['keras']} against {mine['versions']['keras']}" in done.stdout
