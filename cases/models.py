"""D8 to D10: a model made of another's inner tensors, models pictured, and models saved on one backend for the next."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from simple_dense import SimpleDense, digits
from tickets import ticket_model, tickets

from harness import Expected, backends, case
from harness.backends import runtime
from harness.target import Target

# A third question about tickets: how difficult are they?


def with_difficulty(model):
    """The ticket model with a third output, from the same features."""
    features = model.get_layer("features").output
    difficulty = layers.Dense(3, activation="softmax", name="difficulty")(features)
    return keras.Model(model.inputs, [*model.outputs, difficulty], name="tickets_with_difficulty")


@case(tags=["slow"])
def third_output_from_inner_tensors(rng, record):
    old = ticket_model()
    new = with_difficulty(old)
    assert new.get_layer("features") is old.get_layer("features")
    assert [weight.path for weight in new.weights[: len(old.weights)]] == [weight.path for weight in old.weights]

    x, y = ([part[:256] for part in parts] for parts in tickets(rng))
    y.append(np.eye(3, dtype="float32")[rng.integers(0, 3, size=256)])
    record("before", new.predict(x, verbose=0))
    new.compile(
        optimizer="rmsprop",
        loss=["mean_squared_error", "categorical_crossentropy", "categorical_crossentropy"],
        metrics=[["mean_absolute_error"], ["accuracy"], ["accuracy"]],
    )
    history = new.fit(x, y, epochs=2, batch_size=64, shuffle=False, verbose=0).history
    record("history", history)

    # What the new model learnt, the old one knows.
    priority, department, difficulty = new.predict(x, verbose=0)
    record("after", [priority, department, difficulty])
    record("weights of the heads", {name: new.get_layer(name).get_weights() for name in new.output_names})
    for shared, same in zip(old.predict(x, verbose=0), (priority, department), strict=True):
        assert np.array_equal(shared, same)


@case
def features_of_a_trained_model(record):
    """Every layer's output at once, from a model that was trained without that in mind."""
    model = digit_model()
    x, _ = digits()
    extractor = keras.Model(model.inputs, [layer.output for layer in model.layers])
    outputs = dict(zip([layer.name for layer in model.layers], extractor.predict(x[:50], verbose=0), strict=True))
    record("outputs", outputs)
    assert np.array_equal(outputs[model.layers[-1].name], model.predict(x[:50], verbose=0))


# Pictures.


def nested_model():
    """An encoder that is used twice, and a frozen layer."""
    encoder = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, activation="relu"), layers.BatchNormalization()], name="encoder"
    )
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    distance = layers.Subtract(name="distance")([encoder(left), encoder(right)])
    head = layers.Dense(1, name="head", trainable=False)
    return keras.Model([left, right], head(distance), name="nested")


def convolutional_model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ],
        name="convolutional",
    )


MODELS = {"tickets": ticket_model, "nested": nested_model, "convolutional": convolutional_model}


def summary_of(model, **options):
    lines = []
    model.summary(line_length=100, print_fn=lines.append, **options)
    return "\n".join(lines).splitlines()


@case
@pytest.mark.parametrize("name", MODELS)
def summary(name, record):
    model = MODELS[name]()
    text = summary_of(model)
    assert any(f"Total params: {model.count_params():,}" in line for line in text)
    record("summary", text)
    record("with everything", summary_of(model, expand_nested=True, show_trainable=True))


@case(
    expect={
        "tensorflow": Expected(
            "mismatch",
            reason="an optimizer counts its iterations in a variable of dtype int, which is int64 on tensorflow and "
            "int32 elsewhere (keras/src/backend/common/dtypes.py): the summary says 4 bytes more",
            where="recorded/trained",
        )
    }
)
def summary_after_training(rng, record):
    """The optimizer's variables are counted too."""
    model = keras.Sequential([layers.Dense(8), layers.Dense(1)])
    record("not built", summary_of(model))
    model.compile(optimizer="adam", loss="mse")
    model.fit(rng.normal(size=(64, 6)), rng.normal(size=(64, 1)), verbose=0)
    text = summary_of(model)
    assert any("Optimizer params" in line for line in text)
    record("trained", text)


def without_addresses(dot):
    """The text of a graph, whose nodes are named by their address in memory, with numbers for these."""
    seen = {}
    return re.sub(r"\d{9,}", lambda found: str(seen.setdefault(found.group(), len(seen))), dot)


@case
@pytest.mark.parametrize("name", MODELS)
def picture(name, record, tmp_path):
    model = MODELS[name]()
    options = {
        "show_shapes": True,
        "show_layer_names": True,
        "show_layer_activations": True,
        "show_trainable": True,
        "expand_nested": True,
    }
    graph = without_addresses(keras.utils.model_to_dot(model, **options).to_string())
    for layer in model.layers:
        assert layer.name in graph
    record("graph", graph.splitlines())

    graphviz = shutil.which("dot") is not None
    record("drawn, because graphviz is here", graphviz)
    if graphviz:
        keras.utils.plot_model(model, tmp_path / f"{name}.png", dpi=60, **options)
        assert (tmp_path / f"{name}.png").stat().st_size > 0


