"""Traces: everything that one target recorded of one case, in order, on disk.

A trace is a folder of two files and, where the case ran once more in float64, a folder of the twin:

```
trace.json          what ran, where, how it ended, and the observations in order of execution
arrays.safetensors  the arrays they name; equal arrays are kept once
twin/               the same two files for the float64 run
repeats/01/, ...    the same two files for each further run, where every backend keeps its own randomness
again/              the same two files for a second run, which tells whether the case repeats itself
noise/01/, ...      the same two files for each run in which inputs and weights were disturbed in the last bit
unobserved/         the same two files for a run without instruments
eager/, compiled/   the same two files, and a twin, for what was called or trained eagerly, and compiled
full/               the same two files for a run with the switches of lower precision off, such as that of TF32
pictures/           what the case drew
```

Both formats hold data only. Reading a trace executes nothing, so a stranger's trace is safe to read.
"""

from harness.trace.elements import PIECE, Elements, large_elements, let_go, observation
from harness.trace.key import Key
from harness.trace.model import (
    AGAIN,
    COMPILED,
    EAGER,
    EXTENDED,
    FULL,
    INDEX,
    NOISE,
    NUMBER,
    PHASES,
    PICTURE_ENDINGS,
    PICTURES,
    REPEATS,
    REPLAYS,
    SCHEMA,
    TWIN,
    UNOBSERVED,
    Array,
    ArrayEntry,
    Changed,
    Entry,
    Header,
    Lack,
    Note,
    Observation,
    Phase,
    Plain,
    PlainEntry,
    PlotEntry,
    Raised,
    Status,
    numpy_dtype,
)
from harness.trace.reading import Trace, find_traces, parse_json
from harness.trace.writing import write

__all__ = [
    "AGAIN",
    "COMPILED",
    "EAGER",
    "EXTENDED",
    "FULL",
    "INDEX",
    "NOISE",
    "NUMBER",
    "PHASES",
    "PICTURES",
    "PICTURE_ENDINGS",
    "PIECE",
    "REPEATS",
    "REPLAYS",
    "SCHEMA",
    "TWIN",
    "UNOBSERVED",
    "Array",
    "ArrayEntry",
    "Changed",
    "Elements",
    "Entry",
    "Header",
    "Key",
    "Lack",
    "Note",
    "Observation",
    "Phase",
    "Plain",
    "PlainEntry",
    "PlotEntry",
    "Raised",
    "Status",
    "Trace",
    "find_traces",
    "large_elements",
    "let_go",
    "numpy_dtype",
    "observation",
    "parse_json",
    "write",
]
