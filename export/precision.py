"""Float candidates -> INT8 files: collect calibration pictures, try the ways to choose ranges, keep the best."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from calibration.canvases import fill_canvases
from calibration.ranges import METHODS
from calibration.recordings import choose_frames, read_frames
from edge.bundle import Role
from edge.engines.ort import OrtEngine
from edge.errors import ConfigError
from edge.threads import available_cores
from edge.types import Image, Looks
from export.candidate import Candidate, measure, quantized
from export.cascade import Cascade, Result, with_coarse
from export.metrics import DEFECT_PX, Panoptic, confusion, mean_iou
from export.recipe import Calibration, Recipe
from export.tensorrt import add_tensorrt

Progress = Callable[[str, float], None]  # step, share of it that is done
Candidates = dict[Role, Candidate]

SELECTION_EVERY = 4  # every so many-th calibration frame is kept from calibration to choose the method on
CANVASES_PER_FRAME = 2  # calibration pictures that one frame gives at the most


@dataclass
class Material:
    """What calibration needs of the recordings."""

    pictures: dict[Role, list[Image]] = field(default_factory=lambda: {"semantic": [], "coarse": [], "instance": []})
    selection: list[tuple[Image, Looks]] = field(default_factory=list)  # frames, and where to look in them


def quantize_all(recipe: Recipe, candidates: Candidates, progress: Progress) -> dict[str, str | int | float]:
    """Make every INT8 file that the recipe asks for; return what the manifest says of the calibration."""
    wanting = [found for found in candidates.values() if found.wants("int8") or found.source.tensorrt]
    if not wanting or recipe.calibration is None:
        return {}
    material = collect(recipe, recipe.calibration, candidates, progress)
    said: dict[str, str | int | float] = {"selection_frames": len(material.selection)}
    for found in wanting:
        pictures = material.pictures[found.role]
        if not pictures:
            raise ConfigError(
                f"calibration.recordings: the semantic model finds nothing to look at in {recipe.calibration.frames} "
                "frames; use recordings that show objects, or correct regions"
            )
        method, agreement = _quantize(found, pictures, material, recipe, progress)
        said |= {f"{found.role}_pictures": len(pictures), f"{found.role}_method": method}
        said |= {f"{found.role}_selection_agreement": round(agreement, 6)}
        if found.tensorrt:
            said |= add_tensorrt(found, pictures, method, partial(_agrees, found, material, recipe))
    return said


def collect(recipe: Recipe, calibration: Calibration, candidates: Candidates, progress: Progress) -> Material:
    """Read the recordings: semantic inputs, packed canvases, and frames to choose the method on."""
    step = "read recordings"
    recordings = calibration.recordings
    places = choose_frames(recordings, calibration.frames, calibration.limit, lambda share: progress(step, share / 2))
    models = {role: found.model for role, found in candidates.items()}
    cores = available_cores()
    material = Material()
    last: list[tuple[Image, Looks]] = []
    with contextlib.ExitStack() as stack:
        engines = {role: opened(stack, role, found.files[found.native], cores) for role, found in candidates.items()}
        cascade = Cascade(engines, models, recipe.regions)
        coarse = Cascade(with_coarse(engines), with_coarse(models), recipe.regions) if "coarse" in models else None
        for number, image in enumerate(read_frames(recordings, places)):
            last = [(image, cascade.looks(image, cascade.label(image)))]
            if number % SELECTION_EVERY == SELECTION_EVERY - 1:
                material.selection += last
            else:
                _take_pictures(material, cascade, *last[0])
                if coarse is not None and coarse.semantic is not None:
                    coarse.label(image)
                    material.pictures["coarse"].append(coarse.semantic.input.copy())
            progress(step, 0.5 + (number + 1) / len(places) / 2)
    if not last:
        raise ConfigError("calibration.recordings: gave no frame when read again; use recordings that stay the same")
    material.selection = material.selection or last  # so few frames that the last one serves for both
    return material


def opened(stack: contextlib.ExitStack, role: Role, data: bytes, threads: int) -> OrtEngine:
    """Return an engine that is closed with `stack`."""
    engine = OrtEngine(role, data, threads)
    stack.callback(engine.close)
    return engine


def _take_pictures(material: Material, cascade: Cascade, image: Image, looks: Looks) -> None:
    if cascade.semantic is not None:
        material.pictures["semantic"].append(cascade.semantic.input.copy())
    if cascade.instance is not None:
        width, height = cascade.instance.size
        canvases = fill_canvases(image, looks, (width, height), cascade.instance_fill)
        material.pictures["instance"] += canvases[:CANVASES_PER_FRAME]


def _quantize(
    found: Candidate, pictures: list[Image], material: Material, recipe: Recipe, progress: Progress
) -> tuple[str, float]:
    """Fill in the INT8 files of one candidate; return the method of its ranges and how well it agrees with float."""
    step = f"quantize {found.role}"
    wanted = recipe.calibration.method if recipe.calibration is not None else "minmax"
    methods = list(METHODS) if wanted == "auto" else [wanted]
    measured = measure(found, pictures, "cpu")
    progress(step, 0.3)
    expected = _results(found, found.files[found.native], material, recipe)
    best, method, agreement = b"", "", -1.0
    for number, name in enumerate(methods):
        data = quantized(found, measured, name)
        score = _agreement(expected, _results(found, data, material, recipe), len(found.model.classes))
        if score > agreement:
            best, method, agreement = data, name, score
        progress(step, 0.3 + 0.7 * (number + 1) / len(methods))
    found.files["int8"] = best
    return method, agreement


def _results(found: Candidate, data: bytes, material: Material, recipe: Recipe) -> list[Result]:
    """Run one model alone on the selection frames, at the same looks whatever its precision."""
    with contextlib.ExitStack() as stack:
        engine = opened(stack, found.role, data, available_cores())
        role: Role = "instance" if found.role == "instance" else "semantic"
        cascade = Cascade({role: engine}, {role: found.model}, recipe.regions)
        return [cascade(image, looks) for image, looks in material.selection]


def _agrees(found: Candidate, material: Material, recipe: Recipe, data: bytes) -> float:
    """Return how well a file of one model agrees with the float one on the selection frames."""
    expected = _results(found, found.files[found.native], material, recipe)
    return _agreement(expected, _results(found, data, material, recipe), len(found.model.classes))


def _agreement(expected: list[Result], results: list[Result], classes: int) -> float:
    """Return mean IoU of the label maps, or panoptic quality of the objects."""
    counts, panoptic = np.zeros((classes, classes), np.int64), Panoptic()
    for first, second in zip(expected, results, strict=True):
        if first.instances is not None and second.instances is not None:
            panoptic.add(first.instances, second.instances, DEFECT_PX)
        elif first.labels is not None and second.labels is not None:
            counts += confusion(first.labels.classes, second.labels.classes, classes)
    return panoptic.quality if expected[0].instances is not None else mean_iou(counts)
