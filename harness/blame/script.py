"""A script that shows a difference with Keras and NumPy alone, and the text of an issue to go with it.

A script is written from what a replay on the reference recorded of a part: what it is made of, its arguments, and the
values it was given. All scripts are one text, round a call that is written for each kind of part: an operation, a
layer, the loss, the optimizer's step, a metric, a regularizer or a constraint. A script is reported only if a run of it
has shown the difference: see `harness.blame.reproducer`.
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

from harness.result import words
from harness.result.judgement import Unlike
from harness.result.model import Finding
from harness.trace import ArrayEntry, Key, Phase, Trace
from harness.trace.parts import GIVEN, LOSS, METRICS, MOST_EMBEDDED, OPTIMIZER, Part, What, name_in

#: The most elements of an array that is written as numbers; larger arrays are embedded as bytes.
MOST_SPELLED = 64

_GRADIENT = """
def gradients(function, inputs):  # of sum(output * c), with c as {c}
    floating = [i for i in range(len(inputs)){differentiated} if "float" in str(inputs[i].dtype)]

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
        return __import__("torch").autograd.grad(total(values), values, materialize_grads=True)
    with __import__("tensorflow").GradientTape() as tape:
        tape.watch(values)
        return tape.gradient(total(values), values, unconnected_gradients="zero")
"""

#: What a gradient is projected on: what came from behind in the case, and random numbers where that is not known.
_UPSTREAM = "it came from behind in the case", "UPSTREAM"
_RANDOM = "standard normal numbers", "map(np.random.default_rng(0).standard_normal, [tuple(y.shape) for y in outputs])"

_MAIN = """

def value():
    computed = [keras.ops.convert_to_tensor(y) for y in keras.tree.flatten(compute()) if y is not None]
    numbers = [np.ravel(keras.ops.convert_to_numpy(y)).astype("float64") for y in computed]
    return [f"{form}" for y in computed], np.concatenate(numbers)


if __name__ == "__main__":
    if sys.argv[1:] == ["value"]:
        sys.exit(print(json.dumps(value(), default=np.ndarray.tolist)))
    forms, values = [], []
    for name, python, variables in ({sides}):
        output = subprocess.check_output([python, __file__, "value"], text=True, env={{**os.environ, **variables}})
        form, numbers = json.loads(output.splitlines()[-1])
        forms, values = [*forms, form], [*values, np.array(numbers)]
        print(f"{{name:>10}}", *form, np.array2string(values[-1], threshold=12))
    if forms[0] != forms[1]:
        sys.exit(print("they differ in {unlike}") or 1)
"""

_NUMBERS = """\
    same, numbers = np.isclose(*values, 0, 0, equal_nan=True), [np.nan_to_num(v, posinf=0, neginf=0) for v in values]
    apart = np.where(same, 0, np.nan_to_num(np.abs(values[0] - values[1]), nan=np.inf, posinf=np.inf))
    worst, scale = np.argmax(apart), max(np.sqrt(np.mean(v**2)) for v in numbers) or 1.0
    difference = apart[worst] / scale
    print(f"element {{worst}}: {{values[0][worst]:.9g}} and {{values[1][worst]:.9g}}")
    print(f"that is {{difference:.2g}} of the root mean square, and rounding explains {bound:.1e}")
    sys.exit(0 if difference <= {bound:.1e} else 1)
"""

#: How the last line begins that a script prints. One that raises prints none.
_ENDINGS = "that is ", "they differ in "

#: Where Keras has its own classes of each kind of part.
_PUBLIC = {
    "layer": "keras.layers",
    "optimizer": "keras.optimizers",
    "loss": "keras.losses",
    "metric": "keras.metrics",
    "regularizer": "keras.regularizers",
    "constraint": "keras.constraints",
}
#: What makes a model of Keras' own that is used as a layer.
_MODELS = {"Functional": "keras.Model", "Sequential": "keras.Sequential"}

_STEP = """

def call(gradients, weights, variables):
    weights = [keras.Variable(weight) for weight in weights]
    optimizer = {made}
    optimizer.build(weights)
    for variable, given in zip(optimizer.variables, variables):
        variable.assign(given)
    optimizer.apply(gradients, weights)
    return {returned}.value
