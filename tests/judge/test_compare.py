"""Where a difference starts: what is found in two traces, in which order, and what is not excused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import LEAKED, STEPS, WRONG, X, changed, compared, healthy, observation, place_of, recorded, without

from harness.errors import TraceError
from harness.judge.compare import all_findings, compare, differences
from harness.result.judgement import Lost, Missing
from harness.result.model import Comparison
from harness.result.words import reason
from harness.trace import Header, Lack, Raised, Trace, write
from harness.verdict import Verdict

IDENTICAL, ROUNDING, LEAK, IMPRECISE, DIVERGENT, MISMATCH = Verdict


# One comparison


def test_equal_traces_are_identical_and_every_observation_was_compared(tmp_path: Path) -> None:
    comparison = compared(tmp_path, healthy(), healthy())
    assert (comparison.target, comparison.reference) == ("jax", "torch")
    assert (comparison.verdict, comparison.unexpected, comparison.first) == (IDENTICAL, IDENTICAL, None)
    assert (comparison.observations, comparison.not_compared) == (5, 0)
    assert comparison.counts == {IDENTICAL: 5}
    assert comparison.bases == {"twins": 5}


def test_verdicts_and_what_they_rest_on_are_counted(tmp_path: Path) -> None:
    theirs = healthy("initial/a", "initial/b", "initial/c", "initial/d") | {"event/n": 1, "log/lr": 0.5}
    mine = changed(theirs, initial__a=WRONG, initial__b=LEAKED * 2, event__n=2, log__lr=0.25)
    some = ["initial/a", "initial/b", "initial/c"]
    comparison = compared(tmp_path, mine, theirs, jax={"twin": some}, torch={"twin": [*some, "initial/d"]})
    assert comparison.counts == {IDENTICAL: 2, LEAK: 1, DIVERGENT: 2, MISMATCH: 1}
    assert list(comparison.counts) == sorted(comparison.counts)
    assert comparison.verdict is MISMATCH
    # Equal bits without both twins are an exact comparison, as that of an integer is.
    assert comparison.bases == {"twins": 3, "exact": 2, "tolerance": 1}


def test_a_finding_says_where_it_is_and_why(tmp_path: Path) -> None:
    theirs = healthy()
    comparison = compared(tmp_path, changed(theirs, gradient__0__dense__kernel=WRONG * 4), theirs)
    first = comparison.first
    assert first is not None
    assert (first.key, first.phase, first.step, first.layer) == ("gradient/0/dense/kernel", "gradient", 0, "dense")
    assert (first.judgement.verdict, first.judgement.basis, first.known) == (DIVERGENT, "twins", None)
    assert first.judgement.d64 == pytest.approx(0.02 * 4 / np.sqrt(np.mean((WRONG * 4) ** 2)))


# The first real difference


def test_the_first_real_difference_goes_before_worse_ones_later(tmp_path: Path) -> None:
    theirs = healthy() | {"event/end": 1}
    mine = changed(theirs, forward__dense__output=WRONG * 2, loss__0__loss=-X, event__end=2)
    comparison = compared(tmp_path, mine, theirs)
    assert place_of(comparison) == "forward/dense/output"
    assert comparison.verdict is MISMATCH
    assert comparison.counts[DIVERGENT] == 2


def test_the_first_real_difference_goes_before_leaks_that_are_earlier(tmp_path: Path) -> None:
    theirs = healthy()
    mine = changed(theirs, initial__dense__kernel=LEAKED, loss__0__loss=WRONG * 3)
    assert place_of(compared(tmp_path, mine, theirs)) == "loss/0/loss"


def test_where_nothing_differs_for_real_the_first_leak_is_found(tmp_path: Path) -> None:
    theirs = healthy()
    mine = changed(theirs, forward__dense__output=LEAKED * 2, loss__0__loss=LEAKED * 3)
    comparison = compared(tmp_path, mine, theirs)
    assert (comparison.verdict, place_of(comparison)) == (LEAK, "forward/dense/output")


@given(st.sets(st.sampled_from(STEPS), min_size=1))
@settings(max_examples=20, deadline=None)
def test_whichever_observations_differ_the_earliest_is_found(
    tmp_path_factory: pytest.TempPathFactory, wrong: set[str]
) -> None:
    mine = {key: value * (1.01 if key in wrong else 1) for key, value in healthy().items()}
    comparison = compared(tmp_path_factory.mktemp("traces"), mine, healthy())
    assert place_of(comparison) == min(wrong, key=STEPS.index)
    assert (comparison.verdict, comparison.unexpected) == (DIVERGENT, DIVERGENT)
    assert comparison.counts[DIVERGENT] == len(wrong)


def test_the_last_of_many_steps_is_compared_like_the_first(tmp_path: Path) -> None:
    theirs = healthy(*(f"update/{step}/dense/kernel" for step in range(30)))
    comparison = compared(tmp_path, changed(theirs, update__29__dense__kernel=WRONG * 30), theirs)
    assert (comparison.verdict, comparison.observations) == (DIVERGENT, 30)
    assert comparison.first is not None
    assert (comparison.first.step, comparison.counts) == (29, {IDENTICAL: 29, DIVERGENT: 1})


def test_a_wrong_gradient_is_found_though_the_forward_pass_is_right(tmp_path: Path) -> None:
    theirs = healthy()
    comparison = compared(tmp_path, changed(theirs, gradient__0__dense__kernel=-4 * X), theirs)
    assert comparison.counts == {IDENTICAL: 4, DIVERGENT: 1}
    assert place_of(comparison) == "gradient/0/dense/kernel"


# Observations that are on one side


@pytest.mark.parametrize("key", STEPS)
@pytest.mark.parametrize("twin", [True, False])
def test_an_observation_that_one_side_lacks_is_a_mismatch_where_it_belongs(
    tmp_path: Path, key: str, twin: bool
) -> None:
    options = {"jax": {"twin": twin}, "torch": {"twin": twin}}
    missing = compared(tmp_path / "missing", without(healthy(), key), healthy(), **options)
    extra = compared(tmp_path / "extra", healthy(), without(healthy(), key), **options)
    for comparison in (missing, extra):
        assert (comparison.verdict, place_of(comparison)) == (MISMATCH, key)
        assert comparison.counts == {IDENTICAL: 4, MISMATCH: 1}
        assert (comparison.observations, comparison.not_compared) == (5, 0)
    assert missing.first is not None
    assert reason(missing.first.judgement) == "it was not recorded on this target"
    assert extra.first is not None
    assert reason(extra.first.judgement) == "it was not recorded on the reference"


@pytest.mark.parametrize(
    ("wrong", "first"), [("initial/dense/kernel", "initial/dense/kernel"), ("loss/1/loss", "log/x")]
)
def test_an_extra_observation_has_its_place_in_the_order(tmp_path: Path, wrong: str, first: str) -> None:
    items = list(healthy().items())
    mine = dict([*items[:2], ("log/x", X), *items[2:]]) | {wrong: -X}
    assert place_of(compared(tmp_path, mine, healthy())) == first


def test_extra_observations_before_all_others_come_first(tmp_path: Path) -> None:
    mine = {"initial/a": X, "initial/b": X} | changed(healthy(), initial__dense__kernel=-X)
    comparison = compared(tmp_path, mine, healthy())
    assert (place_of(comparison), comparison.observations) == ("initial/a", 7)


def test_traces_that_share_nothing_are_mismatches_throughout(tmp_path: Path) -> None:
    comparison = compared(tmp_path, healthy("loss/a", "loss/b"), healthy("loss/c"))
    assert comparison.counts == {MISMATCH: 3}


def test_a_trace_of_nothing_is_no_agreement(tmp_path: Path) -> None:
    assert compared(tmp_path, {}, healthy()).counts == {MISMATCH: 5}


def test_another_order_is_a_mismatch_though_every_value_is_equal(tmp_path: Path) -> None:
    a, b, c, d, e = STEPS
    theirs = healthy()
    comparison = compared(tmp_path, {key: theirs[key] for key in (a, c, b, d, e)}, theirs)
    assert (comparison.verdict, place_of(comparison)) == (MISMATCH, b)
    assert comparison.first is not None
    said = "layers are called in another order than on the reference: 'dense/output' moved"
    assert reason(comparison.first.judgement) == said
    assert comparison.counts == {IDENTICAL: 4, MISMATCH: 1}


@given(st.permutations(STEPS))
@settings(max_examples=20, deadline=None)
def test_no_other_order_agrees(tmp_path_factory: pytest.TempPathFactory, order: list[str]) -> None:
    theirs = healthy()
    mine = {key: theirs[key] for key in order}
    comparison = compared(tmp_path_factory.mktemp("traces"), mine, theirs, jax={"twin": False}, torch={"twin": False})
    assert comparison.verdict is (IDENTICAL if order == STEPS else MISMATCH)
    assert comparison.observations == 5


def test_a_missing_observation_does_not_make_those_after_it_out_of_order(tmp_path: Path) -> None:
    mine = {"log/first": X} | without(healthy(), "loss/0/loss")
    assert compared(tmp_path, mine, healthy()).counts == {IDENTICAL: 4, MISMATCH: 2}


def nested(folder: Path, depth: int) -> Verdict | None:
    """The verdict on values nested so deeply, equal but for the innermost; None where a trace is refused."""
    for target, leaf in (("jax", "1"), ("torch", "2")):
        recorded(folder, target, {"event/deep": "here"}, twin=False)
        path = folder / target / "trace.json"
        value = "[" * depth + leaf + "]" * depth
        path.write_text(path.read_text(encoding="utf-8").replace('"here"', value), encoding="utf-8")
    try:
        return compare(Trace(folder / "jax"), Trace(folder / "torch")).verdict
    except TraceError:
        return None


def test_values_nested_deeply_are_compared_or_refused(tmp_path: Path) -> None:
    assert nested(tmp_path, 50) is MISMATCH
    assert nested(tmp_path, 400) in (MISMATCH, None)
    assert nested(tmp_path, 900) in (MISMATCH, None)


def test_an_exception_is_what_its_part_lacks(tmp_path: Path) -> None:
    raised = [Raised("gradients", "ValueError: there are none", "loss/0/loss")]
    mine = without(healthy(), STEPS[3], STEPS[0])
    comparison = compared(tmp_path / "ours", mine, healthy(), jax={"raised": raised})
    findings, _ = all_findings(Trace(tmp_path / "ours" / "jax"), Trace(tmp_path / "ours" / "torch"))
    causes = {key: finding.judgement.cause for key, finding in findings.items() if finding is not None}
    assert causes[STEPS[0]] == Missing(on_target=True)  # it comes before what raised
    assert causes[STEPS[3]] == Lost("jax", "gradients", "ValueError: there are none")
    assert comparison.counts == {IDENTICAL: 3, MISMATCH: 2}
    theirs = compared(tmp_path / "theirs", healthy(), without(healthy(), STEPS[3]), torch={"raised": raised})
    assert theirs.first is not None
    assert reason(theirs.first.judgement) == "torch raises in 'gradients': ValueError: there are none"
    assert theirs.first.to_json()["raised"] == "torch"


def test_of_two_runs_of_one_target_it_is_said_which_raised(tmp_path: Path) -> None:
    mine = recorded(tmp_path / "new", "jax", without(healthy(), STEPS[0]), raised=[Raised("it", "E: e", None)])
    first = compare(mine, recorded(tmp_path / "old", "jax", healthy())).first
    assert first is not None
    assert reason(first.judgement) == "this target raises in 'it': E: e"


# Runs that stopped


@pytest.mark.parametrize("status", ["error", "crashed", "timeout", "unavailable"])
def test_what_a_stopped_run_did_not_reach_is_not_compared_and_no_mismatch(tmp_path: Path, status: str) -> None:
    reached = without(healthy(), *STEPS[3:])
    stopped = {"status": status, "error": "stopped"}
    for folder, mine, theirs, options in (
        (tmp_path / "target", reached, healthy(), {"jax": stopped}),
        (tmp_path / "reference", healthy(), reached, {"torch": stopped}),
    ):
        comparison = compared(folder, mine, theirs, **options)
        assert (comparison.verdict, comparison.first) == (IDENTICAL, None)
        assert (comparison.observations, comparison.not_compared) == (3, 2)
        assert comparison.counts == {IDENTICAL: 3}


def test_a_stopped_run_that_reached_nothing_has_no_verdict(tmp_path: Path) -> None:
    comparison = compared(tmp_path, {}, healthy(), jax={"status": "crashed", "twin": False})
    assert (comparison.verdict, comparison.unexpected, comparison.first) == (None, None, None)
    assert (comparison.observations, comparison.not_compared) == (0, 5)


def test_what_differed_before_a_run_stopped_is_found(tmp_path: Path) -> None:
    mine = changed(without(healthy(), *STEPS[3:]), forward__dense__output=-X)
    comparison = compared(tmp_path, mine, healthy(), jax={"status": "error"})
    assert (comparison.verdict, place_of(comparison)) == (DIVERGENT, "forward/dense/output")


def test_what_a_stopped_run_has_and_a_whole_one_lacks_is_a_mismatch(tmp_path: Path) -> None:
    mine = {"event/extra": 1, **without(healthy(), *STEPS[3:])}
    comparison = compared(tmp_path, mine, healthy(), jax={"status": "error"})
    assert (comparison.verdict, place_of(comparison)) == (MISMATCH, "event/extra")
    assert comparison.not_compared == 2


# Twins, groups and steps


@pytest.mark.parametrize(
    ("mine", "theirs", "basis"),
    [(True, True, "twins"), (True, False, "one twin"), (False, True, "one twin"), (False, False, "tolerance")],
)
def test_a_verdict_rests_on_the_twins_that_there_are(tmp_path: Path, mine: bool, theirs: bool, basis: str) -> None:
    exact = healthy("loss/a")
    near = {"loss/a": X * (1 + 2e-7)}
    comparison = compared(tmp_path, near, exact, jax={"twin": mine}, torch={"twin": theirs})
    assert comparison.bases == {basis: 1}


def test_a_difference_of_the_twins_alone_is_found(tmp_path: Path) -> None:
    theirs = healthy()
    comparison = compared(tmp_path, changed(theirs, loss__0__loss=X * 3 * (1 + 1e-12)), theirs)
    assert (comparison.verdict, place_of(comparison)) == (LEAK, "loss/0/loss")


def noise(seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=32) * 1e-17


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ("gradient/3/kernel", IDENTICAL),
        ("gradient/4/kernel", LEAK),
        ("update/3/kernel", LEAK),
    ],
)
def test_noise_is_excused_by_the_size_of_its_own_phase_and_step(tmp_path: Path, beside: str, expected: Verdict) -> None:
    """As the gradient of a bias before batch normalisation, whose float32 happens to be zero."""
    exact = {side: {beside: X, "gradient/3/bias": noise(side)} for side in (0, 1)}
    for side, target in enumerate(("jax", "torch")):
        recorded(tmp_path, target, exact[side])
        zeros = {beside: X.astype(np.float32), "gradient/3/bias": np.zeros(32, np.float32)}
        folder = tmp_path / target
        write(folder, Header("cases/x.py::y", target, "float32"), [observation(*item) for item in zeros.items()])
    comparison = compare(Trace(tmp_path / "jax"), Trace(tmp_path / "torch"))
    assert comparison.verdict is expected


def test_a_group_has_the_size_of_its_largest_floating_array_on_the_reference(tmp_path: Path) -> None:
    theirs = {"gradient/0/a": X * 1e-4, "gradient/0/b": X, "gradient/0/n": np.full(3, 10**9), "gradient/0/z": X * 1e-9}
    mine = changed(theirs, gradient__0__a=X * 1.0001e-4)
    options = {"jax": {"twin": False}, "torch": {"twin": False}}
    # 1e-4 of 1e-4 is within 256 x 2**-24 of 1, and would be of 1e9; it is not of 1e-4.
    assert compared(tmp_path / "a", mine, theirs, **options).verdict is ROUNDING
    alone = {key: value for key, value in theirs.items() if key != "gradient/0/b"}
    assert compared(tmp_path / "b", without(mine, "gradient/0/b"), alone, **options).verdict is DIVERGENT
    large_on_the_target = changed(mine, gradient__0__b=X * 1e6, gradient__0__z=X)
    verdicts = compared(tmp_path / "c", large_on_the_target, theirs, **options).counts
    assert verdicts == {IDENTICAL: 1, ROUNDING: 1, DIVERGENT: 2}


def test_the_tolerance_without_twins_grows_with_the_steps_behind_an_observation(tmp_path: Path) -> None:
    fault = 1.4 * 256 * 2.0**-24
    options = {"jax": {"twin": False}, "torch": {"twin": False}}
    theirs = {"loss/0/loss": np.ones(32), "loss/1/loss": np.ones(32)}
    comparison = compared(tmp_path, {key: x * (1 - fault) for key, x in theirs.items()}, theirs, **options)
    assert comparison.counts == {ROUNDING: 1, DIVERGENT: 1}
    assert place_of(comparison) == "loss/0/loss"


# Runs that were repeated, each with randomness of its own


def repeated(folder: Path, target: str, runs: list[dict[str, Any]]) -> Trace:
    trace = recorded(folder, target, runs[0], twin=False)
    for number, values in enumerate(runs[1:], 1):
        place = trace.folder / "repeats" / f"{number:02}"
        write(place, Header("cases/x.py::y", target, "float32"), [observation(*item) for item in values.items()])
    return trace


def drawn(folder: Path, mine: Callable[[np.random.Generator], Any], theirs: Callable[..., Any]) -> Comparison:
    """Compare 16 runs on either side of what is drawn, and of a number that is not random."""
    traces = []
    for seed, (target, draw) in enumerate((("jax", mine), ("torch", theirs))):
        rng = np.random.default_rng(seed)
        runs = [{"initial/fixed": np.float32([1, 2]), "loss/0/x": draw(rng)} for _ in range(16)]
        traces.append(repeated(folder, target, runs))
    return compare(*traces)


def dropout(rng: np.random.Generator, *, rate: float = 0.5) -> Any:
    return (rng.random(64) > rate).astype(np.float32)


def test_what_is_drawn_from_one_distribution_agrees_by_it_and_the_rest_exactly(tmp_path: Path) -> None:
    comparison = drawn(tmp_path, dropout, dropout)
    assert comparison.counts == {IDENTICAL: 1, ROUNDING: 1}
    assert comparison.bases == {"exact": 1, "distribution": 1}


def test_what_is_drawn_from_another_distribution_is_found(tmp_path: Path) -> None:
    comparison = drawn(tmp_path, lambda rng: dropout(rng, rate=0.8), dropout)
    assert (comparison.verdict, place_of(comparison)) == (DIVERGENT, "loss/0/x")


def test_what_is_not_random_is_compared_by_value_beside_what_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mine, theirs = ([{"loss/x": dropout(rng), "loss/y": np.float32([y])} for _ in range(16)] for y in (1.0, 1.01))
    comparison = compare(repeated(tmp_path, "jax", mine), repeated(tmp_path, "torch", theirs))
    assert (comparison.counts, place_of(comparison)) == ({ROUNDING: 1, DIVERGENT: 1}, "loss/y")


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("swap", [False, True])
def test_a_special_value_in_what_one_side_draws_does_not_pass(tmp_path: Path, special: float, swap: bool) -> None:
    def bad(rng: np.random.Generator) -> Any:
        array = dropout(rng)
        array[7] = special
        return array

    comparison = drawn(tmp_path, *((dropout, bad) if swap else (bad, dropout)))
    assert comparison.verdict is not None
    assert comparison.verdict >= DIVERGENT
    assert place_of(comparison) == "loss/0/x"


@pytest.mark.parametrize(
    "change",
    [lambda x: x[:-1], lambda x: x.reshape(8, 8), lambda x: x.astype(np.float16), lambda x: x.astype(np.int32)],
    ids=["shorter", "another shape", "float16", "int32"],
)
def test_another_shape_or_dtype_of_what_is_drawn_is_a_mismatch(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    comparison = drawn(tmp_path, lambda rng: change(dropout(rng)), dropout)
    assert (comparison.verdict, place_of(comparison)) == (MISMATCH, "loss/0/x")


def test_text_that_varies_is_not_compared_and_that_is_counted(tmp_path: Path) -> None:
    comparison = drawn(tmp_path, lambda rng: str(rng.random()), lambda rng: str(rng.random()))
    assert (comparison.verdict, comparison.observations, comparison.not_compared) == (IDENTICAL, 1, 1)


def test_repeats_on_one_side_alone_excuse_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mine = repeated(tmp_path, "jax", [{"loss/x": dropout(rng)} for _ in range(16)])
    assert compare(mine, repeated(tmp_path, "torch", [{"loss/x": dropout(rng)}])).verdict is DIVERGENT


# Where free runs part


def parting(folder: Path, target: str, late: Any, noise: float) -> Trace:
    """Weights after two steps; float32 moves those of the second by `noise`, and what follows is `late`."""
    rng = np.random.default_rng(len(target))
    exact = {"update/0/dense/kernel": X, "update/1/dense/kernel": X * 2, "log/2/batch/loss": late}
    single = {**exact, "update/1/dense/kernel": X * 2 * (1 + noise * rng.standard_normal(X.shape))}
    place = folder / target
    header = {"case": "cases/x.py::y", "target": target}
    for name, values, dtype in (("", single, np.float32), ("twin", exact, np.float64)):
        observations = [observation(key, np.asarray(value, dtype)) for key, value in values.items()]
        write(place / name, Header(**header, precision=dtype.__name__), observations)  # type: ignore[arg-type]
    return Trace(place)


@pytest.mark.parametrize(("noise", "parted"), [(1e-6, None), (1e-2, 1)])
def test_what_follows_after_free_runs_have_parted_is_not_compared(
    tmp_path: Path, noise: float, parted: int | None
) -> None:
    comparison = compare(parting(tmp_path, "jax", X * 3, noise), parting(tmp_path, "torch", X, noise))
    assert comparison.parted == parted
    assert comparison.not_compared == (0 if parted is None else 1)
    assert (comparison.verdict is DIVERGENT) == (parted is None)


def test_what_agrees_after_that_counts_as_compared(tmp_path: Path) -> None:
    comparison = compare(parting(tmp_path, "jax", X, 1e-2), parting(tmp_path, "torch", X, 1e-2))
    assert comparison.not_compared == 0


# What a target lacks by what it is


def test_what_a_target_lacks_is_not_compared_and_the_rest_is(tmp_path: Path) -> None:
    """Whether one side has no such observation, or has another."""
    exact = healthy(*STEPS, "log/0/batch/loss", "log/1/batch/loss")
    lacks = [Lack("log/*/batch/*", "callbacks are called once for 2 steps")]
    fewer = {
        key: value for key, value in changed(exact, log__1__batch__loss=WRONG).items() if key != "log/0/batch/loss"
    }
    target = recorded(tmp_path, "jax+steps_per_execution=2", fewer, lacks=lacks)
    reference = recorded(tmp_path, "torch", exact)
    for one, other in ((target, reference), (reference, target)):
        comparison = compare(one, other)
        assert (comparison.verdict, comparison.observations, comparison.not_compared) == (IDENTICAL, len(STEPS), 2)
    assert Trace(target.folder).header.lacks == lacks
    wrong = recorded(tmp_path, "jax", changed(fewer, loss__0__loss=WRONG), lacks=lacks)
    assert compare(wrong, reference).first.key == "loss/0/loss"


def test_the_scale_of_a_loss_is_compared_in_one_precision_only(tmp_path: Path) -> None:
    exact = healthy()
    scaled = exact | {"optimizer/0/loss_scale_optimizer/dynamic_scale": X}
    halved = exact | {"optimizer/0/loss_scale_optimizer/dynamic_scale": X / 2}
    low, plain = (
        recorded(tmp_path, f"{backend}+{precision}", values, precision=precision)
        for backend, precision, values in (("torch", "mixed_float16", scaled), ("jax", "float32", exact))
    )
    assert compare(plain, low).verdict is IDENTICAL
    assert compare(plain, low).not_compared == 1
    other = recorded(tmp_path, "jax+mixed_float16", halved, precision="mixed_float16")
    assert compare(other, low).first.key == "optimizer/0/loss_scale_optimizer/dynamic_scale"


# Every difference


def test_differences_are_all_that_are_as_bad_in_order(tmp_path: Path) -> None:
    wrong = changed(healthy(), loss__0__loss=LEAKED * 3, loss__1__loss=WRONG * 5)
    traces = recorded(tmp_path, "jax", wrong), recorded(tmp_path, "torch", healthy())
    assert [finding.key for finding in differences(*traces, DIVERGENT)] == ["loss/1/loss"]
    assert {finding.key for finding in differences(*traces, LEAK)} == {"loss/0/loss", "loss/1/loss"}


def test_what_one_side_lacks_is_no_difference_of_a_replay(tmp_path: Path) -> None:
    """Torch has another sequence of operations in some optimizers: that is no fault of an operation."""
    mine, theirs = {"loss/0/loss": WRONG, "loss/1/loss": X}, {"loss/1/loss": X, "loss/2/loss": X}
    traces = recorded(tmp_path, "jax", mine), recorded(tmp_path, "torch", theirs)
    assert differences(*traces, LEAK) == []


def test_behind_a_part_that_is_float32_inside_float64_runs_differ_by_as_much(tmp_path: Path) -> None:
    """The first value is float32 in both runs of each target; the second is made of it, in float64."""
    island, behind = "forward/0/m/island/output", "forward/0/m/head/output"
    sides = []
    for name, moved in (("jax", 1 + 3e-6), ("torch", 1.0)):
        single = (X * moved).astype(np.float32).astype(np.float64)
        sides.append(recorded(tmp_path, name, {island: single, behind: single / 3}))
    comparison = compare(*sides)
    assert comparison.verdict is LEAK
    wrong = recorded(tmp_path, "tensorflow", {island: X, behind: X / 3 * 1.001})
    assert compare(wrong, sides[1]).verdict is DIVERGENT
