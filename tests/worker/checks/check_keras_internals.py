"""Guards of the private places of Keras that the harness touches: each says what Keras moved."""

import ast
import importlib
import inspect
import random
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from packaging.version import Version

import harness
from harness import backends
from harness.backends import runtime
from harness.worker import keras_internals, own_generator

BACKEND = keras.config.backend()
#: All that `install` replaces, and all methods of `ArrayDataAdapter` that are wrapped.
RANDOM = (
    "uniform",
    "normal",
    "truncated_normal",
    "dropout",
    "randint",
    "categorical",
    "shuffle",
    "gamma",
    "beta",
    "binomial",
)
ADAPTER_METHODS = ("on_epoch_end", "get_torch_dataloader", "get_tf_dataset", "_get_iterator")


def held_by_keras(module, name):
    """An attribute of a private module of Keras."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"Keras moved {module}.{name}: {error}")


def private_imports():
    """Module and name of whatever the harness imports from `keras.src`, but for other backends' modules."""
    found = set()
    for path in Path(harness.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras.src"):
                found |= {(node.module, alias.name) for alias in node.names}
    others = {f"keras.src.backend.{name}" for name in backends.NAMES if name != BACKEND}
    return sorted(pair for pair in found if not any(pair[0].startswith(other) for other in others))


def adapter(shuffle):
    """What `fit` makes of array data."""
    make = held_by_keras("keras.src.trainers.data_adapters.array_data_adapter", "ArrayDataAdapter")
    return make(np.zeros((4, 1), np.float32), np.zeros((4, 1), np.float32), batch_size=2, shuffle=shuffle)


def small_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    return model


def as_list(tensor):
    return np.asarray(ops.convert_to_numpy(tensor)).tolist()


@pytest.mark.parametrize(("module", "name"), [pytest.param(*pair, id=".".join(pair)) for pair in private_imports()])
def test_what_the_harness_imports_of_keras_own_is_there(module, name):
    held_by_keras(module, name)


def test_every_function_of_keras_internals_has_a_guard_here():
    functions = inspect.getmembers(keras_internals, inspect.isfunction)
    public = {name for name, f in functions if f.__module__ == keras_internals.__name__ and not name.startswith("_")}
    assert len(public) > 5
    assert {name for name in public if f"test_{name}" not in globals()} == set()


def test_keep_float64():
    table = held_by_keras("keras.src.backend.common.dtypes", "BIT64_TO_BIT32_DTYPE")
    # Before 3.12 Keras narrows no complex numbers.
    for dtype in ("float64", "complex128") if Version(keras.__version__) >= Version("3.12") else ("float64",):
        assert dtype in table, f"Keras no longer narrows {dtype} in BIT64_TO_BIT32_DTYPE, but elsewhere or not at all."


def test_keep_float64_keeps_it(in_float64):
    assert in_float64["dtypes"] == {
        "floatx": "float64",
        "policy": "float64",
        "weight": "float64",
        "result type": "float64",
        "with a float": "float64",
        "with float32": "float64",
        "mean": "float64",
        "complex": "complex128",
    }, "Keras narrows float64 in a place that the harness does not know."


def test_a_python_float_is_cast_to_float64_exactly(in_float64):
    assert in_float64["a tenth"] == 0.1, "Keras' cast of a Python float to float64 goes through float32 again."


def test_replaced_function():
    module, name = "keras.src.utils.numerical_utils", "normalize"
    original = held_by_keras(module, name)
    assert keras.utils.normalize is original
    calls = []

    def wrap(native):
        def replacement(*args, **kwargs):
            calls.append(native)
            return native(*args, **kwargs)

        return replacement

    with keras_internals.replaced_function(module, name, wrap):
        assert keras.utils.normalize(np.array([[3.0, 4.0]])).tolist() == [[0.6, 0.8]]
    assert calls == [original]
    assert keras.utils.normalize is original


@pytest.mark.parametrize("name", RANDOM)
def test_replaced_function_replaces_those_of_keras_random(name):
    module = f"keras.src.backend.{BACKEND}.random"
    function = held_by_keras(module, name)
    assert function.__module__ == "harness.worker.randomness", f"{module}.{name} is not the shared generator's."


def test_do_not_import_tensorflow(tmp_path):
    is_backend = BACKEND == "tensorflow"
    for module in ("keras.src.saving.serialization_lib", "keras.src.utils.rng_utils"):
        lazy = held_by_keras(module, "tf")
        assert lazy.available is is_backend, f"{module} has another way to ask for TensorFlow."
    keras.utils.set_random_seed(0)
    small_model().save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")
    assert ("tensorflow" in sys.modules) is is_backend, "Keras imported TensorFlow, where it is not the backend."


def test_do_not_import_tensorflow_keeps_its_generator_seeded():
    lazy = held_by_keras("keras.src.utils.rng_utils", "tf")
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        drawn.append(lazy.random.uniform((3,)).numpy().tolist() if lazy.available else random.random())
    assert drawn[0] == drawn[1]


@pytest.mark.skipif(BACKEND != "openvino", reason="is of openvino alone")
@pytest.mark.parametrize("compiles", [lambda: as_list(ops.ones(2) + 1), lambda: small_model().predict(np.ones((1, 1)))])
def test_openvino_compiled_with(compiles):
    """What looks at a tensor compiles with the properties, and what predicts does."""
    held_by_keras("keras.src.backend.openvino.core", "compile_model")
    with keras_internals.openvino_compiled_with({"NO_SUCH_PROPERTY": 1}), pytest.raises(RuntimeError) as raised:
        compiles()
    compiles()
    assert "NO_SUCH_PROPERTY" in f"{raised.value} {raised.value.__cause__}"


@pytest.mark.parametrize(("shuffle", "expected"), [(True, True), (False, False), ("batch", False)])
def test_shuffles_all(shuffle, expected):
    made = adapter(shuffle)
    assert hasattr(made, "_shuffle"), "Keras moved ArrayDataAdapter._shuffle."
    assert keras_internals.shuffles_all(made) is expected


@pytest.mark.parametrize("name", ADAPTER_METHODS)
def test_array_adapter_method_is_there(name):
    assert callable(getattr(type(adapter(True)), name, None)), f"Keras moved ArrayDataAdapter.{name}."


def test_array_adapter_method():
    original = type(adapter(True)).on_epoch_end
    calls = []

    def wrap(native):
        def on_epoch_end(self):
            calls.append(type(self).__name__)
            native(self)

        return on_epoch_end

    with keras_internals.array_adapter_method("on_epoch_end", wrap):
        small_model().fit(np.zeros((4, 1)), np.zeros((4, 1)), epochs=2, verbose=0)
    assert calls == 3 * ["ArrayDataAdapter"], "fit no longer ends an epoch once before the first, and after each."
    assert type(adapter(True)).on_epoch_end is original


def test_array_adapter_method_is_put_back_after_an_error():
    original = type(adapter(True)).on_epoch_end
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        keras_internals.array_adapter_method("on_epoch_end", lambda _native: None),
    ):
        raise RuntimeError("on purpose")
    assert type(adapter(True)).on_epoch_end is original