"""

_LOSS = """

def call(y_pred, y, sample_weight):
    model = keras.Model()  # of nothing but its loss
    model.compile(loss={made}{weights})
    return model.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
"""

_METRIC = """

def call(*batch):  # y, y_pred, and sample weights if there are any
    metric = {made}
    metric.update_state(*batch)
    return metric.result()
"""

_VALUE = """

def call(value):
    return {made}(value)
"""

_OF_WEIGHT = """\
    with keras.StatelessScope(state_mapping=[(layer.weights[{position}], weight)]):
        return layer(*args, **kwargs)
"""


class NoScriptError(Exception):
    """No script can be written for a difference, or none shows it: why, in words."""


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
class Computed:
    """What a script computed on one side: shapes of arrays, or their dtypes if these are compared, and all numbers."""

    forms: tuple[str, ...]
    numbers: NDArray[np.float64]


def is_whole(output: str) -> bool:
    """Whether a script came to its end, by what it printed: Python ends with the same status where it raises."""
    return (output.splitlines() or [""])[-1].startswith(_ENDINGS)


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
        unlike: in what the two sides differ, where it is `dtype` or `shape` and not the numbers.
        differentiated: which of the inputs the gradient is taken with respect to, such as `[:1]`; all if it is empty.
    """

    title: str
    call: str
    inputs: tuple[NDArray[Any], ...]
    setup: str
    gradient: bool
    upstream: tuple[NDArray[Any], ...]
    sides: tuple[Side, Side]
    bound: float
    unlike: str | None = None
    differentiated: str = ""

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
        form = "keras.backend.standardize_dtype(y.dtype)" if self.unlike == "dtype" else "tuple(y.shape)"
        return "".join(
            [
                f'"""{self.title} This script runs itself on both, and compares."""\n\n',
                "".join(f"import {module}\n" for module in modules),
                "from math import inf, nan\n" if re.search(r"\b(inf|nan)\b", given) else "",
                "\nimport keras\nimport numpy as np\n\n",
                f"{arrays}{upstream}{self.setup}",
                f"\n{_GRADIENT.format(c=c, scales=scales, differentiated=self.differentiated)}"
                if self.gradient
                else "",
                "\n\ndef compute():\n    inputs = [keras.ops.convert_to_tensor(x) for x in INPUTS]\n",
                f"    return {computed}\n",
                _MAIN.format(sides=sides, form=f"{{{form}}}", unlike=self.unlike or "shape"),
                _NUMBERS.format(bound=self.bound) if self.unlike is None else '    print("that is the same on both")\n',
            ]
        )

    def is_shown(self, sides: Sequence[Computed]) -> bool:
        """Whether what the two sides computed differs in what the script is about."""
        ours, theirs = sides
        if ours.forms != theirs.forms:
            return True
        if self.unlike is not None or not ours.numbers.size:
            return False
        return bool(np.max(distances(ours.numbers, theirs.numbers)) > self.bound)

    def smaller(self, row: int | None, element: tuple[int, ...]) -> Iterator[Script]:
        """The same script with less data, the smallest first."""
        # Numbers, such as a rate, stay what they are.
        shapes = {array.shape for array in (*self.inputs, *self.upstream) if array.ndim}
        shape = next(iter(shapes), ())
        # `element` is an index into what differs. It is used for the inputs only if it fits their shape.
        fits = len(element) == len(shape) and all(i < length for i, length in zip(element, shape, strict=False))
        if len(shapes) == 1 and element and fits:
            yield self._with(lambda array: array[element].reshape(1) if array.ndim else array)
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
        return sum(array.size for array in (*self.inputs, *self.upstream))


