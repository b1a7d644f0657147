"""The search for whose a difference is, with a pool that answers from prepared values: no backend, and no process.

Each test says what a case recorded and what its replays would record, and looks at the blame that comes out and at
which replays were asked for, in which order. `FakePool` and `Search` are all that knows the interface of a pool and of
`Blamer`.
"""

from __future__ import annotations

import subprocess
import types
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from harness import trace, wire
from harness.blame import replays as replays_module
from harness.blame import reproducer, search
from harness.case import CaseRef, Expected
from harness.result import words
from harness.result.model import Blame, CaseResult, Comparison
from harness.session.layout import trace_folder
from harness.session.options import Options
from harness.session.pool import Job, Reply
from harness.session.session import Session, Setup
from harness.target import Target
from harness.trace import Header, Note, Observation, Raised
from harness.trace.parts import RAISED
from harness.verdict import Verdict

parametrize = pytest.mark.parametrize

TORCH, JAX, TENSORFLOW = Target("torch"), Target("jax"), Target("tensorflow")
CASE = CaseRef("cases/x.py::it", "/nowhere/x.py", "it")


@dataclass(frozen=True)
class Value:
    """One observation on every target.

    Attributes:
        key: `phase/step/name`, or `recorded/name`.
        wrong: by target, a factor on what the others have, in both precisions.
        leak: by target, a factor in the twin alone.
        plain: a plain value instead of an array.
        lacking: the targets that do not have it.
    """

    key: str
    layer: str | None = None
    wrong: Mapping[str, float] = field(default_factory=dict)
    leak: Mapping[str, float] = field(default_factory=dict)
    plain: Any = None
    lacking: Sequence[str] = ()

    def on(self, target: str, *, twin: bool) -> Observation:
        phase, _, rest = self.key.partition("/")
        step, _, name = rest.partition("/") if phase != "recorded" else ("0", "", rest)
        about: Any = (self.key, phase, int(step), name, self.layer)
        if self.plain is not None:
            return Observation(*about, None, self.plain)
        exact = np.random.default_rng(zlib.crc32(self.key.encode())).normal(size=(16, 4))
        exact = exact * self.wrong.get(target, 1.0) * (self.leak.get(target, 1.0) if twin else 1.0)
        array = exact if twin else exact.astype(np.float32)
        return Observation(*about, array.dtype.name, array)


class Either(Value):
    """A value that jax has another of."""

    jax: Value

    def __init__(self, value: Value, *, jax: Value) -> None:
        super().__init__(value.key, value.layer, value.wrong, plain=value.plain)
        object.__setattr__(self, "jax", jax)

    def on(self, target: str, *, twin: bool) -> Observation:
        return self.jax.on(target, twin=twin) if target == "jax" else super().on(target, twin=twin)


def write(folder: Path, target: str, values: Sequence[Value], *, twin: bool, **about: Any) -> None:
    """Write one trace of those values."""
    header = Header(CASE.id, target, "float64" if twin else "float32", **about)
    trace.write(folder, header, [value.on(target, twin=twin) for value in values if target not in value.lacking])


@dataclass(frozen=True)
class Asked:
    """A replay that was asked for.

    Attributes:
        what: `steps 3-9`, or `steps 3-9, told` where they say what they do; `parts`, `data y/0`, or `in NAME` (the
            operations in a part), with `, held` where these return what the reference's did, and `, but PLACE` where
            one does not.
        given: whose values each target was given; None where it went on its own.
        start: the folder, phase, step and prefix of the variables that it starts from.
        traces: the folder that each target's trace is written to.
    """

    what: str
    targets: tuple[str, ...]
    twins: bool
    given: Path | None
    start: wire.Start | None
    rows: Any
    training: bool
    seconds: float
    traces: Mapping[str, Path]

    def __str__(self) -> str:
        return f"{self.what} on {' '.join(self.targets)}{', from torch' if self.given else ''}"


class FakePool:
    """Answers requests with prepared values.

    Args:
        replays: what each replay records, by `Asked.what`. What is not named records nothing.
        ends: how the child of a replay ended that wrote no trace, by replay and target.
        takes: seconds of each replay, by the clock that the search looks at.
        computes: by target, a factor on what a script computes on the others.
    """

    def __init__(
        self,
        replays: Mapping[str, Sequence[Value]],
        ends: Mapping[tuple[str, str], str],
        takes: float,
        computes: Mapping[str, float],
    ) -> None:
        self.replays, self.ends, self.takes, self.computes = replays, ends, takes, computes
        self.asked: list[Asked] = []
        #: Notes on what a replay could not observe, by replay and target.
        self.notes: dict[tuple[str, str], list[Note]] = {}
        self.now = 0.0
        #: Seconds that each replay is held up by other jobs, beside those that it takes.
        self.held = 0.0

    def run(self, jobs: Sequence[Job], on_reply: Callable[[Reply], None], _: Callable[[], bool]) -> float:
        self.now += self.takes + self.held
        runs = [(job, job.work) for job in jobs if isinstance(job.work, wire.Run)]
        if runs:
            self.asked.append(self._asked(runs))
        for job in jobs:
            target = str(job.target)
            ended: Any = "exit"
            if isinstance(job.work, wire.Script):
                numbers = np.arange(4.0) * self.computes.get(target, 1.0)
                np.savez(job.work.result, forms=np.array(["(4,)"]), numbers=numbers)
            else:
                assert isinstance(job.work, wire.Run)
                ended = self.ends.get((self.asked[-1].what, target), "exit")
                if ended == "exit":
                    values = self.replays.get(self.asked[-1].what, [])
                    notes = self.notes.get((self.asked[-1].what, target), [])
                    write(job.work.trace, target, values, twin=job.work.twin, notes=notes)
            on_reply(Reply(job, ended, 0, 1.0, ""))
        return self.held

    @staticmethod
    def _asked(runs: Sequence[tuple[Job, wire.Run]]) -> Asked:
        first = next(work for _, work in runs if not work.twin)
        steps, parts = first.steps, first.replay
        what = f"steps {steps.first}-{steps.last}{', told' if steps.account else ''}" if steps else ""
        if parts is not None:
            batch = "" if parts.batch is None else f" of batch {parts.batch}"
            what = f"in {parts.inside}" if parts.inside else f"data {parts.data}{batch}" if parts.data else "parts"
            what += f"{', held' if parts.held else ''}{f', but {parts.free}' if parts.free else ''}"
        more: Any = steps or parts
        return Asked(
            what=what,
            targets=tuple(dict.fromkeys(str(job.target) for job, _ in runs)),
            twins=any(work.twin for _, work in runs),
            given=None if more is None else more.given,
            start=None if parts is None else parts.state,
            rows=None if parts is None else parts.rows,
            training=parts is None or parts.training,
            seconds=runs[0][0].timeout,
            traces={str(job.target): work.trace for job, work in runs if not work.twin},
        )


