"""Mistakes that give a bundle all the same: swapped channels, another normalisation, classes in the wrong order, ...

What is held against the recipe are held-out frames with truth: its reading of the input, and its order of the classes,
against others. Another one that is clearly better is a mistake, and so is a float model that is worth no more than one
class everywhere. Without truth only outputs that never change can be told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import msgspec
import numpy as np

from calibration.canvases import find_looks
from edge.bundle import Model, Role
from edge.engines.ort import OrtEngine
from edge.threads import available_cores
from edge.types import Image, Labels, Looks
from export.candidate import Candidate
from export.cascade import Cascade
from export.errors import SuspicionError
from export.heldout import HeldFrame, held_frames
from export.metrics import Counts, confusion
from export.readings import Reading, mixed_readings, other_readings, reread, takes_floats
from export.recipe import HeldOut, Instance, Recipe, Semantic
from export.skill import best_order, clearly_better, frame_scores, painted, reduced, skill
from export.weights import odd_weights

FRAMES = 6  # held-out frames that are looked at


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
class _Known:
    """A frame whose truth is known of one model: the class map it should give, reduced, and where it has to look."""

    image: Image
    truth: Image
    looks: Looks | None = None


def some_held(heldout: HeldOut, models: Mapping[Role, Model]) -> list[HeldFrame]:
    """Return `FRAMES` of the held-out frames, at even distances."""
    few = msgspec.structs.replace(heldout, frames=min(heldout.frames, FRAMES))
    return list(held_frames(few, models)[1]())


def check_models(recipe: Recipe, candidates: Mapping[Role, Candidate], frames: list[HeldFrame]) -> Checked:
    """Hold every semantic and instance model against the held-out `frames`; return what was tried.

    Raises `SuspicionError` for outputs that never change, another reading or order of classes that is clearly better
    than the recipe's, and a model that is worth less than `heldout.floor`.
    """
    checked = Checked()
    for role, found in candidates.items():
        if not isinstance(found.source, Semantic | Instance) or role == "coarse":
            continue
        _refuse_dead(found, [frame.image for frame in frames])
        known = _known(found, frames, recipe)
        if known:
            _Trial(found, recipe, known, checked).judge()
        else:
            checked.notes.append(
                f"No truth for the {role} model: its channel order, normalisation and classes could not be checked."
            )
    return checked


def _refuse_dead(found: Candidate, images: list[Image]) -> None:
    """Raise `SuspicionError` where a model says the same of all `images`, to the bit.

    Labels alone may honestly be the same: where nothing is in sight.
    """
    rows, columns, _ = found.model.input.shape
    inputs = [cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA) for image in images]
    different = [one for one in inputs[1:] if not np.array_equal(one, inputs[0])]
    if len(different) < 2 or [spec.name for spec in found.model.outputs] == ["labels"]:
        return
    with contextlib.closing(OrtEngine(found.role, found.files[found.native], available_cores())) as engine:
        first = {name: value.copy() for name, value in engine.infer({found.model.input.name: inputs[0]}).items()}
        for picture in different:
            outputs = engine.infer({found.model.input.name: np.asarray(picture, np.uint8)})
            if any(not np.array_equal(first[name], value) for name, value in outputs.items()):
                return
    raise SuspicionError(
        f"model {found.source.model}",
        "dead output",
        f"gives the same for {len(different) + 1} different frames; its weights are damaged or overflow, or its output "
        "hangs on nothing: correct scale, mean and std, or export the model again",
    )


def _known(found: Candidate, frames: list[HeldFrame], recipe: Recipe) -> list[_Known]:
    if found.role == "semantic":
        return [_Known(frame.image, reduced(frame.semantic)) for frame in frames if frame.semantic is not None]
    known = []
    for frame in frames:
        if frame.instances is not None:
            truth = painted(frame.instances, (frame.image.shape[1], frame.image.shape[0]))
            known.append(_Known(frame.image, truth, _true_looks(found, frame.image, truth, recipe)))
    return known


def _true_looks(found: Candidate, image: Image, truth: Image, recipe: Recipe) -> Looks:
    """Return where the instance model has to look if the semantic one is right; on the whole frame without one."""
    labels = None
    if recipe.semantic is not None:
        scale = image.shape[1] / truth.shape[1], image.shape[0] / truth.shape[0]
        labels = Labels((truth > 0).astype(np.uint8), None, scale)
    size = found.model.input.shape[1], found.model.input.shape[0]
    return find_looks(image, labels, recipe.regions, [1], size)


class _Trial:
    """One model against the truth, under as many readings as it takes."""

    def __init__(self, found: Candidate, recipe: Recipe, known: list[_Known], checked: Checked) -> None:
        if not isinstance(found.source, Semantic | Instance):
            raise TypeError("appearance models have no truth")
        self._found, self._source, self._recipe = found, found.source, recipe
        self._known, self._checked = known, checked
        self._floats = takes_floats(found.graph)
        self._own = self._counts(Reading(found.source))
        self._scores = frame_scores(self._own)

    def judge(self) -> None:
        """Raise `SuspicionError` where another way is clearly better, or none is good."""
        total = np.sum(self._own, axis=0)
        worth = skill(total)
        if worth is None:
            self._checked.notes.append(
                f"The truth has one class only: nothing can be told of the {self._found.role} model."
            )
            return
        self._note(Reading(self._source), worth)
        self._refuse_better(other_readings(self._source, floats=self._floats))
        floor = self._recipe.heldout.floor if self._recipe.heldout is not None else 0.0
        if worth < floor:
            self._refuse_better(mixed_readings(self._source, floats=self._floats))
            raise self._worthless(worth, floor)

    def _refuse_better(self, readings: list[Reading]) -> None:
        """Raise `SuspicionError` with the best of the readings, or the best order of classes, if clearly better."""
        best, gain = None, 0.0
        for reading in readings:
            counts = self._counts(reading)
            self._note(reading, skill(np.sum(counts, axis=0)) or 0.0)
            scores = frame_scores(counts)
            more = float((scores - self._scores).mean())
            if clearly_better(scores, self._scores) and more > gain:
                best, gain = reading, more
        order = self._other_order(gain)
        if order is not None:
            raise order
        if best is not None:
            raise SuspicionError(
                f"{self._found.role} (model {self._source.model})",
                best.causes[0],
                f"on {len(self._known)} held-out frames the mean IoU with the truth is {self._scores.mean():.3f}, and "
                f"{self._scores.mean() + gain:.3f} with {best.text}; correct {' and '.join(map(_key, best.causes))}",
            )

    def _other_order(self, gain: float) -> SuspicionError | None:
        """Return the error of classes in another order, where that is better by more than `gain`."""
        order = best_order(np.sum(self._own, axis=0))
        if order is None:
            return None
        scores = frame_scores([counts[:, order] for counts in self._own])
        if not clearly_better(scores, self._scores) or float((scores - self._scores).mean()) <= gain:
            return None
        true = np.sum(self._own, axis=0).sum(axis=1) > 0
        names = self._found.model.classes
        moved = [f"{names[i]} is found as {names[j]}" for i, j in enumerate(order.tolist()) if i != j and true[i]]
        return SuspicionError(
            f"{self._found.role}.classes",
            "class order",
            f"on {len(self._known)} held-out frames {', '.join(moved)}; give the names in the model's own order, or "
            "correct the truth",
        )

    def _worthless(self, worth: float, floor: float) -> SuspicionError:
        """Return the error of a model that no other reading makes better."""
        odd = odd_weights(self._found.graph)
        why = f"{odd}: the file is damaged" if odd else "no other reading of its input and no other order of its"
        if not odd:
            why += " classes is better: its weights are damaged, or it is a model for something else"
        return SuspicionError(
            f"model {self._source.model}",
            "weights",
            f"the float model is worth {worth:.2f} on {len(self._known)} held-out frames (0: one class everywhere, 1: "
            f"the truth), heldout.floor is {floor:g}; {why}. Export it again, or correct the truth or the floor",
        )

    def _note(self, reading: Reading, worth: float) -> None:
        self._checked.tried.append(Tried(self._found.role, reading.text, worth))

    def _counts(self, reading: Reading) -> list[Counts]:
        """Return the confusion of every frame under a reading, (k, k) with the truth in rows."""
        graph = reread(self._found.graph, self._source, reading.source)
        model = msgspec.structs.replace(self._found.model, fit=reading.source.fit)
        reverse = reading.source.color != self._source.color
        role, count = self._found.role, len(model.classes)
        with contextlib.closing(OrtEngine(role, graph.SerializeToString(), available_cores())) as engine:
            cascade = Cascade({role: engine}, {role: model}, self._recipe.regions)
            return [confusion(known.truth, _map(cascade, known, reverse=reverse), count) for known in self._known]


def _map(cascade: Cascade, known: _Known, *, reverse: bool) -> Image:
    """Return the class map of one frame at the size of its truth."""
    image = np.ascontiguousarray(known.image[..., ::-1]) if reverse else known.image
    size = known.truth.shape[1], known.truth.shape[0]
    if known.looks is None:
        labels = cascade.label(image)
        found = labels.classes if labels is not None else np.zeros(known.truth.shape, np.uint8)
    else:
        instances = cascade(image, known.looks).instances
        whole = image.shape[1], image.shape[0]
        found = painted(instances, whole) if instances is not None else np.zeros(known.truth.shape, np.uint8)
    return np.asarray(cv2.resize(found, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _key(cause: str) -> str:
    return {"colour order": "color", "normalisation": "scale, mean and std"}.get(cause, cause)
