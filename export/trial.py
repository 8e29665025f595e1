"""One float model against class maps that it should give: under the recipe's reading of its input, and under others."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import msgspec
import numpy as np

from edge.bundle import Role
from edge.engines.ort import OrtEngine
from edge.threads import available_cores
from edge.types import Image, Looks
from export.candidate import Candidate
from export.cascade import Cascade
from export.errors import Cause, SuspicionError
from export.metrics import Counts, confusion
from export.readings import Reading, mixed_readings, other_readings, reread, takes_floats
from export.recipe import Instance, Recipe, Semantic
from export.skill import MARGIN, SHAPE_MARGIN, best_order, clearly_better, frame_scores, painted, skill
from export.taken import turned
from export.weights import odd_weights

_KEYS: dict[Cause, str] = {
    "colour order": "color",
    "normalisation": "scale, mean and std",
    "fit": "fit",
    "input size": "input_size, which is [width, height]",
}


@dataclass(frozen=True)
class Tried:
    """One way to use a model, and what it is worth on the held-out frames (`export.skill.skill`)."""

    role: Role
    reading: str
    skill: float


@dataclass
class Checked:
    """What was looked at, for the report."""

    tried: list[Tried] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Known:
    """A frame whose class map is known, reduced, 255 where it is not; an instance model has to look at `looks`."""

    image: Image
    truth: Image
    looks: Looks | None = None


class Trial:
    """One semantic or instance model against what is known of some frames."""

    def __init__(self, found: Candidate, source: Semantic | Instance, known: Sequence[Known], recipe: Recipe) -> None:
        self._found, self._source, self._known, self._recipe = found, source, known, recipe
        self._own = self._counts(found, Reading(source))
        self._scores = frame_scores(self._own)
        self.tried: list[Tried] = []

    @property
    def worth(self) -> float | None:
        """Return the skill of the recipe's own reading; None where the truth has one class only."""
        return skill(np.sum(self._own, axis=0))

    def judge(self, floor: float) -> None:
        """Raise `SuspicionError` where another way is clearly better, or none is worth `floor`."""
        worth = self.worth
        if worth is None:
            return
        self._note(Reading(self._source), worth)
        floats = takes_floats(self._found.graph)
        self._refuse_better(other_readings(self._source, floats=floats))
        if worth < floor:
            self._refuse_better(mixed_readings(self._source, floats=floats))
            raise self._worthless(worth, floor)

    def judge_order(self) -> None:
        """Raise `SuspicionError` where the model clearly means other classes than the recipe names."""
        wrong = self._other_order(0.0)
        if wrong is not None:
            raise wrong

    def _refuse_better(self, readings: list[Reading]) -> None:
        """Raise `SuspicionError` with the best of the readings, or the best order of classes, if clearly better."""
        best, gain = None, 0.0
        for reading in readings:
            best, gain = self._better(self._found, reading, best, gain)
        other = turned(self._found)
        if other is not None:
            best, gain = self._better(other, Reading(self._source, ("input size",)), best, gain)
        wrong = self._other_order(gain)
        if wrong is not None:
            raise wrong
        if best is not None:
            own, keys = float(self._scores.mean()), " and ".join(_KEYS[cause] for cause in best.causes)
            raise SuspicionError(
                f"{self._found.role} (model {self._source.model})",
                best.causes[0],
                f"on {len(self._known)} held-out frames the mean IoU with the truth is {own:.3f}, and {own + gain:.3f} "
                f"with {best.text}; correct {keys}",
            )

    def _better(
        self, found: Candidate, reading: Reading, best: Reading | None, gain: float
    ) -> tuple[Reading | None, float]:
        """Return the better of two readings and what it gains."""
        counts = self._counts(found, reading)
        self._note(reading, skill(np.sum(counts, axis=0)) or 0.0)
        scores = frame_scores(counts)
        more = float((scores - self._scores).mean())
        margin = SHAPE_MARGIN if reading.causes[0] in {"fit", "input size"} else MARGIN
        return (reading, more) if more > gain and clearly_better(scores, self._scores, margin) else (best, gain)

    def _other_order(self, gain: float) -> SuspicionError | None:
        """Return the error of classes in another order, where that is better by more than `gain`."""
        total = np.sum(self._own, axis=0)
        order = best_order(total)
        if order is None:
            return None
        scores = frame_scores([counts[:, order] for counts in self._own])
        if not clearly_better(scores, self._scores) or float((scores - self._scores).mean()) <= gain:
            return None
        names, true = self._found.model.classes, total.sum(axis=1) > 0
        moved = [f"{names[i]!r} is found as {names[j]!r}" for i, j in enumerate(order.tolist()) if i != j and true[i]]
        return SuspicionError(
            f"{self._found.role}.classes",
            "class order",
            f"on {len(self._known)} held-out frames {', '.join(moved)}; give the names in the model's own order, or "
            "correct the truth",
        )

    def _worthless(self, worth: float, floor: float) -> SuspicionError:
        """Return the error of a model that no other reading makes better."""
        odd = odd_weights(self._found.graph)
        why = (
            f"{odd}: the file is damaged"
            if odd
            else "no other reading of its input and no other order of its classes is clearly better: its weights are "
            "damaged, or it is a model for something else"
        )
        return SuspicionError(
            f"model {self._source.model}",
            "weights",
            f"the float model is worth {worth:.2f} on {len(self._known)} held-out frames (0: one class everywhere, 1: "
            f"the truth) and heldout.floor is {floor:g}; {why}. Export it again, or correct the truth or the floor",
        )

    def _note(self, reading: Reading, worth: float) -> None:
        self.tried.append(Tried(self._found.role, reading.text, round(worth, 4)))

    def _counts(self, found: Candidate, reading: Reading) -> list[Counts]:
        """Return the confusion of every frame under a reading, (k, k) with the truth in rows."""
        graph = reread(found.graph, self._source, reading.source)
        model = msgspec.structs.replace(found.model, fit=reading.source.fit)
        reverse = reading.source.color != self._source.color
        role, count = found.role, len(model.classes)
        with contextlib.closing(OrtEngine(role, graph.SerializeToString(), available_cores())) as engine:
            cascade = Cascade({role: engine}, {role: model}, self._recipe.regions)
            return [confusion(known.truth, _map(cascade, known, reverse=reverse), count) for known in self._known]


def _map(cascade: Cascade, known: Known, *, reverse: bool) -> Image:
    """Return the class map of one frame at the size of its truth."""
    image = np.ascontiguousarray(known.image[..., ::-1]) if reverse else known.image
    found = np.zeros(known.truth.shape, np.uint8)
    if known.looks is None:
        labels = cascade.label(image)
        found = labels.classes if labels is not None else found
    else:
        instances = cascade(image, known.looks).instances
        found = painted(instances, (image.shape[1], image.shape[0])) if instances is not None else found
    return np.asarray(cv2.resize(found, known.truth.shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