def scripts_of(finding: Finding, part: Part, own: Trace, sides: tuple[Side, Side]) -> list[Script]:
    """The scripts for a part that differs on equal values, the smallest first, without those of less data.

    Args:
        finding: what differs, in a replay.
        part: the part of the case that it belongs to.
        own: what the reference alone recorded in that replay.
        sides: the reference, and the target that differs.

    The scripts compute in float32, whatever precision the two were compared in.

    Raises:
        NoScriptError: none can be written, or would show the difference.
    """
    judgement, cause = finding.judgement, finding.judgement.cause
    unlike = cause.what if isinstance(cause, Unlike) and cause.what in ("dtype", "shape") else None
    amplification = judgement.amplification
    # It is infinite, or no number, where the values are.
    bound = 32 * (amplification if amplification and math.isfinite(amplification) else 1.0) * 2.0**-24
    # In a lower precision rounding hides what the script would show in float32, so the float64 difference is used.
    shown = judgement.d32 if own.header.precision in ("float32", "float64") else judgement.d64
    if shown is not None and shown <= bound:
        raise NoScriptError(words.FLOAT32_DOES_NOT_SHOW_IT)
    about = "The gradient of {} differs" if finding.phase == "gradient" else "{} differs"
    about += f" in {unlike}" if unlike else ""
    scripts = []
    for call in _calls_of(finding, part, own, keeps_dtype=unlike == "dtype"):
        gradient = finding.phase == "gradient"
        upstream = _arrays(own, "gradient", name_in(part.place, "upstream")) if gradient else ()
        name = call.name if gradient else re.sub("^the ", "The ", call.name)
        title = f"{about.format(name)} between {sides[0].name} and {sides[1].name}."
        script = Script(title, call.text, call.inputs, call.setup, gradient, upstream, sides, bound, unlike)
        scripts.append(replace(script, differentiated=call.differentiated))
    small = [script for script in scripts if script.size <= MOST_EMBEDDED]
    if not small:
        raise NoScriptError(words.too_large(MOST_EMBEDDED))
    return small


@dataclass(frozen=True)
class _Call:
    """How a script calls a part.

    Attributes:
        name: of what is called, for the title: an operation, or with its kind in front.
        text: an expression of `inputs`.
        inputs, setup, differentiated: see `Script`.
    """

    name: str
    text: str
    inputs: tuple[NDArray[Any], ...]
    setup: str = ""
    differentiated: str = ""


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


def _calls_of(finding: Finding, part: Part, own: Trace, *, keeps_dtype: bool) -> Iterator[_Call]:
    """The calls of a part that may show the difference, the smallest first.

    Args:
        keeps_dtype: whether a layer's own dtype is kept.

    Raises:
        NoScriptError: there is none.
    """
    if part.operation is None and part.what in ("config", "arguments"):
        raise NoScriptError(words.made_otherwise(part.what))
    if part.name == OPTIMIZER:
        yield from _steps_of(finding, own)
        return
    # Of these the observation is the part: each metric, each regularizer and each constraint.
    is_one_of_several = part.name == METRICS or part.what in ("regularizer", "constraint")
    place = finding.name if is_one_of_several else part.place
    if _initial(place, "arguments") not in own:
        raise NoScriptError(words.NOT_RECORDED)
    template = json.loads(str(own[_initial(place, "arguments")].value))
    try:
        listed = [_expression(value) for value in template["args"]]
        listed += [f"{key}={_expression(value)}" for key, value in template["kwargs"].items()]
    except ValueError as error:
        raise NoScriptError(words.called_with_an_object(str(error))) from error
    call = f"call({', '.join(listed)})"
    if part.operation is not None:
        inputs = _arrays(own, "forward", name_in(place, "input"))
        yield _Call(part.operation, f"{part.operation}({', '.join(listed)})", inputs)
        return
    described = json.loads(str(own[_initial(place, "config")].value))
    given = _arrays(own, "forward", name_in(place, GIVEN))
    if part.name == LOSS:
        made, weights = _made_all(described["loss"], "loss"), described["weights"]
        weighted = "" if weights is None else f", loss_weights={weights!r}"
        setup = made.needed + _LOSS.format(made=made.text, weights=weighted)
        predicted = len(_arrays(own, "forward", name_in(LOSS, "input")))
        yield _Call(made.name, call, given, setup, f"[:{predicted}]")
    elif is_one_of_several:
        kind = "metric" if part.name == METRICS else part.what
        made = _made(described, kind)
        text = _METRIC if kind == "metric" else _VALUE
        yield _Call(made.name, call, given, made.needed + text.format(made=made.text))
    else:
        yield _layer_call(finding, part, own, described, call, is_plain=listed[:1] == ["inputs[0]"], dtype=keeps_dtype)


