"""The sentences of `result.json`: why a verdict was reached, how far a difference spreads, and whose it is.

Those who judge and blame have data, and get their sentences here. `harness.report.words` builds upon them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.result.golden import Change
from harness.result.judgement import (
    Drawn,
    InOnePrecision,
    Judgement,
    LessPrecise,
    Lost,
    Missing,
    OneSided,
    Reordered,
    Unequal,
    Unlike,
)
from harness.trace import Phase
from harness.trace.key import AS_PROMISED, CALLBACKS, DATA, GENERATOR, below
from harness.trace.parts import AS_KERAS, CASE, LOSS, METRICS, OPTIMIZER, Part
from harness.verdict import Verdict


def reason(judgement: Judgement) -> str:
    """Why a verdict was reached, in one sentence: `reason` in `result.json`."""
    cause = judgement.cause
    d32, d64 = _short(judgement.d32), _short(judgement.d64)
    match cause:
        case None:
            return _measured(judgement)
        case Missing():
            return f"it was not recorded on {'this target' if cause.on_target else 'the reference'}"
        case Lost():
            return f"{cause.side} raises in {cause.part!r}: {cause.error}"
        case Reordered():
            return _reordered(cause)
        case Unlike(what="length"):
            return f"it has {cause.ours} items, and {cause.theirs} on the reference"
        case Unlike():
            named = {"item": f"item {cause.item}", "entry": f"its {cause.item}"}
            what = {"dtype": "dtype", "shape": "shape", **named}.get(cause.what, "it")
            rest = {"dtype": "; the values are equal", "entry": "; all else is equal"}.get(cause.what, "")
            return f"{what} is {cause.ours}, and {cause.theirs} on the reference{rest if cause.is_all else ''}"
        case Unequal():
            elements = f"{cause.count} of {cause.size} elements differ, first " if cause.size > 1 else ""
            return f"{elements}{cause.ours}{_at(judgement)}, and {cause.theirs} on the reference"
        case OneSided():
            where = " in float64" if cause.in_float64 else ""
            return f"it is {cause.ours}{_at(judgement)}, and {cause.theirs} on the reference{where}"
        case LessPrecise():
            side = "this target" if cause.on_target else "the reference"
            where = "" if cause.other_precision == cause.precision else f" in {cause.other_precision}"
            error, other = f"{cause.error:.1e}", f"{cause.other_error:.1e}"
            return f"{side} has a {cause.precision} error of {error}, and the other one of {other}{where}"
        case InOnePrecision():
            side, other = ("this target", "the reference") if cause.on_target else ("the reference", "this target")
            agreeing = f"{d64} in float64" if cause.precision == "float32" else f"{d32} in float32"
            return (
                f"in {cause.precision} only: they agree to {agreeing}; float32 and float64 are {cause.error:.1e} apart "
                f"on {side} and {cause.other_error:.1e} on {other}, which no lower precision explains"
            )
        case Drawn():
            test = f"Kolmogorov-Smirnov, p = {cause.p_value:.1e}"
            found = f"the {cause.statistic} of {cause.runs} runs on each side ({test})"
            if judgement.verdict >= Verdict.DIVERGENT:
                return f"{found} has another distribution"
            return f"one distribution, as far as can be told: {found}"


def _reordered(cause: Reordered) -> str:
    rest = len(cause.moved) - _MOST_MOVED
    moved = listed([*map(repr, cause.moved[:_MOST_MOVED]), *([f"{rest} more"] if rest > 0 else [])])
    match cause.phase:
        case "initial" | "gradient" | "update" | "optimizer":
            return (
                f"variables are in another order than on the reference ({moved} moved): lists of get_weights(), and "
                "whatever else goes by position, do not fit"
            )
        case "forward":
            return f"layers are called in another order than on the reference: {moved} moved"
    return f"it was recorded in another order than on the reference: {moved} moved"


def _measured(judgement: Judgement) -> str:
    """Why, where the numbers of a judgement say it all."""
    d32, d64, bound = (_short(value) for value in (judgement.d32, judgement.d64, judgement.bound))
    match judgement.basis, judgement.verdict:
        case "exact", _:
            return "equal" if judgement.d32 is None else "equal bit for bit, in float32"
        case "twins", Verdict.IDENTICAL:
            return "equal bit for bit"
        case "twins", Verdict.ROUNDING:
            return f"the float64 runs agree to {d64}"
        case "twins", Verdict.LEAK:
            return f"the float64 runs differ by {d64}: one of them is in float32 inside"
        case "twins", _:
            return f"the float64 runs differ by {d64}, and rounding of float32 explains {_short(judgement.explained)}"
        case _, Verdict.ROUNDING:
            return f"the targets agree to {d32}"
    return f"the targets differ by {d32}, and the bound from {judgement.basis} is {bound}"


def _short(number: float | None) -> str:
    return "what was not measured" if number is None else f"{number:.1e}"


def _at(judgement: Judgement) -> str:
    return f" at {judgement.index}" if judgement.index else ""


def spread(count: int, size: int, band: tuple[str, int, int] | None) -> str:
    """How far a difference spreads.

    Args:
        count, size: how many elements differ, of how many.
        band: `row` or `channel`, its position and how many there are, if all that differs lies in one.
    """
    if count <= 1:
        return "one element" if size > 1 else "the one element there is"
    if count == size:
        return f"all {size} elements"
    if band is not None:
        name, position, length = band
        return f"{name} {position} of {length}, {count} elements"
    return f"{count} of {size} elements"


# Whose a difference between targets is

DATA_DIFFER = "the data that the case makes differ, before anything is trained"
DTYPES_OF_DATA_DIFFER = "the case makes data of another dtype, with equal values"
BATCHES_DIFFER = "the pipeline gives other batches: seed it, or use arrays"
EVENTS_DIFFER = "callbacks are called in another order, or with other logs"
ORDER_DIFFERS = "the order is all that was looked at: values are compared by name"
_MOST_MOVED = 4
_SEED_IT = (
    "Something draws numbers that nobody seeded: use the case's argument `rng`, or give every generator, layer and "
    "data pipeline a seed. What is meant to be random is compared as distributions under `--randomness native`."
)
_NO_CHANGE, _RATE = "nothing", "learning rate"
NOT_KNOWN = "where it is made is not known"
_MORE_TIME = "--blame-seconds (with pytest: --parity-blame-seconds) raises that"
THE_LOSS, THE_METRICS, THE_CASE = "the loss", "the metrics", "the case itself"
THE_STEP, THE_OPTIMIZER = "the optimizer's step", "the optimizer"
THE_CALLBACKS = "the case's callbacks"
#: The most rows of data that are named.
_MOST_ROWS = 3
STILL_TO_LOOK_AT = "still to look at"
#: The most names that are listed, and the most reasons that are told.
_MOST_NAMED = 6
_MOST_REASONS = 3
#: Parts that are no layer's, as they are called in a sentence.
_PARTS = {LOSS: THE_LOSS, OPTIMIZER: THE_STEP, METRICS: THE_METRICS, CASE: THE_CASE}


def not_repeating(targets: Sequence[str], phase: Phase, name: str) -> str:
    """That targets differ from themselves in an observation, and what to do."""
    verb = "does not repeat itself" if len(targets) == 1 else "do not repeat themselves"
    is_data = phase == "initial" and below(name, DATA) is not None
    cure = "Draw the case's data from its argument `rng`." if is_data else _SEED_IT
    return f"{listed(targets)} {verb}: two runs on one target differ as much as two targets. {cure}"


def located(what: str, place: str | None) -> str:
    """What is named, with the place where it is written, as `the loss (Cosh, net.py:33)`, if there is one."""
    return what if place is None else f"{what} ({place})"


def of_place(place: str, *, quoted: bool = False) -> str:
    """A place by itself, as `Net.compute_loss (net.py:12)` of `Net.compute_loss, net.py:12`."""
    name, _, line = place.partition(", ")
    return located(f"`{name}`" if quoted else name, line or None)


def loss_of(output: str) -> str:
    return f"the loss of {output!r}"


def data_of(name: str, step: int | None) -> str:
    """What to open where data differ."""
    return f"the case's data: {name}" if step is None else f"the case's pipeline: {name} in the batch of step {step}"


def input_of(layer: str) -> str:
    """What a case gives to a layer that it calls by itself."""
    return f"the case's input of {layer}"


def given_otherwise(what: str) -> str:
    """That a case gives something else on the two sides."""
    return f"{what} differs, before anything is computed"


def apart(sides: Sequence[tuple[str, Sequence[str]]]) -> str:
    """What targets have, side by side: `12 on torch, and 0 on tensorflow and jax`."""
    told = [f"{text or 'nothing'} on {listed(targets)}" for text, targets in sides]
    return f"{', '.join(told[:-1])}, and {told[-1]}" if len(told) > 1 else "".join(told)


def rows_differ(
    name: str,
    step: int | None,
    rows: Sequence[int],
    count: int,
    index: Sequence[int],
    sides: Sequence[tuple[str, Sequence[str]]],
) -> str:
    """Which rows of data differ.

    Args:
        name: what they are rows of, such as `y`.
        step: the training step whose batch they are in; None for all the data.
        count: of all rows.
        index: the element of the first row that differs first; empty where a row is one number.
        sides: what the targets have there.
    """
    what = name if step is None else f"{name} in the batch of step {step}"
    at = f" at [{', '.join(map(str, index))}]" if index else ""
    if len(rows) == count > 1:
        return f"all {count} rows of {what} differ, the first{at}: {apart(sides)}"
    named = [str(row) for row in rows[1 : 1 + _MOST_ROWS]]
    left = len(rows) - 1 - len(named)
    also = f"row {named[0]}" if len(rows) == 2 else f"rows {listed([*named, *([f'{left} more'] if left else [])])}"
    more = f" (and {also})" if named else ""
    return f"row {rows[0]} of {what} differs{at}{more}: {apart(sides)}"


def rows_reordered(name: str, step: int | None, rows: Sequence[int]) -> str:
    """That data have the same rows on both sides, some of them in other places: these."""
    where = "" if step is None else f" in the batch of step {step}"
    return f"{name}{where} has the same rows in another order: rows {_few([str(row) for row in rows])} are elsewhere"


def left_in_metric(
    metric: str,
    variable: str,
    index: Sequence[int],
    when: str,
    sides: Sequence[tuple[str, Sequence[str]]],
    own: str | None,
) -> str:
    """That only the state of a metric differs when something begins that metrics are reset for.

    Args:
        when: what begins, as `epoch 1 begins`.
        own: the method of the model's own that resets its metrics, if it has one.
    """
    at = f" at [{', '.join(map(str, index))}]" if index else ""
    told = [
        f"{text or 'not there'}{f' when {when}' if not place else ''} on {listed(targets)}"
        for place, (text, targets) in enumerate(sides)
    ]
    by = "" if own is None else f"; the model resets its metrics by {own}"
    return f"only {metric} differs: its state `{variable}`{at} is {', and '.join(told)}{by}"


def only_metric(metric: str, name: str, sides: Sequence[tuple[str, Sequence[str]]]) -> str:
    """That one metric differs where all that was recorded beside it agrees."""
    return f"only {metric} differs: {name} is {apart(sides)}"


def changed_by(hook: str, when: str, sides: Sequence[tuple[str | None, tuple[str, str] | None, Sequence[str]]]) -> str:
    """What a callback changed, side by side.

    Args:
        hook: the callback's, such as `Halve.on_epoch_end`, and where it is written, or the callback alone.
        when: `after epoch 0`.
        sides: what was changed, None where the callback was not called; the learning rate before and after, where that
            was changed and is known; and the targets.
    """
    order = sorted(sides, key=lambda side: (side[0] in (None, _NO_CHANGE), len(side[2])))
    (what, rate, targets), *others = order
    is_alone = len(targets) == 1 < sum(len(side[2]) for side in others) and all(
        other in (None, _NO_CHANGE) for other, _, _ in others
    )
    told = f"{_changed(what, rate)} by {hook} {when} on {listed(targets)}{' only' if is_alone else ''}"
    for other, its_rate, its in others:
        said = "it is not called" if other is None else "nothing" if other == _NO_CHANGE else _changed(other, its_rate)
        told += f", and {said} on {listed(its)}"
    return told


def _changed(what: str | None, rate: tuple[str, str] | None) -> str:
    """What was changed, with the learning rate in numbers."""
    if rate is None:
        return f"{what} changed"
    told = f"{_RATE} {rate[0]} → {rate[1]}"
    rest = (what or "").removeprefix(_RATE).removeprefix(", ")
    return f"{told}, and {rest} changed" if rest else told


def events_differ(name: str, values: Sequence[tuple[str, object]]) -> str:
    """What differs between targets in an event, other than in batches and in what a callback changed.

    Args:
        name: of the observation.
        values: each target and what was observed there; None where nothing was.
    """
    if name == CALLBACKS:
        lists: dict[str, list[str]] = {}
        for target, value in values:
            lists.setdefault(", ".join(map(str, value)) if isinstance(value, list) else f"{value}", []).append(target)
        told = [
            f"{text} on {listed(targets)}" for text, targets in sorted(lists.items(), key=lambda item: len(item[1]))
        ]
        return f"other callbacks are called, or in another order: {'; '.join(told)}"
    function = below(name, GENERATOR)
    if function is not None:
        faults = [f"{value} on {target}" for target, value in values if value not in (AS_PROMISED, None)]
        return f"the backend's own {function}, for which the harness's generator stands in here: {'; '.join(faults)}"
    return EVENTS_DIFFER


def nothing_differs(phase: Phase, *, step: int | None, steps_agree: bool) -> str:
    """That no part was found, for a difference in a phase.

    Args:
        step: the training step that differs from equal state as a whole; None if none does, or none was looked at.
        steps_agree: whether the steps were looked at, and none differs.
    """
    if step is not None:
        return f"training step {step} makes it, and no part of that step differs by itself on equal values"
    if steps_agree:
        return "no training step differs by itself when it starts from equal state"
    return f"no {'operation of the case' if phase == 'recorded' else 'part'} differs by itself on equal values"


def ruled_out(
    layers: Sequence[str],
    parts: Sequence[str],
    operations: int,
    steps: tuple[int, int] | None,
    *,
    with_gradients: bool,
) -> str | None:
    """What was replayed on equal values and agrees; None where nothing was.

    Args:
        layers: their names.
        parts: what else was replayed: `(loss)`, `(optimizer)`, `regularizer`, ....
        operations: how many of them.
        steps: the first and the last of the training steps that agree, each from equal state.
        with_gradients: whether gradients of these were replayed too.
    """
    told = []
    if layers:
        told.append(f"{_count(len(layers), 'layer')} ({_few([repr(name) for name in layers])})")
    told += [_PARTS.get(part, f"{part}s") for part in parts]
    told += [_count(operations, "operation")] if operations else []
    gradients = ", with their gradients" if with_gradients else ""
    found = [f"{listed(told)}{gradients}, on equal values"] if told else []
    if steps is not None:
        first, last = steps
        each = f"step {first}" if first == last else f"each of the steps {first} to {last}"
        found.append(f"{each}, from equal state")
    return f"ruled out: {'; '.join(found)}" if found else None


def not_looked_at(notes: Mapping[str, Sequence[str]]) -> str | None:
    """What could not be replayed: the parts, by why; None where nothing is left out."""
    named = {why: [_PARTS.get(part, part) for part in parts] for why, parts in notes.items()}
    told = [f"{_few(parts)} ({_first_line(why)})" for why, parts in named.items()]
    return f"not looked at: {'; '.join(told[:_MOST_REASONS])}" if told else None


def still_to_look_at(places: Sequence[str]) -> str | None:
    """The user's own code that may make a difference and is no part that was replayed: `Net.fit, x.py:3`, ...."""
    return f"{STILL_TO_LOOK_AT}: {_few([of_place(place) for place in places])}" if places else None


