"""People of `vtest` whose tracks are cut into pieces: each piece is somebody who comes back after a while.

Boxes and identities are those of the truth, masks those of YOLOv8n-seg at native resolution; who was not found in a
frame is not seen in it. The truth has a new number for whoever leaves the street and
returns: ten people have its nineteen. The pieces go through the same code as in the loop, with
`OFFSETS` beginnings of the pieces. `looped` is the loop itself, with the models and settings of `examples/people`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.common import data_folder
from benchmarks.people import people_config
from benchmarks.reid_score import Passing, Score, score
from benchmarks.street import street_frames
from benchmarks.tracked import corners_of, read_rows
from edge.boxes import overlaps
from edge.bundle import Bundle, Role, open_bundle, read_engine
from edge.config import Reidentify
from edge.daemon import open_models
from edge.decide.reidentify import Identities
from edge.engines.ort import OrtEngine
from edge.health import Stopwatch
from edge.identity import Identity
from edge.see.appearance import Appearance, Embedder, Stripes, Vectors
from edge.see.instances import InstancePass
from edge.see.packing import pack
from edge.station import Station
from edge.threads import available_cores
from edge.types import Boxes, Frame, Image, Instances, Tracks
from examples.belt.demo import cache_folder
from export.build import cached_bundle

SIZE: Final = (768, 576)
FPS: Final = 7.0  # of the sequence
SEEN: Final = 40  # frames that a piece lasts
AWAY: Final = 60  # frames from one to the next
OFFSETS: Final = range(0, SEEN + AWAY, 5)  # frames by which the pieces begin earlier
HALF: Final = 400  # frames on which limits were chosen
PAD_PX, CANVASES, IOU, PERSON = 20, 6, 0.5, 1
SAME: Final = {19: 1, 13: 2, 11: 3, 12: 4, 9: 5, 10: 6, 14: 8, 15: 8, 18: 8}  # who came back, seen by eye
CLASSES: Final = ["background", "person"]
NOBODY: Final = np.zeros((1, 1, 3), np.uint8)
RECIPE: Final = """name = "seen-again"
version = "1"

[instance]
model = "{weights}/yolov8n-seg_320.onnx"
head = "yolo"
precision = ["float32"]

[appearance]
model = "{weights}/osnet_x0_25_msmt17.onnx"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """Who is there in one frame, and what those look like that were found in it; structure of arrays."""

    people: npt.NDArray[np.int64]  # (n,) by the truth
    boxes: Boxes  # (n, 4) of the truth
    rows: npt.NDArray[np.int32]  # (n,) of what was found; -1: it was not
    scores: npt.NDArray[np.float32]  # (m,) of what was found
    vectors: dict[str, Vectors]  # (m, d) by kind of appearance


@dataclass
class Seen:
    """A recording, looked at once."""

    sights: list[Sight] = field(default_factory=list)
    ms: dict[str, list[float]] = field(default_factory=lambda: {"stripes": [], "model": []})  # for one person


def seen(frames: int | None) -> Seen:
    """Return who is in the first `frames` frames, all where None, and what they look like."""
    data = data_folder()
    rows = read_rows(data / "vtest" / "gt.txt")
    found = Seen()
    with contextlib.ExitStack() as stack:
        bundle = _bundle(data / "weights")
        look = InstancePass(_engine(bundle, "instance", stack), bundle.manifest.models["instance"])
        embedder = Embedder(_engine(bundle, "appearance", stack), bundle.manifest.models["appearance"])
        kinds: dict[str, Appearance] = {"stripes": Stripes(), "model": embedder}
        for frame in itertools.islice(street_frames(data), frames):
            here = rows[(rows[:, 0] == frame.index + 1) & (rows[:, 6] != 0)]
            boxes = corners_of(here)
            instances = _looked(look, frame.image, boxes)
            found.sights.append(_sight(here[:, 1].astype(np.int64), boxes, instances, frame.image, kinds, found.ms))
    return found


def replayed(found: Seen, kind: str, rules: Reidentify, first: int, last: int) -> Score:
    """Return what became of the pieces in the frames from `first` to before `last`, over all offsets."""
    total = Score()
    for offset in OFFSETS:
        total.add(score(_played(found.sights[first:last], kind, rules, offset)))
    return total


def looped(frames: int | None) -> dict[str, Score]:
    """Return what became of all tracks of the loop that are somebody's by the truth, by kind of appearance.

    "none" is without re-identification.
    """
    data = data_folder()
    rows = read_rows(data / "vtest" / "gt.txt")
    found: dict[str, dict[int, Passing]] = {"none": {}, "stripes": {}, "model": {}}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = people_config(folder, "config.toml", data)
        models = open_models(config, open_bundle(config.bundle), stack)
        bundle = _bundle(data / "weights")
        embedder = Embedder(_engine(bundle, "appearance", stack), bundle.manifest.models["appearance"])
        ids, watcher = _counting(), Station("street", SIZE, config, models, _counting())
        models = dataclasses.replace(models, embedder=embedder)
        rules = [Reidentify(memory_s=1e6, appearance=kind) for kind in ("stripes", "model")]
        each = [Identity(rule, "free", models, SIZE, ids) for rule in rules]
        for frame in itertools.islice(street_frames(data), frames):
            moment = watcher.see(frame, Stopwatch())
            here = rows[(rows[:, 0] == frame.index + 1) & (rows[:, 6] != 0)]
            named = [moment.tracks, *(one.of(frame, moment.instances, moment.tracks)[0] for one in each)]
            for passings, tracks in zip(found.values(), named, strict=True):
                _join(passings, tracks, here)
    return {kind: score(list(passings.values())) for kind, passings in found.items()}


