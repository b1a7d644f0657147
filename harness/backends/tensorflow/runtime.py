"""TensorFlow in a worker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.backends.runtime import Call, Compiled, Permutation, Runtime, See
from harness.backends.tensorflow import BACKEND
from harness.target import Target
from harness.worker import keras_internals
from harness.worker.patching import FOR_GOOD, patched


class TensorFlowRuntime(Runtime):
    backend = BACKEND

    def devices(self) -> list[str]:
        import tensorflow as tf

        return [_name(device.name) for device in tf.config.list_physical_devices()]

    def seed(self, seed: int) -> None:
        import tensorflow as tf

        tf.random.set_seed(seed)

    def set_threads(self, count: int) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)

    def widen(self) -> None:
        super().widen()
        cast = keras_internals.replaced_function("keras.src.backend.tensorflow.core", "cast", _exact_cast)
        FOR_GOOD.enter_context(cast)

    def compute_in_full(self) -> None:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)

    def assertions(self) -> list[tuple[Any, str]]:
        import tensorflow as tf

        names = ("assertAllClose", "assertAllCloseAccordingToType", "assertAllEqual", "assertNotAllClose")
        return [(tf.test.TestCase, name) for name in names]

    def differentiators(self) -> list[tuple[Any, str]]:
        import tensorflow as tf

        tape = [(tf.GradientTape, name) for name in ("gradient", "jacobian", "batch_jacobian")]
        return [*tape, (tf, "gradients")]

    @contextlib.contextmanager
    def placed(self, target: Target, rank: int, meeting: Path) -> Iterator[None]:
        import tensorflow as tf

        if target.cpus > 1:
            (processor,) = tf.config.list_physical_devices("CPU")
            parts = [tf.config.LogicalDeviceConfiguration() for _ in range(target.cpus)]
            tf.config.set_logical_device_configuration(processor, parts)
        kind = {"cuda": "GPU", None: "CPU"}.get(target.kind, str(target.kind).upper())
        replicas = target.count("data_parallel")
        if replicas > 1:
            with tf.distribute.MirroredStrategy([f"{kind}:{index}" for index in range(replicas)]).scope():
                yield
        elif target.device is not None:
            with tf.device(f"{kind}:{target.index}"):
                yield
        else:
            yield

    @contextlib.contextmanager
    def shuffle_with(self, permutation: Permutation) -> Iterator[None]:
        import tensorflow as tf

        def ordered(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def get_tf_dataset(adapter: Any) -> Any:
                if not keras_internals.shuffles_all(adapter):
                    return original(adapter)

                def shuffle(indices: Any) -> Any:
                    """Stands in for tf.random.shuffle: NumPy is asked whenever a pass over the data starts."""

                    def order_of(size: Any) -> Any:
                        return permutation(adapter, int(size))

                    order = tf.numpy_function(order_of, [tf.size(indices)], tf.int64, stateful=True)
                    return tf.gather(indices, tf.ensure_shape(order, indices.shape))

                with patched(tf.random, "shuffle", lambda _: shuffle):
                    return original(adapter)

            return get_tf_dataset

        with keras_internals.array_adapter_method("get_tf_dataset", ordered):
            yield

    def observed_batches(self, see: See) -> contextlib.AbstractContextManager[None]:
        import tensorflow as tf

        observed: dict[int, Any] = {}

        def source_of(dataset: Any) -> Any:
            if not isinstance(dataset, tf.data.Dataset):
                return dataset  # each replica is given its own rows
            if id(dataset) not in observed:  # Keras asks for the same one in each epoch
                observed[id(dataset)] = _seen(dataset, see)
            return observed[id(dataset)]

        return keras_internals.observed_source(source_of)

    def settings(self) -> dict[str, Any]:
        import tensorflow as tf

        return {
            "device": _name(tf.config.list_logical_devices()[-1].name),
            "threads": {
                "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
                "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
            },
            "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "jit": tf.config.optimizer.get_jit() or "off",
            "run_functions_eagerly": tf.config.functions_run_eagerly(),
        }

    def value_of(self, variable: Any) -> Any:
        import tensorflow as tf

        value = variable.value
        return value.read_value() if isinstance(value, tf.distribute.DistributedValues) else value

    @contextlib.contextmanager
    def outside_of_graphs(self) -> Iterator[None]:
        import tensorflow as tf

        with tf.init_scope():
            yield

    def device_of(self, tensor: Any) -> str:
        import tensorflow as tf

        parts = tensor.values if isinstance(tensor, tf.distribute.DistributedValues) else [tensor]
        return " ".join(_name(part.device) for part in parts)

    def is_concrete(self, tensor: Any) -> bool:
        import tensorflow as tf

        return isinstance(tensor, tf.Variable) or hasattr(tensor, "numpy")

    def iota(self, size: Any) -> Any:
        import tensorflow as tf

        return tf.range(size, dtype=tf.int32)

    def differentiate(
        self, call: Call, tensors: Sequence[Any], variables: Sequence[Any], *, whole: bool = False
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        import tensorflow as tf

        leaves = [tf.identity(tensor) for tensor in tensors]  # one tensor may be given twice
        values = [variable.value for variable in variables]
        with tf.GradientTape() as tape:
            tape.watch(leaves + values)
            value, rest = call(leaves)
        gradients = [
            tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
            for gradient in tape.gradient(value, leaves + values)
        ]
        return value, rest, gradients[: len(leaves)], gradients[len(leaves) :]

    def compiled(self, function: Compiled, variables: Sequence[Any] | None, *, jit: bool) -> Compiled:
        import tensorflow as tf

        compiled = tf.function(function, jit_compile=jit, autograph=False)
        return lambda tensors: compiled(list(tensors))


def _name(device: str) -> str:
    """`cpu:0` of `/job:localhost/replica:0/task:0/device:CPU:0`, and `cuda:0` of what TensorFlow calls a GPU."""
    kind, index = device.split(":")[-2:]
    return f"{'cuda' if kind == 'GPU' else kind.lower()}:{index}"


def _seen(dataset: Any, see: See) -> Any:
    """A dataset whose elements `see` is given when they are taken out: the step that takes them may be compiled."""
    import tensorflow as tf

    def told(*elements: Any) -> Any:
        given = elements if type(dataset.element_spec) is tuple else elements[0]
        leaves = tf.nest.flatten(tf.nest.map_structure(_looked_at, given))

        def tell(*arrays: Any) -> Any:
            remaining = iter(arrays)
            see(tf.nest.pack_sequence_as(given, [None if leaf is None else next(remaining) for leaf in leaves]))
            return np.int32(0)

        is_told = tf.numpy_function(tell, [leaf for leaf in leaves if leaf is not None], tf.int32, stateful=True)
        with tf.control_dependencies([is_told]):
            copies = [tf.identity(leaf) if isinstance(leaf, tf.Tensor) else leaf for leaf in _components(given)]
        return tf.nest.pack_sequence_as(given, copies, expand_composites=True)

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # which would take batches before their steps do
    return dataset.map(told).with_options(options)


def _components(structure: Any) -> list[Any]:
    import tensorflow as tf

    leaves: list[Any] = tf.nest.flatten(structure, expand_composites=True)
    return leaves


def _looked_at(leaf: Any) -> Any:
    """A leaf of a batch as a tensor that Python may look at; None where it is none."""
    import tensorflow as tf

    if isinstance(leaf, tf.SparseTensor):
        return tf.sparse.to_dense(leaf)
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.to_tensor()
    is_plain = isinstance(leaf, tf.Tensor) and leaf.dtype not in (tf.variant, tf.resource)
    return leaf if is_plain else None


def _exact_cast(native: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`keras.ops.cast` that takes a Python float straight to float64: Keras' own goes through float32."""

    def cast(x: Any, dtype: Any) -> Any:
        import tensorflow as tf

        return tf.constant(x, tf.float64) if isinstance(x, float) and dtype == "float64" else native(x, dtype)

    return cast


RUNTIME = TensorFlowRuntime()
