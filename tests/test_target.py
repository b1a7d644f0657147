"""Targets: the grammar, and a refusal by name of all that this version does not have."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.backends import NAMES
from harness.errors import HarnessError, TargetError
from harness.target import Target

BACKENDS = st.sampled_from(NAMES)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("torch", Target("torch")),
        ("jax:cpu", Target("jax", "cpu")),
        (" tensorflow ", Target("tensorflow")),
        ("tensorflow:cpu\n", Target("tensorflow", "cpu")),
    ],
)
def test_a_backend_and_perhaps_a_device_are_read(text: str, target: Target) -> None:
    assert Target.parse(text, NAMES) == target


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("backend", NAMES)
def test_a_target_is_written_as_it_is_read(backend: str, device: str | None) -> None:
    target = Target(backend, device)
    assert Target.parse(str(target), NAMES) == target


def test_every_target_has_a_folder_name_of_its_own() -> None:
    slugs = [Target(backend, device).slug for backend in NAMES for device in (None, "cpu")]
    assert len(set(slugs)) == len(slugs)
    assert all(re.fullmatch(r"[\w-]+", slug) for slug in slugs)


def test_the_folder_name_tells_the_target() -> None:
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
        ("jax@envs/old/bin/python", "envs/old/bin/python", "Leave out '@envs/old/bin/python'"),
        ("tensorflow+eager", "+eager", "Leave it out"),
        ("torch+mixed_bfloat16+compile", "+mixed_bfloat16+compile", "Leave it out"),
        ("torch:cpu+eager", "+eager", "Leave it out"),
        ("jax:cuda", "cuda", "cpu"),
        ("torch:cuda:1", "cuda:1", "cpu"),
        ("torch::cpu", ":cpu", "cpu"),
    ],
)
def test_what_this_version_does_not_have_is_refused_by_name(text: str, part: str, remedy: str) -> None:
    with pytest.raises(TargetError) as caught:
        Target.parse(text, NAMES)
    assert repr(text) in str(caught.value)
    assert repr(part) in str(caught.value)
    assert remedy in str(caught.value)


WORD = st.text("abcxyz019_./-", min_size=1, max_size=8)
PARTS = st.tuples(BACKENDS, st.none() | WORD, st.none() | st.just("cpu") | WORD, st.lists(WORD, max_size=2))


@given(PARTS)
def test_every_part_of_the_grammar_is_seen(parts: tuple[str, str | None, str | None, list[str]]) -> None:
    backend, python, device, options = parts
    text = (
        backend
        + (f"@{python}" if python else "")
        + (f":{device}" if device else "")
        + "".join(f"+{option}" for option in options)
    )
    if python is None and device in (None, "cpu") and not options:
        assert Target.parse(text, NAMES) == Target(backend, device)
        return
    with pytest.raises(TargetError) as caught:
        Target.parse(text, NAMES)
    unheard = [part for part in (python, "+".join(["", *options]), device) if part and part != "cpu"]
    assert repr(unheard[0]) in str(caught.value)


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
        assert str(outcome) == text.strip()
    else:
        assert repr(text) in str(outcome)
        assert "\n" not in str(outcome)