def _counting() -> Callable[[], int]:
    numbers = itertools.count(1)
    return lambda: next(numbers)


def _join(passings: dict[int, Passing], tracks: Tracks, truth: npt.NDArray[np.float64]) -> None:
    """Note the ids of the tracks that are somebody's; a track is who it is first seen to be."""
    iou = overlaps(tracks.boxes, corners_of(truth))
    for row in np.flatnonzero((tracks.ids > 0) & (tracks.since_look == 0)).tolist():
        key, number = int(tracks.keys[row]), int(tracks.ids[row])
        if key not in passings and len(truth) and iou[row].max() >= IOU:
            person = int(truth[iou[row].argmax(), 1])
            passings[key] = Passing(SAME.get(person, person))
        if key in passings and number not in passings[key].tracks:
            passings[key].tracks.append(number)


def _played(sights: Sequence[Sight], kind: str, rules: Reidentify, offset: int) -> list[Passing]:
    """Return the pieces in the order in which they begin, with the ids that their tracks had."""
    size = next(sight.vectors[kind].shape[1] for sight in sights)
    ids = itertools.count(1)
    identities = Identities(rules, kind, (size, 32), SIZE, CLASSES, lambda: next(ids))
    passings: dict[int, Passing] = {}
    sighted: dict[int, int] = {}  # by key: frames in which it was found
    for index, sight in enumerate(sights):
        piece, within = divmod(index + offset, SEEN + AWAY)
        there = np.full(len(sight.people), within < SEEN)
        keys = (sight.people * 1000 + piece)[there]
        for key, row in zip(keys.tolist(), sight.rows[there].tolist(), strict=True):
            sighted[key] = sighted.get(key, 0) + (row >= 0)
        tracks = _tracks(keys, sight, there, np.asarray([sighted[key] for key in keys.tolist()], np.int64))
        frame = Frame("street", index, index / FPS, NOBODY)
        due = identities.due(frame, tracks)
        vectors = sight.vectors[kind][tracks.instances[due]]
        named, _ = identities.named(frame, tracks, _scored(sight.scores), due, vectors)
        for key, number in zip(keys.tolist(), named.ids.tolist(), strict=True):
            passing = passings.setdefault(key, Passing(SAME.get(key // 1000, key // 1000)))
            if number and number not in passing.tracks:
                passing.tracks.append(number)
    return list(passings.values())


def _tracks(
    keys: npt.NDArray[np.int64], sight: Sight, there: npt.NDArray[np.bool_], looks: npt.NDArray[np.int64]
) -> Tracks:
    """Return the tracks of those who are `there` (n,), confirmed from the second look on."""
    boxes, count = sight.boxes[there], len(keys)
    return Tracks(
        keys=keys,
        ids=np.where(looks >= 2, keys, 0),
        boxes=boxes,
        classes=np.full(count, PERSON, np.uint8),
        centers=((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32),
        velocities=np.zeros((count, 2), np.float32),
        looks=looks.astype(np.int32),
        since_look=np.zeros(count, np.int32),
        supported=np.ones(count, np.bool_),
        instances=sight.rows[there],
        located=np.ones(count, np.bool_),
        masks=[],
    )


def _scored(scores: npt.NDArray[np.float32]) -> Instances:
    """Return instances of which nothing but the score is known."""
    count = len(scores)
    empty = np.zeros((count, 4), np.float32)
    classes, areas = np.full(count, PERSON, np.uint8), np.zeros(count, np.float32)
    flaws, whole = np.zeros((count, 0), np.float32), np.ones(count, np.bool_)
    return Instances(empty, scores, classes, empty[:, :2], areas, flaws, [], areas, whole)


def _looked(look: InstancePass, image: Image, boxes: Boxes) -> Instances:
    """Return what the instance model finds where the truth has somebody."""
    low, high = np.floor(boxes[:, :2] - PAD_PX), np.ceil(boxes[:, 2:] + PAD_PX)
    sources = np.concatenate([np.maximum(low, 0), np.minimum(high, SIZE)], axis=1).astype(np.int32)
    looks, _ = pack(sources, look.size, CANVASES)
    return look([image], looks)[0]


def _sight(
    people: npt.NDArray[np.int64],
    boxes: Boxes,
    instances: Instances,
    image: Image,
    kinds: dict[str, Appearance],
    ms: dict[str, list[float]],
) -> Sight:
    """Return who is there, joined to what was found, and what that looks like; `ms` takes what one vector costs."""
    at = np.flatnonzero((instances.classes == PERSON) & instances.whole)
    iou = overlaps(boxes, instances.boxes[at])
    rows = np.full(len(boxes), -1, np.int32)
    while iou.size and float(iou.max()) >= IOU:
        row, column = np.unravel_index(int(iou.argmax()), iou.shape)
        rows[row] = column
        iou[row], iou[:, column] = 0, 0
    vectors = {}
    for name, appearance in kinds.items():
        begin = time.perf_counter()
        vectors[name] = appearance(image, instances, at)
        ms[name] += [(time.perf_counter() - begin) * 1e3 / len(at)] if len(at) else []
    return Sight(people, boxes, rows, instances.scores[at], vectors)


def _bundle(weights: Path) -> Bundle:
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "recipe.toml"
        recipe.write_text(RECIPE.format(weights=weights))
        return cached_bundle(recipe, cache_folder())


def _engine(bundle: Bundle, role: Role, stack: contextlib.ExitStack) -> OrtEngine:
    (file,) = bundle.manifest.models[role].engines
    engine = OrtEngine(role, read_engine(bundle, file), available_cores())
    stack.callback(engine.close)
    return engine
