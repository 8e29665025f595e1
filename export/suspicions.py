"""Mistakes that give a bundle all the same: swapped channels, another normalisation, classes in the wrong order, ...

What is held against the recipe are held-out frames with truth: its reading of the input, and its order of the classes,
against others. Another one that is clearly better is a mistake, and so is a float model that is worth little more than
one class everywhere. Without truth only outputs that never change are proof; that a semantic and an instance model
contradict each other is said in the report.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from calibration.canvases import find_looks
from edge.bundle import Role
from edge.engines.ort import OrtEngine
from edge.threads import available_cores
from edge.types import Image, Instances, Labels, Looks
from export.candidate import Candidate
from export.cascade import Cascade
from export.errors import SuspicionError
from export.heldout import HeldFrame
from export.metrics import IGNORED
from export.recipe import Instance, Recipe, Semantic
from export.skill import LEAST_FRAMES, painted, reduced
from export.trial import Checked, Known, Trial

FRAMES = 6  # held-out frames that are looked at

Candidates = Mapping[Role, Candidate]


def some_of(frames: Sequence[HeldFrame]) -> list[HeldFrame]:
    """Return `FRAMES` of the held-out frames, at even distances."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), FRAMES)).round().astype(int)
    return [frames[i] for i in chosen.tolist()]


def check_models(recipe: Recipe, candidates: Candidates, frames: list[HeldFrame]) -> Checked:
    """Hold the semantic and the instance model against the held-out `frames`; return what was tried.

    Raises `SuspicionError` for outputs that never change, another reading or order of classes that is clearly better
    than the recipe's, and a model that is worth less than `heldout.floor`.
    """
    checked = Checked()
    floor = recipe.heldout.floor if recipe.heldout is not None else 0.0
    for role, found in candidates.items():
        if frames and isinstance(found.source, Semantic | Instance) and role != "coarse":
            _refuse_dead(found, [frame.image for frame in frames])
            _judge(found, found.source, _known(found, frames, recipe), recipe, floor, checked)
    semantic = candidates.get("semantic")
    if semantic is not None and isinstance(semantic.source, Semantic):
        named = _named(semantic, candidates, frames)
        if named:
            Trial(semantic, semantic.source, named, recipe).judge_order()
    _compare(recipe, candidates, frames, checked)
    return checked


def _judge(
    found: Candidate, source: Semantic | Instance, known: list[Known], recipe: Recipe, floor: float, checked: Checked
) -> None:
    """Hold one model against its truth, if there is any; say what could not be told."""
    if not known:
        checked.notes.append(
            f"There is no truth for the {found.role} model: whether the recipe reads its input as it was trained, and "
            "names its classes in their order, was not checked."
        )
        return
    trial = Trial(found, source, known, recipe)
    if len(known) < LEAST_FRAMES:
        checked.notes.append(
            f"There is truth of {len(known)} held-out frames for the {found.role} model: other readings of its input "
            f"and other orders of its classes are told from {LEAST_FRAMES} on."
        )
    if trial.worth is None:
        checked.notes.append(f"The truth has one class only: nothing can be told of the {found.role} model.")
    trial.judge(floor)
    checked.tried += trial.tried


def _refuse_dead(found: Candidate, images: list[Image]) -> None:
    """Raise `SuspicionError` where a model says the same of all `images`, to the bit.

    Labels alone may honestly be the same: where nothing is in sight.
    """
    rows, columns, _ = found.model.input.shape
    inputs = [np.asarray(cv2.resize(one, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8) for one in images]
    different = [one for one in inputs[1:] if not np.array_equal(one, inputs[0])]
    if len(different) < 2 or [spec.name for spec in found.model.outputs] == ["labels"]:
        return
    name = found.model.input.name
    with contextlib.closing(OrtEngine(found.role, found.files[found.native], available_cores())) as engine:
        first = {key: value.copy() for key, value in engine.infer({name: inputs[0]}).items()}
        for picture in different:
            if any(not np.array_equal(first[key], value) for key, value in engine.infer({name: picture}).items()):
                return
    raise SuspicionError(
        f"model {found.source.model}",
        "dead output",
        f"gives the same for {len(different) + 1} different frames; its weights are damaged or overflow, or its output "
        "hangs on nothing: correct scale, mean and std, or export the model again",
    )


def _known(found: Candidate, frames: list[HeldFrame], recipe: Recipe) -> list[Known]:
    """Return the frames with truth for a model."""
    if found.role == "semantic":
        return [Known(frame.image, reduced(frame.semantic)) for frame in frames if frame.semantic is not None]
    known = []
    for frame in frames:
        if frame.instances is not None:
            truth = painted(frame.instances, (frame.image.shape[1], frame.image.shape[0]))
            known.append(Known(frame.image, truth, _true_looks(found, frame.image, truth, recipe)))
    return known


def _true_looks(found: Candidate, image: Image, truth: Image, recipe: Recipe) -> Looks:
    """Return where the instance model has to look if the semantic one is right; on the whole frame without one."""
    labels = None
    if recipe.semantic is not None:
        scale = image.shape[1] / truth.shape[1], image.shape[0] / truth.shape[0]
        labels = Labels((truth > 0).astype(np.uint8), None, scale)
    size = found.model.input.shape[1], found.model.input.shape[0]
    return find_looks(image, labels, recipe.regions, [1], size)


def _named(semantic: Candidate, candidates: Candidates, frames: list[HeldFrame]) -> list[Known]:
    """Return true objects as truth for the semantic model: its own truth has numbers, objects have names."""
    instance = candidates.get("instance")
    if instance is None:
        return []
    pairs = [(frame.image, frame.instances) for frame in frames if frame.instances is not None]
    return [_by_name(image, objects, semantic, instance) for image, objects in pairs]


def _by_name(image: Image, instances: Instances, semantic: Candidate, instance: Candidate) -> Known:
    """Return objects as a map of semantic classes; what is no object of a class that both models have is ignored."""
    numbers = {name: i for i, name in enumerate(semantic.model.classes)}
    table = np.full(256, IGNORED, np.uint8)
    for i, name in enumerate(instance.model.classes[1:], 1):
        table[i] = numbers.get(name, IGNORED)
    return Known(image, table[painted(instances, (image.shape[1], image.shape[0]))])


def _compare(recipe: Recipe, candidates: Candidates, frames: list[HeldFrame], checked: Checked) -> None:
    """Without truth, hold the semantic model against what the instance model finds; say what comes of it."""
    semantic, instance = candidates.get("semantic"), candidates.get("instance")
    if semantic is None or instance is None or not isinstance(semantic.source, Semantic):
        return
    if not frames or any(frame.semantic is not None or frame.instances is not None for frame in frames):
        return
    pair: dict[Role, Candidate] = {"semantic": semantic, "instance": instance}
    with contextlib.ExitStack() as stack:
        engines = {role: OrtEngine(role, found.files[found.native], available_cores()) for role, found in pair.items()}
        for engine in engines.values():
            stack.callback(engine.close)
        cascade = Cascade(engines, {role: found.model for role, found in pair.items()}, recipe.regions)
        found = [(frame.image, cascade(frame.image).instances) for frame in frames]
    known = [_by_name(image, objects, semantic, instance) for image, objects in found if objects is not None]
    if not known or not any((one.truth != IGNORED).any() for one in known):
        return
    try:
        Trial(semantic, semantic.source, known, recipe).judge(0.0)
    except SuspicionError as error:
        checked.notes.append(f"Without truth, and only as the instance model's objects have it: {error}")
