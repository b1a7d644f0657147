"""OpenVINO in a worker. A tensor is a graph that is compiled and run whenever it is looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.backends.inference import InferenceRuntime
from harness.backends.openvino import BACKEND
from harness.errors import TargetError
from harness.target import Target
from harness.worker import keras_internals
from harness.worker.patching import FOR_GOOD


class OpenVinoRuntime(InferenceRuntime):
    backend = BACKEND

    def __init__(self) -> None:
        self._threads = 1
        #: Nodes of graphs without parameters, by their names, which no other node is given.
        self._concrete: set[str] = set()

    def devices(self) -> list[str]:
        return ["cpu:0"]  # where Keras has it compute, whatever else there is

    def set_threads(self, count: int) -> None:
        self._threads = count
        FOR_GOOD.enter_context(keras_internals.openvino_compiled_with({"INFERENCE_NUM_THREADS": count}))

    @contextlib.contextmanager
    def placed(self, target: Target, rank: int, meeting: Path) -> Iterator[None]:
        """Compute in float32, as the target says. OpenVINO computes `predict` in bfloat16 where the processor can."""
        in_float32 = keras_internals.openvino_compiled_with({"INFERENCE_PRECISION_HINT": "f32"})
        with in_float32, super().placed(target, rank, meeting):
            yield

    def widen(self) -> None:
        """Raises TargetError: on a processor OpenVINO takes float64 and computes in float32."""
        raise TargetError("OpenVINO computes float64 in float32, so there is no float64 run on openvino.")

    def settings(self) -> dict[str, Any]:
        import openvino

        core = openvino.Core()
        return {
            "device": "cpu:0",
            "processor": core.get_property("CPU", "FULL_DEVICE_NAME"),
            "threads": self._threads,
            "inference_precision": "f32",
            "own_inference_precision": core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name(),
        }

    def device_of(self, tensor: Any) -> str:
        return "cpu:0"

    def is_concrete(self, tensor: Any) -> bool:
        """Whether nothing that a tensor is computed from is a parameter of a graph, which has no value yet."""
        if not hasattr(tensor, "output"):
            return True  # a result
        waiting, seen = [tensor.output.get_node()], set()
        while waiting:
            node = waiting.pop()
            name = node.get_name()
            if name in self._concrete or name in seen:
                continue
            if node.get_type_name() == "Parameter":
                return False
            seen.add(name)
            waiting += [entry.get_source_output().get_node() for entry in node.inputs()]
        self._concrete |= seen
        return True

    def iota(self, size: Any) -> Any:
        import keras

        return keras.ops.arange(size, dtype="int32")


RUNTIME = OpenVinoRuntime()
