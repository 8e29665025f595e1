"""Sizes of the belt's parts in millimetres, against the renderer's exact geometry: are the stated uncertainties kept?

The whole loop sees rendered frames (without a ledger and a broker); what it says of each part at the counting line is
held against the part as it was drawn. The camera looks at the belt at a slant: four marks on the belt say how, as in a
plant. Seeds 501 and on are used for nothing else; `--seed 2000` takes the validation seeds 2501 and on, by which the
two figures of the edge were chosen.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import msgspec
import numpy as np

from benchmarks.common import Options
from benchmarks.loop import belt_config, belt_frames, station
from benchmarks.measure_shapes import errors
from edge.bundle import open_bundle
from edge.config import Config, Measuring
from edge.daemon import open_models
from edge.events import Count, Event, Measured, Measurement
from edge.health import Stopwatch
from edge.station import Models
from edge.types import Array
from examples.belt.belt import COUNT_LINE_X, Crossing, crossings
from examples.belt.layout import Placed, layout
from examples.belt.optics import BELT_HEIGHT, project
from examples.belt.scene import DEFECTS, WIDTH
from examples.belt.score import PIXEL_CENTRE, match

FIRST_SEED: Final = 500
SEEDS, FRAMES, QUICK_FRAMES = 4, 900, 240
MM_PER_STRIP_PX: Final = 0.25  # a belt 240 mm wide, parts of 18 to 37 mm
SCALE_U: Final = 0.0005  # of marks that are known exactly: what is left is rounding
EDGE_PX: Final = 0.24  # by the area of 290 parts of validation seeds 2501 to 2503 that nothing touches
EDGE_U_PX: Final = 0.2
DIRECTIONS: Final = 3600  # in which true parts are measured
QUANTITIES: Final = ("area_mm2", "length_mm", "width_mm")
_LAYOUT: Final = 1  # which of a belt's concerns places parts


@dataclass(frozen=True, slots=True)
class Pair:
    """One part that crossed the line: as it is, and what was said of it."""

    kind: str
    alone: bool  # no other part covers any of it
    true: dict[str, float]  # by quantity
    said: Measurement


def run(options: Options) -> dict[str, Any]:
    """Return how often the truth is within the stated uncertainty, bias and spread, for all parts and by class."""
    first, seeds = FIRST_SEED + options.seed, 1 if options.quick else SEEDS
    frames = QUICK_FRAMES if options.quick else FRAMES
    found: list[tuple[int, list[Pair]]] = []
    config = measuring(belt_config())
    with contextlib.ExitStack() as stack:
        models = open_models(config, open_bundle(config.bundle), stack)
        found += [measured(config, models, seed, frames) for seed in range(first, first + seeds)]
    pairs = [pair for _, some in found for pair in some]
    figures: dict[str, Any] = {
        "seeds": f"{first} to {first + seeds - 1}",
        "parts": sum(count for count, _ in found),
        "measured": len(pairs),
        "looks_median": float(np.median([pair.said.looks for pair in pairs])) if pairs else 0.0,
    }
    figures |= errors(quick=options.quick)
    figures |= _figures("", pairs)
    for kind in sorted({pair.kind for pair in pairs}):
        figures |= _figures(f"free_{kind}_", [pair for pair in pairs if pair.kind == kind and not pair.said.touched])
    for name, touched in (("free", False), ("touched", True)):
        figures |= _figures(f"{name}_", [pair for pair in pairs if pair.said.touched == touched])
    figures |= _figures("covered_", [pair for pair in pairs if not pair.alone])
    for kind in DEFECTS:
        some = [pair for pair in pairs if f"{kind}/length_mm" in pair.true]
        said = [pair for pair in some if f"{kind}/length_mm" in pair.said.measures]
        figures[f"{kind}_parts"] = len(some)
        figures |= _figures(f"{kind}_measured_", said, f"{kind}/")
    return figures


def measuring(config: Config) -> Config:
    """Return the belt's configuration with marks on the belt and a counting line that measures."""
    corners = [(x, v) for x in (0.2 * WIDTH, 0.8 * WIDTH) for v in (0.1 * BELT_HEIGHT, 0.9 * BELT_HEIGHT)]
    marks = [_mark(x, v) for x, v in corners]
    camera = msgspec.structs.replace(
        config.cameras["belt"],
        measure=Measuring(scale_u=SCALE_U, marks=marks, edge_px=EDGE_PX, edge_u_px=EDGE_U_PX),
    )
    lines = [msgspec.structs.replace(line, measure=True) for line in config.lines]
    return msgspec.structs.replace(config, cameras={"belt": camera}, lines=lines)


