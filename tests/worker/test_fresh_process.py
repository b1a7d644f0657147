"""Where CUDA has started in a worker, each request gets a process that was not forked from it."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

#: A driver of CUDA that has no device. As the real one it answers CUDA_ERROR_NOT_INITIALIZED until it is started, and
#: in every process that was forked after that.
DRIVER = """
#include <unistd.h>
static pid_t started = 0;
int cuInit(unsigned flags) { started = getpid(); return 0; }
int cuDeviceGetCount(int *count) { *count = 0; return started == getpid() ? 0 : 3; }
"""
#: Loads the driver into every Python, and starts it in workers, as a library might that looks for devices.
SITE = """
import ctypes, os, sys
driver = ctypes.CDLL({library!r})
if {start} and "harness.worker" in sys.orig_argv:
    driver.cuInit(0)
"""
CASES = """
import ctypes, os, time
import numpy as np
from harness import case

@case
def computes(record, rng):
    status = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD).cuDeviceGetCount(ctypes.byref(ctypes.c_int()))
    record("status of the driver", status)
    record("drawn", rng.normal(size=3))

@case
def hangs(record):
    import fcntl
    fcntl.flock(open("held", "w"), fcntl.LOCK_EX)
    record("x", 1)
    time.sleep(600)
"""
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="a driver that stands in for CUDA's needs cc")


@pytest.fixture
def start(project: Any) -> Any:
    """Gives the project a driver, which workers start or do not."""

    def give(*, starts: bool) -> None:
        source = project.write("driver.c", DRIVER)
        library = project.folder / "driver.so"
        command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, source]
        subprocess.run(command, check=True)
        project.write("site/sitecustomize.py", SITE.format(library=str(library), start=starts))
        project.write("cases/x.py", CASES)

    return give


def test_a_case_runs_in_a_fresh_process_once_cuda_has_started(project: Any, start: Any) -> None:
    start(starts=True)
    done = project.harness("run", "-k", "computes", "--targets", "jax", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    fresh = project.trace("computes", "jax")
    assert fresh["recorded/status of the driver"].value == 0
    assert "CUDA had started" in fresh.header.environment["fresh_process"]

    start(starts=False)
    project.harness("run", "-k", "computes", "--targets", "jax", "--out", "forked")
    forked = project.trace("computes", "jax", out="forked")
    assert forked["recorded/status of the driver"].value == 3
    assert forked.header.environment["fresh_process"] is None
    assert fresh["recorded/drawn"].array.tolist() == forked["recorded/drawn"].array.tolist()


def test_a_fresh_process_has_the_deadline_of_its_request(project: Any, start: Any) -> None:
    start(starts=True)
    limit = ["--timeout", "20", "--precision", "float32"]  # time enough to import jax on a busy machine
    project.harness("run", "-k", "hangs", "--targets", "jax", *limit, "--out", "out")
    (run,) = project.cases()["hangs"]["runs"]
    assert run["status"] == "timeout"
    assert "x.py" in run["error"], "the stack where it hung"
    assert not project.is_held("held")


def test_one_that_does_not_come_up_says_why(project: Any, start: Any) -> None:
    start(starts=True)
    site = project.folder / "site/sitecustomize.py"
    site.write_text(site.read_text() + "if '--once' in sys.orig_argv: sys.exit('no such thing')\n")
    done = project.harness("run", "-k", "computes", "--targets", "jax", "--out", "out")
    assert done.returncode != 0
    assert "no such thing" in done.stdout + done.stderr