def test_array_adapter_method_lets_the_backend_take_its_order():
    asked = []

    def permutation(asking, size):
        asked.append((type(asking).__name__, size))
        return np.arange(size)

    methods = {name: getattr(type(adapter(True)), name) for name in ADAPTER_METHODS}
    with runtime.current().shuffle_with(permutation):
        small_model().fit(np.zeros((4, 1)), np.zeros((4, 1)), verbose=0)
    assert set(asked) == {("ArrayDataAdapter", 4)}, f"fit shuffles in another way on {BACKEND}."
    assert {name: getattr(type(adapter(True)), name) for name in ADAPTER_METHODS} == methods


def test_tracking_scope():
    given, updated, untouched = (keras.Variable([value], trainable=False) for value in (1.0, 2.0, 3.0))
    assert hasattr(given, "_value"), "Keras moved Variable._value."
    with keras_internals.tracking_scope([(given, ops.convert_to_tensor([10.0]))]) as scope:
        assert as_list(scope.get_current_value(untouched)) == [3.0]
        assert as_list(given.value) == [10.0]
        updated.assign([20.0])
        updated.assign_add(1.0)
        given.assign([11.0])
        assert as_list(updated.value) == [21.0]
        assert as_list(untouched.value) == [3.0]
    assert [variable.path for variable in scope.updated] == [updated.path, given.path], "Keras moved add_update."
    assert as_list(scope.get_current_value(updated)) == [21.0]
    assert [as_list(variable.value) for variable in (given, updated, untouched)] == [[1.0], [2.0], [3.0]]


