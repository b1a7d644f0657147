"""Prepares this process as a worker does. Nothing here may import keras before a test of this folder runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _as_in_a_worker():
    from harness.backends import runtime
    from harness.target import Target
    from harness.worker import keras_internals, randomness

    keras_internals.do_not_import_tensorflow()
    randomness.install()
    current = runtime.current()
    current.set_threads(1)
    with current.placed(Target(current.backend.name), 0, Path()):  # by itself it meets nobody
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    return (yield from _skipped_without_gradients())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    return (yield from _skipped_without_gradients())


def _skipped_without_gradients():
    """What trains, or differentiates, is skipped where the backend only infers."""
    from harness.errors import InferenceOnly

    try:
        return (yield)
    except InferenceOnly as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _seeded(_as_in_a_worker):
    import keras

    from harness.worker import keras_internals

    keras.utils.set_random_seed(0)
    keras_internals.forget_global_seed()  # which Keras itself does since 3.13


@pytest.fixture(scope="session")
def in_float64():
    """What `in_float64.py` found: computing in float64 changes a process for good, so it has one of its own."""
    from harness.backends import runtime

    if "float64" not in runtime.current().backend.options:
        pytest.skip(f"{runtime.current().backend.name} has no float64")
    script = Path(__file__).with_name("in_float64.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