def same_steps(places: Sequence[str]) -> str | None:
    """The steps of the model's own that do the same on both sides, beside what its model and loss do by themselves."""
    named = listed([of_place(place) for place in places])
    return f"{named} {'does' if len(places) == 1 else 'do'} the same on both sides" if places else None


def clue(target: str, phase: Phase, step: int, name: str, judgement: Judgement, *, alone: str | None, at: str) -> str:
    """The most telling difference beside a finding.

    Args:
        alone: the target that stands alone with it.
        at: `case`, or the kind of replay in which it shows: `step` or `part`.
    """
    again = {"step": ", in that step alone", "part": ", on equal values"}.get(at, f", step {step}")
    who = f"only {alone} differs" if alone is not None else f"on {target}"
    return f"strongest clue: {name!r} ({phase}{again}), {who}: {reason(judgement)}"


def nearest(phase: Phase, name: str, share: float) -> str:
    """That all else is rounding, and what comes nearest to being more: how much of what rounding explains it is."""
    near = f"{name!r} ({phase}) is nearest to more, at {share:.1g} of what rounding explains"
    return f"strongest clue: all that comes before agrees but for rounding; {near}"


def records_beside(before: str | None, others: Sequence[str]) -> str | None:
    """What the records beside one that differs say: the last before it that agrees, and the others that differ."""
    told = [] if before is None else [f"the last record before it that agrees is {before!r}"]
    told += (
        [f"{_few([repr(name) for name in others])} differ{'s' if len(others) == 1 else ''} as well"] if others else []
    )
    return "; ".join(told) or None