class Search:
    """A case that was recorded, and the search for whose its differences are.

    Args:
        values: what the case recorded.
        ends, takes, computes: see `FakePool`.
        keras: the versions of Keras, by target, that are not the usual one.
        expect: differences that the case declares.
        raised: what the case raised, by target.
        header: what else all traces of the case say.
        options: how the case is run; the usual ones if left out.
    """

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        values: Sequence[Value],
        replays: Mapping[str, Sequence[Value]],
        *,
        targets: Sequence[Target] = (TORCH, JAX),
        ends: Mapping[tuple[str, str], str] | None = None,
        takes: float = 0.0,
        keras: Mapping[str, str] | None = None,
        computes: Mapping[str, float] | None = None,
        expect: Mapping[str, Expected] | None = None,
        raised: Mapping[str, list[Raised]] | None = None,
        header: Mapping[str, Any] | None = None,
        options: Options | None = None,
    ) -> None:
        self.folder = folder
        self.pool = FakePool(replays, ends or {}, takes, computes or {})
        clock = types.SimpleNamespace(monotonic=lambda: self.pool.now)
        for module in (replays_module, reproducer):
            monkeypatch.setattr(module, "time", clock)
        self.places = {target: trace_folder(folder, target, CASE.id) for target in targets}
        for target, place in self.places.items():
            for twin in (False, True):
                about: dict[str, Any] = {
                    **(header or {}),
                    "environment": {"versions": {"keras": (keras or {}).get(str(target), "3.15.1")}},
                    "expect": expect or {},
                    "raised": (raised or {}).get(str(target), []),
                }
                write(place / trace.TWIN if twin else place, str(target), values, twin=twin, **about)
        self.session = Session(Setup(list(targets), TORCH, folder, folder, options or Options()))
        vars(self.session)["pool"] = self.pool

    def judged(self) -> CaseResult:
        """What the run says before anything is replayed."""
        return self.session.judge(CASE.id)

    def examined(self, *, blame_from: Verdict | None = Verdict.DIVERGENT, declared: bool = False) -> CaseResult:
        """What the run says after all."""
        blamer = search.Blamer(self.session, blame_from, declared=declared)
        return blamer.examine(CASE, self.judged(), self.session.setup.targets)

    def comparison(self, target: str = "jax", **options: Any) -> Comparison:
        (comparison,) = [item for item in self.examined(**options).comparisons if item.target == target]
        return comparison

    def blame(self, target: str = "jax") -> Blame:
        blame = self.comparison(target).blame
        assert blame is not None
        assert "bug of the harness" not in blame.text
        return blame

    @property
    def replays(self) -> bool:
        """Whether an examination is said to take replays."""
        blamer = search.Blamer(self.session, Verdict.DIVERGENT)
        return blamer.replays(CASE, self.judged(), self.session.setup.targets)

    @property
    def asked(self) -> list[str]:
        return [str(asked) for asked in self.pool.asked]

    def replay(self, what: str, *, given: bool = True) -> Asked:
        """The one replay of that kind."""
        (asked,) = [asked for asked in self.pool.asked if asked.what == what and (asked.given is not None) is given]
        return asked


@pytest.fixture
def searching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Search]:
    return lambda *arguments, **options: Search(tmp_path, monkeypatch, *arguments, **options)


def differing(values: Sequence[Value], *keys: str, **wrong: float) -> list[Value]:
    """Those values, of which some are wrong on a target: one in a thousand unless told otherwise."""
    assert set(keys) <= {value.key for value in values}
    return [replace(value, wrong=wrong or {"jax": 1.001}) if value.key in keys else value for value in values]


def fit(*steps: int) -> list[Value]:
    """What a training recorded: weights and logs after the first step and some later ones."""
    after = [
        value
        for step in steps
        for value in (
            Value(f"update/{step}/m/dense/kernel", "dense"),
            Value(f"optimizer/{step}/sgd/momentum"),
            Value(f"log/{step}/loss"),
        )
    ]
    return [
        Value("initial/0/data/x/0", plain={"sha256": "12"}),
        Value("initial/0/m/dense/kernel", "dense"),
        Value("forward/0/m/dense/output", "dense"),
        Value("loss/0/loss"),
        Value("gradient/0/m/dense/kernel", "dense"),
        Value("event/0/callbacks", plain=["History"]),
        *after,
        Value(f"event/{steps[-1]}/fit", plain=["on_train_begin"]),
        Value(f"metric/{steps[-1]}/evaluate/loss"),
        Value(f"prediction/{steps[-1]}/predict"),
    ]


FORWARD = [Value("initial/0/dense/kernel", "dense"), Value("forward/0/dense/output", "dense")]
RECORDED = [Value("recorded/a"), Value("recorded/b")]

#: The parts of a model of two layers, with their gradients, in the order of a replay.
PARTS = [
    Value("initial/0/m/first/config", "first", plain="{}"),
    Value("forward/0/m/first/input", "first"),
    Value("forward/0/m/first/output", "first"),
    Value("initial/0/m/dense/config", "dense", plain="{}"),
    Value("forward/0/m/dense/input", "dense"),
    Value("forward/0/m/dense/output", "dense"),
    Value("loss/0/(loss)/value"),
    Value("gradient/0/m/dense/input", "dense"),
    Value("gradient/0/m/first/input", "first"),
    Value("update/0/(optimizer)/weight/m/dense/kernel", "dense"),
    Value("metric/0/(metrics)/value/loss"),
]

OUTPUT = "forward/0/m/dense/output"
TANH = "m/dense/operation 0001 keras.ops.tanh"
INSIDE = [
    Value("forward/0/m/dense/input", "dense"),
    Value("forward/0/m/dense/operation 0000 keras.ops.matmul/output", "dense"),
    Value(f"initial/0/{TANH}/arguments", "dense", plain='{"args": [{"tensor": 0}], "kwargs": {}}'),
    Value(f"forward/0/{TANH}/input", "dense"),
    Value(f"forward/0/{TANH}/output", "dense"),
    Value(OUTPUT, "dense"),
]


