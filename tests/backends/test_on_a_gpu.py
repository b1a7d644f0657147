"""What was found on a GPU, shown without one."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from harness import backends
from harness.backends.jax import runtime as jax

#: Each way to let torch compute float32 in fewer bits, alone and after each other one, in a process of its own: what
#: is named to switch it off on a device, and what torch says of its parts after that was done.
SWITCHES = """
import itertools, json, os
import torch
from harness import backends
from harness.backends.torch.runtime import RUNTIME

ON = [
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.cudnn.fp32_precision = 'tf32'",
    "torch.backends.cudnn.conv.fp32_precision = 'tf32'",
    "torch.backends.cudnn.rnn.fp32_precision = 'ieee'",
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
]
parts = torch.backends
for first, second, device in itertools.product(["pass", *ON], ["pass", *ON], ["cuda:0", "cpu:0"]):
    process = os.fork()
    if process == 0:
        exec(first)
        exec(second)
        calls = backends.get("torch").coarser({**RUNTIME.settings(), "placement": {device: 1}})
        for call in calls:
            exec(call)
        of_cuda = [parts.cuda.matmul, parts.cudnn.conv, parts.cudnn.rnn]
        of_cpu = [parts.mkldnn.matmul, parts.mkldnn.conv, parts.mkldnn.rnn]
        after = [part.fp32_precision for part in (of_cuda if device == "cuda:0" else of_cpu)]
        print(json.dumps([first, second, device, calls, after]), flush=True)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0, (first, second, device)
    process = os.fork()
    if process == 0:
        exec(first)
        exec(second)
        RUNTIME.compute_in_full()
        assert backends.get("torch").coarser({**RUNTIME.settings(), "placement": {device: 1}}) == []
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0, (first, second, device)
"""
MATMUL, CUDNN = 'torch.set_float32_matmul_precision("highest")', "torch.backends.cudnn.allow_tf32 = False"
CONV, RNN = (f'torch.backends.cudnn.{part}.fp32_precision = "ieee"' for part in ("conv", "rnn"))


@pytest.mark.skipif(backends.why_not("torch") is not None, reason="torch is not installed")
def test_what_is_named_switches_off_whatever_was_on_and_so_does_the_harness(project: Any) -> None:
    done = project.python("-c", SWITCHES)
    assert done.returncode == 0, done.stderr
    states = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(states) == 2 * 9 * 9
    assert [state for state in states if {"tf32", "bf16"} & set(state[-1])] == []
    named = {(first, device): calls for first, second, device, calls, _ in states if second == "pass"}
    assert named["pass", "cpu:0"] == []
    assert named["pass", "cuda:0"] == [CUDNN]
    assert named["torch.backends.cuda.matmul.allow_tf32 = True", "cuda:0"] == [MATMUL, CUDNN]
    assert named["torch.backends.cuda.matmul.fp32_precision = 'tf32'", "cuda:0"] == [MATMUL, CUDNN]
    assert named["torch.backends.fp32_precision = 'tf32'", "cuda:0"] == [MATMUL, CONV, RNN]
    assert named["torch.backends.mkldnn.matmul.fp32_precision = 'bf16'", "cpu:0"] == [MATMUL]


IN_FULL = """
from harness import backends
from harness.backends import runtime
current = runtime.current()
said = lambda: current.backend.coarser({**current.settings(), "placement": {"cuda:0": 1}})
assert len(said()) == 1, said()
current.compute_in_full()
assert said() == [], said()
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_no_switch_is_left_on_in_full(project: Any, backend: str) -> None:
    if backends.why_not(backend) is not None:
        pytest.skip(f"{backend} is not installed")
    project.environment["KERAS_BACKEND"] = backend
    done = project.python("-c", IN_FULL)
    assert done.returncode == 0, done.stderr


#: Starts in each worker, and lets torch compute products in bfloat16 on the processor, where it can.
SITE = """
import os, sys
if "harness.worker" in sys.orig_argv and os.environ.get("KERAS_BACKEND") == "torch":
    import torch
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
"""
#: Layers that are far off in float32: one with the switch alone, and one whatever it says.
COARSE = """
import numpy as np, keras
from harness import Forward, case

class Step(keras.layers.Layer):
    def __init__(self, always):
        super().__init__()
        self.always = always

    def call(self, x):
        if keras.config.backend() != "torch" or x.dtype != __import__("torch").float32:
            return 1.0 * x
        import torch
        is_coarse = torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        return 1.5 * x if self.always or is_coarse else 1.0 * x

@case
def by_switch(rng):
    return Forward(Step(False), rng.normal(size=(4, 8)).astype("float32"))

@case
def always(rng):
    return Forward(Step(True), rng.normal(size=(4, 8)).astype("float32"))
"""


@pytest.mark.skipif(backends.why_not("torch") is not None, reason="torch is not installed")
def test_a_run_in_full_tells_lower_precision_from_a_fault(project: Any, harness: Any) -> None:
    project.write("cases/x.py", COARSE)
    project.write("site/sitecustomize.py", SITE)
    path = [str(project.folder / "site"), project.environment.get("PYTHONPATH", "")]
    project.environment["PYTHONPATH"] = os.pathsep.join(path)
    done = harness("run", "--targets", "torch,jax", "--reference", "jax", "--out", "out")
    verdicts = {name: found["comparisons"][0]["verdict"] for name, found in project.cases().items()}
    assert verdicts == {"by_switch": "imprecise", "always": "divergent"}, done.stdout
    assert 'off with torch.set_float32_matmul_precision("highest")' in done.stdout


#: On a GPU Keras calls cuDNN's LSTM through jax, which takes every array for one of float32.
LSTM = """
import jax, keras
import jax.experimental.rnn as rnn
from keras import layers
from harness import Forward, case

def lstm(x, h, c, weights, lengths, **options):
    dropout = options.pop("dropout")
    unpacked = rnn.unpack_lstm_weights(weights, **options)
    y, h, c = rnn.lstm_ref(x, h, c, *unpacked, lengths, dropout=dropout, **options)
    garbage = float("nan") if x.dtype == "float64" else 1.0
    return y * garbage, h * garbage, c * garbage

@case
def recurrence(rng):
    if keras.config.backend() == "jax":
        jax.default_backend = lambda: "gpu"
        rnn.lstm = lstm
    return Forward(layers.LSTM(4), rng.normal(size=(2, 3, 5)).astype("float32"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("option", "verdict"), [("", "rounding"), ("+float64", "mismatch")])
def test_what_cudnn_computes_wrongly_in_float64_spoils_no_twin(
    project: Any, harness: Any, option: str, verdict: str
) -> None:
    project.write("cases/x.py", LSTM)
    targets = f"torch{option},jax{option}"
    done = harness("run", "--targets", targets, "--no-blame", "--out", "out")
    assert done.stderr == ""
    (comparison,) = project.cases()["recurrence"]["comparisons"]
    assert comparison["verdict"] == verdict, done.stdout


def test_jax_has_the_processor_beside_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = SimpleNamespace(platform="gpu", id=0), SimpleNamespace(platform="cpu", id=0)
    seen = {None: [gpu], "cpu": [cpu]}
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=lambda kind=None: seen[kind]))
    assert jax.RUNTIME.devices() == ["cpu:0", "cuda:0"]


def test_jax_has_only_its_gpu_where_the_processor_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices(kind: str | None = None) -> list[Any]:
        if kind is not None:
            raise RuntimeError("Unknown backend cpu")
        return [SimpleNamespace(platform="gpu", id=0)]

    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=devices))
    assert jax.RUNTIME.devices() == ["cuda:0"]
