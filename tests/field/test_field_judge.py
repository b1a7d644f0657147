"""What counts as a difference, in small inputs that were once told wrongly, on all backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

BOTH = ["tensorflow", "jax"]


def outcomes(project: Any) -> dict[str, str]:
    return {name: case["outcome"] for name, case in project.cases().items()}


def unwrapped(project: Any) -> str:
    """What was printed, as one line."""
    return " ".join(project.ran.stdout.split())


def comparison(project: Any, case: str, target: str) -> dict[str, Any]:
    (found,) = [item for item in project.cases()[case]["comparisons"] if item["target"] == target]
    assert isinstance(found, dict)
    return found


def test_a_fault_in_float32_alone_is_told_as_one(run: Callable[..., Any]) -> None:
    project = run("float32_only.py", "--no-blame")
    assert project.ran.returncode == 1
    for case in ("many_elements", "few_elements"):
        assert comparison(project, case, "tensorflow")["verdict"] == "identical"
        found = comparison(project, case, "jax")
        assert found["verdict"] == "divergent"
        assert found["first"]["reason"].startswith("in float32 only")


def test_noise_that_nobody_seeded_hides_no_factor(run: Callable[..., Any]) -> None:
    project = run("noise_hides.py", "--no-blame")
    assert (project.ran.returncode, outcomes(project)) == (3, {"hidden": "nondeterministic"})
    for target in BOTH:
        found = comparison(project, "hidden", target)
        assert (found["verdict"], found["first"]) == (None, None)
        assert found["unrepeated"]["key"] == "recorded/y"
        assert set(found["unrepeated"]["targets"]) == {target, "torch"}
    assert "give every generator, layer and data pipeline a seed" in unwrapped(project)


def test_entropy_is_no_agreement(run: Callable[..., Any]) -> None:
    project = run("entropy.py", "--no-blame")
    assert outcomes(project) == dict.fromkeys(["one", "many"], "nondeterministic")
    assert project.ran.returncode == 3


def test_large_neighbours_excuse_nothing(run: Callable[..., Any]) -> None:
    for options in ((), ("--precision", "float32")):
        project = run("neighbours.py", "--no-blame", *options)
        assert outcomes(project) == {
            "beside_a_clock": "differ",
            "beside_a_mask": "differ",
            "in_one_array_with_a_mask": "differ",
            "healthy": "agree",
        }
        for case in ("beside_a_clock", "beside_a_mask", "in_one_array_with_a_mask"):
            assert comparison(project, case, "jax")["verdict"] == "divergent"
            assert comparison(project, case, "tensorflow")["verdict"] in ("identical", "rounding")


def test_a_layer_that_computes_in_float32_has_no_twin(run: Callable[..., Any]) -> None:
    project = run("float32_island.py", "--no-blame")
    assert outcomes(project) == {"healthy": "agree"}
    for target in BOTH:
        found = comparison(project, "healthy", target)
        assert found["verdict"] == "rounding"
        assert found["bases"].keys() & {"tolerance", "noise", "inherited"}


def test_the_limit_of_float32_is_no_measure_of_rounding(run: Callable[..., Any]) -> None:
    project = run("empty_segment.py", "--no-blame")
    for case in ("in_a_function", "by_hand"):
        assert comparison(project, case, "tensorflow")["verdict"] == "divergent"
        assert comparison(project, case, "jax")["verdict"] == "identical"


def test_the_backends_own_random_function_is_looked_at_where_a_case_calls_it(run: Callable[..., Any]) -> None:
    """`keras.random.shuffle(axis=-1)` of Keras 3.15.1 breaks columns apart on torch and on jax."""
    project = run("shuffle_last_axis.py", "--no-blame")
    found = comparison(project, "columns_are_only_permuted", "tensorflow")
    assert found["first"]["key"] == "event/0/generator/keras.random.shuffle"
    assert (
        "'as promised', and 'what stands at one place along axis -1 does not stay together'" in found["first"]["reason"]
    )
    assert project.trace("columns_are_only_permuted", "jax")[found["first"]["key"]].value != "as promised"


def test_seeds_of_other_frameworks_are_the_cases_own(run: Callable[..., Any]) -> None:
    assert set(outcomes(run("orders.py", "--no-blame")).values()) == {"agree"}


@pytest.mark.slow
def test_what_is_drawn_without_a_seed_is_nondeterministic(run: Callable[..., Any]) -> None:
    project = run("unseeded.py", "--no-blame")
    assert outcomes(project) == {
        "forgetful": "nondeterministic",
        "forgetful_fit": "nondeterministic",
        "seeded_dropout_native": "agree",
    }
    assert comparison(project, "forgetful_fit", "jax")["unrepeated"]["key"] == "initial/0/data/x/0"
    assert "Draw the case's data from its argument `rng`." in unwrapped(project)


@pytest.mark.slow
def test_seeds_that_are_written_in_the_code_are_drawn_from_too_under_native_randomness(
    run: Callable[..., Any],
) -> None:
    project = run("unseeded.py", "--no-blame", "--randomness", "native", "-k", "seeded_dropout_native")
    assert outcomes(project) == {"seeded_dropout_native": "agree"}
    assert comparison(project, "seeded_dropout_native", "jax")["bases"]["distribution"] > 0


@pytest.mark.slow
def test_a_layer_that_fails_in_float64_leaves_what_follows_alone(run: Callable[..., Any]) -> None:
    project = run("augmentation.py", "--no-blame")
    assert outcomes(project) == {"with_rotation": "agree"}
    assert "was expected to be a double tensor but is a float tensor" in unwrapped(project)


@pytest.mark.slow
def test_a_training_that_parts_at_once_is_followed_from_its_first_step(run: Callable[..., Any]) -> None:
    project = run("parts_at_once.py")
    for case in project.cases().values():
        assert case["outcome"] == "agree"
        for found in case["comparisons"]:
            assert (found["continuation"]["first_step"], found["continuation"]["verdict"]) == (0, "rounding")


@pytest.mark.slow
def test_names_orders_and_paths_are_told_as_what_they_are(run: Callable[..., Any]) -> None:
    project = run("names.py", "--no-blame")
    assert outcomes(project) == {
        "renamed": "agree",
        "moved": "differ",
        "another_path_inside": "agree",
        "another_path_that_is_wrong": "differ",
        "nadam": "agree",
        "ids_of_two_widths": "differ",
    }
    renamed = comparison(project, "renamed", "jax")["renamed"]
    assert renamed["sequential/renamed/weights_of_jax"] == "sequential/renamed/kernel"
    assert comparison(project, "renamed", "tensorflow")["renamed"] == {}
    moved = comparison(project, "moved", "jax")["first"]
    assert moved["reason"].startswith("variables are in another order than on the reference")
    assert comparison(project, "another_path_inside", "tensorflow")["one_sided"] == {"inner/softmax": "tensorflow"}
    wrong = comparison(project, "another_path_that_is_wrong", "tensorflow")
    assert wrong["first"]["key"] == "forward/0/inner/output"
    assert "dtype is int64, and int32 on the reference; the values are equal" in unwrapped(project)
    assert "variables were compared that differ in name alone" in unwrapped(project)


@pytest.mark.slow
def test_names_that_differ_fail_if_asked_to(run: Callable[..., Any]) -> None:
    project = run("names.py", "--no-blame", "-k", "renamed", "--strict-names")
    assert outcomes(project) == {"renamed": "differ"}


def test_what_some_backends_make_0_is_told_and_no_difference(run: Callable[..., Any]) -> None:
    project = run("subnormal.py")
    assert outcomes(project) == {"powers": "agree", "one_alone": "agree"}
    assert comparison(project, "one_alone", "jax")["flushed"] == 1
    assert "numbers below the smallest normal one of their dtype" in unwrapped(project)


def test_weights_of_a_new_layer_hide_nothing(run: Callable[..., Any]) -> None:
    project = run("hidden_by_ones.py", "--no-blame")
    assert outcomes(project) == {"new_layer": "differ", "as_it_is_made": "agree"}
    assert comparison(project, "new_layer", "jax")["first"]["key"] == "forward/0/fixed_norm/output"
    assert comparison(project, "as_it_is_made", "jax")["verdict"] == "identical"


@pytest.mark.slow
def test_a_gradient_that_is_0_but_for_rounding_is_no_difference_without_twins_either(run: Callable[..., Any]) -> None:
    for options in ((), ("--quick",)):
        assert outcomes(run("bias_before_norm.py", "--no-blame", *options)) == {"bias_that_does_nothing": "agree"}