class TestOrder:
    """Later step, then parts, then operations; parts of a prediction; a recorded case."""

    def test_a_first_pass_is_searched_by_parts_and_then_by_operations(self, searching: Any) -> None:
        it = searching(
            differing(fit(0), OUTPUT),
            {"parts": differing(PARTS, OUTPUT), "in m/dense": differing(INSIDE, f"forward/0/{TANH}/output", OUTPUT)},
        )
        assert it.blame() == Blame(
            None,
            "dense",
            "m/dense",
            "keras.ops.tanh",
            "forward",
            0,
            True,
            "introduced in layer 'dense', by keras.ops.tanh",
            culprit="layer 'dense'",
            why_no_script=words.SHOWS_NOTHING,
            kind="output",
        )
        assert it.asked == [
            "parts on torch",
            "parts on torch jax, from torch",
            "in m/dense on torch",
            "in m/dense on torch jax, from torch",
        ]
        assert [asked.twins for asked in it.pool.asked] == [False, True, False, True]

    def test_parts_start_from_the_references_initial_weights_and_first_batch(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), {"parts": differing(PARTS, OUTPUT)})
        it.blame()
        parts = it.replay("parts")
        assert parts.start == wire.Start(it.places[TORCH], "initial", 0)
        assert (parts.rows, parts.training) == (None, True)

    def test_targets_are_given_what_the_references_own_replay_recorded(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), {"parts": differing(PARTS, OUTPUT), "in m/dense": INSIDE})
        it.blame()
        for what in ("parts", "in m/dense"):
            assert it.replay(what).given == it.replay(what, given=False).traces["torch"]

    def test_a_later_step_is_looked_for_first_and_its_parts_start_from_its_state(self, searching: Any) -> None:
        update = "update/{}/m/dense/kernel"
        followed = [
            *(Value(f"initial/{step}/rows", plain=[step, 31]) for step in (5, 6, 7)),
            *(Value(update.format(step), "dense") for step in (5, 6, 7)),
        ]
        it = searching(
            differing(fit(0, 4, 7), update.format(7)),
            {
                "steps 5-7": differing(followed, update.format(6), update.format(7)),
                "parts": differing(PARTS, "update/0/(optimizer)/weight/m/dense/kernel"),
            },
        )
        blame = it.blame()
        assert (blame.part, blame.step, blame.phase) == ("(optimizer)", 6, "update")
        assert it.asked[:4] == [
            "steps 5-7 on torch",
            "steps 5-7 on torch jax, from torch",
            "parts on torch",
            "parts on torch jax, from torch",
        ]
        parts = it.replay("parts")
        assert parts.start == wire.Start(it.replay("steps 5-7").traces["torch"], "initial", 6)
        assert parts.rows == [6, 31]
        steps = it.replay("steps 5-7")
        assert steps.given == it.replay("steps 5-7", given=False).traces["torch"]

    @parametrize("key", ["update/2/m/dense/kernel", "optimizer/2/sgd/momentum", "log/2/loss"])
    def test_what_a_step_leaves_behind_is_looked_for_in_steps(self, searching: Any, key: str) -> None:
        it = searching(differing(fit(0, 2), key), {})
        assert not it.blame().confirmed
        assert it.asked == ["steps 1-2 on torch"]

    def test_the_first_step_is_one_too(self, searching: Any) -> None:
        it = searching(differing(fit(0, 2), "update/0/m/dense/kernel"), {})
        it.blame()
        assert it.asked == ["steps 0-0 on torch"]

    def test_of_a_long_training_the_last_steps_are_followed(self, searching: Any) -> None:
        it = searching(differing(fit(0, 99), "update/99/m/dense/kernel"), {})
        it.blame()
        assert search.MOST_STEPS == 40
        assert it.asked == ["steps 60-99 on torch"]

    def test_where_no_step_differs_from_equal_state_no_part_is_asked(self, searching: Any) -> None:
        weight = Value("update/1/m/dense/kernel", "dense")
        it = searching(differing(fit(0, 1), weight.key), {"steps 1-1": [weight]})
        blame = it.blame()
        assert (blame.confirmed, blame.layer, blame.phase, blame.step) == (False, "dense", "update", 1)
        assert blame.text == (
            "no training step differs by itself when it starts from equal state. Ruled out: step 1, from equal state"
        )
        assert it.asked == ["steps 1-1 on torch", "steps 1-1 on torch jax, from torch"]

    def test_a_prediction_is_replayed_after_training_on_its_worst_row(self, searching: Any) -> None:
        values = differing(fit(0, 7), "prediction/7/predict")
        it = searching(values, {"parts": differing(PARTS, OUTPUT)})
        index = it.judged().comparisons[0].first.judgement.index
        assert index is not None
        assert index[0] > 0
        blame = it.blame()
        assert (blame.layer, blame.phase, blame.step) == ("dense", "prediction", 7)
        assert it.asked[:2] == ["parts on torch", "parts on torch jax, from torch"]
        parts = it.replay("parts")
        assert parts.start == wire.Start(it.places[TORCH], "update", 7, "after fit/")
        assert (parts.rows, parts.training) == ([index[0]], False)

    def test_a_metric_is_replayed_after_training_on_the_first_batch(self, searching: Any) -> None:
        it = searching(
            differing(fit(0, 7), "metric/7/evaluate/loss"),
            {"parts": differing(PARTS, "metric/0/(metrics)/value/loss")},
        )
        assert it.blame().text == "introduced in the metrics"
        assert (it.replay("parts").start.phase, it.replay("parts").rows) == ("update", None)

    def test_a_metric_that_alone_differs_is_named_where_its_part_does_not(self, searching: Any) -> None:
        near = Value("metric/7/evaluate/near")
        values = [*fit(0, 7)[:-1], near, fit(0, 7)[-1]]
        header = {"places": {"metric/near": "Near, net.py:36"}}
        it = searching(differing(values, near.key), {"parts": PARTS}, header=header)
        blame = it.blame()
        assert blame.culprit == "metric 'near' (Near, net.py:36)"
        assert blame.text.startswith("only `Near` (net.py:36) differs: `near` is ")
        assert not blame.confirmed

    @parametrize("other", ["metric/7/evaluate/other", "prediction/7/predict"])
    def test_a_metric_is_not_named_where_more_differs(self, searching: Any, other: str) -> None:
        near = "metric/7/evaluate/near"
        values = [*fit(0, 7)[:-1], Value(near), Value("metric/7/evaluate/other"), fit(0, 7)[-1]]
        places = {"metric/near": "Near, net.py:36", "metric/other": "Mean"}
        it = searching(differing(values, near, other), {"parts": PARTS}, header={"places": places})
        assert (it.judged().comparisons[0].first.key, it.blame().culprit) == (near, None)

    def test_no_metric_is_blamed_for_what_a_training_does(self, searching: Any) -> None:
        metric = "metric/0/(metrics)/value/loss"
        it = searching(differing(fit(0), "gradient/0/m/dense/kernel"), {"parts": differing(PARTS, metric)})
        assert it.blame().part is None

    def test_a_case_that_records_by_itself_is_searched_by_its_own_operations(self, searching: Any) -> None:
        operation = Value("forward/0/(case)/operation 0003 keras.ops.exp/output")
        it = searching(differing(RECORDED, "recorded/b"), {"in (case)": differing([operation], operation.key)})
        blame = it.blame()
        assert (blame.layer, blame.part, blame.op, blame.confirmed) == (None, "(case)", "keras.ops.exp", True)
        assert blame.text == "introduced in the case itself, by keras.ops.exp"
        # The suspect is an operation by now: nothing is looked for in it.
        assert it.asked == ["in (case) on torch", "in (case) on torch jax, from torch"]
        assert it.replay("in (case)").start is None

    def test_what_a_recorded_case_makes_between_operations_is_blamed_on_none(self, searching: Any) -> None:
        operation = Value("forward/0/(case)/operation 0003 keras.ops.exp/output")
        it = searching(differing(RECORDED, "recorded/b"), {"in (case)": [operation]})
        blame = it.blame()
        assert (blame.confirmed, blame.op, blame.part) == (False, None, None)
        assert blame.text == (
            "no operation of the case differs by itself on equal values. The last record before it that agrees is 'a'. "
            "Ruled out: 1 operation, on equal values"
        )

    def test_what_a_case_with_parts_records_by_hand_is_its_own(self, searching: Any) -> None:
        it = searching([*FORWARD, *differing(RECORDED, "recorded/a")], {})
        it.blame()
        assert it.asked == ["in (case) on torch"]

    def test_initial_weights_are_searched_by_the_operations_that_make_them(self, searching: Any) -> None:
        it = searching(differing(fit(0), "initial/0/m/dense/kernel"), {})
        it.blame()
        assert it.asked == ["in (case) on torch"]

    @pytest.mark.parametrize("draws", [False, True], ids=["", "that draws random numbers"])
    def test_a_call_whose_layers_agree_is_searched_by_its_own_operations(self, searching: Any, draws: bool) -> None:
        operation = Value("forward/0/(case)/operation 0000 keras.ops.exp/output")
        drawn = [Value("event/0/generator/keras.random.uniform", plain="as promised")] if draws else []
        it = searching(
            [*differing(FORWARD, "forward/0/dense/output"), *drawn],
            {"parts": PARTS, "in (case)": differing([operation], operation.key)},
        )
        assert it.blame().op == "keras.ops.exp"
        assert [asked.what for asked in it.pool.asked] == [
            "parts",
            "parts",
            "in (case)",
            "in (case)",
        ]
        assert it.replay("parts").start is None

    def test_a_training_whose_parts_agree_is_not(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), {"parts": PARTS})
        assert not it.blame().confirmed
        assert it.asked == ["parts on torch", "parts on torch jax, from torch"]

    def test_what_was_replayed_for_one_target_is_not_replayed_for_the_next(self, searching: Any) -> None:
        wrong = {"torch": 1.001}
        it = searching(
            differing(fit(0), OUTPUT, **wrong),
            {"parts": differing(PARTS, OUTPUT, **wrong)},
            targets=[TORCH, TENSORFLOW, JAX],
        )
        seen = it.examined()
        assert [comparison.blame.target for comparison in seen.comparisons] == ["torch", "torch"]
        assert it.asked == [
            "parts on torch",
            "parts on torch tensorflow jax, from torch",
            "in m/dense on torch",
        ]


