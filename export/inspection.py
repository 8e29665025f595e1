"""All that an export looks at beside the models themselves: is the recipe a mistake, and what is calibrated on?"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calibration.canvases import fill_canvases
from calibration.recordings import read_frames
from edge.bundle import Role
from edge.engines.ort import OrtEngine
from edge.threads import available_cores
from edge.types import Image
from export.cascade import Cascade
from export.clipping import CLIPPED, clipped_shares
from export.errors import SuspicionError
from export.frames import Frames, check_frames, chosen_frames
from export.heldout import HeldFrame
from export.precision import Candidates, Progress, wanting
from export.recipe import Recipe, sources
from export.shown import Seen, Shown
from export.suspicions import FRAMES, check_models, some_of
from export.trial import Checked


@dataclass
class Findings:
    """What was chosen and seen before anything is quantized."""

    frames: Frames | None = None  # to calibrate on; None where nothing is
    checked: Checked = field(default_factory=Checked)
    held: list[Image] = field(default_factory=list)  # some held-out frames


def inspect_inputs(
    recipe: Recipe, candidates: Candidates, heldout: Sequence[HeldFrame], progress: Progress
) -> Findings:
    """Choose the frames to calibrate on, and hold recipe, models and frames against some of the `heldout` frames.

    Raises `SuspicionError` for a mistake that would give a bundle all the same; everything here is done with the float
    models, before the work begins that takes long.
    """
    step = "check models"
    findings = Findings()
    held = some_of(heldout)
    findings.held = [frame.image for frame in held]
    findings.checked = check_models(recipe, candidates, held)
    progress(step, 1.0)
    if wanting(candidates) and recipe.calibration is not None:
        step = "choose frames"
        findings.frames = chosen_frames(recipe, recipe.calibration, candidates, lambda share: progress(step, share))
        check_frames(recipe.calibration, findings.frames, findings.held)
    return findings


def inspect_ranges(recipe: Recipe, candidates: Candidates, findings: Findings) -> None:
    """Raise `SuspicionError` where an INT8 file clips what the held-out frames give.

    Without held-out frames those of the calibration stand in: they show a model whose own ranges are too small.
    """
    images = findings.held or _calibrated(recipe, findings)
    if not images:
        return
    for role, pictures in _inputs(recipe, candidates, images).items():
        found = candidates[role]
        data = found.files.get("int8")
        if data is None or not pictures:
            continue
        shares = clipped_shares(data, found.files[found.native], pictures)
        worst = max(shares, key=shares.__getitem__, default="")
        if worst and shares[worst] > CLIPPED:
            raise SuspicionError(
                f"model {found.source.model}",
                "clipped ranges",
                f"{shares[worst]:.1%} of the values of {worst.removeprefix('net/')!r} lie above the range of its "
                f"quantizer on {len(pictures)} pictures, {CLIPPED:.0%} are taken; calibrate on frames that show all "
                "that will come, or quantize the model anew",
            )


def as_shown(recipe_path: Path, recipe: Recipe, findings: Findings) -> Shown:
    """Return what the report shows of all this."""
    models = {f"{role}: {source.model.name}": source.model for role, source in sources(recipe).items()}
    inputs = {recipe_path.name: recipe_path, **models}
    shown = Shown(tried=findings.checked.tried, notes=findings.checked.notes)
    shown.inputs = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in inputs.items()}
    if findings.frames is not None:
        shown.frames_sha256 = findings.frames.sha256
        shown.frames = [Seen(one.caption, one.entry.sha256, one.picture) for one in findings.frames.chosen]
        shown.recordings = {one.place[0] + 1: one.entry.recording for one in findings.frames.chosen}
    return shown


def _calibrated(recipe: Recipe, findings: Findings) -> list[Image]:
    if recipe.calibration is None or findings.frames is None:
        return []
    places = findings.frames.places
    few = [places[i] for i in np.linspace(0, len(places) - 1, min(len(places), FRAMES)).round().astype(int).tolist()]
    return list(read_frames(recipe.calibration.recordings, few))


def _inputs(recipe: Recipe, candidates: Candidates, images: list[Image]) -> dict[Role, list[Image]]:
    """Return what the models get to see of some frames: fitted pictures, and one canvas of each frame."""
    found: dict[Role, list[Image]] = {"semantic": [], "instance": []}
    models = {role: one.model for role, one in candidates.items() if role in found}
    with contextlib.ExitStack() as stack:
        engines = {
            role: OrtEngine(role, candidates[role].files[candidates[role].native], available_cores()) for role in models
        }
        for engine in engines.values():
            stack.callback(engine.close)
        cascade = Cascade(engines, models, recipe.regions)
        for image in images:
            labels = cascade.label(image)
            if cascade.semantic is not None:
                found["semantic"].append(cascade.semantic.input.copy())
            if cascade.instance is not None:
                looks = cascade.looks(image, labels)
                found["instance"] += fill_canvases(image, looks, cascade.instance.size, cascade.instance_fill)[:1]
    return {role: pictures for role, pictures in found.items() if role in models}
