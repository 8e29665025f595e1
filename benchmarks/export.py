"""Exports of the belt's models, DeepLab v3 (VOC) and YOLOv8n-seg: what INT8 loses, how fast it is, how long it took.

Plans are chosen and held against the bounds on other pictures than those that the figures are of.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import Options
from benchmarks.export_models import CLAIM, belt, voc, yolo
from edge.bundle import Bundle, Role, read_engine
from edge.engines.ort import OrtEngine
from edge.threads import available_cores
from export.build import export_bundle
from export.cascade import Cascade, opened
from export.heldout import held_frames
from export.judge import judge
from export.recipe import HeldOut, Recipe, load_recipe
from export.search import in_turns, times_as_fast

ROUNDS = 60  # of each engine, in turns with the other
PARTS = {"semantic": ("miou",), "instance": ("ap", "ap50")}


def run(options: Options) -> dict[str, Any]:
    """Return for each model the loss against truth on both halves, float against INT8 in turns, and seconds."""
    writers: dict[str, Callable[[Path], Path]] = {
        "belt": partial(belt, seed=options.seed, quick=options.quick),
        "voc": partial(voc, quick=options.quick),
        "yolo": partial(yolo, quick=options.quick),
    }
    figures: dict[str, Any] = {}
    for name, write in writers.items():
        with tempfile.TemporaryDirectory() as folder:
            figures |= {f"{name}_{key}": value for key, value in _exported(write(Path(folder))).items()}
    return figures


def _exported(path: Path) -> dict[str, Any]:
    """Export a recipe and measure the bundle on the half that nothing was chosen on."""
    started = time.monotonic()
    bundle = export_bundle(path, path.parent / "bundle")
    figures: dict[str, Any] = {"seconds": time.monotonic() - started, "cores": available_cores()}
    recipe = load_recipe(path)
    claimed = _judged(bundle, recipe, path.parent / CLAIM)
    for role in ("semantic", "instance"):
        if role in bundle.manifest.models:
            said = {key.removeprefix(f"{role}_"): v for key, v in bundle.manifest.calibration.items() if role in key}
            figures |= {f"{role}_{key}": value for key, value in said.items()}
            for part in PARTS[role]:
                figures |= _lost(role, part, bundle.manifest.quality, "chosen_on")
                figures |= _lost(role, part, claimed, "claimed_on")
            figures |= _speed(bundle, role)
    return figures


def _lost(role: str, part: str, quality: dict[str, float], half: str) -> dict[str, float]:
    """Return float, INT8 and what is lost between the two of one measure, in points of a hundred."""
    before, after = (quality.get(f"{role}_{part}_{side}") for side in ("float", "bundle"))
    if before is None or after is None:
        return {}
    name = f"{role}_{part}_{half}"
    return {f"{name}_float": 100 * before, f"{name}_int8": 100 * after, f"{name}_lost": 100 * (before - after)}


def _judged(bundle: Bundle, recipe: Recipe, folder: Path) -> dict[str, float]:
    """Return the figures of what the bundle prefers against its float models on pictures with truth."""
    models = bundle.manifest.models
    _, frames = held_frames(HeldOut(folder=folder, frames=1000), models)
    with contextlib.ExitStack() as stack:
        sides: dict[str, dict[Role, OrtEngine]] = {"float": {}, "bundle": {}}
        for role, model in models.items():
            for side, engine in (("float", model.engines[-1]), ("bundle", model.engines[0])):
                sides[side][role] = opened(stack, role, read_engine(bundle, engine), available_cores())
        cascades = {side: Cascade(engines, models, recipe.regions) for side, engines in sides.items()}
        return judge(list(frames()), cascades, models, lambda _share: None).figures


def _speed(bundle: Bundle, role: Role) -> dict[str, float]:
    """Return ms of the float and the INT8 file in turns, and how many times as fast the second is: all medians."""
    model = bundle.manifest.models[role]
    files = {engine.precision: engine for engine in model.engines}
    if set(files) != {"int8", "float32"}:
        return {}
    with contextlib.ExitStack() as stack:
        engines = {
            name: opened(stack, role, read_engine(bundle, files[name]), available_cores())
            for name in ("float32", "int8")
        }
        rounds = in_turns(engines, model.input, ROUNDS)
    ms = {f"{role}_{name}_ms": sorted(values)[len(values) // 2] for name, values in rounds.items()}
    least = {f"{role}_{name}_ms_least": min(values) for name, values in rounds.items()}
    return {**ms, **least, f"{role}_speedup": times_as_fast(rounds["float32"], rounds["int8"])}