class TestSuspects:
    """Which of the parts that differ is the one that made the difference."""

    def blamed(self, searching: Any, parts: Sequence[Value], **options: Any) -> Blame:
        blame: Blame = searching(differing(fit(0), OUTPUT), {"parts": parts}, **options).blame()
        return blame

    def test_the_first_part_in_order_is_blamed(self, searching: Any) -> None:
        blame = self.blamed(searching, differing(PARTS, "forward/0/m/first/output", OUTPUT))
        assert (blame.layer, blame.part) == ("first", "m/first")
        assert blame.text == "introduced in layer 'first'; layer 'dense' inherits it"

    def test_a_part_is_not_blamed_for_what_it_was_given(self, searching: Any) -> None:
        blame = self.blamed(searching, differing(PARTS, "forward/0/m/first/input", OUTPUT))
        assert blame.part == "m/dense"

    def test_where_only_inputs_differ_no_part_is_blamed(self, searching: Any) -> None:
        assert not self.blamed(searching, differing(PARTS, "forward/0/m/first/input")).confirmed

    def test_the_gradient_of_an_input_is_made_by_the_part(self, searching: Any) -> None:
        values = differing(fit(0), "gradient/0/m/dense/kernel")
        blame = searching(values, {"parts": differing(PARTS, "gradient/0/m/dense/input")}).blame()
        assert (blame.part, blame.text) == ("m/dense", "introduced in layer 'dense', in its gradient")

    @parametrize("key", [OUTPUT, "loss/0/loss"])
    def test_a_gradient_makes_nothing_that_comes_before_it(self, searching: Any, key: str) -> None:
        it = searching(differing(fit(0), key), {"parts": differing(PARTS, "gradient/0/m/dense/input")})
        assert not it.blame().confirmed

    def test_a_part_that_differentiates_within_is_blamed_for_its_gradients(self, searching: Any) -> None:
        taken = Value("gradient/0/m/dense/value/a gradient is taken", plain=True)
        gradient = Value(f"gradient/0/{TANH}/input", "dense")
        for inside, op in ((INSIDE, None), ([taken, *INSIDE], "keras.ops.tanh")):
            replays = {"parts": differing(PARTS, OUTPUT), "in m/dense": differing([*inside, gradient], gradient.key)}
            assert searching(differing(fit(0), OUTPUT), replays).blame().op == op

    def test_another_configuration_is_blamed(self, searching: Any) -> None:
        parts = [Either(PARTS[0], jax=replace(PARTS[0], plain='{"momentum": 0.5}')), *PARTS[1:]]
        blame = self.blamed(searching, parts)
        assert blame.text == "introduced in layer 'first', in its config; layer 'dense' inherits it"

    def test_of_two_versions_of_keras_another_configuration_is_no_fault(self, searching: Any) -> None:
        parts = [Either(PARTS[0], jax=replace(PARTS[0], plain='{"new": 1}')), *PARTS[1:]]
        assert not self.blamed(searching, parts, keras={"jax": "3.14.0"}).confirmed
        blame = self.blamed(searching, differing(parts, OUTPUT), keras={"jax": "3.14.0"})
        assert blame.part == "m/dense"

    def test_who_stands_alone_decides_between_suspects(self, searching: Any) -> None:
        parts = [
            *differing(PARTS[:3], "forward/0/m/first/output", torch=1.001),
            *differing(PARTS[3:], OUTPUT),
        ]
        options = {"targets": [TORCH, TENSORFLOW, JAX]}
        blame = self.blamed(searching, parts, **options)
        assert (blame.target, blame.part) == ("jax", "m/dense")

    def test_where_all_three_differ_in_a_part_it_is_a_suspect_all_the_same(self, searching: Any) -> None:
        parts = differing(PARTS, "forward/0/m/first/output", torch=1.001, jax=1.002)
        blame = self.blamed(searching, parts, targets=[TORCH, TENSORFLOW, JAX])
        assert (blame.target, blame.part) == ("jax", "m/first")

    def test_who_stands_alone_in_the_part_is_blamed_where_all_three_differ_at_first(self, searching: Any) -> None:
        values = differing(fit(0), OUTPUT, jax=1.001, tensorflow=1.002)
        it = searching(values, {"parts": differing(PARTS, OUTPUT)}, targets=[TORCH, TENSORFLOW, JAX])
        assert it.judged().alone is None
        assert (it.blame().target, it.blame().part) == ("jax", "m/dense")

    def test_of_two_targets_none_stands_alone(self, searching: Any) -> None:
        blame = self.blamed(searching, differing(PARTS, OUTPUT))
        assert (blame.target, blame.confirmed) == (None, True)

    def test_a_leak_alone_is_a_suspect(self, searching: Any) -> None:
        leaking = [replace(v, leak={"jax": 1 + 3e-8}) if v.key == "forward/0/m/first/output" else v for v in PARTS]
        assert self.blamed(searching, leaking).part == "m/first"

    def test_a_leak_that_is_small_beside_what_diverges_later_is_none(self, searching: Any) -> None:
        leaking = [replace(v, leak={"jax": 1 + 3e-8}) if v.key == "forward/0/m/first/output" else v for v in PARTS]
        assert self.blamed(searching, differing(leaking, OUTPUT)).part == "m/dense"

    def test_a_leak_as_large_as_what_diverges_later_is_one(self, searching: Any) -> None:
        leaking = [replace(v, leak={"jax": 1 + 1e-7}) if v.key == "forward/0/m/first/output" else v for v in PARTS]
        small = [replace(v, wrong={"jax": 1 + 8e-7}) if v.key == OUTPUT else v for v in leaking]
        assert self.blamed(searching, small).part == "m/first"

    def test_an_operation_is_looked_for_inside_its_part_alone(self, searching: Any) -> None:
        it = searching(
            differing(fit(0), OUTPUT), {"parts": differing(PARTS, OUTPUT), "in m/dense": differing(INSIDE, OUTPUT)}
        )
        blame = it.blame()
        assert (blame.part, blame.op, blame.text) == ("m/dense", None, "introduced in layer 'dense'")

    def called(self, searching: Any, inside: Sequence[Value], targets: Sequence[Target] = (TORCH, JAX)) -> Blame:
        replays = {"parts": differing(PARTS, OUTPUT), "in m/dense": inside}
        blame: Blame = searching(differing(fit(0), OUTPUT), replays, targets=targets).blame()
        return blame

    def other_arguments(self, ours: str, theirs: str, *wrong: str) -> list[Value]:
        arguments = Either(replace(INSIDE[2], plain=theirs), jax=replace(INSIDE[2], plain=ours))
        return differing([arguments, *INSIDE[3:]], *wrong) if wrong else [arguments, *INSIDE[3:]]

    @parametrize(
        ("ours", "theirs", "told"),
        [
            ('{"args": [{"tensor": 0}, 2.5], "kwargs": {}}', '{"args": [{"tensor": 0}, 2.0], "kwargs": {}}', "2.5 2.0"),
            ('{"args": [], "kwargs": {"axis": 1}}', '{"args": [], "kwargs": {"axis": 0}}', "axis=1 axis=0"),
            ('{"args": [], "kwargs": {"k": 2}}', '{"args": [], "kwargs": {}}', "k=2 nothing"),
            ('{"args": [{"tuple": [1]}], "kwargs": {}}', '{"args": [{"list": [1]}], "kwargs": {}}', "(1,) [1]"),
        ],
    )
    def test_an_operation_that_is_called_with_other_arguments_is_said_to_be(
        self, searching: Any, ours: str, theirs: str, told: str
    ) -> None:
        inside = self.other_arguments(ours, theirs, f"forward/0/{TANH}/output")
        blame = self.called(searching, inside)
        ours, theirs = told.split()
        assert blame.text == (
            f"introduced in layer 'dense': it calls keras.ops.tanh with {theirs} on torch, with {ours} on jax"
        )
        blame = self.called(searching, inside, targets=[TORCH, TENSORFLOW, JAX])
        assert (blame.target, blame.op) == ("jax", "keras.ops.tanh")
        assert blame.text == (
            f"introduced in layer 'dense': it calls keras.ops.tanh with {ours} on jax, with {theirs} elsewhere"
        )

    def test_other_arguments_that_change_nothing_are_no_fault(self, searching: Any) -> None:
        inside = self.other_arguments('{"args": [1], "kwargs": {}}', '{"args": [2], "kwargs": {}}')
        later = Value("forward/0/m/dense/operation 0000 keras.ops.exp/output", "dense")
        assert self.called(searching, [*inside, *differing([later], later.key)]).op == "keras.ops.exp"
        assert self.called(searching, inside).op is None

    def test_what_an_operation_is_given_by_no_other_one_is_told_from_what_it_returns(self, searching: Any) -> None:
        own = Value(f"forward/0/{TANH}/own", "dense")
        blame = self.called(searching, differing([*INSIDE[:3], own, *INSIDE[3:]], own.key))
        assert blame.op is None
        assert blame.text == (
            "introduced in layer 'dense': what it gives to keras.ops.tanh differs already, "
            "and no operation of Keras made it"
        )

    def test_an_operation_that_one_side_alone_calls_is_said_to_be(self, searching: Any) -> None:
        three = [TORCH, TENSORFLOW, JAX]
        for lacking, who in (
            (["torch", "tensorflow"], "on jax alone"),
            (["jax"], "on torch and tensorflow, and not on jax"),
        ):
            inside = [replace(value, lacking=lacking) if TANH in value.key else value for value in INSIDE]
            blame = self.called(searching, inside, targets=three)
            assert (blame.target, blame.op) == ("jax", "keras.ops.tanh")
            assert blame.text == f"introduced in layer 'dense': it calls keras.ops.tanh once more {who}"

    def test_an_operation_that_differs_goes_before_one_that_one_side_alone_calls(self, searching: Any) -> None:
        matmul = "forward/0/m/dense/operation 0000 keras.ops.matmul/output"
        inside = [replace(value, lacking=["jax"]) if TANH in value.key else value for value in INSIDE]
        assert self.called(searching, differing(inside, matmul)).op == "keras.ops.matmul"

    @parametrize(("finding", "op"), [(OUTPUT, None), ("update/0/count", "keras.ops.add")])
    def test_other_integers_go_into_no_float(self, searching: Any, finding: str, op: str | None) -> None:
        class Integers(Value):
            def on(self, target: str, *, twin: bool) -> Observation:  # noqa: ARG002 - as that of a value
                kind = "int64" if target == "torch" else "int32"
                phase, step, name = self.key.split("/", 2)
                about: Any = (self.key, phase, int(step), name, self.layer)
                return Observation(*about, kind, np.zeros(2, kind))

        add = Integers("forward/0/m/dense/operation 0000 keras.ops.add/output", "dense")
        values = differing(fit(0), OUTPUT) if finding == OUTPUT else [*FORWARD, Integers(finding)]
        parts = differing(PARTS, OUTPUT)
        it = searching(values, {"parts": parts, "in m/dense": [add]})
        assert it.blame().op == op

    def test_where_no_part_differs_what_lies_between_them_is_looked_at(self, searching: Any) -> None:
        between = Value("forward/0/m/operation 0000 keras.ops.exp/output", "m")
        it = searching(
            differing(fit(0), OUTPUT),
            {"parts": [*PARTS, Value("forward/0/m/output", "m")], "in m": differing([between], between.key)},
        )
        blame = it.blame()
        assert (blame.part, blame.layer, blame.op) == ("m", "m", "keras.ops.exp")