def test_tracking_scope_starts_from_the_scope_it_is_opened_in():
    one, other = keras.Variable(1.0, trainable=False), keras.Variable(2.0, trainable=False)
    with keras_internals.tracking_scope([(one, ops.convert_to_tensor(10.0))]) as outer:
        other.assign(20.0)
        with keras_internals.tracking_scope([]) as inner:
            assert (as_list(one.value), as_list(other.value)) == (10.0, 20.0), "Keras moved state_mapping."
            one.assign(11.0)
        assert as_list(one.value) == 10.0
    assert [variable is one for variable in inner.updated] == [True]
    assert [variable is other for variable in outer.updated] == [True]


@pytest.mark.skipif(BACKEND == "openvino", reason="Keras infers shapes with parameters of a graph there")
def test_in_symbolic_scope():
    answers = []

    class Asking(keras.Layer):
        def call(self, x):
            answers.append(keras_internals.in_symbolic_scope())
            return x

    Asking()(keras.Input((2,)))
    assert True in answers, "Keras infers shapes in another scope."
    answers.clear()
    Asking()(np.zeros((1, 2)))
    assert answers == [False]


def test_global_seed_generator():
    keras.utils.set_random_seed(0)
    assert keras_internals.global_seed_generator() is None
    keras.random.uniform((1,))
    generator = keras_internals.global_seed_generator()
    assert isinstance(generator, keras.random.SeedGenerator), "Keras moved the generator of unseeded calls."
    before = as_list(generator.state.value)
    keras.random.uniform((1,))
    assert as_list(generator.state.value) != before


def test_forget_global_seed():
    drawn = []
    for _ in range(2):
        random.seed(5)
        keras_internals.forget_global_seed()
        assert keras_internals.global_seed_generator() is None, "Keras moved the generator of unseeded calls."
        drawn.append(as_list(keras.random.uniform((3,))))
    assert drawn[0] == drawn[1]


def test_next_seed():
    keras.utils.set_random_seed(0)
    first, second = (as_list(keras_internals.next_seed(None)) for _ in range(2))
    assert second == [first[0], first[1] + 1], "Keras' global generator no longer counts when it is asked in order."
    assert as_list(keras_internals.next_seed(7)) == [7, 0]
    generator = keras.random.SeedGenerator(7)
    assert [as_list(keras_internals.next_seed(generator)) for _ in range(2)] == [[7, 0], [7, 1]]


def test_operations():
    found = keras_internals.operations()
    expected = ["matmul", "relu", "average_pool", "batch_normalization", "conv", "logsumexp", "cast", "slice_update"]
    assert {f"keras.ops.{name}" for name in expected} <= set(found), "Keras moved the functions behind keras.ops."
    assert {f"keras.random.{name}" for name in RANDOM} <= set(found), "Keras moved the functions behind keras.random."
    assert "keras.ops.convert_to_tensor" not in found


