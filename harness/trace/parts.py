"""Parts of a case, and the names their observations have in a replay.

A replay runs a case's parts one by one, each on the values that the reference had there: every call of a layer, each
regulariser, the loss, each constraint, the schedule, the optimizer's step and the metrics. So what differs in a part
was not inherited from another. Within one part, the operations of Keras that it calls are parts of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Parts that are no layer's.
LOSS, OPTIMIZER, METRICS, CASE = "(loss)", "(optimizer)", "(metrics)", "(case)"

_OPERATION = re.compile(r"(?P<part>.*)/operation (?P<number>\d+) (?P<operation>keras\.\w+\.\w+)/(?P<what>[^/]+)(/.*)?")
_OTHER = re.compile(
    r"(?P<part>.*?)/(?P<what>config|arguments|input|output|state|regularizer|constraint|weight|value)(/.*)?"
)


@dataclass(frozen=True)
class Part:
    """What an observation of a replay belongs to.

    Attributes:
        name: a layer's call such as `model/dense`, or one of those in parentheses; of a regulariser or constraint the
            path of its weight.
        operation: the operation, such as `keras.ops.tanh`, and None for the part as a whole.
        number: which operation of the part it is, counted from 0.
        what: `config`, `input`, `output`, `arguments`, `state`, `weight`, `value`, `regularizer` or `constraint`.
    """

    name: str
    what: str
    operation: str | None = None
    number: int = 0


def operation(part: str, number: int, name: str) -> str:
    """The name of an operation's observations in a part."""
    return f"{part}/operation {number:04} {name}"


def part_of(name: str) -> Part | None:
    """The part that an observation of a replay belongs to, by the observation's name."""
    found = _OPERATION.fullmatch(name)
    if found is not None:
        return Part(found["part"], found["what"], found["operation"], int(found["number"]))
    found = _OTHER.fullmatch(name)
    return None if found is None else Part(found["part"], found["what"])