CASE_EXP, CASE_LOG = "(case)/operation 0000 keras.ops.exp", "(case)/operation 0000 keras.ops.log"
B = RECORDED[1]


def called_in_the_case(place: str) -> list[Value]:
    """An operation of the case itself."""
    arguments = Value(f"initial/0/{place}/arguments", plain='{"args": [], "kwargs": {}}')
    return [arguments, Value(f"forward/0/{place}/output")]


class TestTheCaseItself:
    """Which of what a case does by hand has gone into what it records."""

    def search(self, searching: Any, replay: Sequence[Value], **held: Sequence[Value]) -> Any:
        replays = {
            "in (case)": replay,
            "in (case), held": held.get("held", [B]),
            f"in (case), held, but {CASE_EXP}": held.get("exp", [B]),
            f"in (case), held, but {CASE_LOG}": held.get("log", [B]),
        }
        return searching(differing(RECORDED, "recorded/b"), replays)

    def test_what_differs_with_equal_operations_is_made_between_them(self, searching: Any) -> None:
        blame = self.search(searching, differing([*called_in_the_case(CASE_EXP), B], "recorded/b")).blame()
        assert (blame.part, blame.op, blame.confirmed) == ("(case)", None, True)
        text = "introduced in the case itself, in 'b', between operations: it differs where all of these agree"
        assert blame.text == f"{text}. The last record before it that agrees is 'a'"

    def test_what_differs_although_all_operations_are_held_is_none_of_theirs(self, searching: Any) -> None:
        wrong = differing([*called_in_the_case(CASE_EXP), B], f"forward/0/{CASE_EXP}/output", "recorded/b")
        it = self.search(searching, wrong, held=differing([B], "recorded/b"))
        assert (it.blame().op, it.blame().confirmed) == (None, True)

    def test_the_one_of_several_that_makes_it_differ_alone_is_blamed(self, searching: Any) -> None:
        wrong = differing(
            [*called_in_the_case(CASE_EXP), *called_in_the_case(CASE_LOG), B],
            f"forward/0/{CASE_EXP}/output",
            f"forward/0/{CASE_LOG}/output",
            "recorded/b",
        )
        assert self.search(searching, wrong, log=differing([B], "recorded/b")).blame().op == "keras.ops.log"
        assert self.search(searching, wrong, exp=differing([B], "recorded/b")).blame().op == "keras.ops.exp"

    def test_what_is_called_after_it_was_recorded_has_not_made_it(self, searching: Any) -> None:
        wrong = differing(
            [*called_in_the_case(CASE_EXP), B, *called_in_the_case(CASE_LOG)],
            f"forward/0/{CASE_LOG}/output",
            "recorded/b",
        )
        assert self.search(searching, wrong, held=differing([B], "recorded/b")).blame().op is None

    @parametrize(("position", "op"), [(None, None), (0, "keras.ops.exp"), (3, None)])
    def test_a_gradient_counts_where_the_case_takes_one_before(
        self, searching: Any, position: int | None, op: str | None
    ) -> None:
        gradient = Value(f"gradient/0/{CASE_EXP}/input")
        values = [*called_in_the_case(CASE_EXP), B, gradient]
        if position is not None:
            values.insert(position, Value("gradient/0/(case)/value/a gradient is taken", plain=True))
        held = [replace(B, wrong={"torch": 0.5})]
        assert self.search(searching, differing(values, gradient.key, "recorded/b"), held=held).blame().op == op

    @parametrize(("without", "op"), [(1.0, None), (0.5, "keras.ops.exp")])
    def test_a_gradient_counts_where_the_value_is_another_without_it(
        self, searching: Any, without: float, op: str | None
    ) -> None:
        gradient = Value(f"gradient/0/{CASE_EXP}/input")
        taken = Value("gradient/0/(case)/value/a gradient is taken", plain=True)
        values = differing([taken, *called_in_the_case(CASE_EXP), B, gradient], gradient.key, "recorded/b")
        held = replace(B, wrong={"torch": without, "jax": 1.001})
        assert self.search(searching, values, held=[held]).blame().op == op

    def test_what_was_not_observed_may_have_made_it(self, searching: Any) -> None:
        it = self.search(searching, differing([*called_in_the_case(CASE_EXP), B], "recorded/b"))
        it.pool.notes["in (case)", "jax"] = [Note("(case)", "operations of a compiled call were not observed")]
        blame = it.blame()
        assert not blame.confirmed
        assert blame.text.startswith("no operation of the case differs by itself on equal values. ")
        assert ". Not looked at: the case itself (operations of a compiled call were not observed)" in blame.text

    def test_an_operation_of_one_side_alone_is_told(self, searching: Any) -> None:
        values = [*(replace(value, lacking=["jax"]) for value in called_in_the_case(CASE_EXP)), B]
        blame = self.search(searching, differing(values, "recorded/b")).blame()
        assert (blame.op, blame.confirmed) == ("keras.ops.exp", True)
        assert blame.text == "introduced in the case itself: it calls keras.ops.exp on torch, and not on jax"


class TestExceptions:
    """What one side raised is the finding."""

    LOST = "gradient/0/m/dense/kernel"

    def search(self, searching: Any, parts: Sequence[Value]) -> Any:
        values = [replace(value, lacking=["jax"]) if value.key == self.LOST else value for value in fit(0)]
        after = values[[value.key for value in values].index(self.LOST) - 1].key
        return searching(values, {"parts": parts}, raised={"jax": [Raised("gradients", "ValueError: no", after)]})

    def test_the_part_that_raises_is_told(self, searching: Any) -> None:
        key = "gradient/0/m/dense/input"
        parts = [Either(value, jax=replace(value, plain=RAISED)) if value.key == key else value for value in PARTS]
        it = self.search(searching, parts)
        assert it.comparison().first.to_json()["reason"] == "jax raises in 'gradients': ValueError: no"
        blame = it.blame()
        assert (blame.layer, blame.text) == ("dense", "jax raises in layer 'dense', in its gradient")

    def test_where_no_part_raises_by_itself_that_is_not_called_amplified(self, searching: Any) -> None:
        blame = self.search(searching, PARTS).blame()
        assert blame.text == "jax raises in 'gradients', and the other side does not"