def test_wrapped_operations():
    seen = []

    def wrap(name, function):
        def wrapped(*args, **kwargs):
            seen.append(name)
            return function(*args, **kwargs)

        return wrapped

    dense = keras.layers.Dense(2, activation="relu")
    dense.build((None, 3))
    with keras_internals.wrapped_operations(wrap):
        dense(np.ones((4, 3), np.float32))
    assert [name for name in seen if name in ("keras.ops.matmul", "keras.ops.add", "keras.ops.relu")] == [
        "keras.ops.matmul",
        "keras.ops.add",
        "keras.ops.relu",
    ], "A dense layer no longer calls its operations through keras.src.backend."
    count = len(seen)
    dense(np.ones((4, 3), np.float32))
    assert len(seen) == count


def test_is_built():
    model = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(3)])
    assert not keras_internals.is_built(model)
    model.layers[0].build((None, 4))
    assert not keras_internals.is_built(model)
    model.build((None, 4))
    assert keras_internals.is_built(model), "Layers no longer say that they are built, or no longer tell their layers."


def test_compute_output_spec():
    """A layer that tells its shape is built with all that is inside of it."""

    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(2)

        def build(self, shape):
            super().build(shape)

        def compute_output_shape(self, shape):
            return (*shape[:-1], 2)

        def call(self, x):
            return self.inner(x)

    layer = Outer()
    spec = keras.KerasTensor((4, 3))
    layer(spec)
    assert not keras_internals.is_built(layer), "Keras calls such a layer on placeholders now: simplify state.build."
    assert keras_internals.compute_output_spec(layer, spec).shape == (4, 2)
    assert keras_internals.is_built(layer)
    assert [tuple(variable.shape) for variable in layer.variables] == [(3, 2), (2,)]


def test_what_is_replaced_while_it_is_observed_stays_observed():
    seen = []

    def wrap(name, function):
        def observed(*args, **kwargs):
            result = function(*args, **kwargs)
            seen.append((name, float(result)))
            return result

        return observed

    with keras_internals.wrapped_operations(wrap):
        exp = f"keras.src.backend.{BACKEND}.numpy", "exp"
        with keras_internals.replaced_function(*exp, lambda _native: lambda x: x * 0 + 7):
            assert float(ops.exp(ops.convert_to_tensor(1.0))) == 7.0
    assert seen == [("keras.ops.exp", 7.0)]
    assert float(ops.exp(ops.convert_to_tensor(0.0))) == 1.0


def test_owners():
    inner = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, name="d"), keras.layers.Dropout(0.5, name="drop")]
    )
    model = keras.Sequential([inner, keras.layers.Dense(1, name="e")])
    found = keras_internals.owners(model)
    assert [found[id(variable)] for variable in model.variables] == ["d", "d", "drop", "e", "e"]


def test_layers_in():
    model = small_model()
    names = [layer.name for layer in keras_internals.layers_in(model)]
    assert names[0] == model.name, "Keras moved Layer._flatten_layers."
    assert names[-1] == model.layers[-1].name


def test_loss_weights_of():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert keras_internals.loss_weights_of(model) == []
    model.compile("sgd", "mse", loss_weights=[0.5])
    model.compute_loss(np.zeros((2, 2)), ops.zeros((2, 1)), ops.ones((2, 1)))
    assert keras_internals.loss_weights_of(model) == [0.5], "Keras keeps the weights of losses elsewhere."


def _of_two_outputs():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, [keras.layers.Dense(1, name="a")(inputs), keras.layers.Dense(1, name="b")(inputs)])
    model.compile("sgd", [keras.losses.Huber(), "mse"])
    return model


def test_losses_of():
    model = _of_two_outputs()
    assert keras_internals.losses_of(model) == {}
    model.compute_loss(None, [ops.zeros((2, 1))] * 2, [ops.ones((2, 1))] * 2)
    kinds = {name: type(loss).__name__ for name, loss in keras_internals.losses_of(model).items()}
    assert kinds == {"a": "Huber", "b": "LossFunctionWrapper"}, "Keras keeps the losses of a model elsewhere."


