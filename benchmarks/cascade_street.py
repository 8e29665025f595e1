"""A real street, seen by the cascade and by full-frame passes of YOLOv8n-seg, on frames that nothing was trained on.

The semantic network is the street's own (`benchmarks.street`); thresholds and intervals were chosen on the first 400
frames of `vtest`, figures are of the others. A person counts as detected where a confirmed track says so, in both.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.accuracy import Average, Carried, Judged, of_instances, overlap_of
from benchmarks.common import Options, data_folder
from benchmarks.duty import BUSY, EMPTY, emptied
from benchmarks.duty import street_frames as busy_frames
from benchmarks.full_frame import FullFrame, FullFrameTracks, full_frame_bundle, letterbox, spread
from benchmarks.people import boxes_of, compare
from benchmarks.street import TRAIN_FRAMES, street_bundle, street_frames
from benchmarks.street_rules import REFRESH, SIZE, present, street_config
from edge.bundle import open_bundle
from edge.config import Config
from edge.daemon import open_models
from edge.events import Count, Event
from edge.health import Stopwatch
from edge.station import Models, Station
from edge.types import Boxes, Frame, Looks, Tracks

PERSON: Final = 1
PRECISIONS: Final = ("float32", "int8")
INTERVALS: Final = (1, REFRESH, 6, 12)  # frames between two looks at a person
WIDTHS: Final = (320, 448, 640, 768)  # of full-frame inputs, px
QUICK_WIDTHS: Final = (320, 768)
WARM_FRAMES: Final = 20  # seen, not judged: at the first judged frame, everybody has long been there
EMPTY_EVERY: Final = 10  # of the first 400 frames, those whose median is the empty street
SMALL_PX: Final = 1900.0  # the smallest third of the true boxes of the first 400 frames
NO_DEFECTS: Final = np.zeros(0)
RECIPE: Final = """name = "street-full"
version = "1"

[instance]
model = "{model}"
head = "yolo"
score = 0.25
fit = "letterbox"

[calibration]
frames = 24
limit = 400