class TestBeforeAnythingIsReplayed:
    def test_of_data_that_differ_no_part_is_asked(self, searching: Any) -> None:
        data = fit(0)[0]
        it = searching([Either(data, jax=replace(data, plain={"sha256": "34"})), *differing(fit(0)[1:], OUTPUT)], {})
        blame = it.blame()
        assert (blame.confirmed, blame.phase, blame.culprit) == (False, "initial", "the case's data: x")
        assert blame.text == "the data that the case makes differ, before anything is trained"
        assert it.asked == ["data x/0 on torch jax"]

    def test_of_a_batch_the_array_that_differs_is_asked_for(self, searching: Any) -> None:
        batch = Value("event/4/data/y", plain={"sha256": "12"})
        values = [*fit(0), Either(batch, jax=replace(batch, plain={"sha256": "34"}))]
        it = searching(values, {"data y of batch 4": differing([replace(batch, plain=None)], batch.key)})
        blame = it.blame()
        assert blame.text.startswith("the pipeline gives other batches: seed it, or use arrays; all 16 rows of y in ")
        assert blame.culprit == "the case's pipeline: y in the batch of step 4"
        assert it.asked == ["data y of batch 4 on torch jax"]

    def test_of_a_batch_of_a_call_for_predictions_it_is_not(self, searching: Any) -> None:
        batch = Value("event/4/data/evaluate/0/y", plain={"sha256": "12"})
        values = [*fit(0), Either(batch, jax=replace(batch, plain={"sha256": "34"}))]
        it = searching(values, {})
        assert it.blame().text == "the pipeline gives other batches: seed it, or use arrays"
        assert it.asked == []

    def test_another_input_of_a_forward_is_told_by_its_rows(self, searching: Any) -> None:
        given = Value("forward/0/dense/input", "dense")
        it = searching([*FORWARD[:1], *differing([given, *FORWARD[1:]], given.key)], {"parts": [given, *FORWARD[1:]]})
        blame = it.blame()
        assert blame.culprit == "the case's input of layer 'dense'"
        assert blame.text.startswith("all 16 rows of the case's input of layer 'dense' differ, the first at [0]: ")

    def test_a_metric_that_was_not_reset_is_named_before_anything_is_asked(self, searching: Any) -> None:
        seen = Value("metric/3/epoch 1 begins/near/seen", plain=0)
        values = [
            *fit(0),
            Either(seen, jax=replace(seen, plain=12)),
            *differing([Value("log/4/epoch 1/near")], "log/4/epoch 1/near"),
        ]
        places = {"metric/near": "Near, net.py:36", "reset_metrics": "Net.reset_metrics, net.py:9"}
        it = searching(values, {}, targets=(TORCH, JAX, TENSORFLOW), header={"places": places})
        blame = it.blame()
        assert (blame.target, blame.confirmed, blame.culprit) == ("jax", False, "metric 'near' (Near, net.py:36)")
        assert blame.text == (
            "only `Near` (net.py:36) differs: its state `seen` is 12 when epoch 1 begins on jax, and 0 on torch and "
            "tensorflow; the model resets its metrics by Net.reset_metrics (net.py:9)"
        )
        assert it.asked == []

    def test_a_rate_that_a_callback_sets_otherwise_is_its_own_before_anything_is_asked(self, searching: Any) -> None:
        event = Value("event/0/callback/Fall/after epoch 0", plain="learning rate")
        rate = Value("optimizer/0/sgd/learning_rate")
        changed = {
            "torch": trace.Changed("on_epoch_end", ("0.1", "0.05")),
            "jax": trace.Changed("on_epoch_end", ("0.1", "0.025")),
        }
        it = searching([*fit(0)[:-4], event, *differing([rate], rate.key), *fit(0)[-3:]], {})
        for target, place in it.places.items():
            for folder in (place, place / trace.TWIN):
                old = trace.Trace(folder)
                trace.write(folder, replace(old.header, changes={event.key: changed[str(target)]}), list(old))
        blame = it.blame()
        assert blame.text == (
            "learning rate 0.1 → 0.05 by `Fall` after epoch 0 on torch, and learning rate 0.1 → 0.025 on jax"
        )
        assert blame.culprit == "Fall"
        assert it.asked == []
        assert not it.replays

    def test_of_other_callbacks_no_part_is_asked(self, searching: Any) -> None:
        values = [
            Either(value, jax=replace(value, plain=["on_train_end"])) if value.key == "event/0/fit" else value
            for value in fit(0)
        ]
        it = searching(values, {})
        assert it.blame().text == "callbacks are called in another order, or with other logs"
        assert it.asked == []
        assert not it.replays

    @parametrize(
        ("others", "jax", "culprit"), [("as promised", "it mixes rows", "jax"), ("no rows", "as promised", None)]
    )
    def test_a_random_function_that_breaks_its_promise_is_told_with_its_backend(
        self, searching: Any, others: str, jax: str, culprit: str | None
    ) -> None:
        value = Value("event/0/generator/keras.random.shuffle", plain=others)
        it = searching([Either(value, jax=replace(value, plain=jax))], {}, targets=[TORCH, TENSORFLOW, JAX])
        blame = it.examined().comparisons[-1].blame
        assert blame.target == culprit
        assert blame.text.startswith("the backend's own keras.random.shuffle")


class TestBudget:
    """Seconds are those of a clock that goes on by what each replay takes, and stands still otherwise."""

    def answers(self) -> dict[str, list[Value]]:
        inside = differing(INSIDE, f"forward/0/{TANH}/output")
        return {"parts": differing(PARTS, OUTPUT), "in m/dense": inside}

    def test_each_replay_is_given_what_is_left(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), self.answers(), takes=20)
        assert it.replays
        it.blame()
        assert [asked.seconds for asked in it.pool.asked] == [180, 160, 140, 120]

    def test_what_is_known_when_it_is_spent_is_said(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), self.answers(), takes=90)
        blame = it.blame()
        assert (blame.layer, blame.op, blame.confirmed) == ("dense", None, True)
        assert blame.text == (
            "introduced in layer 'dense'; the search for more ended after 180 s: "
            "--blame-seconds (with pytest: --parity-blame-seconds) raises that"
        )
        assert it.asked[-1] == "parts on torch jax, from torch"

    def test_where_the_parts_agree_so_far_it_is_said_how_far(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), {"parts": [*PARTS, Value("forward/0/m/output", "m")]}, takes=90)
        assert it.blame().text.startswith(
            "where it is made is not known; the search ended after 180 s, with the parts up to layer 'm' looked at: "
        )

    def test_it_is_what_was_asked_for(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), self.answers(), takes=90, options=Options(blame_seconds=9000))
        blame = it.blame()
        assert (blame.op, blame.text) == ("keras.ops.tanh", "introduced in layer 'dense', by keras.ops.tanh")
        assert [asked.seconds for asked in it.pool.asked] == [9000, 8910, 8820, 8730]

    def test_what_replays_are_held_up_by_other_cases_does_not_count(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), self.answers(), takes=20)
        it.pool.held = 1000.0
        it.blame()
        assert [asked.seconds for asked in it.pool.asked] == [180, 160, 140, 120]

    def test_more_time_is_for_more_steps_and_those_that_were_left_out_are_told(self, searching: Any) -> None:
        values = differing(fit(0, 99), "update/99/m/dense/kernel")
        followed = {"steps 60-99": [Value("update/99/m/dense/kernel")], "steps 20-99": []}
        assert (
            searching(values, followed)
            .blame()
            .text.endswith(
                "the first 59 steps that may have made it were not looked at: "
                "--blame-seconds (with pytest: --parity-blame-seconds) raises that"
            )
        )
        it = searching(values, followed, options=Options(blame_seconds=360))
        it.blame()
        assert it.asked == ["steps 20-99 on torch"]

    def test_where_nothing_is_known_by_then_that_is_said(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), self.answers(), takes=179.5)
        assert it.blame().text == (
            "where it is made is not known; the search ended after 180 s, before any part was looked at: "
            "--blame-seconds (with pytest: --parity-blame-seconds) raises that"
        )
        assert it.asked == ["parts on torch"]

    def test_steps_are_part_of_it(self, searching: Any) -> None:
        update = "update/1/m/dense/kernel"
        followed = [Value("initial/1/rows", plain=[0]), *differing([Value(update, "dense")], update)]
        it = searching(differing(fit(0, 1), update), {"steps 1-1": followed, **self.answers()}, takes=60)
        assert not it.blame().confirmed
        assert [(asked.what, asked.seconds) for asked in it.pool.asked] == [
            ("steps 1-1", 180),
            ("steps 1-1", 120),
            ("parts", 60),
        ]


