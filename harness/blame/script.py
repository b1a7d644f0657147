"""A script that shows a difference with Keras and NumPy alone, and the text of an issue to go with it.

A script is written from what a replay recorded: the operation or layer, its arguments, and the values it was given. It
is reported only if a run of it has shown the difference: see `harness.blame.reproducer`.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.result.model import Finding
from harness.trace import ArrayEntry, Key, Phase, Trace
from harness.trace.parts import Part, What, name_in

#: The most elements of an array that is written as numbers; larger arrays are embedded as bytes.
MOST_SPELLED = 64
#: The most elements of all inputs together; with more, no script is written.
MOST_EMBEDDED = 50_000

_GRADIENT = """
def gradients(function, inputs):  # of sum(output * c), with c as {c}
    floating = [i for i, x in enumerate(inputs) if "float" in str(x.dtype)]

    def total(values):
        outputs = keras.tree.flatten(function([dict(zip(floating, values)).get(i, x) for i, x in enumerate(inputs)]))
        outputs = [y for y in outputs if "float" in str(y.dtype)]
        scales = {scales}
        return sum(keras.ops.sum(y * keras.ops.cast(scale, y.dtype)) for y, scale in zip(outputs, scales))

    values = [inputs[i] for i in floating]
    if keras.backend.backend() == "jax":
        return __import__("jax").grad(total)(values)
    if keras.backend.backend() == "torch":
        values = [x.clone().requires_grad_() for x in values]
        return __import__("torch").autograd.grad(total(values), values, allow_unused=True)
    with __import__("tensorflow").GradientTape() as tape:
        tape.watch(values)
        return tape.gradient(total(values), values)
"""

#: What a gradient is projected on: what came from behind in the case, and random numbers where that is not known.
_UPSTREAM = "it came from behind in the case", "UPSTREAM"
_RANDOM = "standard normal numbers", "map(np.random.default_rng(0).standard_normal, [tuple(y.shape) for y in outputs])"

_MAIN = """

def value():
    computed = [y for y in keras.tree.flatten(compute()) if y is not None]
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(y)).astype("float64") for y in computed])


if __name__ == "__main__":
    if sys.argv[1:] == ["value"]:
        sys.exit(print(json.dumps(value().tolist())))
    values = []
    for name, python, variables in ({sides}):
        output = subprocess.check_output([python, __file__, "value"], text=True, env={{**os.environ, **variables}})
        values.append(np.array(json.loads(output.splitlines()[-1])))
        print(f"{{name:>10}}", np.array2string(values[-1], threshold=12))
    same, numbers = np.isclose(*values, 0, 0, equal_nan=True), [np.nan_to_num(v, posinf=0, neginf=0) for v in values]
    apart = np.where(same, 0, np.nan_to_num(np.abs(values[0] - values[1]), nan=np.inf, posinf=np.inf))
    worst, scale = np.argmax(apart), max(np.sqrt(np.mean(v**2)) for v in numbers) or 1.0
    difference = apart[worst] / scale
    print(f"element {{worst}}: {{values[0][worst]:.9g}} and {{values[1][worst]:.9g}}")
    print(f"that is {{difference:.2g}} of the root mean square, and rounding explains {bound:.1e}")
    sys.exit(0 if difference <= {bound:.1e} else 1)
