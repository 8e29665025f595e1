"""The search for float layers against trying them one at a time: how many full validations each takes to keep a bound.

The bound is half of what all layers in bytes lose, so that neither side is done at once. One at a time means: each
layer alone is put back to float and validated, which ranks them; then they are put back for good in that order, with a
validation each, until the bound holds. `in_rank` gives the same the ranking of the search for nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.common import Options
from benchmarks.export_models import voc, yolo
from edge.errors import FoveateError
from edge.types import Image
from export.candidate import Calibrated, Candidate, candidate, measure, quantized
from export.eight_bits import sensitivities
from export.heldout import held_frames
from export.precision import RANKED_ON, collect, looks_of
from export.recipe import load_recipe, sources
from export.search import by_worth, fewest
from export.validate import Validation

METHOD = "minmax"
PICTURES = 32  # calibration frames
FRAMES, QUICK_FRAMES = 16, 4  # of one full validation
SHARE = 0.5  # of the loss of all layers in bytes that the bound allows


def run(options: Options) -> dict[str, Any]:
    """Return validations, float layers and seconds of each way, for DeepLab v3 and, if it is not quick, YOLOv8n-seg."""
    figures: dict[str, Any] = {}
    for name, write in {"voc": voc, **({} if options.quick else {"yolo": yolo})}.items():
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder), quick=options.quick)
            frames = QUICK_FRAMES if options.quick else FRAMES
            figures |= {f"{name}_{key}": value for key, value in _compared(path, frames).items()}
    return figures


class _Judge:
    """Makes INT8 files of one model and validates them in full, and counts."""

    def __init__(self, found: Candidate, measured: Calibrated, validation: Validation) -> None:
        self._found, self.measured, self._validation = found, measured, validation
        self.layers = list(measured.plan.layers)
        self.most = 1.0  # what may be lost
        self.count = 0

    def lost(self, float_layers: Sequence[str]) -> float:
        """Return what a file with these layers in float loses."""
        self.count += 1
        (loss,) = self._validation(quantized(self._found, self.measured, METHOD, float_layers))
        return loss.lost

    def holds(self, float_layers: Sequence[str]) -> bool:
        """Return whether that is within the bound."""
        return len(float_layers) == len(self.layers) or self.lost(float_layers) <= self.most


def _compared(path: Path, frames: int) -> dict[str, Any]:
    judge, pictures = _judge(path, frames)
    in_bytes = judge.lost(())
    judge.most = SHARE * in_bytes
    figures: dict[str, Any] = {"layers": len(judge.layers), "lost_in_bytes": in_bytes, "bound": judge.most}
    ranked = _ranked(judge, pictures)
    for way, search in (("bisected", _bisected), ("one_at_a_time", _one_at_a_time), ("in_rank", _in_order)):
        judge.count, started = 1, time.monotonic()  # the one with all layers in bytes is everybody's first
        kept = search(judge, ranked)
        figures[f"{way}_validations"] = judge.count
        figures[f"{way}_seconds"] = time.monotonic() - started
        figures[f"{way}_float_layers"] = len(kept)
        figures[f"{way}_lost"] = judge.lost(kept)
    figures["fewer_than_one_at_a_time"] = figures["one_at_a_time_validations"] / figures["bisected_validations"]
    figures["fewer_than_in_rank"] = figures["in_rank_validations"] / figures["bisected_validations"]
    return figures


def _bisected(judge: _Judge, ranked: Sequence[str]) -> Sequence[str]:
    """Return the layers that stay float as the export finds them."""
    return ranked[: fewest(len(ranked), lambda count: judge.holds(ranked[:count]))]


def _one_at_a_time(judge: _Judge, _ranked: Sequence[str]) -> Sequence[str]:
    """Return them by trying each layer alone first."""
    lost = {layer: judge.lost([layer]) for layer in judge.layers}
    return _in_order(judge, sorted(judge.layers, key=lambda layer: lost[layer]))


def _in_order(judge: _Judge, ranked: Sequence[str]) -> Sequence[str]:
    """Return the first layers of an order, one more at a time, with which the bound holds."""
    return next(ranked[:count] for count in range(1, len(ranked) + 1) if judge.holds(ranked[:count]))


def _ranked(judge: _Judge, pictures: Sequence[Image]) -> list[str]:
    measured = judge.measured
    noise = sensitivities(
        measured.graph, judge.layers, measured.ranges(METHOD), pictures[:RANKED_ON], lambda _share: None
    )
    return list(by_worth(noise, measured.plan.layers))


def _judge(path: Path, count: int) -> tuple[_Judge, list[Image]]:
    """Return a judge of the one model of a recipe on `count` pictures, and what the model is calibrated on."""
    recipe = load_recipe(path)
    ((role, source),) = sources(recipe).items()
    found = candidate(role, source)
    if recipe.calibration is None or recipe.heldout is None:
        raise FoveateError(f"recipe {path}: has no calibration or no held-out frames")
    calibration = msgspec.structs.replace(recipe.calibration, frames=PICTURES)
    pictures = collect(recipe, calibration, {role: found}, lambda _step, _share: None).pictures[role]
    _, frames = held_frames(msgspec.structs.replace(recipe.heldout, frames=count), {role: found.model})
    held = [replace(frame, semantic=None, instances=None) for frame in frames()]
    validation = Validation(found, held, looks_of(recipe, {role: found}, held), recipe)
    return _Judge(found, measure(found, pictures, "cpu"), validation), pictures