def told_of(ended: str) -> str:
    """How a replay is told that ended in a way, and as `FakePool` has it with status or signal 0."""
    job = Job(JAX, wire.Script(Path(), Path()), 180, Path())
    return Reply(job, cast(Any, ended), 0, 1.0, "").describe()


class TestReplaysThatFail:
    """By an exception before anything was recorded, a crash, a time limit, or a worker that never came up."""

    def search(self, searching: Any, ends: Mapping[tuple[str, str], str], **options: Any) -> Any:
        replays = {"parts": differing(PARTS, OUTPUT), "in m/dense": differing(INSIDE, f"forward/0/{TANH}/output")}
        return searching(differing(fit(0), OUTPUT), replays, ends=ends, **options)

    @parametrize("ended", ["signal", "worker", "exit 1"])
    def test_on_the_target_nothing_is_blamed(self, searching: Any, ended: str) -> None:
        it = self.search(searching, {("parts", "jax"): ended})
        blame = it.blame()
        assert (blame.confirmed, blame.layer) == (False, "dense")
        told = "where it is made is not known, because a replay of its parts failed on jax: "
        assert blame.text == told + told_of(ended)
        assert it.asked == ["parts on torch", "parts on torch jax, from torch"]

    @parametrize("target", ["torch", "jax"])
    def test_by_the_time_limit_it_is_said_that_the_time_was_over(self, searching: Any, target: str) -> None:
        blame = self.search(searching, {("parts", target): "timeout"}).blame()
        assert (blame.confirmed, blame.layer) == (False, "dense")
        assert blame.text.startswith(
            f"where it is made is not known; the search ended after 180 s in a replay on {target}, "
            "before any part was looked at: --blame-seconds"
        )

    @parametrize("ended", ["signal", "worker", "exit 1"])
    def test_on_the_reference_nothing_more_is_asked(self, searching: Any, ended: str) -> None:
        it = self.search(searching, {("parts", "torch"): ended})
        assert it.blame().text.endswith(f"failed on torch: {told_of(ended)}")
        assert it.asked == ["parts on torch"]

    def test_on_a_third_target_is_not_why_no_part_is_found(self, searching: Any) -> None:
        ends = {("parts", "tensorflow"): "worker"}
        it = searching(differing(fit(0), OUTPUT), {"parts": PARTS}, ends=ends, targets=[TORCH, TENSORFLOW, JAX])
        assert it.blame().text.startswith("no part differs by itself on equal values")

    def test_on_all_nothing_is_blamed(self, searching: Any) -> None:
        replays = [("parts", "torch"), ("parts", "jax")]
        it = self.search(searching, dict.fromkeys(replays, "signal"))
        assert not it.blame().confirmed
        assert it.asked == ["parts on torch"]

    def test_on_a_third_target_the_others_decide(self, searching: Any) -> None:
        it = self.search(searching, {("parts", "tensorflow"): "worker"}, targets=[TORCH, TENSORFLOW, JAX])
        blame = it.blame()
        assert (blame.target, blame.part, blame.op) == ("jax", "m/dense", "keras.ops.tanh")

    def test_in_the_operations_the_part_is_blamed(self, searching: Any) -> None:
        it = self.search(searching, {("in m/dense", "jax"): "signal"})
        blame = it.blame()
        assert (blame.part, blame.op, blame.confirmed) == ("m/dense", None, True)

    def test_half_way_what_was_recorded_before_counts(self, searching: Any) -> None:
        late = [replace(value, lacking=["jax"]) for value in PARTS[6:]]
        it = searching(differing(fit(0), OUTPUT), {"parts": [*differing(PARTS[:6], OUTPUT), *late]})
        assert it.blame().part == "m/dense"

    def test_of_steps_no_part_is_asked(self, searching: Any) -> None:
        it = searching(
            differing(fit(0, 1), "update/1/m/dense/kernel"),
            {"steps 1-1": [Value("update/1/m/dense/kernel")]},
            ends={("steps 1-1", "jax"): "worker"},
        )
        assert it.blame().text.endswith("failed on jax: could not run")
        assert it.asked == ["steps 1-1 on torch", "steps 1-1 on torch jax, from torch"]