def _layer_call(
    finding: Finding, part: Part, own: Trace, described: Any, call: str, *, is_plain: bool, dtype: bool
) -> _Call:
    """How a script calls a layer.

    Args:
        is_plain: whether it is given one tensor before all else.
        dtype: whether its own dtype is kept.
    """
    made = _made(described, "layer", dropped=() if dtype else ("dtype",))
    inputs = _arrays(own, "forward", name_in(part.place, "input"))
    weights = _named_arrays(own, "initial", name_in(part.place, "weight"))
    # A gradient may be that of a weight, and what differs the state that the layer leaves: which is told by its name.
    name = finding.name.removeprefix(f"{part.place}/{part.what}/")
    position = list(weights).index(name) if part.what in ("weight", "state") and name in weights else None
    is_of_weight = position is not None and part.what == "weight"
    result = ["    return layer(*args, **kwargs)\n"]
    if is_of_weight:
        call = f"{call[:-1]}, weight=inputs[{len(inputs)}])"
        result = [_OF_WEIGHT.format(position=position)]
    elif position is not None:
        result = ["    layer(*args, **kwargs)\n", f"    return layer.weights[{position}].value\n"]
    is_built = is_plain and not described.get("composed")
    lines = [
        *([_listed("WEIGHTS", tuple(weights.values()))] if weights else []),
        made.needed,
        f"\n\ndef call(*args{', weight' if is_of_weight else ''}, **kwargs):\n",
        f"    layer = {made.text}\n",
        "    layer.build(args[0].shape)\n" if is_built else "    layer(*args, **kwargs)  # which builds it\n",
        *(["    layer.set_weights(WEIGHTS)\n"] if weights else []),
        *result,
    ]
    given = (*inputs, weights[name]) if is_of_weight else inputs
    return _Call(made.name, call, given, "".join(lines), f"[{len(inputs)}:]" if is_of_weight else "")


def _steps_of(finding: Finding, own: Trace) -> Iterator[_Call]:
    """The optimizer's step: of the weight alone that comes out otherwise, and of all weights."""
    if _initial(OPTIMIZER, "config") not in own:
        raise NoScriptError(words.NOT_RECORDED)
    made = _made(json.loads(str(own[_initial(OPTIMIZER, "config")].value)), "optimizer")
    weights = _named_arrays(own, "initial", name_in(OPTIMIZER, "weight"))
    variables = _named_arrays(own, "initial", name_in(OPTIMIZER, "state"))
    gradients = _arrays(own, "forward", name_in(OPTIMIZER, "input"))
    kind, _, name = finding.name.removeprefix(f"{OPTIMIZER}/").partition("/")
    if name not in (weights if kind == "weight" else variables) or len(gradients) != len(weights):
        raise NoScriptError(words.NOT_RECORDED)
    owners = {variable: _owner(variable, list(weights)) for variable in variables}
    of = name if kind == "weight" else owners[name]

    def step(gradients: Sequence[NDArray[Any]], kept: Sequence[str], left: Sequence[str]) -> _Call:
        where, names = ("weights", kept) if kind == "weight" else ("optimizer.variables", left)
        setup = _STEP.format(made=made.text, returned=f"{where}[{names.index(name)}]")
        inputs = (*gradients, *(weights[key] for key in kept), *(variables[key] for key in left))
        count = len(kept)
        text = f"call(inputs[:{count}], inputs[{count}:{2 * count}], inputs[{2 * count}:])"
        return _Call(made.name, text, inputs, made.needed + setup)

    if of is not None and len(weights) > 1:
        yield step([gradients[list(weights).index(of)]], [of], [key for key, at in owners.items() if at in (of, None)])
    yield step(gradients, list(weights), list(variables))


def _owner(variable: str, weights: Sequence[str]) -> str | None:
    """The weight that an optimizer's variable is kept for, by Keras' name for it; None of what is kept for all."""
    name = variable.partition("/")[2]
    owners = [weight for weight in weights if name.startswith(f"{weight.replace('/', '_')}_")]
    return max(owners, key=len, default=None)