def test_loss_trackers_of():
    model = _of_two_outputs()
    model.compute_loss(None, [ops.zeros((2, 1))] * 2, [ops.ones((2, 1))] * 2)
    values = [float(tracker.result()) for tracker in keras_internals.loss_trackers_of(model)]
    assert values == [0.5, 1.0], "Keras keeps the value of each of several losses elsewhere."


def test_metrics_of():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[keras.metrics.MeanAbsoluteError(name="far")])
    model.compute_metrics(np.zeros((2, 2)), ops.zeros((2, 1)), ops.ones((2, 1)))
    names = [metric.name for metric in keras_internals.metrics_of(model)]
    assert names == ["loss", "far"], "Keras keeps the metrics that a model is compiled with elsewhere."


def test_forget_names():
    first = keras.layers.Dense(1).name
    assert keras.layers.Dense(1).name != first
    keras_internals.forget_names()
    assert keras.layers.Dense(1).name == "dense", "Keras counts the names of layers elsewhere."


def test_in_layer_call():
    class Asking(keras.layers.Layer):
        def call(self, x):
            found.append(keras_internals.in_layer_call())
            return x

    found = []
    Asking()(ops.ones((2, 2)))
    assert found, "the layer was not called"
    assert all(found), "Keras keeps the context of a layer's call elsewhere."
    assert not keras_internals.in_layer_call()


def test_in_compute_loss():
    class Asking(keras.Model):
        def call(self, x):
            return x

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # noqa: ARG002
            found.append(keras_internals.in_compute_loss())
            return ops.mean(y_pred)

    found = []
    model = Asking()
    model.compile(loss="mse")
    model.evaluate(np.ones((2, 2)), np.ones((2, 2)), verbose=0)
    assert found, "the loss was not computed"
    assert all(found), "Keras computes the loss of a step elsewhere."
    assert not keras_internals.in_compute_loss()


def test_has_inner_layers():
    assert keras_internals.has_inner_layers(small_model()), "Keras moved Layer._flatten_layers."
    assert not keras_internals.has_inner_layers(keras.layers.Dense(1))


def test_mask_of():
    masked = keras.layers.Masking()(np.array([[[1.0], [0.0]]], np.float32))
    assert as_list(keras_internals.mask_of(masked)) == [[True, False]], "Keras keeps masks elsewhere."
    assert keras_internals.mask_of(ops.ones((1, 2, 1))) is None


def test_carry_mask():
    tensor = keras_internals.carry_mask(ops.ones((1, 2, 1)), ops.convert_to_tensor([[True, False]]))
    assert as_list(keras.layers.GlobalAveragePooling1D()(tensor * 1.0)) == [[1.0]]
    assert as_list(keras_internals.mask_of(tensor)) == [[True, False]]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((2, 1), index, np.float32), np.zeros((2, 1), np.float32)


def test_dataset_adapter_method():
    ended = []

    def wrap(native):
        def on_epoch_end(self):
            ended.append(type(self).__name__)
            native(self)

        return on_epoch_end

    with keras_internals.dataset_adapter_method("on_epoch_end", wrap):
        small_model().fit(Batches(), epochs=2, verbose=0)
    assert set(ended) == {"PyDatasetAdapter"}
    assert len(ended) >= 2, "fit no longer tells the adapter of a PyDataset that an epoch is over."


def test_dataset_shuffle():
    asked = []
    with keras_internals.dataset_shuffle(lambda batches: asked.append(len(batches))):
        small_model().fit(Batches(), verbose=0)
    assert set(asked) == {3}, "A PyDataset's batches are no longer shuffled by the random of py_dataset_adapter."


