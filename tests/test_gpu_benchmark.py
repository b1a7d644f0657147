"""The stages of benchmarks/gpu.sh: rehearsed on the processor, and each for itself."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness import backends

ROOT = Path(__file__).parents[1]
MISSING = [name for name in ("torch", "jax") if backends.why_not(name) is not None]


@pytest.fixture
def stages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stages", ROOT / "benchmarks/gpu/stages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(stages: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, **functions: Any) -> int:
    monkeypatch.setattr(stages, "STAGES", functions)
    monkeypatch.setattr(sys, "argv", ["stages.py", str(out)])
    with pytest.raises(SystemExit) as ended:
        stages.main()
    return int(ended.value.code or 0)


def test_a_stage_that_fails_or_takes_too_long_does_not_stop_the_next(
    stages: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(_stage: Any) -> None:
        """It fails."""
        raise ValueError("what went wrong")

    def hangs(stage: Any) -> None:
        """It hangs."""
        stage.keep("before", 1)
        stage.call(sys.executable, "-c", "print('last words', flush=True); import time; time.sleep(600)")

    def ends(stage: Any) -> None:
        """It ends."""
        stage.say("an own line")

    monkeypatch.setattr(stages, "LIMIT", 3)
    assert run(stages, monkeypatch, tmp_path, a=fails, b=hangs, c=ends) == 1
    tables = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert "what went wrong" in tables["a-fails"]["ended"]
    assert tables["b-hangs"]["before"] == 1
    assert "out of time" in tables["b-hangs"]["ended"]
    assert "last words" in (tmp_path / "b-hangs.txt").read_text()
    assert tables["c-ends"]["ended"] == "done"
    assert "an own line" in (tmp_path / "summary.txt").read_text()


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"the rehearsal needs {' and '.join(MISSING)}")
def test_stages_are_rehearsed_on_the_processor(tmp_path: Path) -> None:
    environment = {**os.environ, "GPU_REHEARSAL": "1", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [ROOT / "benchmarks/gpu.sh", "-", tmp_path, "1", "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    doctor, tf32 = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-doctor", "3-tf32"))
    assert doctor["doctor"]["status"] == 0
    assert set(doctor["versions"]) >= {"torch", "jax", "keras"}
    assert tf32["tf32"]["outcomes"] == {"agree": 4}
    assert len(tf32["switches"]) == 8
    assert tf32["tf32"]["failures"] == []
