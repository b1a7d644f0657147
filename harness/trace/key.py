"""How observations are called: keys, and the names that are made in one room and read in another."""

from __future__ import annotations

from dataclasses import dataclass

from harness.trace.model import Named, Phase

#: What the logs of a training step are below, as `batch/loss`.
BATCH = "batch"
#: What the digests of data are below: of all that a case has, in the phase `initial`, and of the batch that a training
#: step took, in the phase `event`.
DATA = "data"
#: The rows of the data that a training step is given, in the phase `initial`.
ROWS = "rows"
#: What is below this, in the phase `event`, is whether the backend's own random function gives what it promises.
GENERATOR = "generator"
AS_PROMISED = "as promised"
#: The callbacks that `fit` calls, in order, in the phase `event`.
CALLBACKS = "callbacks"
#: What a callback changed is below this, in the phase `event`.
CALLBACK = "callback"
#: How the names end that the state of metrics is below, in the phase `metric`: `epoch 1 begins/near/seen`.
BEGINS = " begins"
#: What variables are below, in the phase `update`, that code updates and nothing of it owns.
UNOWNED = "unowned"
#: What stands before the names of a model's state when `fit` has returned.
AFTER_FIT = "after fit/"


@dataclass(frozen=True, slots=True)
class Key:
    """What an observation is found by in its trace: `phase/step/name`, or `phase/name` of what belongs to no step."""

    phase: Phase
    step: int | None
    name: str

    def __str__(self) -> str:
        return f"{self.phase}/{self.name}" if self.step is None else f"{self.phase}/{self.step}/{self.name}"


def below(name: str, outer: str) -> str | None:
    """What is left of a name below another one, as `loss` of `batch/loss` below `batch`; None where it is not."""
    return name.removeprefix(f"{outer}/") if name.startswith(f"{outer}/") else None


def layer_path(observation: Named) -> str:
    """The path of the layer's call that an observation of the phase `forward` is of, as `model/dense`."""
    return unnumbered(observation.name).rpartition("/")[0]


def numbered(name: str, count: int) -> list[str]:
    """Names for so many tensors of one structure: the name itself for one, `name/0`, `name/1`, ... for several."""
    return [name] if count == 1 else [f"{name}/{position}" for position in range(count)]


def unnumbered(name: str) -> str:
    """The name that `numbered` was given."""
    outer, _, last = name.rpartition("/")
    return outer if last.isdigit() else name
