"""A model's own step as a part: its `train_step`, `test_step` or `predict_step`, on every target.

Each target says in words what the step does, beside what its model, loss and optimizer do by themselves there. So a
fault of a layer, which is in both, is no fault of the step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from harness.judge.compare import differences
from harness.target import Target
from harness.trace import Phase, Trace
from harness.trace.parts import AS_KERAS, PREDICT_STEP, TEST_STEP, TRAIN_STEP, part_of
from harness.verdict import Verdict

#: The step that a finding of a phase may come from.
_STEPS: Mapping[Phase, str] = {
    **dict.fromkeys(("update", "optimizer", "log"), TRAIN_STEP),
    "metric": TEST_STEP,
    "prediction": PREDICT_STEP,
}
#: What a step does, by what its words are about; and the phase in which that makes a difference.
_PHASES: Mapping[str, Phase] = {
    "forward": "forward",
    "calls": "forward",
    "applied": "update",
    "weights": "update",
    "gradients": "gradient",
    "loss": "loss",
    "returned": "prediction",
}


@dataclass(frozen=True)
class Deed:
    """Something that a step does on some targets and not on others.

    Attributes:
        phase: in which that makes a difference.
        step: of the training.
        words: what it does, by target.
    """

    phase: Phase
    step: int
    words: Mapping[str, str]

    def culprit(self, target: str) -> str | None:
        """The target that does something else than the others or, where that is not one, than Keras does.

        Args:
            target: the one that differs from the reference.
        """
        count = Counter(self.words.values())
        alone = [side for side, words in self.words.items() if count[words] == 1]
        if len(self.words) > 2 and len(count) == 2 and len(alone) == 1:
            return alone[0]
        odd = [side for side, words in self.words.items() if words not in AS_KERAS]
        return target if target in odd and len(odd) < len(self.words) else odd[0] if len(odd) == 1 else None


def step_of(phase: Phase) -> str | None:
    """The step of a model's own, as a part, that a finding of a phase may come from; None if there is none."""
    return _STEPS.get(phase)


def method_of(step: str) -> str:
    """The name of the method that a step is."""
    return step.strip("()")


def told_apart(traces: Mapping[Target, Trace], target: Target, reference: Target) -> Deed | None:
    """The first thing that a step does on one of two targets and not on the other; None if it does the same.

    The float64 runs are taken, if both are there: rounding is told best from everything else in them.
    """
    if target not in traces or reference not in traces:
        return None
    twins = {side: trace.twin for side, trace in traces.items()}
    sides = {side: twin for side, twin in twins.items() if twin is not None and len(twin)}
    sides = sides if {target, reference} <= set(sides) else dict(traces)
    for entry in sides[reference].select("event"):
        part = part_of(entry.name)
        if part is None or part.name not in _STEPS.values() or entry.key not in sides[target]:
            continue
        words = {str(side): str(trace[entry.key].value) for side, trace in sides.items() if entry.key in trace}
        if words[str(target)] != words[str(reference)]:
            return Deed(_PHASES[entry.name.rpartition("/")[2]], entry.step, words)
    return None


def apart(traces: Mapping[Target, Trace], target: Target, reference: Target) -> Deed | None:
    """What a training step makes that differs between two targets; None if all of it agrees.

    That is its predictions, the gradients that it applies, the weights as it leaves them, or what it returns.
    """
    if target not in traces or reference not in traces:
        return None
    for finding in differences(traces[target], traces[reference], Verdict.DIVERGENT):
        part = part_of(finding.name)
        is_told = part is not None and part.name == TRAIN_STEP and finding.phase in ("forward", "gradient")
        if is_told or finding.phase in ("update", "optimizer", "log"):
            return Deed(finding.phase, finding.step, {})
    return None
