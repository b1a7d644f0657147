"""What there is to open, in words: layers, losses, metrics, callbacks and steps, and where each is written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.result import words
from harness.trace.key import CALLBACK
from harness.trace.parts import CASE, LOSS, METRICS, OPTIMIZER, Part

_COUNTED = re.compile(r"_\d+$")


class Culprits:
    """Names what a difference may be made by.

    Args:
        places: where the code under test is written: see `harness.trace.Header.places`. The first that knows a place
            tells it.
    """

    def __init__(self, *places: Mapping[str, str]) -> None:
        self._places: dict[str, str] = {}
        for known in reversed(places):
            self._places |= known

    def layer(self, name: str) -> str:
        return words.located(f"layer {name!r}", self._places.get(f"layer/{name}"))

    def layer_of_class(self, name: str) -> str | None:
        """The layer whose class has that name; None where there is none, or several layers are of it."""
        found = [
            key.removeprefix("layer/")
            for key, place in self._places.items()
            if key.startswith("layer/") and place.partition(", ")[0].rpartition(".")[2] == name
        ]
        return self.layer(found[0]) if len(found) == 1 else None

    def loss(self, output: str | None) -> str:
        """The loss, or that of an output where the model has several."""
        if output is None:
            return words.located(words.THE_LOSS, self._places.get("loss"))
        return words.located(words.loss_of(output), self._places.get(f"loss/{output}"))

    def method(self, name: str) -> str | None:
        """A method that the model has of its own, such as `Net.compute_loss (net.py:12)`; None if it has none."""
        place = self._places.get(name)
        return None if place is None else words.of_place(place)

    def metric(self, name: str) -> str:
        return words.located(f"metric {name!r}", self._places.get(f"metric/{name}"))

    def metric_class(self, name: str) -> str:
        """A metric by its class, such as `` `Near` (net.py:36)``, where this is known."""
        place = self._places.get(f"metric/{name}")
        return f"metric {name!r}" if place is None else words.of_place(place, quoted=True)

    def metric_in(self, name: str) -> str | None:
        """The name of the metric that has a result of that name, or a variable of that path; None if unknown."""
        metrics = sorted((key.removeprefix("metric/") for key in self._places if key.startswith("metric/")), key=len)
        for metric in reversed(metrics):
            uncounted = _COUNTED.sub("", metric)
            is_result = name == metric or ("/" not in name and name.endswith(f"_{metric}"))
            if is_result or name.startswith((f"{metric}/", f"{uncounted}/")):
                return metric
        return None

    def hook(self, callback: str, hook: str | None, *, quoted: bool = False) -> str:
        """A callback's hook, such as `Halve.on_epoch_end (net.py:24)`, or the callback where that is all there is."""
        name = callback.partition("#")[0]
        label = f"{CALLBACK}/{name}"
        place = self._places.get(f"{label}/{hook}") or self._places.get(label) or name
        return words.of_place(place, quoted=quoted)

    def part(self, part: Part, name: str, layer: str | None, loss: str | None) -> tuple[str, str | None]:
        """What a part is called in a sentence, and what to open of it; None where nothing can be named.

        Args:
            name: of the observation in it that differs.
            layer: that the part is of.
            loss: the output whose loss it is, where that is known and there are several.
        """
        if part.name == LOSS:
            own = self.method("compute_loss")
            if own is None:
                return (found := self.loss(loss)), found
            return words.located(words.THE_LOSS, self._places["compute_loss"]), own
        if part.name == METRICS:
            return self._in_metrics(part, name)
        if part.name == OPTIMIZER:
            place = self._places.get("optimizer")
            return words.located(words.THE_STEP, place), words.located(words.THE_OPTIMIZER, place)
        culprit = None if layer is None else self.layer(layer)
        return words.THE_CASE if part.name == CASE else culprit or part.name, culprit

    def _in_metrics(self, part: Part, name: str) -> tuple[str, str | None]:
        metric = self.metric_in(name.removeprefix(f"{METRICS}/{part.what}/"))
        own = self.method("compute_metrics")
        if own is not None:
            told = words.located(words.THE_METRICS, self._places["compute_metrics"])
            return told if metric is None else f"{told}, {self.metric(metric)}", own
        return (words.THE_METRICS, None) if metric is None else ((found := self.metric(metric)), found)
