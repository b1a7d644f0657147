"""Names of the observations of a replay: what is written is read back, whatever a layer is called."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from harness.trace.parts import CASE, LOSS, Part, What, name_in, operation, part_of

NAMES = st.text("abcdefgh_0123456789#", min_size=1, max_size=12)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(PATHS, st.integers(0, 9999), NAMES, st.sampled_from(["arguments", "input", "output"]))
def test_an_operation_is_read_back_as_it_was_named(part: str, number: int, name: str, what: str) -> None:
    name = f"keras.ops.{name.replace('#', '')}x"
    for ending in ("", "/0", "/12"):
        assert part_of(f"{operation(part, number, name)}/{what}{ending}") == Part(part, what, name, number)


def test_parts_are_told_from_what_is_recorded_of_them() -> None:
    assert part_of("model/dense/output") == Part("model/dense", "output")
    assert part_of("model/dense/input/1") == Part("model/dense", "input")
    assert part_of("model/dense/arguments") == Part("model/dense", "arguments")
    assert part_of("model/norm/state/model/norm/moving_mean") == Part("model/norm", "state")
    assert part_of("model/dense/weight/model/dense/kernel") == Part("model/dense", "weight")
    assert part_of("model/dense/kernel/regularizer") == Part("model/dense/kernel", "regularizer")
    assert part_of(f"{LOSS}/value") == Part(LOSS, "value")
    assert part_of(f"{operation(CASE, 3, 'keras.random.uniform')}/output") == Part(
        CASE, "output", "keras.random.uniform", 3
    )


def test_a_layer_may_be_called_like_what_is_recorded_of_it() -> None:
    for layer in ("model/output", "model/input", "model/state/dense"):
        assert part_of(name_in(layer, "output", 1)) == Part(layer, "output")
        assert part_of(name_in(operation(layer, 2, "keras.ops.add"), "input")) == Part(
            layer, "input", "keras.ops.add", 2
        )
    assert part_of("model/output/weight/model/output/kernel") == Part("model/output", "weight")


@given(PATHS, st.sampled_from(get_args(What)), st.integers(0, 12))
def test_what_is_named_is_read_back(part: str, what: What, number: int) -> None:
    inner = number if what in ("input", "output") else f"m/{number}" if what in ("weight", "state", "value") else None
    for place, expected in (
        (part, Part(part, what)),
        (operation(part, number, "keras.ops.tanh"), Part(part, what, "keras.ops.tanh", number)),
    ):
        found = part_of(name_in(place, what, inner))
        assert found == expected
        assert found.place == place


def test_what_is_no_part_is_none() -> None:
    assert part_of("rows") is None
    assert part_of("sequential/dense/kernel") is None