class TestFaultsOfTheSearch:
    def test_an_exception_leaves_the_finding_and_a_traceback(
        self, searching: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("of the search")

        it = searching(differing(fit(0), OUTPUT), {})
        monkeypatch.setattr(it.pool, "run", fail)
        comparison = it.comparison()
        assert comparison.first.key == OUTPUT
        blame = comparison.blame
        assert (blame.target, blame.layer, blame.phase, blame.confirmed) == (None, "dense", "forward", False)
        assert blame.text.endswith("which is a bug of the harness: ZeroDivisionError: of the search")
        (text,) = [file.read_text(encoding="utf-8") for file in it.folder.rglob("error.txt")]
        assert "Traceback" in text

    def test_what_agrees_is_not_replayed(self, searching: Any) -> None:
        it = searching(fit(0), {})
        assert it.comparison().blame is None
        assert it.asked == []

    def test_what_is_declared_is_replayed_on_demand_only(self, searching: Any) -> None:
        expect = {"jax": Expected("divergent", reason="as it should be")}
        it = searching(differing(fit(0), OUTPUT), {"parts": differing(PARTS, OUTPUT)}, expect=expect)
        assert it.comparison().blame is None
        assert it.asked == []
        assert it.comparison(declared=True).blame.part == "m/dense"

    def test_what_is_not_to_be_blamed_is_not_replayed(self, searching: Any) -> None:
        it = searching(differing(fit(0), OUTPUT), {})
        assert it.comparison(blame_from=None).blame is None
        assert it.asked == []


class TestContinuation:
    """Training that rounding alone drives apart goes on from the reference's state, step by step."""

    WEIGHT = "update/{}/m/dense/kernel"

    def parted(self, searching: Any, replays: Mapping[str, Sequence[Value]], last: int = 9, **options: Any) -> Any:
        # On both sides what float32 gives is a hundredth from what float64 gives: rounding that has grown so large.
        values = [
            replace(value, leak={"torch": 1.01, "jax": 1.01}) if value.key == self.WEIGHT.format(3) else value
            for value in fit(0, 3, last)
        ]
        it = searching(values, replays, **options)
        assert it.judged().comparisons[0].parted == 3
        return it

    def followed(self, *wrong: int) -> list[Value]:
        values = [Value(self.WEIGHT.format(step), "dense") for step in range(3, 10)]
        return differing(values, *(self.WEIGHT.format(step) for step in wrong))

    def test_it_is_followed_from_there_to_its_end(self, searching: Any) -> None:
        it = self.parted(searching, {"steps 3-9": self.followed()})
        seen = it.examined()
        (comparison,) = seen.comparisons
        assert (comparison.continuation.first_step, comparison.continuation.last_step) == (3, 9)
        assert comparison.continuation.comparison.verdict is Verdict.IDENTICAL
        assert comparison.continuation.comparison.observations == 7
        assert seen.outcome == "agree"
        assert it.asked == ["steps 3-9 on torch", "steps 3-9 on torch jax, from torch"]
        assert [asked.twins for asked in it.pool.asked] == [False, True]

    def test_a_difference_from_equal_state_fails_the_case(self, searching: Any) -> None:
        seen = self.parted(searching, {"steps 3-9": self.followed(5, 6)}).examined()
        assert seen.outcome == "differ"
        continuation = seen.comparisons[0].continuation
        assert continuation.comparison.verdict is Verdict.DIVERGENT
        assert continuation.comparison.first.step == 5

    def test_of_a_long_training_the_next_steps_are_followed(self, searching: Any) -> None:
        it = self.parted(searching, {"steps 3-202": self.followed()}, last=500)
        assert search.MOST_CONTINUED == 200
        assert it.examined().comparisons[0].continuation.last_step == 202

    @parametrize("target", ["jax", "torch"])
    def test_where_it_fails_there_is_none_and_no_alarm(self, searching: Any, target: str) -> None:
        it = self.parted(searching, {"steps 3-9": self.followed(5)}, ends={("steps 3-9", target): "signal"})
        seen = it.examined()
        assert (seen.outcome, seen.comparisons[0].continuation) == ("agree", None)

    def test_where_nothing_parts_no_step_is_asked(self, searching: Any) -> None:
        it = searching(fit(0, 3), {})
        assert it.comparison().continuation is None
        assert it.asked == []


class TestScript:
    """A script is handed over if it showed the difference in the workers, and again in processes of its own."""

    @pytest.fixture
    def ends(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Path]]:
        """Lets a script end so, when it is run in processes of its own."""

        def end(status: int) -> list[Path]:
            ran: list[Path] = []

            def run(script: Path, *_: object) -> subprocess.CompletedProcess[str]:
                ran.append(script)
                return subprocess.CompletedProcess([], status, "printed by the script\nthat is a lot", "")

            monkeypatch.setattr(reproducer, "_run", run)
            return ran

        return end

    def search(self, searching: Any, **computes: float) -> Any:
        inside = differing(INSIDE, f"forward/0/{TANH}/output")
        replays = {"parts": differing(PARTS, OUTPUT), "in m/dense": inside}
        return searching(differing(fit(0), OUTPUT), replays, computes=computes)

    def test_one_that_shows_it_is_handed_over_with_an_issue(self, searching: Any, ends: Any) -> None:
        ran = ends(1)
        it = self.search(searching, jax=1.001)
        blame = it.blame()
        assert blame.why_no_script is None
        script = it.folder / blame.repro
        assert ran == [script]
        assert "keras.ops.tanh(inputs[0])" in script.read_text(encoding="utf-8")
        assert "printed by the script" in (script.parent / "issue.md").read_text(encoding="utf-8")
        assert list(script.parent.glob("candidate*")) == []

    def test_one_that_does_not_show_it_in_the_workers_is_not_run(self, searching: Any, ends: Any) -> None:
        ran = ends(1)
        blame = self.search(searching).blame()
        assert (blame.op, blame.repro) == ("keras.ops.tanh", None)
        assert blame.why_no_script == words.SHOWS_NOTHING
        assert ran == []

    @parametrize("status", [0, 2])
    def test_one_that_does_not_show_it_by_itself_is_taken_back(self, searching: Any, ends: Any, status: int) -> None:
        ran = ends(status)
        blame = self.search(searching, jax=1.001).blame()
        assert (blame.op, blame.repro) == ("keras.ops.tanh", None)
        assert [path.name for path in ran] == ["repro.py"]
        assert blame.why_no_script == words.SHOWS_NOTHING
        assert not ran[0].exists()


class TestOwnSteps:
    """A train_step, test_step or predict_step of the model's own, which says on each target what it does."""

    PLACES: ClassVar = {"train_step": "Net.train_step, cases/x.py:7", "predict_step": "Net.predict_step, cases/x.py:9"}
    FINDING = "update/1/m/dense/kernel"
    TOLD = "event/{}/(train_step)/value/applied"

    @property
    def followed(self) -> dict[str, list[Value]]:
        """The second step, which differs from equal state; and the two steps that lead to it."""
        given = [Value(f"initial/{step}/rows", plain=[0, 1]) for step in (0, 1)]
        return {
            "steps 1-1": [given[1], *differing([Value(self.FINDING, "dense")], self.FINDING)],
            "steps 0-1": [*given, Value(self.FINDING, "dense")],
        }

    def test_what_a_step_does_on_one_target_alone_is_told(self, searching: Any) -> None:
        once, twice = (Value(self.TOLD.format(1), plain=f"it applies gradients {times}") for times in ("once", "twice"))
        it = searching(
            differing(fit(0, 1), self.FINDING),
            {**self.followed, "steps 0-1, told": [Either(once, jax=twice)]},
            targets=(TORCH, TENSORFLOW, JAX),
            header={"places": self.PLACES},
        )
        blame = it.blame()
        assert (blame.target, blame.culprit) == ("jax", "Net.train_step (cases/x.py:7)")
        assert (blame.part, blame.phase, blame.step, blame.confirmed) == ("(train_step)", "update", 1, True)
        assert blame.text == (
            "Net.train_step (cases/x.py:7): on jax it applies gradients twice; on torch and tensorflow "
            "it applies gradients once"
        )
        assert not any("parts" in asked for asked in it.asked)

    def test_of_two_targets_it_is_the_one_that_does_something_else_than_keras(self, searching: Any) -> None:
        once, twice = (Value(self.TOLD.format(1), plain=f"it applies gradients {times}") for times in ("once", "twice"))
        it = searching(
            differing(fit(0, 1), self.FINDING),
            {**self.followed, "steps 0-1, told": [Either(twice, jax=once)]},
            header={"places": self.PLACES},
        )
        assert it.blame().target == "torch"

    def test_a_step_that_does_the_same_everywhere_is_not_named(self, searching: Any) -> None:
        told = Value(self.TOLD.format(1), plain="it applies gradients twice")
        it = searching(
            differing(fit(0, 1), self.FINDING),
            {
                **self.followed,
                "steps 0-1, told": [told],
                "parts": differing(PARTS, "forward/0/m/dense/output"),
            },
            header={"places": self.PLACES},
        )
        assert (it.blame().part, it.blame().layer) == ("m/dense", "dense")

    @parametrize(
        ("key", "phase", "text"),
        [
            ("forward/1/(train_step)/output/0", "forward", "its predictions differ"),
            ("gradient/1/(train_step)/weight/m/dense/kernel", "gradient", "the gradients it applies differ"),
            ("update/1/m/dense/kernel", "update", "the weights or the optimizer differ after it"),
            ("log/1/batch/loss", "log", "what it returns differs"),
        ],
        ids=["forward", "gradient", "update", "log"],
    )
    def test_what_differs_where_all_parts_agree_is_the_steps(
        self, searching: Any, key: str, phase: str, text: str
    ) -> None:
        made = Value(key)
        it = searching(
            differing(fit(0, 1), self.FINDING),
            {
                **self.followed,
                "steps 0-1, told": differing([made], key),
                "parts": PARTS,
            },
            header={"places": self.PLACES},
        )
        blame = it.blame()
        assert (blame.part, blame.phase) == ("(train_step)", phase)
        assert blame.text == (
            f"Net.train_step (cases/x.py:7): {text}, though its model, loss and optimizer agree by themselves"
        )

    def test_predictions_come_from_the_models_own_predict_step(self, searching: Any) -> None:
        key = "event/0/(predict_step)/value/returned"
        right, twice = (Value(key, plain=f"it returns {what}what the model predicts") for what in ("", "2 times "))
        it = searching(
            differing(fit(0, 1), "prediction/1/predict"),
            {"in (predict_step)": [Either(right, jax=twice)]},
            header={"places": self.PLACES},
        )
        blame = it.blame()
        assert (blame.target, blame.culprit) == ("jax", "Net.predict_step (cases/x.py:9)")
        assert it.replay("in (predict_step)").start == wire.Start(it.places[TORCH], "update", 1, "after fit/")

    def test_a_step_of_keras_is_not_asked(self, searching: Any) -> None:
        it = searching(differing(fit(0, 1), self.FINDING), {**self.followed, "parts": PARTS})
        it.blame()
        assert not any("told" in asked for asked in it.asked)
