"""What is said of a difference for which no part was found, from traces that no framework made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.blame.replays import Replayed
from harness.blame.ruled_out import nothing_found
from harness.judge.compare import compare
from harness.target import Target
from harness.trace import Note, Trace
from harness.wire import Replay, Steps
from tests.judge.recordings import LEAKED, WRONG, X, recorded

TORCH, JAX, TENSORFLOW = Target("torch"), Target("jax"), Target("tensorflow")
WEIGHT, LOG = "update/1/dense/kernel", "log/1/batch/loss"
TRAINED: dict[str, Any] = {"initial/0/dense/kernel": X, "forward/0/dense/output": X, WEIGHT: X, LOG: X}
#: Two layers of a model, its loss and its optimizer, as a replay of its parts records them.
PARTS: dict[str, Any] = {
    "initial/0/net/config": "{}",
    "forward/0/net/first/output": X,
    "forward/0/net/gate/output": X,
    "forward/0/net/output": X,
    "forward/0/net/gate/operation 0000 keras.ops.tanh/output": X,
    "loss/0/(loss)/value": X,
    "gradient/0/net/gate/input": X,
    "update/0/(optimizer)/weight/net/gate/w": X,
}


class Known:
    """What is known of a training, or a case, on torch and jax, which has some values of its own."""

    def __init__(self, folder: Path, exact: dict[str, Any] = TRAINED, **header: Any) -> None:
        self.folder, self.exact, self.header = folder, exact, header
        self.looked: list[Replayed] = []

    def replayed(self, what: Replay | Steps, exact: dict[str, Any], jax: dict[str, Any], **header: Any) -> None:
        place = self.folder / f"replay-{len(self.looked)}"
        self.looked.append(Replayed(what, self.traces(place, exact, jax, **header), {}))

    @staticmethod
    def traces(folder: Path, exact: dict[str, Any], jax: dict[str, Any], **header: Any) -> dict[Target, Trace]:
        mine = {key: value for key, value in {**exact, **jax}.items() if value is not None}
        others = [recorded(folder, str(target), exact) for target in (TORCH, TENSORFLOW)]
        return {TORCH: others[0], TENSORFLOW: others[1], JAX: recorded(folder, "jax", mine, **header)}

    def text(self, failures: dict[str, str] | None = None, **jax: Any) -> str:
        own = {key.replace("__", "/"): value for key, value in jax.items()}
        traces = self.traces(self.folder / "case", self.exact, own, **self.header)
        first = compare(traces[JAX], traces[TORCH]).first
        assert first is not None
        return nothing_found(first, (JAX, TORCH), traces, self.looked, failures or {})


def test_parts_that_agree_are_ruled_out_by_name(tmp_path: Path) -> None:
    known = Known(tmp_path)
    known.replayed(Replay(), PARTS | {"loss/0/net/gate/w/regularizer": X}, {})
    text = known.text(update__1__dense__kernel=WRONG)
    assert text.startswith("no part differs by itself on equal values. ")
    assert (
        "Ruled out: 2 layers ('net/first' and 'net/gate'), the loss, the optimizer's step, regularizers and "
        "1 operation, with their gradients, on equal values"
    ) in text


@pytest.mark.parametrize("lost", ["forward/0/net/gate/output", "gradient/0/net/gate/input"])
def test_a_part_that_differs_is_not_ruled_out_and_is_the_clue(tmp_path: Path, lost: str) -> None:
    known = Known(tmp_path)
    known.replayed(Replay(), PARTS, {lost: WRONG})
    text = known.text(update__1__dense__kernel=WRONG)
    assert "1 layer ('net/first'), the loss" in text
    name = lost.split("/", 2)[2]
    assert f"Strongest clue: {name!r} ({lost.partition('/')[0]}, on equal values), only jax differs: " in text


def test_what_a_part_was_given_is_no_clue(tmp_path: Path) -> None:
    known = Known(tmp_path)
    given = {"forward/0/net/gate/input": X, "initial/0/net/gate/arguments": "a", "gradient/0/net/gate/upstream": X}
    known.replayed(Replay(), PARTS | given, {**dict.fromkeys(given, WRONG), "initial/0/net/gate/arguments": "b"})
    text = known.text(update__1__dense__kernel=WRONG)
    assert "2 layers ('net/first' and 'net/gate')" in text
    assert "clue" not in text


def test_the_step_that_makes_it_is_named_and_those_before_it_are_ruled_out(tmp_path: Path) -> None:
    known = Known(tmp_path)
    steps = {f"update/{step}/dense/kernel": X for step in range(4)} | {"optimizer/2/adam/iteration": 3}
    known.replayed(Steps(0, 3), steps, {"update/2/dense/kernel": WRONG, "optimizer/2/adam/iteration": 5})
    known.replayed(Replay(), PARTS, {})
    text = known.text(update__1__dense__kernel=WRONG)
    assert text.startswith("training step 2 makes it, and no part of that step differs by itself on equal values. ")
    assert text.endswith("; each of the steps 0 to 1, from equal state")
    assert (
        "equal values. Strongest clue: 'adam/iteration' (optimizer, in that step alone), only jax differs: "
        "it is 5, and 3 on the reference. Ruled out: "
    ) in text


def test_a_seed_counter_that_stood_still_is_the_clue(tmp_path: Path) -> None:
    exact = TRAINED | {"update/1/drop/seed_generator_state": [7, 4]}
    text = Known(tmp_path, exact).text(update__1__dense__kernel=WRONG, update__1__drop__seed_generator_state=[7, 0])
    assert "Strongest clue: 'drop/seed_generator_state' (update, step 1), only jax differs: " in text


def test_what_follows_in_later_steps_is_no_clue(tmp_path: Path) -> None:
    exact = TRAINED | {"event/5/fit": ["on_train_end"]}
    assert "clue" not in Known(tmp_path, exact).text(update__1__dense__kernel=WRONG, event__5__fit=["on_epoch_end"])


def test_a_leak_before_it_is_the_clue_where_all_else_is_rounding(tmp_path: Path) -> None:
    text = Known(tmp_path).text(forward__0__dense__output=LEAKED, update__1__dense__kernel=WRONG)
    assert "Strongest clue: 'dense/output' (forward, step 0), only jax differs: the float64 runs differ by" in text


def test_where_all_that_comes_before_is_rounding_the_nearest_to_more_is_named(tmp_path: Path) -> None:
    text = Known(tmp_path).text(forward__0__dense__output=X * (1 + 1e-15), update__1__dense__kernel=WRONG)
    assert "Strongest clue: all that comes before agrees but for rounding; 'dense/output' (forward) is nearest" in text


def test_notes_are_grouped_by_reason_and_failures_come_first(tmp_path: Path) -> None:
    known = Known(tmp_path)
    notes = [Note("net/lstm", "\nis a loop\nat 0x7f"), Note("net/gru", "\nis a loop\nat 0x7f")]
    known.replayed(Replay(), PARTS, {}, notes=notes)
    text = known.text({"jax": "no time was left"}, update__1__dense__kernel=WRONG)
    assert text.startswith("where it is made is not known, because a replay of its parts failed on jax: no time")
    assert "Not looked at: net/lstm and net/gru (is a loop)" in text
    assert "Ruled out: 2 layers" in text


def test_own_code_that_is_no_part_is_still_to_look_at(tmp_path: Path) -> None:
    places = {"train_step": "Net.train_step, x.py:9", "test_step": "Net.test_step, x.py:30", "callback/Adam": "Adam"}
    text = Known(tmp_path, places=places).text(update__1__dense__kernel=WRONG)
    assert "Still to look at: Net.train_step (x.py:9)" in text
    assert "test_step" not in text


def test_a_step_that_did_the_same_is_not_left_to_look_at(tmp_path: Path) -> None:
    known = Known(tmp_path, places={"train_step": "Net.train_step, x.py:9", "callback/Halve": "Halve, x.py:20"})
    told = {"event/1/(train_step)/value/applied": "it applies gradients once", "update/1/dense/kernel": X}
    known.replayed(Steps(0, 1, account=True), told, {})
    text = known.text(update__1__dense__kernel=WRONG)
    assert "Still to look at: Halve (x.py:20)." in text
    assert "Net.train_step (x.py:9) does the same on both sides" in text


def test_the_records_beside_one_are_named(tmp_path: Path) -> None:
    exact = {f"recorded/{name}": X for name in "abcde"}
    text = Known(tmp_path, exact).text(recorded__b=WRONG, recorded__c=WRONG, recorded__e=WRONG)
    assert "The last record before it that agrees is 'a'; 'c' and 'e' differ as well" in text