@dataclass(frozen=True)
class _Made:
    """How a script makes an object.

    Attributes:
        name: of its class or function for the title, with its kind in front.
        text: an expression.
        needed: statements that the expression needs: an import, or the source of the class.
    """

    name: str
    text: str
    needed: str = ""


def _made(described: Any, kind: str, *, dropped: Sequence[str] = ()) -> _Made:
    """How a script makes what the worker described: a class with its config, a function, or what Keras has a name for.

    Args:
        kind: a key of `_PUBLIC`.
        dropped: what is left out of the config.

    Raises:
        NoScriptError: it cannot be made.
    """
    if "text" in described:
        return _Made(f"the {kind} {described['text']!r}", repr(described["text"]))
    module, cls, source = described["module"], described["class"], described.get("source")
    if described.get("why") is not None:
        raise NoScriptError(words.cannot_be_made(kind, cls, described["why"]))
    if source is not None:
        name, needed = cls.rpartition(".")[2], f"\n\n{source.strip()}\n"
        shown = name
    elif module.startswith("keras."):
        shown = name = _MODELS.get(cls, f"{_PUBLIC[kind]}.{cls}")
        needed = ""
    else:
        shown, name, needed = f"{module}.{cls}", cls, f"\nfrom {module} import {cls.partition('.')[0]}\n"
    shown = f"the {kind} {shown}"
    if described.get("is_function"):
        return _Made(shown, name if kind != "metric" else f"keras.metrics.MeanMetricWrapper({name})", needed)
    if described["config"] is None:
        raise NoScriptError(words.cannot_be_made(kind, cls, None))
    config = {key: value for key, value in described["config"].items() if key not in ("name", "build_config", *dropped)}
    return _Made(shown, f"{name}.from_config({config!r})", needed)


def _made_all(described: Any, kind: str) -> _Made:
    """How a script makes a structure of objects, such as a loss for each output."""
    if described is None:
        return _Made("", "None")
    if "list" not in described and "dict" not in described:
        return _made(described, kind)
    items = described.get("dict") or dict(enumerate(described["list"]))
    made = {key: _made_all(item, kind) for key, item in items.items()}
    texts = [f"{key!r}: {item.text}" if "dict" in described else item.text for key, item in made.items()]
    names = dict.fromkeys(item.name.removeprefix(f"the {kind} ") for item in made.values() if item.name)
    needed = "".join(dict.fromkeys(item.needed for item in made.values()))
    listed = ", ".join(texts)
    return _Made(f"the {kind} {' and '.join(names)}", f"{{{listed}}}" if "dict" in described else f"[{listed}]", needed)


def _initial(place: str, what: What) -> str:
    return str(Key("initial", 0, name_in(place, what)))


def _arrays(trace: Trace, phase: Phase, name: str) -> tuple[NDArray[Any], ...]:
    """The arrays of that name or below it, floating ones in float32."""
    return tuple(_named_arrays(trace, phase, name).values())


def _named_arrays(trace: Trace, phase: Phase, name: str) -> dict[str, NDArray[Any]]:
    """The same by what stands after the name."""
    found = [entry for entry in trace.select(phase, step=0, name=name) if isinstance(entry, ArrayEntry)]
    return {entry.name.removeprefix(f"{name}/"): _in_float32(trace[entry.key].array) for entry in found}


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
        raise ValueError(content)
    return repr(value)


def _listed(name: str, arrays: Sequence[NDArray[Any]]) -> str:
    """The statement that gives a list of arrays a name."""
    return f"{name} = [\n{''.join(f'    {_spelled(array)},{chr(10)}' for array in arrays)}]\n"


def _spelled(array: NDArray[Any]) -> str:
    is_spelled = array.size <= MOST_SPELLED and (array.dtype.kind != "c" or bool(np.isfinite(array).all()))
    if is_spelled:  # Python has no word for a complex number that is infinite or none
        # The shortest decimals that are these numbers in the array's dtype.
        listed = np.reshape([float(str(x)) for x in array.flat], array.shape) if array.dtype.kind == "f" else array
        return f"np.array({listed.tolist()!r}, {array.dtype.name!r})"
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return f'np.frombuffer(base64.b64decode("{data}"), "{array.dtype.name}").reshape({array.shape!r})'