[[calibration.recordings]]
source = "{video}"
"""


@dataclass
class Side:
    """One way of seeing, and how good it is."""

    average: Average = field(default_factory=lambda: Average(2, masks=False, small_px=SMALL_PX))
    ms: list[float] = field(default_factory=list)
    detections: dict[int, Boxes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    canvases: int = 0


def measure(options: Options, frames: range | None = None) -> dict[str, dict[str, Any]]:
    """Return the figures of every way of seeing, by its name; `frames` are judged, the test frames by default."""
    cv2.setNumThreads(1)
    data = data_folder()
    judged = frames or range(TRAIN_FRAMES, TRAIN_FRAMES + 80 if options.quick else 795)
    bundle = street_bundle(quick=options.quick).path
    video = data / "vtest" / "vtest.avi"
    recipe = RECIPE.replace("{video}", str(video))
    sides: dict[str, Side] = {}
    with contextlib.ExitStack() as stack:
        cascades = _cascades(bundle, data, (REFRESH,) if options.quick else INTERVALS, stack)
        passes: list[FullFrame] = []
        weights = data / "weights" / "yolov8n-seg_320.onnx"
        for width in QUICK_WIDTHS if options.quick else WIDTHS:
            made = full_frame_bundle(weights, letterbox(SIZE, width), recipe)
            passes += [FullFrame(f"full{width}", made, precision, stack) for precision in PRECISIONS]
        made = full_frame_bundle(weights, (320, 320), recipe)
        passes += [FullFrame("tiles6", made, precision, stack, tiles(320)) for precision in PRECISIONS]
        sides = _watch(data, judged, cascades, passes)
        duty = _duty(data, judged, _cascades(bundle, data, (REFRESH,), stack))
        for one in passes:
            sides[_key(one)].stages["network"] = one.times.network_ms
    truth = boxes_of(data / "vtest" / "gt.txt")
    lines = crossed(data, judged)
    figures = {name: _figures(side, truth, lines, judged) for name, side in sides.items()}
    for name, side in duty.items():
        figures[name] |= {"duty_ms_mean": spread(side.ms)[3], "duty_ms": spread(side.ms)[0]}
    figures["seen"] = {"frames": len(judged), "crossings": sum(lines.values())}
    return figures


def tiles(side: int) -> Looks:
    """Return looks at the whole frame in native tiles, six of 320 px, each on a canvas of its own."""
    rows, columns = (np.linspace(0, extent - side, -(-extent // side)).round() for extent in (SIZE[1], SIZE[0]))
    sources = np.asarray([(x, y, x + side, y + side) for y in rows for x in columns], np.int32)
    places = np.tile(np.asarray([[0, 0, side, side]], np.int32), (len(sources), 1))
    return Looks.at_one(sources, np.arange(len(sources), dtype=np.int32), places, np.ones(len(sources), np.float32))


class _Cascade:
    """The cascade of one precision and one interval between looks."""

    def __init__(self, config: Config, models: Models) -> None:
        ids = count(1)
        self.refresh = config.attention.refresh_frames
        self._models = models
        self._station = Station("street", SIZE, config, models, lambda: next(ids))
        self._carried = Carried(NO_DEFECTS, NO_DEFECTS)

    def __call__(self, frame: Frame, side: Side) -> tuple[Tracks, Judged]:
        watch = Stopwatch()
        before = self._models.instances.runs
        start = time.perf_counter()
        moment = self._station.see(frame, watch)
        side.ms.append((time.perf_counter() - start) * 1e3)
        side.canvases += self._models.instances.runs - before
        side.events += moment.events
        for stage, ms in moment.stages_ms.items():
            side.stages.setdefault(stage, []).append(ms)
        return moment.tracks, self._carried(moment)


def _cascades(bundle: Path, data: Path, refresh: tuple[int, ...], stack: contextlib.ExitStack) -> dict[str, _Cascade]:
    made = {}
    for precision in PRECISIONS:
        models = open_models(street_config(bundle, data, precision=precision), open_bundle(bundle), stack)
        for frames in refresh:
            config = street_config(bundle, data, precision=precision, refresh=frames)
            made[f"cascade_every{frames}_{precision}"] = _Cascade(config, models)
    return made


def _watch(data: Path, judged: range, cascades: dict[str, _Cascade], passes: list[FullFrame]) -> dict[str, Side]:
    """Let all see the same frames in turn."""
    truth = boxes_of(data / "vtest" / "gt.txt")
    config = street_config(Path("bundle"), data)
    sides = {name: Side() for name in [*cascades, *map(_key, passes)]}
    follow = {_key(one): FullFrameTracks("street", SIZE, config, one.model.classes) for one in passes}
    named = {_key(one): one for one in passes}
    for frame in islice(street_frames(data), max(0, judged.start - WARM_FRAMES), judged.stop):
        there = _there(truth.get(frame.index, np.zeros((0, 4), np.float32)))
        for name in _turned(list(sides), frame.index):
            side = sides[name]
            if name in cascades:
                tracks, shown = cascades[name](frame, side)
            else:
                found = named[name](frame.image)
                side.ms.append(named[name].times.all_ms[-1])
                tracks, events = follow[name](frame, found)
                side.events += events
                shown = of_instances(found, NO_DEFECTS)
            if frame.index in judged:
                side.detections[frame.index] = present(tracks, cascades[name].refresh if name in cascades else 1)
                side.average.add(there, shown, overlap_of(shown, there, masks=False))
    return sides


def _duty(data: Path, judged: range, cascades: dict[str, _Cascade]) -> dict[str, Side]:
    """Let the cascades see a street that is empty most of the time."""
    sides = {name: Side() for name in cascades}
    empty = emptied(islice(street_frames(data), 0, TRAIN_FRAMES, EMPTY_EVERY))
    for frame, _ in busy_frames(islice(street_frames(data), judged.start, judged.start + BUSY + EMPTY), empty):
        for name in _turned(list(cascades), frame.index):
            cascades[name](frame, sides[name])
    return sides


def _there(boxes: Boxes) -> Judged:
    size = len(boxes)
    nothing = np.zeros((size, 0), np.bool_)
    ones = np.ones(size, np.float32)
    return Judged(boxes, ones, np.full(size, PERSON, np.uint8), [], nothing, np.zeros(size, np.bool_))


def _key(one: FullFrame) -> str:
    return f"{one.name}_{one.precision}"


def _turned(names: list[str], by: int) -> Iterator[str]:
    """Yield `names` in an order that begins elsewhere each time: nobody always comes after the same."""
    start = by % max(1, len(names))
    yield from names[start:]
    yield from names[:start]


def crossed(data: Path, judged: range) -> Counter[str]:
    """Return the true crossings of both lines in the judged frames."""
    lines = json.loads((data / "vtest" / "counts.json").read_text())["lines"]
    return Counter(
        f"{line}/person/{event['direction']}"
        for line, what in lines.items()
        for event in what["events"]
        if event["frame_index"] in judged
    )


def _figures(side: Side, truth: dict[int, Boxes], crossed: Counter[str], judged: range) -> dict[str, Any]:
    median, low, high, mean = spread(side.ms[-len(judged) :])
    real = {index: boxes for index, boxes in truth.items() if index in judged}
    shift = {i: real.get(index, np.zeros((0, 4), np.float32)) for i, index in enumerate(judged)}
    found, extra, missed = compare([side.detections[index] for index in judged], shift)
    counted = Counter(event.counter for event in side.events if isinstance(event, Count) and event.frame in judged)
    wrong = sum(abs(counted[name] - crossed[name]) for name in counted.keys() | crossed.keys())
    figures = {"ms": median, "ms_p10": low, "ms_p90": high, "ms_mean": mean}
    figures |= {f"box_{name}": value for name, value in side.average.figures().items()}
    figures |= {"recall": found / max(1, found + missed), "precision": found / max(1, found + extra)}
    figures |= {"counted": sum(counted.values()), "count_wrong": wrong, "count_error": wrong / max(1, crossed.total())}
    figures |= {f"stage_{stage}_ms": float(np.mean(values)) for stage, values in side.stages.items()}
    if side.canvases:
        figures["canvases_per_frame"] = side.canvases / len(side.ms)
    return figures