def test_tracking_scope_has_the_losses_that_layers_add():
    class Adding(keras.Layer):
        def call(self, x):
            self.add_loss(ops.sum(x))
            return x

    layer = Adding()
    with keras_internals.tracking_scope([]) as outer:
        with keras_internals.tracking_scope([]) as scope:
            layer(ops.ones((2,)))
            layer(ops.ones((3,)))
            assert [as_list(loss) for loss in layer.losses] == [3.0], "Keras moved the losses of a StatelessScope."
        assert layer.losses == []
    assert [(adding, as_list(loss)) for adding, loss in scope.added] == [(layer, 3.0)], "Keras moved _loss_ids."
    assert outer.added == []
    assert layer.losses == []


def test_untracked_variables():
    layer = keras.layers.LSTM(2, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(1, 3, 1)), layer, keras.layers.Dense(1)])
    found = keras_internals.untracked_variables(model)
    assert [id(variable) for variable in found] == [id(state) for state in layer.states], "Keras moved RNN.states."
    assert not {id(variable) for variable in found} & {id(variable) for variable in model.variables}
    assert {keras_internals.owners(model)[id(state)] for state in found} == {layer.name}


def test_observed_source_is_that_of_the_next_fit_alone():
    seen = []

    class Evaluating(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002 - Keras' signature
            self.model.evaluate(np.full((2, 1), 9.0), np.full((2, 1), 9.0), verbose=0)

    x = np.arange(6.0).reshape(6, 1)
    with runtime.current().observed_batches(lambda batch: seen.append(np.asarray(batch[0]).ravel().tolist())):
        model = small_model()
        model.build((None, 1))
        model.fit(x, x, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[Evaluating()])
    model.fit(x, x, verbose=0)
    epoch = [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0]]
    assert seen[-4:] == epoch * 2, "fit takes its batches from elsewhere than EpochIterator._get_iterator."
    assert len(seen) <= 5, "Keras looks at more than one batch before training."


def test_observed_source():
    sources = []
    with keras_internals.observed_source(lambda source: sources.append(source) or source):
        small_model().fit(np.zeros((4, 1)), np.zeros((4, 1)), verbose=0)
    assert sources, "the trainer has an epoch iterator of another class."


def test_values_in_training():
    held, at_end = [], []

    class Looking(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002 - Keras' signature
            held.append(keras_internals.values_in_training(model))

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras' signature
            at_end.append([as_list(variable.value) for variable in model.trainable_variables])

    model = small_model()
    model.fit(np.ones((4, 1)), np.zeros((4, 1)), verbose=0, callbacks=[Looking()])
    if BACKEND == "jax":
        values = [as_list(held[0][id(variable)]) for variable in model.trainable_variables]
        assert values == at_end[0], "Keras moved Model._jax_state."
    else:
        assert held == [{}]
    assert keras_internals.values_in_training(model) == {}


def test_written_seeds_moved():
    held_by_keras("keras.src.random.seed_generator", "draw_seed")
    with keras_internals.written_seeds_moved(5):
        generator = keras.random.SeedGenerator(3)
        drawn = ops.convert_to_numpy(keras.random.uniform((4,), seed=3))
        weights = ops.convert_to_numpy(keras.initializers.GlorotUniform(seed=3)((2, 2)))
    assert ops.convert_to_numpy(generator.state.value).tolist() == [8, 0], "Keras keeps another state in SeedGenerator"
    assert generator.get_config()["seed"] == 3, "Keras keeps a SeedGenerator's seed in another place than _initial_seed"
    np.testing.assert_array_equal(drawn, ops.convert_to_numpy(keras.random.uniform((4,), seed=8)))
    np.testing.assert_array_equal(weights, ops.convert_to_numpy(keras.initializers.GlorotUniform(seed=8)((2, 2))))


def test_the_module_of_public_random_functions_is_where_it_was():
    moved = {name: getattr(keras.random, name).__module__ for name in RANDOM}
    assert set(moved.values()) == {own_generator._PUBLIC}, f"Keras moved keras.random: {moved}"
