"""Float candidates -> INT8 files: collect calibration pictures, search the fewest float layers, refuse what costs more.

The search is over accuracy and time together: bounds on held-out frames, and the float file in turns with the INT8 one
on this machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from calibration.canvases import fill_canvases
from calibration.ranges import METHODS
from calibration.recordings import choose_frames, read_frames
from edge.bundle import Role
from edge.errors import ConfigError
from edge.threads import available_cores
from edge.types import Image, Looks
from export.bounds import Bounds
from export.candidate import TRT, Calibrated, Candidate, measure, quantized
from export.cascade import Cascade, opened, with_coarse
from export.eight_bits import sensitivities
from export.heldout import HeldFrame
from export.recipe import Calibration, Recipe
from export.search import Search, Trial, by_worth, in_turns, search
from export.tensorrt import add_tensorrt
from export.validate import Validation, agreement, results_of

Progress = Callable[[str, float], None]  # step, share of it that is done
Candidates = dict[Role, Candidate]
Selection = list[tuple[Image, Looks]]

SELECTION_EVERY = 4  # every so many-th calibration frame is kept from calibration to choose the method on
CANVASES_PER_FRAME = 2  # calibration pictures that one frame gives at the most
RANKED_ON = 2  # pictures on which layers are ranked: more of them rank alike
INT8 = ("int8", f"{TRT}int8")
CHOSEN, TRIED = 0.5, 0.9  # share of the work when the methods are ranked, and when the bounds hold


@dataclass
class Material:
    """What calibration needs of the recordings."""

    pictures: dict[Role, list[Image]] = field(default_factory=lambda: {"semantic": [], "coarse": [], "instance": []})
    selection: Selection = field(default_factory=list)  # frames, and where to look in them


def quantize_all(
    recipe: Recipe, candidates: Candidates, heldout: Sequence[HeldFrame], progress: Progress
) -> dict[str, str | int | float]:
    """Make every INT8 file that the recipe asks for; return what the manifest says of the calibration.

    A file that breaks a bound on the `heldout` frames, or is no faster than the next precision up, is refused.
    """
    wanting = [found for found in candidates.values() if found.wants("int8") or found.source.tensorrt]
    if not wanting or recipe.calibration is None:
        return {}
    material = collect(recipe, recipe.calibration, candidates, progress)
    looks = looks_of(recipe, candidates, heldout)
    said: dict[str, str | int | float] = {"selection_frames": len(material.selection)}
    for found in wanting:
        pictures = material.pictures[found.role]
        if not pictures:
            raise ConfigError(
                f"calibration.recordings: the semantic model finds nothing to look at in {recipe.calibration.frames} "
                "frames; use recordings that show objects, or correct regions"
            )
        validation = Validation(found, heldout, looks, recipe)
        said |= {f"{found.role}_pictures": len(pictures)}
        said |= _quantize(found, pictures, material.selection, validation, progress)
        if found.tensorrt:
            agrees = partial(_agrees, found, material.selection, recipe)
            said |= add_tensorrt(found, pictures, str(said[f"{found.role}_method"]), agrees)
    refuse_together(candidates)
    return said


def collect(recipe: Recipe, calibration: Calibration, candidates: Candidates, progress: Progress) -> Material:
    """Read the recordings: semantic inputs, packed canvases, and frames to choose the method on."""
    step = "read recordings"
    recordings = calibration.recordings
    places = choose_frames(recordings, calibration.frames, calibration.limit, lambda share: progress(step, share / 2))
    models = {role: found.model for role, found in candidates.items()}
    cores = available_cores()
    material = Material()
    last: Selection = []
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


def _take_pictures(material: Material, cascade: Cascade, image: Image, looks: Looks) -> None:
    if cascade.semantic is not None:
        material.pictures["semantic"].append(cascade.semantic.input.copy())
    if cascade.instance is not None:
        width, height = cascade.instance.size
        canvases = fill_canvases(image, looks, (width, height), cascade.instance_fill)
        material.pictures["instance"] += canvases[:CANVASES_PER_FRAME]


def looks_of(recipe: Recipe, candidates: Candidates, frames: Sequence[HeldFrame]) -> list[Looks]:
    """Return where the float models look in each of the held-out frames."""
    used: Candidates = {role: found for role, found in candidates.items() if role in {"semantic", "instance"}}
    with contextlib.ExitStack() as stack:
        cores = available_cores()
        engines = {role: opened(stack, role, found.files[found.native], cores) for role, found in used.items()}
        cascade = Cascade(engines, {role: found.model for role, found in used.items()}, recipe.regions)
        return [cascade.looks(frame.image, cascade.label(frame.image)) for frame in frames]


def _quantize(
    found: Candidate, pictures: list[Image], selection: Selection, validation: Validation, progress: Progress
) -> dict[str, str | int | float]:
    """Fill in the INT8 files of one candidate, or why there is none; return what the manifest says of it."""
    step, recipe = f"quantize {found.role}", validation.recipe
    measured = measure(found, pictures, "cpu")
    progress(step, 0.2)
    agreements = _methods(found, measured, selection, recipe, lambda share: progress(step, 0.2 + 0.3 * share))

    def judged(method: str, float_layers: Sequence[str]) -> Trial:
        data = quantized(found, measured, method, float_layers)
        return Trial(method, len(float_layers), data, validation(data))

    def ranked(method: str) -> dict[str, float]:
        layers, ranges = measured.plan.layers, measured.ranges(method)
        noise = sensitivities(
            measured.graph, list(layers), ranges, pictures[:RANKED_ON],
            lambda share: progress(step, CHOSEN + (TRIED - CHOSEN) * share),
        )  # fmt: skip
        return by_worth(noise, layers)

    made = search(list(agreements), judged, ranked)
    progress(step, TRIED)
    _time(found, made)
    found.search = made
    found.refused |= _refusals(made, recipe.bounds)
    trial = made.chosen or made.nearest
    found.files["int8"] = trial.data
    progress(step, 1.0)
    return {
        f"{found.role}_method": trial.method,
        f"{found.role}_selection_agreement": round(agreements[trial.method], 6),
        f"{found.role}_float_layers": trial.float_layers,
        f"{found.role}_validations": len(made.trials),
    }


def _methods(
    found: Candidate, measured: Calibrated, selection: Selection, recipe: Recipe, progress: Callable[[float], None]
) -> dict[str, float]:
    """Return the methods that the recipe allows with how well each agrees with float on the selection, best first."""
    wanted = recipe.calibration.method if recipe.calibration is not None else "minmax"
    methods = list(METHODS) if wanted == "auto" else [wanted]
    images, looks = [image for image, _ in selection], [look for _, look in selection]
    expected = results_of(found, found.files[found.native], images, looks, recipe)
    agreements: dict[str, float] = {}
    for number, method in enumerate(methods):
        results = results_of(found, quantized(found, measured, method), images, looks, recipe)
        agreements[method] = agreement(expected, results, len(found.model.classes))
        progress((number + 1) / len(methods))
    return dict(sorted(agreements.items(), key=lambda entry: -entry[1]))


def _agrees(found: Candidate, selection: Selection, recipe: Recipe, data: bytes) -> float:
    """Return how well a file of one model agrees with the float one on the selection."""
    images, looks = [image for image, _ in selection], [look for _, look in selection]
    expected = results_of(found, found.files[found.native], images, looks, recipe)
    return agreement(expected, results_of(found, data, images, looks, recipe), len(found.model.classes))


def _time(found: Candidate, made: Search) -> None:
    """Measure every trial in turns with the float file."""
    with contextlib.ExitStack() as stack:
        files = {"float": found.files[found.native]}
        files |= {str(number): trial.data for number, trial in enumerate(made.trials)}
        engines = {key: opened(stack, found.role, data, available_cores()) for key, data in files.items()}
        made.times(in_turns(engines, found.model.input))


def _refusals(made: Search, bounds: Bounds) -> dict[str, str]:
    """Return why which file cannot be in the bundle: a broken bound, or no time saved."""
    trial, nearest = made.chosen, made.nearest
    if trial is None:
        broken = "; ".join(str(loss) for loss in nearest.losses if not loss.holds)
        layers = f"{nearest.float_layers} of {len(made.noise)} layers in float32"
        return dict.fromkeys(INT8, f"at the best of {len(made.trials)} plans ({layers}) {broken}")
    if trial.speedup < bounds.speedup:
        taken = f"{trial.ms:.2f} ms, float32 {made.float_ms:.2f} ms"
        said = f"is {trial.speedup:.2f} times as fast as float32 ({taken}), bounds.speedup is {bounds.speedup:g}"
        return {"int8": f"one inference {said}"}
    return {}


def refuse_together(candidates: Candidates) -> None:
    """Let the coarse model have the precisions of the semantic one: the device changes over between the two."""
    semantic, coarse = candidates.get("semantic"), candidates.get("coarse")
    if semantic is None or coarse is None:
        return
    for one, other in ((semantic, coarse), (coarse, semantic)):
        for key, reason in one.refused.items():
            other.refused.setdefault(key, f"the {one.role} model has none: {reason}")