# Saved on one backend, loaded on every other.


def digit_model():
    model = keras.Sequential(
        [
            keras.Input((64,)),
            SimpleDense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(10, activation="softmax"),
        ],
        name="digits",
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def load_and_predict(folder):
    """What a saved model predicts, what one with its saved weights does, and what one more step of training makes."""
    x, y = (part[:50] for part in digits())
    loaded = keras.models.load_model(folder / "model.keras")
    if keras.config.backend() == "torch":
        loaded.jit_compile = False  # a file that was saved on jax asks for it: see `compile_as_it_is_saved`
    with_weights = digit_model()
    with_weights.load_weights(folder / "model.weights.h5")
    seen = {
        "model.keras": loaded.predict(x, verbose=0),
        "model.weights.h5": with_weights.predict(x, verbose=0),
        **{f"optimizer {i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(loaded.optimizer.variables)},
    }
    try:
        loaded.train_on_batch(x, y)
        seen["after one more step"] = loaded.predict(x, verbose=0)
    except TypeError as error:
        seen["after one more step"] = np.array(f"TypeError: {error}")
    return seen


def load_and_predict_on(backend, folder):
    """The same in a new process, on another backend."""
    ours = backends.get(backend).environment_for(Target(backend, "cpu"))
    environment = {**os.environ, **ours, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, __file__, folder, keras.config.floatx()], env=environment, check=True)
    with np.load(folder / "loaded.npz") as loaded:
        return dict(loaded)


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="a model that was saved on torch predicts on every backend and trains on torch alone: its file "
            "names torch's own class of the optimizer, which fails with a TypeError on variables of tensorflow or jax",
            where="recorded/loaded on */after one more step",
        )
    },
    tags=["slow"],
)
def saved_here_and_loaded_everywhere(record, tmp_path):
    model = digit_model()
    x, y = (part[:256] for part in digits())
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    predicted = model.predict(x[:50], verbose=0)
    record("before", predicted)
    for backend in backends.installed():
        here = backend == keras.config.backend()
        loaded = load_and_predict(tmp_path) if here else load_and_predict_on(backend, tmp_path)
        record(f"loaded on {backend}", loaded)
        for name in ("model.keras", "model.weights.h5"):
            assert loaded[name].dtype == keras.config.floatx()
            np.testing.assert_allclose(loaded[name], predicted, atol=1e-6)
        for i, variable in enumerate(model.optimizer.variables):
            assert np.array_equal(loaded[f"optimizer {i}"], keras.ops.convert_to_numpy(variable))


@case(
    expect={
        "torch": Expected(
            "mismatch",
            reason="an optimizer is saved on torch as the class that implements it there, in keras.src.backend.torch, "
            "which imports torch wherever the file is loaded; elsewhere it is saved as keras.optimizers.Adam",
            where="recorded/optimizer/module",
        ),
        "jax": Expected(
            "mismatch",
            reason="compile saves what jit_compile='auto' was resolved to: True on jax, and False elsewhere on a "
            "processor; a file that was saved on jax is compiled by torch.compile on torch, and by XLA on tensorflow",
            where="recorded/jit_compile",
        ),
        **dict.fromkeys(
            ["numpy", "openvino"],
            Expected("mismatch", reason="jit_compile='auto' is True there too", where="recorded/jit_compile"),
        ),
    }
)
def compile_as_it_is_saved(record, tmp_path):
    digit_model().save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        saved = json.loads(archive.read("config.json"))["compile_config"]
    record("optimizer", {name: saved["optimizer"][name] for name in ("module", "class_name", "config")})
    for name in ("loss", "metrics", "loss_weights", "run_eagerly", "steps_per_execution", "jit_compile"):
        record(name, saved[name])


class Doubled(layers.Layer):
    """A layer that is not registered."""

    def call(self, inputs):
        return 2 * inputs


@case
def custom_objects_that_are_not_registered(record, tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), Doubled()])
    model.save(tmp_path / "model.keras")
    with pytest.raises(TypeError, match="Could not locate class 'Doubled'") as raised:
        keras.models.load_model(tmp_path / "model.keras")
    record("error", re.search(r"Could not locate class [^.]+\.", str(raised.value)).group())
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Doubled": Doubled})
    x = np.eye(3, dtype="float32")
    record("output", loaded(x))
    assert np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


if __name__ == "__main__":
    if sys.argv[2] == "float64":
        runtime.current().widen()
    np.savez(Path(sys.argv[1]) / "loaded.npz", **load_and_predict(Path(sys.argv[1])))
