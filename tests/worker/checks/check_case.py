"""`Fit` and `Forward` of models and layers of Keras: what they refuse, and what they show."""

import inspect

import keras
import numpy as np
import pytest

from harness import CaseError, Fit, Forward
from harness.backends import runtime

training = pytest.mark.skipif(not runtime.current().backend.trains, reason="what only infers has no fit to be asked")

X = np.ones((4, 3), "float32")


def model():
    return keras.Sequential([keras.layers.Dense(1)], name="m")


@training
def test_every_option_of_keras_own_fit_is_taken():
    names = [name for name in inspect.signature(keras.Model.fit).parameters if name not in ("self", "x", "y")]
    assert {"epochs", "batch_size", "validation_data", "callbacks"} <= set(names)
    assert list(Fit(model(), X, **dict.fromkeys(names)).options) == names


@training
def test_an_option_that_no_fit_takes_is_refused():
    with pytest.raises(CaseError, match=r"epoch=2\) names no option of fit of <Sequential 'm'>"):
        Fit(model(), X, epoch=2)


def test_the_class_of_a_layer_is_refused():
    with pytest.raises(CaseError, match=r"the class Dense\. Make a layer of it"):
        Forward(keras.layers.Dense, X)


def test_tensors_and_variables_are_shown_by_dtype_and_shape():
    shown = repr(Forward(keras.ops.add, keras.ops.convert_to_tensor(X), keras.Variable(X, dtype="float16")))
    assert shown == "Forward(<add>, <float32 (4, 3)>, <float16 (4, 3)>, training=False)"
    symbolic = repr(Fit(model(), keras.KerasTensor((None, 3), "int32")))
    assert symbolic == "Fit(<Sequential 'm'>, x=<int32 (None, 3)>)"
