"""Parts of a case, and the names that their observations have in a replay: built and read here.

A replay runs a case's parts one by one, each on the values that the reference had there: every call of a layer, each
regulariser, the loss, each constraint, the schedule, the optimizer's step and the metrics. So what differs in a part
was not inherited from another. Within one part, the operations of Keras that it calls are parts of their own.

```
model/dense/input/1                               the second tensor that a layer was given
model/dense/upstream                              the gradient of the loss with respect to what it returned
model/dense/weight/model/dense/kernel             a weight of it, by the weight's own path
model/dense/operation 0003 keras.ops.tanh/output  what an operation in it returned: the fourth `tanh` that it calls
model/dense/operation 0003 keras.ops.tanh/own     what it would have been given, had the reference's value not been
model/dense/kernel/regularizer                    a weight's regulariser
(loss)/value                                      the loss
(loss)/given/1                                    the second tensor that a script has to call the loss with
(train_step)/value/gradients                      what a model's own training step does with gradients, in words
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

#: Parts that are no layer's.
LOSS, OPTIMIZER, METRICS, CASE = "(loss)", "(optimizer)", "(metrics)", "(case)"
#: Steps that a model may have of its own: names of methods, as parts.
TRAIN_STEP, TEST_STEP, PREDICT_STEP = "(train_step)", "(test_step)", "(predict_step)"
#: What is recorded in the place of gradients that could not be taken. Why is noted: backends have other words for it.
RAISED = "raised an error"
#: What is recorded in the place of a gradient that does not exist, which is not the same as zero.
NO_GRADIENT = "no gradient"
#: Among the values of a part: that it takes gradients itself. It stands where the part first takes one.
TAKEN = "a gradient is taken"

#: Among the values of a part: what a finite difference gives for the gradient that a replay probes.
DIFFERENCE = "finite difference"
#: What a part that is no layer is called with: recorded on the reference alone, for a script.
GIVEN: Final = "given"
#: The most elements of all inputs of a script together, or of the weights of a layer that is made of others.
MOST_EMBEDDED = 50_000

#: What is said of a model's own step that does what its model, its loss and its optimizer do by themselves.
TRAINS, INFERS, CALLS_ONCE = (
    "its forward pass trains",
    "its forward pass is one of inference",
    "it calls the model once",
)
APPLIES_ONCE, LEAVES_OUT_NONE = "it applies gradients once", "it leaves out no weight"
OF_ITS_LOSS = "the gradients it applies are those of its loss"
RETURNS_LOSS, RETURNS_PREDICTIONS = "the loss it returns is that of its model", "it returns what the model predicts"
AS_KERAS = frozenset(
    (TRAINS, INFERS, CALLS_ONCE, APPLIES_ONCE, LEAVES_OUT_NONE, OF_ITS_LOSS, RETURNS_LOSS, RETURNS_PREDICTIONS)
)

#: What is recorded of a part. Below `weight` and `state` are paths of variables, below `value` names of values.
What = Literal[
    "config",
    "arguments",
    "own",
    "given",
    "input",
    "output",
    "upstream",
    "regularizer",
    "constraint",
    "weight",
    "state",
    "value",
]

_OPERATION = re.compile(
    r"(?P<part>.*)/operation (?P<number>\d{4,9}) (?P<operation>keras\.\w+\.\w+)/(?P<what>[^/]+)(/.*)?", re.DOTALL
)
#: A layer may itself be called `input` or `output`: what is recorded of it stands last. There may be any character in
#: its name, a line feed too.
_LAST = re.compile(
    r"(?P<part>.+)/(?P<what>config|arguments|own|given|input|output|upstream|regularizer|constraint)(/\d+)?", re.DOTALL
)
_NOT_LAST = re.compile(r"(?P<part>.+?)/(?P<what>weight|state|value)(/.*)?", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """What an observation of a replay belongs to.

    Attributes:
        name: a layer's call such as `model/dense`, or one of those in parentheses; of a regulariser or constraint the
            path of its weight.
        what: what of it was observed.
        operation: the operation, such as `keras.ops.tanh`, and None for the part as a whole.
        number: which call of that operation in the part it is, counted from 0.
    """

    name: str
    what: str
    operation: str | None = None
    number: int = 0

    @property
    def place(self) -> str:
        """What stands before `what` in the names of its observations."""
        return self.name if self.operation is None else operation(self.name, self.number, self.operation)


def operation(part: str, number: int, name: str) -> str:
    """An operation in a part, as a part of its own."""
    return f"{part}/operation {number:04} {name}"


def name_in(part: str, what: What, inner: str | int | None = None) -> str:
    """The name of an observation of a part, or of an operation in it. Read back by `part_of`.

    Args:
        inner: the position of a tensor, the path of a variable, or the name of a value.
    """
    return f"{part}/{what}" if inner is None else f"{part}/{what}/{inner}"


def part_of(name: str) -> Part | None:
    """The part that an observation of a replay belongs to, by the observation's name; None where it is of no part."""
    found = _OPERATION.fullmatch(name)
    if found is not None:
        return Part(found["part"], found["what"], found["operation"], int(found["number"]))
    found = _LAST.fullmatch(name) or _NOT_LAST.fullmatch(name)
    return None if found is None else Part(found["part"], found["what"])
