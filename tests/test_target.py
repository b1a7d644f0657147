"""Targets: the grammar, and a refusal by name of what there is not."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.backends import NAMES
from harness.errors import HarnessError, TargetError
from harness.target import COUNTED, MODES, PRECISIONS, Target

BACKENDS = st.sampled_from(NAMES)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("torch", Target("torch")),
        ("jax:cpu", Target("jax", "cpu")),
        (" tensorflow ", Target("tensorflow")),
        ("tensorflow:cpu\n", Target("tensorflow", "cpu")),
        ("torch:cuda:1", Target("torch", "cuda:1")),
        ("jax:gpu", Target("jax", "gpu")),
        ("tensorflow+eager", Target("tensorflow", None, ("eager",))),
        ("torch:cpu+jit+mixed_bfloat16", Target("torch", "cpu", ("mixed_bfloat16", "jit"))),
        ("jax+data_parallel=4+float64", Target("jax", None, ("float64", "data_parallel=4"))),
        ("jax@envs/old/bin/python", Target("jax", python="envs/old/bin/python")),
        (
            "torch@../old.env/bin/python3.11:cuda+eager",
            Target("torch", "cuda", ("eager",), "../old.env/bin/python3.11"),
        ),
        ("torch@old/bin/python+eager", Target("torch", None, ("eager",), "old/bin/python")),
        ("torch@c++/a+b/bin/python+eager", Target("torch", None, ("eager",), "c++/a+b/bin/python")),
        ("jax@python3.12+eager", Target("jax", None, ("eager",), "python3.12")),
    ],
)
def test_every_part_of_a_target_is_read(text: str, target: Target) -> None:
    assert Target.parse(text, NAMES) == target


TARGETS = st.builds(
    Target,
    BACKENDS,
    st.sampled_from([None, "cpu", "cpu:1", "cuda", "gpu:3", "mps", "tpu"]),
    st.tuples(
        st.sampled_from(["", *PRECISIONS]),
        st.sampled_from(["", *MODES]),
        *(st.sampled_from(["", f"{name}=2", f"{name}=16"]) for name in COUNTED),
    ).map(lambda options: tuple(option for option in options if option)),
    st.sampled_from([None, "python3.11", "envs/old/bin/python", "/opt/a b/python", "c++/a+b/bin/python"]),
)


@given(TARGETS)
def test_a_target_is_written_as_it_is_read(target: Target) -> None:
    assert Target.parse(str(target), NAMES) == target


@given(TARGETS, st.randoms())
def test_the_order_of_options_means_nothing(target: Target, random: Random) -> None:
    options = list(target.options)
    random.shuffle(options)
    text = str(replace(target, options=())) + "".join(f"+{option}" for option in options)
    assert Target.parse(text, NAMES) == target


@pytest.mark.parametrize(
    ("text", "kind", "index", "precision", "twin", "mode", "replicas"),
    [
        ("torch", None, 0, "float32", "float64", None, 1),
        ("jax:gpu:3+mixed_bfloat16", "cuda", 3, "mixed_bfloat16", "float64", None, 1),
        ("jax:cpu+float64+jit+data_parallel=4", "cpu", 0, "float64", "float32", "jit", 4),
    ],
)
def test_what_a_target_asks_for(
    text: str, kind: str, index: int, precision: str, twin: str, mode: str, replicas: int
) -> None:
    target = Target.parse(text, NAMES)
    assert (target.kind, target.index, target.mode, target.count("data_parallel")) == (kind, index, mode, replicas)
    assert (target.precision_of(twin=False), target.precision_of(twin=True)) == (precision, twin)


def test_every_target_has_a_folder_name_of_its_own() -> None:
    slugs = [Target(backend, device).slug for backend in NAMES for device in (None, "cpu")]
    assert len(set(slugs)) == len(slugs)
    assert all(re.fullmatch(r"[\w-]+", slug) for slug in slugs)


@given(st.lists(st.text(st.characters(exclude_characters=":"), min_size=1), min_size=2, unique=True))
@example(["a/b/python", "a-b/python", "a+b/python"])
@example(["/a/very/long/path/to/an/environment/bin/python", "/another/long/path/to/an/environment/bin/python"])
def test_no_two_interpreters_share_a_folder_name_and_none_is_long(pythons: list[str]) -> None:
    slugs = [Target("torch", "cpu", python=python).slug for python in pythons]
    assert len(set(slugs)) == len(pythons)
    assert all(re.fullmatch(r"torch-[\w-]+-cpu", slug) and len(slug) < 50 for slug in slugs)


def test_the_folder_name_tells_the_target() -> None:
    assert Target("torch", python="envs/old/bin/python").slug.startswith("torch-envs-old-bin-python-")
    assert (Target("torch").slug, Target("torch", "cpu").slug) == ("torch", "torch-cpu")


@pytest.mark.parametrize(
    "text",
    ["", " ", ":", "+", "@", "torch:", "torch@", "torch+", ":cpu", "+eager", "torch cpu", "torch:cpu@x"]
    + ["torch+a:cpu", "torch-cpu", "1torch", "torch,jax", "torch\nrm"],
)
def test_what_is_no_target_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse(text, NAMES)
    assert repr(text) in str(caught.value)
    assert "is not a target" in str(caught.value)
    assert f"{NAMES[0]}:cpu" in str(caught.value)


@pytest.mark.parametrize("text", ["mxnet", "Torch", "tf", "mxnet:cpu", "mxnet@python3:tpu+eager"])
def test_an_unknown_backend_is_refused_with_those_that_are_known(text: str) -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse(text, NAMES)
    message = str(caught.value)
    assert all(word in message for word in (repr(text), repr(re.split("[@:]", text)[0]), *NAMES))


@pytest.mark.parametrize(
    ("text", "part", "remedy"),
    [
        ("torch+mixed_bfloat16+compile", "compile", "Options: float64, mixed_bfloat16"),
        ("tensorflow+float32", "float32", "Options: float64"),
        ("jax+eager=2", "eager=2", "eager, graph, jit"),
        ("jax+data_parallel", "data_parallel", "data_parallel=2"),
        ("jax+data_parallel=1", "data_parallel=1", "data_parallel=2"),
        ("jax+steps_per_execution=all", "steps_per_execution=all", "steps_per_execution=2"),
        ("torch:cuda:x", "cuda:x", "cuda:1"),
        ("torch::cpu", ":cpu", "cuda:1"),
        ("torch:CPU", "CPU", "cpu, cuda, or cuda:1"),
    ],
)
def test_what_there_is_not_is_refused_by_name(text: str, part: str, remedy: str) -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse(text, NAMES)
    assert repr(text) in str(caught.value)
    assert repr(part) in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("torch+eager+jit", ("eager", "jit")),
        ("jax+float64+mixed_float16", ("float64", "mixed_float16")),
        ("jax+jit+jit", ("jit", "jit")),
        ("jax+data_parallel=2+data_parallel=4", ("data_parallel=2", "data_parallel=4")),
    ],
)
def test_options_that_exclude_each_other_are_named(text: str, both: tuple[str, str]) -> None:
    with pytest.raises(TargetError, match=r" exclude each other\. Keep one") as caught:
        Target.parse(text, NAMES)
    assert " and ".join(map(repr, both)) in str(caught.value)


def reading(text: str) -> Target | HarnessError:
    try:
        return Target.parse(text, NAMES)
    except HarnessError as error:
        return error


@given(st.text(max_size=20))
@example("torch:cpu")
def test_any_text_is_a_target_or_is_refused_in_one_paragraph(text: str) -> None:
    outcome = reading(text)
    if isinstance(outcome, Target):
        assert Target.parse(str(outcome), NAMES) == outcome
    else:
        assert repr(text) in str(outcome)
        assert "\n" not in str(outcome)