def told(sentences: Sequence[str | None]) -> str:
    """Several sentences as one text, the most important first; those that are None are left out."""
    return ". ".join(
        sentence[0].upper() + sentence[1:] if place else sentence
        for place, sentence in enumerate(filter(None, sentences))
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return listed([*names[:_MOST_NAMED], *([f"{rest} more"] if rest > 0 else [])])


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no reason is given"


def out_of_time(seconds: float, running: Sequence[str], last: str | None, *, is_found: bool) -> str:
    """That the time for a search was over before all was looked at.

    Args:
        is_found: whether the part was found by then, and what was still sought is the operation, or a script.
        running: the targets on which a replay ran then.
        last: the last part that was looked at.
    """
    where = f" in a replay on {listed(running)}" if running else ""
    if is_found:
        return f"the search for more ended after {seconds:g} s{where}: {_MORE_TIME}"
    seen = "before any part was looked at" if last is None else f"with the parts up to {last} looked at"
    return f"the search ended after {seconds:g} s{where}, {seen}: {_MORE_TIME}"


def steps_left_out(count: int) -> str:
    """That the first of the training steps that may have made a difference were not looked at."""
    return f"the first {count} steps that may have made it were not looked at: {_MORE_TIME}"


def not_replayed(failures: Mapping[str, str]) -> str:
    """That no part was found, and that replays failed: why, by target."""
    told = [f"{target}: {why.strip().splitlines()[0]}" for target, why in failures.items()]
    return f"{NOT_KNOWN}, because a replay of its parts failed on {'; on '.join(told)}"


def search_failed(error: Exception) -> str:
    """That the search itself failed."""
    return f"the search for its origin failed, which is a bug of the harness: {type(error).__name__}: {error}"


def part_named(part: str, layer: str | None) -> str:
    """What a part that was replayed is called, which may be of a layer."""
    return _PARTS.get(part) or (f"layer {layer!r}" if layer else part)


def introduced(
    place: str,
    part: Part,
    operation: Part | None,
    *,
    call: str | None,
    raising: str | None,
    in_gradient: bool,
    heir: str | None,
) -> str:
    """In which part a difference is made.

    Args:
        place: what the part is called: see `harness.result.culprits`.
        operation: in the part, if one was found.
        call: how the part's calls of that operation differ, if it is these and not the operation.
        raising: the target on which the part raised, if that is the difference.
        in_gradient: whether it is the gradient that differs.
        heir: the layer in which the difference was seen, if that is another one.
    """
    text = f"introduced in {place}" if raising is None else f"{raising} raises in {place}"
    if part.name == METRICS and place != THE_METRICS:
        text += ", in its result" if part.what == "value" else ", in its update"
    elif part.what in ("config", "regularizer", "constraint", "state"):
        text += f", in its {part.what}"
    if call is not None:
        text += f": {call}"
    elif operation is not None:
        text += f", by {operation.operation}"
    text += ", in its gradient" if in_gradient and call is None else ""
    return text + (f"; layer {heir!r} inherits it" if heir else "")


def in_step(culprit: str, deeds: Mapping[str, str]) -> str:
    """That a model's own step does something else on some targets.

    Args:
        culprit: the step.
        deeds: what it does, by target.
    """
    by_words: dict[str, list[str]] = {}
    for target, words in deeds.items():
        by_words.setdefault(words, []).append(target)
    told = sorted(by_words.items(), key=lambda item: (item[0] in AS_KERAS, len(item[1])))
    return f"{culprit}: " + "; ".join(f"on {listed(targets)} {words}" for words, targets in told)


def step_differs(culprit: str, phase: Phase) -> str:
    """That what a model's own step makes differs, where it does the same things, and its parts agree on equal values.

    Args:
        phase: of what it makes.
    """
    made = {"forward": "its predictions differ", "gradient": "the gradients it applies differ"}
    made |= {"log": "what it returns differs"}
    what = made.get(phase, "the weights or the optimizer differ after it")
    return f"{culprit}: {what}, though its model, loss and optimizer agree by themselves"


def decided(slope: float, gradients: Mapping[str, float]) -> str:
    """What a finite difference says of the gradients of two targets, at the element in which they differ most."""
    told = " and ".join(f"{gradient:.6g} on {target}" for target, gradient in gradients.items())
    return f"a finite difference in float64 gives {slope:.6g}, and the gradient is {told}"


def raised(lost: Lost) -> str:
    """That an exception is the difference."""
    return f"{lost.side} raises in {lost.part!r}, and the other side does not"


def called_with(operation: str, groups: Sequence[tuple[str, Sequence[str]]]) -> str:
    """That an operation is called with other arguments: each of one, and the targets that have it, the rarest first."""
    if not groups:
        return f"it calls {operation} with other arguments"
    told = [f"with {value} on {listed(targets)}" for value, targets in groups]
    value, targets = groups[-1]
    if len(targets) > 1:
        told[-1] = f"with {value} elsewhere"
    return f"it calls {operation} {', '.join(told)}"


def called_by(operation: str, having: Sequence[str], lacking: Sequence[str], *, again: bool) -> str:
    """That an operation is called on some targets and not on others, or called more often."""
    once_more = " once more" if again else ""
    if len(having) == 1 < len(lacking):
        return f"it calls {operation}{once_more} on {listed(having)} alone"
    return f"it calls {operation}{once_more} on {listed(having)}, and not on {listed(lacking)}"


def given_other_values(operation: str) -> str:
    """That the values which an operation is given are made in other ways."""
    return f"what it gives to {operation} differs already, and no operation of Keras made it"


# Why there is no script that shows a difference

NO_PART_DIFFERS = "no part was found that differs by itself on equal values, so there is nothing for a script to call"
MADE_BY_THE_CASE = "the difference is made by the code of the case itself, which stands in the case file"
STEP_OF_THE_MODEL = "a step of the model's own runs inside of fit, and no script makes the whole training anew"
DRAWS = "the part draws random numbers, and outside of the harness each backend takes these from its own generator"
NOT_RECORDED = "what it takes to run the part by itself was not recorded, or is too large"
FLOAT32_DOES_NOT_SHOW_IT = "a script computes in float32, and there rounding hides the difference"
SHOWS_NOTHING = "a script was written and run, and shows nothing: the part does the same outside of the case"
NO_TIME_FOR_A_SCRIPT = "a script was written, and no time was left to run it"
OPTIONS_ALONE = (
    "the two targets differ in their options alone, and a script runs the part by itself, in float32 and not compiled"
)


def made_otherwise(what: str) -> str:
    """That a layer has another config, or is called with other arguments, by the case."""
    told = "is made with another config" if what == "config" else "is called with other arguments"
    return f"the part {told} on each of the two targets, by the code of the case, and a script does so in one way"


def called_with_an_object(kind: str) -> str:
    """That a part is called with something that a script cannot make."""
    return f"the part is called with a {kind}, which cannot be written down"


def cannot_be_made(kind: str, name: str, why: str | None) -> str:
    """That a layer, loss or the like cannot be made from a config, or has no source."""
    return f"the {kind} {name} cannot be made outside of the case" + (f": {why}" if why else "")


def too_large(most: int) -> str:
    """That the values of a part are more than a script holds."""
    return f"the part is given more than {most:,} numbers, which a script does not hold"


def script_raises(targets: Sequence[str]) -> str:
    """That a script was run and did not come to its end on some targets."""
    return f"a script was written, and does not run by itself on {listed(targets)}"


# Compiled and eager

OTHERWISE_WHERE_TRACED = "does something else than where the same code runs eagerly"
RAISES_WHERE_TRACED = "raises, and does not where the same code runs eagerly"
AGREE_EAGERLY = "; run eagerly (`+eager`) the targets agree"
APART_EAGERLY = "; run eagerly the targets differ as well"
NOR_EAGERLY = ", nor does it eagerly: only what the model and its optimizer own is kept"


def compiled(targets: Sequence[str], text: str) -> str:
    """What is said of some targets' compiled steps or calls, where the text begins as of one of them."""
    verb, _, rest = text.partition(" ")
    plural = {"keeps": "keep", "does": "do"}.get(verb, verb) if len(targets) > 1 else verb
    return f"{listed(targets)}, compiled: {plural} {rest}"


def does_not_move(name: str, line: str | None) -> str:
    """That a variable stays what it was, which no layer owns."""
    where = "" if line is None else f" ({line})"
    return f"the state of `{name}`{where} does not move"


def keeps_what_changed(changed: Mapping[str, str]) -> str:
    """That what callbacks changed was read while the step was traced: callbacks, by the name of what each changed."""
    told = [f"`{name}` of the first trace, which `{callback}` changed" for name, callback in changed.items()]
    return f"keeps {listed(told)}"


def counted_once(name: str, ours: str, theirs: str) -> str:
    """That Python changed something while a call was traced, and not when it was called."""
    return f"`{name}` is {ours} afterwards, and {theirs} eagerly: Python runs when a call is traced, and not later"


def made_in_the_case(name: str) -> str:
    """That an observation differs although all operations of its case return the same."""
    return f"introduced in the case itself, in {name!r}, between operations: it differs where all of these agree"


# Whose a difference between old and new is

NOBODY_ELSE = "No other target was recorded twice, which would tell a backend's upgrade from one of Keras or your code"


def moved_alone(target: str, still: Sequence[str], changes: Sequence[Change]) -> str:
    """That one target differs from what it was, and others do not.

    Args:
        changes: everything that changed.
    """
    here = [change for change in changes if target in change.targets]
    of_it_alone = [change for change in here if len(change.targets) == 1]
    others = " alone" if of_it_alone else ", and on others too" if here else ""
    return f"{listed(still)} did not move. {_look(of_it_alone or here, f'on {target}{others}')}"


def moved_alike(targets: Sequence[str], changes: Sequence[Change]) -> str:
    """That all targets differ from what they were, and agree with one another."""
    shared = [change for change in changes if set(targets) <= set(change.targets)]
    looked = _look(shared, "on all of them")
    return f"{listed(targets)} moved, and agree with one another now. {looked}; your own code may have changed too"


def moved_apart(targets: Sequence[str], still: Sequence[str]) -> str:
    """That several targets differ from what they were, each in its own way or not all of those there are."""
    return f"{listed(targets)} moved" + (f"; {listed(still)} did not" if still else ", each in another way")


def _look(changes: Sequence[Change], where: str) -> str:
    named = ", ".join(f"{change.what} {change.old} → {change.new}" for change in changes)
    return f"What changed {where}: {named}" if named else f"Nothing that the traces name changed {where}"


def listed(names: Sequence[str]) -> str:
    """Names with commas, and `and` before the last."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
