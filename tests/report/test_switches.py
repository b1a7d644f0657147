"""A finding that is imprecise names what let a side compute float32 in fewer bits, as far as its trace tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic import Case, write_run

from harness.report.blocks import blocks
from harness.result.file import FILE
from harness.result.run_folder import RunFolder
from harness.verdict import Verdict

ON_GPU = {"placement": {"cuda:0": 12, "cpu:0": 1}}
CUDNN = "torch.backends.cudnn.allow_tf32 = False"
MATMUL = 'torch.set_float32_matmul_precision("highest")'
XLA = 'jax.config.update("jax_default_matmul_precision", "highest")'
TENSORFLOW = "tf.config.experimental.enable_tensor_float_32_execution(False)"


def switches(folder: Path, verdict: str = "imprecise", **environments: dict[str, Any]) -> list[str]:
    """What is said of the switches of torch, the reference, and one other backend."""
    other = next(name for name in environments if name != "torch")
    write_run(folder, [Case("x.py::y", wrong={other: "forward/0/model/smooth/output"})], ("torch", other))
    result = json.loads((folder / FILE).read_text(encoding="utf-8"))
    (case,) = result["cases"]
    for run in case["runs"]:
        run["environment"] = environments.get(run["target"], {})
    case["comparisons"][0]["first"]["verdict"] = case["comparisons"][0]["verdict"] = verdict
    (folder / FILE).write_text(json.dumps(result), encoding="utf-8")
    run = RunFolder.open(folder)
    (block,) = blocks(run, run.result["cases"], Verdict.IDENTICAL)
    return [fact for label, fact in block.facts if label == "switch"]


def off(target: str, call: str) -> str:
    return f"{target} may compute float32 in fewer bits; off with {call}"


@pytest.mark.parametrize(
    ("torch", "jax", "said"),
    [
        ({**ON_GPU, "cudnn_allow_tf32": True}, ON_GPU | {"default_matmul_precision": None}, [XLA, CUDNN]),
        ({**ON_GPU, "cudnn_allow_tf32": False}, ON_GPU | {"default_matmul_precision": "highest"}, []),
        ({"placement": {"cpu:0": 3}, "cudnn_allow_tf32": True}, {"placement": {"cpu:0": 3}}, []),
        ({"float32_matmul_precision": "medium"}, {}, [MATMUL]),
    ],
)
def test_what_was_on_is_named_with_how_to_switch_it_off(
    tmp_path: Path, torch: dict[str, Any], jax: dict[str, Any], said: list[str]
) -> None:
    expected = [off("jax" if call == XLA else "torch", call) for call in said]
    assert switches(tmp_path / "run", torch=torch, jax=jax) == expected


def test_tensorflow_has_its_own(tmp_path: Path) -> None:
    tensorflow = {**ON_GPU, "tensor_float_32": True}
    assert switches(tmp_path / "run", torch={}, tensorflow=tensorflow) == [off("tensorflow", TENSORFLOW)]


def test_a_difference_of_functions_is_not_put_down_to_a_switch(tmp_path: Path) -> None:
    environment = {**ON_GPU, "cudnn_allow_tf32": True}
    assert switches(tmp_path / "run", "divergent", torch=environment, jax=ON_GPU) == []


@pytest.mark.parametrize("placement", [None, 3, ["cuda:0"], {"cpu:0": 1}])
def test_a_strangers_trace_that_tells_no_placement_is_taken_as_such(tmp_path: Path, placement: Any) -> None:
    environment = {"placement": placement, "cudnn_allow_tf32": True}
    assert switches(tmp_path / "run", torch=environment, jax={"placement": placement}) == []
