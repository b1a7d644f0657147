"""OpenVINO, as the controller knows it."""

from __future__ import annotations

from pathlib import Path

from harness.backends.base import Backend
from harness.target import Target


class OpenVino(Backend):
    name = "openvino"
    trains = False
    needs = ("scipy",)

    def environment_for(self, target: Target, cache: Path | None = None) -> dict[str, str]:
        return {}


BACKEND = OpenVino()
