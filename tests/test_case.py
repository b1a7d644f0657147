"""What a case may return or record is refused where it is made, and shows in short what it holds.

Neither keras nor a backend is needed for that: `checks/check_case.py` does the same with models of Keras.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from harness import CaseError, Fit, Forward, Plot

parametrize = pytest.mark.parametrize

X = np.ones((4, 3), "float32")
XY = np.ones((7, 2))


class Model:
    """As much of a model as can be known without Keras."""

    name = "small"

    def compile(self) -> None: ...

    def fit(self, x: Any = None, y: Any = None, epochs: int = 1, *, shuffle: bool = True) -> None: ...


class OfItsOwn(Model):
    def fit(self, pairs: Any, targets: Any, rounds: int) -> None: ...


class TakesAnything(Model):
    def fit(self, *args: Any, **options: Any) -> None: ...


class Layer:
    name = "dense"

    def __call__(self, x: Any) -> Any: ...

    def call(self, x: Any) -> Any: ...


class Tensor:
    """A tensor as torch has it: its dtype has no name but in its text."""

    shape = (2, 5)

    class dtype:  # noqa: N801 - what it stands for is an attribute
        def __str__(self) -> str:
            return "torch.bfloat16"

    dtype = dtype()


class TestFit:
    def test_it_holds_what_it_was_given(self) -> None:
        model = Model()
        fit = Fit(model, X, None, epochs=2, shuffle=False)
        assert (fit.model, fit.x, fit.y, fit.options) == (model, X, None, {"epochs": 2, "shuffle": False})

    def test_its_repr_shows_model_data_and_options(self) -> None:
        assert repr(Fit(Model(), X, [X, {"a": XY}], epochs=2)) == (
            "Fit(<Model 'small'>, x=<float32 (4, 3)>, y=[<float32 (4, 3)>, {'a': <float64 (7, 2)>}], epochs=2)"
        )

    @parametrize(
        ("model", "named"),
        [(1, "int: 1 "), (None, "NoneType: None "), (Layer(), "Layer: <Layer 'dense'> "), (Model, "the class Model: ")],
        ids=["number", "None", "layer", "class"],
    )
    def test_what_is_no_model_is_refused(self, model: Any, named: str) -> None:
        with pytest.raises(CaseError, match=r"Fit takes a keras\.Model, and was given") as raised:
            Fit(model, X)
        assert f"was given {named}" in str(raised.value)
        assert "Give it a compiled model." in str(raised.value)

    @parametrize("name", ["compile", "fit"])
    def test_what_has_no_such_method_is_no_model(self, name: str) -> None:
        model = Model()
        setattr(model, name, None)
        with pytest.raises(CaseError, match=r"takes a keras\.Model"):
            Fit(model)

    def test_an_option_that_its_fit_does_not_take_is_refused(self) -> None:
        with pytest.raises(CaseError, match=r"Fit\(\.\.\., epoch=2\) names no option") as raised:
            Fit(Model(), X, epoch=2)
        assert "<Model 'small'>. It takes x, y, epochs, shuffle." in str(raised.value)

    def test_a_fit_of_another_signature_is_asked_itself(self) -> None:
        assert Fit(OfItsOwn(), X, X, rounds=3).options == {"rounds": 3}
        with pytest.raises(CaseError, match="epochs=1"):
            Fit(OfItsOwn(), X, X, epochs=1)

    def test_a_fit_that_takes_anything_is_given_anything(self) -> None:
        assert Fit(TakesAnything(), X, anything=3).options == {"anything": 3}

    def test_a_fit_whose_signature_cannot_be_had_is_given_anything(self) -> None:
        model = Model()
        model.fit = getattr  # a function in C that says nothing of itself
        assert Fit(model, anything=3).options == {"anything": 3}


class TestForward:
    def test_it_holds_what_it_was_given(self) -> None:
        layer = Layer()
        forward = Forward(layer, X, XY, training=True, axis=1)
        assert forward.function is layer
        assert forward.inputs[0] is X
        assert forward.inputs[1] is XY
        assert (forward.training, forward.options) == (True, {"axis": 1})

    def test_its_repr_shows_function_inputs_and_options(self) -> None:
        shown = repr(Forward(Layer(), X, Tensor(), axis=1))
        assert shown == "Forward(<Layer 'dense'>, <float32 (4, 3)>, <bfloat16 (2, 5)>, training=False, axis=1)"

    @parametrize(
        ("function", "shown"),
        [
            (repr, "<repr>"),
            (lambda x: x, "<TestForward.lambda>"),
            (functools.partial(repr, 1), "<partial>"),
            (Model.fit, "<Model.fit>"),
        ],
        ids=["function", "lambda", "partial", "method"],
    )
    def test_any_callable_is_taken_and_shown_by_name(self, function: Callable[..., Any], shown: str) -> None:
        assert repr(Forward(function)) == f"Forward({shown}, training=False)"

    @parametrize("function", [3, None, "tanh", X], ids=["number", "None", "text", "array"])
    def test_what_cannot_be_called_is_refused(self, function: Any) -> None:
        with pytest.raises(CaseError, match="Forward takes a layer or a function, and was given") as raised:
            Forward(function, X)
        assert f"was given {type(function).__name__}: " in str(raised.value)
        assert "cannot be called" in str(raised.value)

    def test_the_class_of_a_layer_is_refused_and_other_classes_are_functions(self) -> None:
        with pytest.raises(CaseError, match=r"the class Layer\. Make a layer of it first: Forward\(Layer\(\.\.\.\)"):
            Forward(Layer, X)
        assert Forward(complex, 1.0).function is complex

    @parametrize("flag", ["training", "as_trained", "compiled"])
    @parametrize("value", ["yes", None, 1, "False"])
    def test_a_flag_is_true_or_false(self, flag: str, value: Any) -> None:
        with pytest.raises(CaseError, match="Give it True or False") as raised:
            Forward(Layer(), X, **{flag: value})
        assert f"{flag}={value!r})" in str(raised.value)

    def test_it_is_called_compiled_unless_told_otherwise(self) -> None:
        assert Forward(Layer(), X).compiled is True
        assert Forward(Layer(), X, compiled=False).compiled is False


class TestPlot:
    def test_it_holds_what_it_was_given(self) -> None:
        points, lines = {"ones": XY}, {"level": XY}
        plot = Plot(points=points, lines=lines, x="size", y="price")
        points.clear()
        assert plot.points["ones"] is XY
        assert (list(plot.points), list(plot.lines), plot.x, plot.y) == (["ones"], ["level"], "size", "price")
        assert (Plot().points, Plot(lines=None).lines) == ({}, {})

    def test_its_repr_shows_labels_and_shapes(self) -> None:
        assert repr(Plot(lines={"level": XY}, y="price")) == (
            "Plot(lines={'level': <float64 (7, 2)>}, x='x', y='price')"
        )

    @parametrize("kind", ["points", "lines"])
    @parametrize("arrays", [[XY], XY, 3, "xy"], ids=["list", "array", "number", "text"])
    def test_what_has_no_labels_is_refused(self, kind: str, arrays: Any) -> None:
        with pytest.raises(CaseError, match=rf"Plot\({kind}=.*\) has no labels"):
            Plot(**{kind: arrays})

    @parametrize("kind", ["points", "lines"])
    @parametrize(
        ("array", "shown"),
        [
            (X, "<float32 (4, 3)>"),
            (X[0], "<float32 (3,)>"),
            (np.ones((2, 2, 2)), "<float64 (2, 2, 2)>"),
            ([[1.0, 2.0]], "[[1.0, 2.0]]"),
            (None, "None"),
        ],
        ids=["three columns", "one row", "three axes", "list", "None"],
    )
    def test_coordinates_of_another_shape_are_refused(self, kind: str, array: Any, shown: str) -> None:
        with pytest.raises(CaseError, match=r"'level', which is not an array of shape \(n, 2\)") as raised:
            Plot(**{kind: {"fine": XY, "level": array}})
        assert f"(n, 2): {shown}." in str(raised.value)

    @parametrize("axis", ["x", "y"])
    def test_an_axis_is_text(self, axis: str) -> None:
        with pytest.raises(CaseError, match=rf"Plot\({axis}=3\) does not say"):
            Plot(**{axis: 3})


class Opaque(Mapping[str, int]):
    """A mapping that is no dict."""

    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Any:
        return iter("ab")

    def __len__(self) -> int:
        return 2


@parametrize(
    ("value", "shown"),
    [
        (list(range(9)), "[0, 1, 2, 3, 4, ...]"),
        ((1,), "(1)"),
        ({str(n): n for n in range(9)}, "{'0': 0, '1': 1, '2': 2, '3': 3, '4': 4, ...}"),
        (Opaque(), "{'a': 1, 'b': 1}"),
        ("long" * 100, "'" + ("long" * 100)[:59] + "..."),
        (object(), "<object>"),
        (int, "<int>"),
    ],
    ids=["list", "tuple", "dict", "mapping", "text", "object", "class"],
)
def test_what_is_long_is_shown_in_part(value: Any, shown: str) -> None:
    assert repr(Forward(repr, value)) == f"Forward(<repr>, {shown}, training=False)"
