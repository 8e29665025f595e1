"""The belt from nearly empty to crowded: a frame's time must not grow with what is in it beyond the budget of canvases.

Frames are drawn in blocks before the clock starts, their truth says how many parts are in view. What does not fit the
budget waits, and for how long the longest has been due is published.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from benchmarks.common import Options
from benchmarks.loop import belt_models, station
from edge.config import Config
from edge.health import Stopwatch
from edge.station import Models
from edge.types import Frame
from examples.belt.belt import FPS, Belt

FRAMES, QUICK_FRAMES = 900, 300
SEEDS = 2
BLOCK = 100  # frames held in memory: 620 MB
BUDGETS = 1, 2  # canvases per frame
VIEWS = {5: (3, 7), 10: (8, 14), 20: (15, 26), 40: (30, 50), 100: (90, 125)}  # parts in view: the least and the most


@dataclass(frozen=True, slots=True)
class _Seen:
    parts: int  # in view
    ms: float
    canvases: int
    waiting: int
    waiting_frames: int


def run(options: Options) -> dict[str, Any]:
    """Return per budget and number of parts in view the time of a frame, and how long what does not fit waits."""
    frames, seeds = (QUICK_FRAMES, 1) if options.quick else (FRAMES, SEEDS)
    figures: dict[str, Any] = {}
    with belt_models() as (config, models):
        found: dict[int, list[_Seen]] = {budget: [] for budget in BUDGETS}
        for seed in range(options.seed, options.seed + seeds):
            for budget, seen in _see(config, models, seed, frames):
                found[budget].append(seen)
    for budget, some in found.items():
        figures |= _figures(f"budget{budget}", some)
    return figures


def _see(config: Config, models: Models, seed: int, frames: int) -> Iterator[tuple[int, _Seen]]:
    """Yield what each frame costs under each budget, one after the other on the same frame."""
    attention = {budget: msgspec.structs.replace(config.attention, canvases=budget) for budget in BUDGETS}
    stations = {
        budget: station(msgspec.structs.replace(config, attention=rules), models) for budget, rules in attention.items()
    }
    belt = Belt(seed)
    for _ in range(0, frames, BLOCK):
        for view in list(belt.views(BLOCK)):
            parts = len(view.truth.parts) if view.truth else 0
            frame = Frame("belt", view.index, view.index / FPS, view.image)
            for budget, looking in stations.items():
                moment = looking.see(frame, watch := Stopwatch())
                told = looking.report(moment)
                canvases = len(set(moment.looks.canvases.tolist()))
                ms = sum(watch.stages_ms.values())
                yield budget, _Seen(parts, ms, canvases, told.waiting, told.waiting_frames)


def _figures(name: str, seen: list[_Seen]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for parts, (least, most) in VIEWS.items():
        here = [one for one in seen if least <= one.parts <= most]
        figures[f"{name}_{parts}_parts_frames"] = len(here)
        if here:
            figures |= _bucket(f"{name}_{parts}_parts", here)
    few, many = f"{name}_{min(VIEWS)}_parts", f"{name}_{max(VIEWS)}_parts"
    for kind in ("ms_median", "looked_ms_median"):
        if f"{few}_{kind}" in figures and f"{many}_{kind}" in figures:
            figures[f"{name}_growth_{kind}"] = figures[f"{many}_{kind}"] / figures[f"{few}_{kind}"]
    return figures


def _bucket(name: str, here: list[_Seen]) -> dict[str, Any]:
    figures = {
        f"{name}_ms_median": float(np.median([one.ms for one in here])),
        f"{name}_ms_p90": float(np.percentile([one.ms for one in here], 90)),
        f"{name}_canvases_mean": float(np.mean([one.canvases for one in here])),
        f"{name}_waiting_mean": float(np.mean([one.waiting for one in here])),
        f"{name}_waiting_frames_most": max(one.waiting_frames for one in here),
    }
    looked = [one.ms for one in here if one.canvases]
    return figures | ({f"{name}_looked_ms_median": float(np.median(looked))} if looked else {})