def _mark(x: float, v: float) -> tuple[float, float, float, float]:
    """Return where a point of the belt is in the frame, pixels from its edge, and on the belt, mm."""
    column, row = project(x, v)
    return column + PIXEL_CENTRE, row + PIXEL_CENTRE, x * MM_PER_STRIP_PX, v * MM_PER_STRIP_PX


def measured(config: Config, models: Models, seed: int, frames: int) -> tuple[int, list[Pair]]:
    """Return how many parts crossed the line in a run of the belt, and those of which a size was said."""
    watcher = station(config, models)
    events: list[Event] = []
    for frame in belt_frames(config, seed, frames):
        events += watcher.see(frame, Stopwatch()).events
    counts = [event for event in events if isinstance(event, Count)]
    sizes = {event.track: event for event in events if isinstance(event, Measurement) and event.measures}
    crossed = crossings(seed, frames, COUNT_LINE_X - PIXEL_CENTRE)
    parts = placed(seed, crossed)
    pairs = [
        Pair(part.kind, _alone(parts[part.id]), true_size(parts[part.id]), sizes[count.track])
        for part, count in match(crossed, counts)
        if count is not None and count.track in sizes
    ]
    return len(crossed), pairs


def placed(seed: int, crossed: Sequence[Crossing]) -> dict[int, Placed]:
    """Return the parts that crossed, with their geometry, by id."""
    wanted = {part.id for part in crossed}
    found: dict[int, Placed] = {}
    for part in _parts(seed):
        if part.id in wanted:
            found[part.id] = part
        if len(found) == len(wanted):
            break
    return found


def _parts(seed: int) -> Iterator[Placed]:
    slices = layout(np.random.SeedSequence(seed).spawn(_LAYOUT + 1)[_LAYOUT])
    return itertools.chain.from_iterable(parts for _, parts in slices)


def _alone(part: Placed) -> bool:
    return bool((part.visible == part.shape.mask).all())


def true_size(part: Placed) -> dict[str, float]:
    """Return area, length and width of what can be seen of a part, and of each defect on it, in mm² and mm.

    Of a part that is not covered the drawn contour is known to a fraction of a pixel; where another covers it, to one.
    """
    alone = _alone(part)
    field: Array = part.shape.solid if alone else np.where(part.visible, np.float32(-0.5), np.float32(0.5))
    found = _extent(_contour(field), float(np.clip(0.5 - field, 0, 1).sum()))
    for number, name in enumerate(DEFECTS, 1):
        marked = part.marks == number
        if marked.any():
            whole = np.where(marked, np.float32(-0.5), np.float32(0.5))
            found |= {f"{name}/{key}": size for key, size in _extent(_contour(whole), float(marked.sum())).items()}
    return found


def _extent(contour: Array, area_px: float) -> dict[str, float]:
    """Return area, length and width of what has a contour (n, 2), strip pixels, in mm² and mm."""
    points = cv2.convexHull(contour.astype(np.float32))[:, 0].astype(np.float64)
    turns = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    across = np.ptp(points @ np.stack([np.cos(turns), np.sin(turns)]), axis=0)
    unit = MM_PER_STRIP_PX
    return {
        "area_mm2": area_px * unit**2,
        "length_mm": float(across.max()) * unit,
        "width_mm": float(across.min()) * unit,
    }


def _contour(field: Array) -> Array:
    """Return (n, 2) where a field (h, w) passes 0 between neighbours, x and y."""
    padded = np.pad(field, 1, constant_values=1.0)  # what reaches the edge ends there
    points = []
    for axis in (0, 1):
        here, there = (np.delete(padded, end, axis) for end in (-1, 0))
        rows, columns = np.nonzero((here < 0) != (there < 0))
        share = here[rows, columns] / (here[rows, columns] - there[rows, columns])
        points.append(np.stack([columns + share * (axis == 1), rows + share * (axis == 0)], axis=1))
    return np.concatenate(points)


def _figures(name: str, pairs: Sequence[Pair], defect: str = "") -> dict[str, Any]:
    """Return how errors are spread and which share is within the uncertainty, by quantity of parts or of a defect."""
    figures: dict[str, Any] = {f"{name}parts": len(pairs)} if name else {}
    for quantity in QUANTITIES:
        said: list[Measured] = [pair.said.measures[defect + quantity] for pair in pairs]
        if not said:
            continue
        errors = np.asarray([one.value - pair.true[defect + quantity] for one, pair in zip(said, pairs, strict=True)])
        stated = np.asarray([one.uncertainty for one in said])
        figures |= {
            f"{name}{quantity}_within": float((np.abs(errors) <= stated).mean()),
            f"{name}{quantity}_bias": float(errors.mean()),
            f"{name}{quantity}_sd": float(errors.std()),
            f"{name}{quantity}_worst": float(np.abs(errors).max()),
            f"{name}{quantity}_uncertainty": float(np.median(stated)),
        }
    return figures
