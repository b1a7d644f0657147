"""TensorBoard: the logs of every case, in one run of TensorBoard for each target, so that it draws them together.

TensorBoard's own record writer and messages write the files. Its `EventFileWriter` would import TensorFlow.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import HarnessError, printable
from harness.report.charts import logs
from harness.result.run_folder import RunFolder
from harness.session.layout import slug_of

#: TensorBoard reads every file whose name begins so. The number is a time, which is zero here.
FILE = "events.out.tfevents.0000000000.harness"


def write(run: RunFolder, folder: Path) -> list[Path]:
    """Write an event file for each target: `tensorboard --logdir FOLDER` shows them.

    A tag is `case/log`, with points for the slashes of the case's id, so that TensorBoard groups by case. The wall time
    of an event is its step, because no time was measured.

    Raises:
        HarnessError: TensorBoard is not installed, or a link in the folder leads out of it.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise HarnessError("--tensorboard needs TensorBoard: pip install 'keras-harness[tensorboard]'.")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    written = [folder / _folder_of(target) / FILE for target in run.result["targets"]]
    files.check_inside(folder, *(file.parent for file in written))
    for target, file in zip(run.result["targets"], written, strict=True):
        with files.made(file) as place, place.open("wb") as stream:
            writer = RecordWriter(stream)
            writer.write(Event(file_version="brain.Event:2").SerializeToString())
            for event in _events(run, target):
                writer.write(event.SerializeToString())
    return written


def _events(run: RunFolder, target: str) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    for case in run.result["cases"]:
        trace = run.traces(case)[0].get(target)
        group = printable(case["id"]).replace("/", ".")
        for name, points in logs(trace).items() if trace is not None else ():
            tag = f"{group}/{printable(name)}"
            for step, value in points.items():
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                yield Event(step=step, wall_time=float(step), summary=summary)


def _folder_of(target: str) -> str:
    """The name of a target's folder: the target itself if that is a safe name that is not long, else a slug."""
    return target if re.fullmatch(r"\w[\w.-]{,79}", target, re.ASCII) else slug_of(printable(target))
