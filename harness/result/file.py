"""`result.json`, written and read."""

from __future__ import annotations

import json
from pathlib import Path

from harness import files
from harness.errors import TraceError
from harness.plain import from_plain
from harness.result.schema import SCHEMA, ResultJson
from harness.trace import parse_json

#: The result's name in the folder of a run, and that of the folder in it which pictures go to.
FILE = "result.json"
PLOTS = "plots"
#: The name of a run's page in its folder.
PAGE = "report.html"


def write(path: Path, result: ResultJson) -> None:
    """Write a result as JSON, at once or not at all.

    Raises:
        OSError: the file cannot be written.
        ValueError: JSON cannot hold the result.
    """
    files.write(path, as_json(result))


def as_json(result: ResultJson) -> bytes:
    """What is written to `result.json`. Raises ValueError where JSON cannot hold it."""
    return (json.dumps(result, indent=1, allow_nan=False) + "\n").encode()


def read(path: Path) -> ResultJson:
    """Read a `result.json`, perhaps a stranger's.

    Raises:
        TraceError: the file cannot be read, or holds no result, one of another schema, or a part of one.
    """
    try:
        data = parse_json(files.read_text(path))
    except (OSError, ValueError) as error:
        raise TraceError(f"{path} cannot be read: {error}.") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise TraceError(f"{path} is not a result of schema {SCHEMA}. Run again with this version of the harness.")
    try:
        return from_plain(data, ResultJson)
    except ValueError as error:
        raise TraceError(f"{path} is not a whole result: {error}. Run the cases again.") from None