"""


def distances(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """What a script computes of two results: how far each element is apart, in units of the root mean square.

    It is infinite where only one side is infinite or no number, or both are in two ways.
    """
    same = np.isclose(first, second, 0, 0, equal_nan=True)
    numbers = [np.nan_to_num(v, posinf=0, neginf=0) for v in (first, second)]
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.nan_to_num(np.abs(first - second), nan=np.inf, posinf=np.inf))
    return np.asarray(apart / (max(np.sqrt(np.mean(v**2)) for v in numbers) or 1.0))


@dataclass(frozen=True)
class Side:
    """One of the two sides that a script compares.

    Attributes:
        name: what the script calls it, such as `torch:cuda`.
        variables: environment variables of its process: `KERAS_BACKEND`, and those that choose the device.
        python: the path of its interpreter; None for the one that runs the script.
    """

    name: str
    variables: Mapping[str, str]
    python: str | None = None


@dataclass(frozen=True)
class Script:
    """A script, by what it computes.

    Attributes:
        title: its first line.
        call: an expression of `inputs`, a list of tensors.
        inputs: the values of the tensors.
        setup: statements that the expression needs, at the top level of the script.
        gradient: whether the gradient is what differs.
        upstream: what comes from behind to each output, for a gradient; nothing where that is not known.
        sides: the two that are compared, the reference first.
        bound: the largest difference, relative to the root mean square, that rounding explains.
    """

    title: str
    call: str
    inputs: tuple[NDArray[Any], ...]
    setup: str
    gradient: bool
    upstream: tuple[NDArray[Any], ...]
    sides: tuple[Side, Side]
    bound: float

    def text(self) -> str:
        """The script's source."""
        arrays, upstream = _listed("INPUTS", self.inputs), _listed("UPSTREAM", self.upstream) if self.upstream else ""
        modules = ["json", "os", "subprocess", "sys"]
        given = arrays + upstream + self.setup
        modules = ["base64", *modules] if "base64." in given else modules
        c, scales = _UPSTREAM if self.upstream else _RANDOM
        computed = f"gradients(lambda inputs: {self.call}, inputs)" if self.gradient else self.call
        pythons = ["sys.executable" if side.python is None else repr(side.python) for side in self.sides]
        told = zip(self.sides, pythons, strict=True)
        sides = ", ".join(f"({side.name!r}, {python}, {dict(side.variables)!r})" for side, python in told)
        return "".join(
            [
                f'"""{self.title} This script runs itself on both, and compares."""\n\n',
                "".join(f"import {module}\n" for module in modules),
                "from math import inf, nan\n" if re.search(r"\b(inf|nan)\b", given) else "",
                "\nimport keras\nimport numpy as np\n\n",
                f"{arrays}{upstream}{self.setup}",
                f"\n{_GRADIENT.format(c=c, scales=scales)}" if self.gradient else "",
                "\n\ndef compute():\n    inputs = [keras.ops.convert_to_tensor(x) for x in INPUTS]\n",
                f"    return {computed}\n",
                _MAIN.format(sides=sides, bound=self.bound),
            ]
        )

    def smaller(self, row: int | None, element: tuple[int, ...]) -> Iterator[Script]:
        """The same script with less data, the smallest first."""
        shapes = {array.shape for array in (*self.inputs, *self.upstream)}
        shape = next(iter(shapes), ())
        # `element` is an index into what differs. It is used for the inputs only if it fits their shape.
        fits = len(element) == len(shape) and all(i < length for i, length in zip(element, shape, strict=False))
        if len(shapes) == 1 and element and fits:
            yield self._with(lambda array: array[element].reshape(1))
        if row is not None and self.inputs:
            length = len(self.inputs[0]) if self.inputs[0].ndim else 0
            if row < length:
                for count in sorted({1, 2, length // 4, length // 2}):
                    if 1 <= count < max(length, 2):
                        yield self._with(partial(_rows, length=length, row=row, count=count))

    def _with(self, part: Callable[[NDArray[Any]], NDArray[Any]]) -> Script:
        """The script with a part of each array."""
        return replace(self, inputs=tuple(map(part, self.inputs)), upstream=tuple(map(part, self.upstream)))

    def rounded(self) -> Script:
        """The same script with numbers that are easier to read."""
        return replace(
            self,
            inputs=tuple(
                np.round(array, 2).astype(array.dtype) if array.dtype.kind == "f" else array for array in self.inputs
            ),
        )

    @property
    def size(self) -> int:
        return sum(array.size for array in self.inputs)


def script_of(
    finding: Finding,
    part: Part,
    trace: Trace,
    sides: tuple[Side, Side],
) -> Script | None:
    """The script for an operation or a layer that differs on equal values, or None where none can be written.

    Args:
        finding: what differs, in a replay.
        part: the part of the case that it belongs to.
        trace: the reference's trace of that replay.
        sides: the reference, and the target that differs.

    The script computes in float32, whatever precision the two were compared in.
    """
    key = _initial(part.place, "arguments")
    if key not in trace:
        return None
    inputs = _arrays(trace, "forward", name_in(part.place, "input"))
    template = json.loads(str(trace[key].value))
    try:
        positional = [_expression(value) for value in template["args"]]
        keywords = [f"{key}={_expression(value)}" for key, value in template["kwargs"].items()]
    except ValueError:
        return None
    listed = ", ".join([*positional, *keywords])
    gradient = finding.phase == "gradient"
    upstream = _arrays(trace, "gradient", name_in(part.place, "upstream")) if gradient else ()
    if sum(array.size for array in (*inputs, *upstream)) > MOST_EMBEDDED:
        return None
    judgement = finding.judgement
    amplification = judgement.amplification
    # It is infinite, or no number, where the values are.
    bound = 32 * (amplification if amplification and math.isfinite(amplification) else 1.0) * 2.0**-24
    # In a lower precision rounding hides what the script would show in float32, so the float64 difference is used.
    shown = judgement.d32 if trace.header.precision in ("float32", "float64") else judgement.d64
    if shown is not None and shown <= bound:
        return None  # float32 does not show it
    title = f"{'The gradient of ' if gradient else ''}{{}} differs between {sides[0].name} and {sides[1].name}."
    if part.operation is not None:
        call = f"{part.operation}({listed})"
        return Script(title.format(part.operation), call, inputs, "", gradient, upstream, sides, bound)
    return _layer_script(trace, part.place, listed, inputs, title, gradient, upstream, sides, bound)


def issue_text(script: str, output: str, title: str, environments: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of an issue, as Markdown: what differs, on which versions and devices, the numbers, and the script."""
    lines = []
    for target, environment in environments.items():
        versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
        lines.append(f"- {target}: {versions}, Python {environment.get('python')}, device {environment.get('device')}")
    return "\n".join(
        [
            f"# {title}\n",
            "The script below computes the same on both, from the same values. It prints:\n",
            f"```\n{output.strip()}\n```\n\n## Versions\n",
            *lines,
            f"\n## Script\n\n```python\n{script}```\n",
        ]
    )


def _layer_script(
    trace: Trace,
    place: str,
    listed: str,
    inputs: tuple[NDArray[Any], ...],
    title: str,
    gradient: bool,
    upstream: tuple[NDArray[Any], ...],
    sides: tuple[Side, Side],
    bound: float,
) -> Script | None:
    described = json.loads(str(trace[_initial(place, "config")].value))
    config, source = described["config"], described.get("source")
    if config is None:
        return None
    config = {key: value for key, value in config.items() if key not in ("dtype", "name", "build_config")}
    module, cls = described["module"], described["class"]
    if source is not None:
        name = maker = cls.rpartition(".")[2]
        needed = f"\n\n{source.strip()}\n"
    elif module.startswith("keras."):
        name = maker = f"keras.layers.{cls}"
        needed = ""
    else:
        name, maker, needed = f"{module}.{cls}", cls, f"\nfrom {module} import {cls.partition('.')[0]}\n"
    weights = _arrays(trace, "initial", name_in(place, "weight"))
    lines = [
        *([_listed("WEIGHTS", weights)] if weights else []),
        needed,
        "\n\ndef call(*args, **kwargs):\n",
        f"    layer = {maker}.from_config({config!r})\n",
        "    layer.build(args[0].shape)\n",
        *(["    layer.set_weights(WEIGHTS)\n"] if weights else []),
        "    return layer(*args, **kwargs)\n",
    ]
    setup = "".join(lines)
    title = title.format(f"{'the' if gradient else 'The'} layer {name}")
    return Script(title, f"call({listed})", inputs, setup, gradient, upstream, sides, bound)


def _initial(place: str, what: What) -> str:
    return str(Key("initial", 0, name_in(place, what)))


def _arrays(trace: Trace, phase: Phase, name: str) -> tuple[NDArray[Any], ...]:
    """The arrays of that name or below it, floating ones in float32."""
    found = (entry.key for entry in trace.select(phase, step=0, name=name) if isinstance(entry, ArrayEntry))
    return tuple(_in_float32(trace[key].array) for key in found)


def _in_float32(array: NDArray[Any]) -> NDArray[Any]:
    """A floating array in float32, any other as it is. The extended dtypes, such as bfloat16, are of kind V."""
    return array.astype(np.float32) if array.dtype.kind in "fV" else array


def _rows(array: NDArray[Any], length: int, row: int, count: int) -> NDArray[Any]:
    """`count` rows, `row` among them, of an array that has `length` rows; any other array as it is."""
    if array.ndim == 0 or len(array) != length:
        return array
    start = min(row, length - count)
    return array[start : start + count]


def _expression(value: Any) -> str:
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tensor":
            return f"inputs[{int(content)}]"
        if kind == "dict":
            return "{" + ", ".join(f"{key!r}: {_expression(item)}" for key, item in content.items()) + "}"
        if kind == "float":
            return f"float({str(content)!r})"
        if kind in ("tuple", "list"):
            items = ", ".join(_expression(item) for item in content)
            return f"[{items}]" if kind == "list" else f"({items},)" if content else "()"
        raise ValueError(f"a {content} cannot be spelled")
    return repr(value)


def _listed(name: str, arrays: Sequence[NDArray[Any]]) -> str:
    """The statement that gives a list of arrays a name."""
    return f"{name} = [\n{''.join(f'    {_spelled(array)},{chr(10)}' for array in arrays)}]\n"


def _spelled(array: NDArray[Any]) -> str:
    is_spelled = array.size <= MOST_SPELLED and (array.dtype.kind != "c" or bool(np.isfinite(array).all()))
    if is_spelled:  # Python has no word for a complex number that is infinite or none
        return f"np.array({array.tolist()!r}, {array.dtype.name!r})"
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return f'np.frombuffer(base64.b64decode("{data}"), "{array.dtype.name}").reshape({array.shape!r})'
