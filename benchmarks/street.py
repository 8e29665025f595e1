"""A person network for the street of `vtest`, trained on its first 400 frames: what it finds of the people there.

`street_bundle` gives the bundle that the other benchmarks use. Weights and pictures stay in the cache folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common import Options, data_folder
from benchmarks.people import boxes_of
from edge.bundle import Bundle, open_bundle, read_engine
from edge.config import RegionRules
from edge.engines.ort import OrtEngine
from edge.errors import FoveateError
from edge.see.semantic import SemanticPass
from edge.threads import available_cores
from edge.types import Array, Boxes, Frame, Image, Instances, Looks
from examples.belt.demo import cache_folder
from export.build import cached_bundle
from export.cascade import Cascade

TRAIN_FRAMES = 400  # the first ones; all later ones are for tests
TILE, STEPS_X, STEPS_Y = 320, (0, 224, 448), (0, 128, 256)  # the teacher's tiles of a frame of 768 x 576
STEPS, QUICK_STEPS, QUICK_EVERY = 1500, 150, 8
HERE = Path(__file__).parent
RECIPE = """name = "street"
version = "1"

[semantic]
model = "{semantic}"
head = "logits"
classes = ["background", "person"]
color = "bgr"

[instance]
model = "{instance}"
head = "yolo"
score = 0.25

[regions]
classes = ["person"]
min_area_px = 60
pad_px = 20

[calibration]
frames = 48
limit = 400

[[calibration.recordings]]
source = "{video}"
"""
TEACHER = """name = "teacher"
version = "1"

[instance]
model = "{instance}"
head = "yolo"
precision = ["float32"]
score = 0.2
"""


def run(options: Options) -> dict[str, Any]:
    """Return how much of the people the semantic pass marks, on frames it was trained on and on later ones."""
    data = data_folder()
    started = time.monotonic()
    bundle = street_bundle(quick=options.quick)
    figures: dict[str, Any] = {"made_s": time.monotonic() - started}
    truth = boxes_of(data / "vtest" / "gt.txt")
    every = QUICK_EVERY if options.quick else 1
    for precision in ("float32", "int8"):
        for name, first, last in (("train", 0, TRAIN_FRAMES), ("test", TRAIN_FRAMES, None)):
            found = _seen(bundle, precision, truth, itertools.islice(street_frames(data), first, last, every))
            figures |= {f"{precision}_{name}_{key}": value for key, value in found.items()}
    return figures


def street_bundle(*, quick: bool = False) -> Bundle:
    """Return the bundle of the street's own semantic network and YOLOv8n-seg 320, made where that was not done yet."""
    data = data_folder()
    weights, video = data / "weights" / "yolov8n-seg_320.onnx", data / "vtest" / "vtest.avi"
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "recipe.toml"
        network = _network(data, weights, quick=quick)
        recipe.write_text(RECIPE.format(semantic=network, instance=weights, video=video))
        return cached_bundle(recipe, cache_folder())


def street_frames(data: Path) -> Iterator[Frame]:
    """Yield the frames of `vtest`, in order."""
    video = cv2.VideoCapture(str(data / "vtest" / "vtest.avi"))
    for index in itertools.count():
        there, image = video.read()
        if not there:
            return
        yield Frame("street", index, index / 10.0, np.asarray(image, np.uint8))


def tiled() -> Looks:
    """Return looks at the whole frame in overlapping native tiles, each on a canvas of its own."""
    corners = [(x, y) for y in STEPS_Y for x in STEPS_X]
    sources = np.asarray([(x, y, x + TILE, y + TILE) for x, y in corners], np.int32)
    places = np.tile(np.asarray([[0, 0, TILE, TILE]], np.int32), (len(corners), 1))
    return Looks.at_one(sources, np.arange(len(corners), dtype=np.int32), places, np.ones(len(corners), np.float32))


def marked(found: Image, scale: tuple[float, float], boxes: Boxes) -> Array:
    """Return (n,) the share of each box (n, 4), frame pixels, that is 1 in a label map (h, w)."""
    height, width = found.shape
    cells = boxes / np.tile(np.asarray(scale, np.float32), 2)
    low = np.clip(np.floor(cells[:, :2] + 0.5), 0, (width - 1, height - 1)).astype(int)
    high = np.maximum(np.ceil(cells[:, 2:] - 0.5).astype(int), low + 1)
    spots = (found[y0:y1, x0:x1] for (x0, y0), (x1, y1) in zip(low.tolist(), high.tolist(), strict=True))
    return np.asarray([spot.mean() for spot in spots], np.float32)


def _network(data: Path, weights: Path, *, quick: bool) -> Path:
    """Return the semantic network's ONNX file, trained where that was not done yet."""
    size = (data / "vtest" / "vtest.avi").stat().st_size
    code = (HERE / "street_net.py").read_bytes() + f"{TILE} {STEPS_X} {STEPS_Y} {STEPS} {size}".encode()
    path = cache_folder().parent / "street" / f"{hashlib.sha256(code + weights.read_bytes()).hexdigest()[:16]}.onnx"
    if quick and not path.exists():  # the better one where there is one
        path = path.with_stem(f"{path.stem}-quick")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _train(data, weights, path, quick=quick)
    return path


def _train(data: Path, weights: Path, path: Path, *, quick: bool) -> None:
    if importlib.util.find_spec("torch") is None:
        raise FoveateError("street: torch is missing; in the checkout: pip install -e '.[train,bench]'")
    from benchmarks import street_net  # noqa: PLC0415  needs torch

    every = QUICK_EVERY if quick else 1
    frames = itertools.islice(street_frames(data), 0, TRAIN_FRAMES, every)
    given = street_net.lessons(_taught(weights, frames))
    street_net.train(given, QUICK_STEPS if quick else STEPS, path)


def _taught(weights: Path, frames: Iterator[Frame]) -> Iterator[tuple[Image, Instances]]:
    """Yield frames and what the teacher finds in their tiles, each object once and none that a tile cuts."""
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "recipe.toml"
        recipe.write_text(TEACHER.format(instance=weights))
        bundle = cached_bundle(recipe, cache_folder())
    model = bundle.manifest.models["instance"]
    engine = OrtEngine("teacher", read_engine(bundle, model.engines[0]), available_cores())
    teacher = Cascade({"instance": engine}, {"instance": model}, RegionRules())
    for frame in frames:
        found = teacher(frame.image, tiled()).instances
        if found is not None:
            yield frame.image, found
    engine.close()


def _seen(bundle: Bundle, precision: str, truth: dict[int, Boxes], frames: Iterator[Frame]) -> dict[str, Any]:
    """Return which share of the true boxes is marked at all and by a fifth, and what is marked outside of any."""
    bundle = open_bundle(bundle.path)
    model = bundle.manifest.models["semantic"]
    entry = next(engine for engine in model.engines if engine.precision == precision)
    engine = OrtEngine("semantic", read_engine(bundle, entry), available_cores())
    see = SemanticPass(engine, model)
    shares, outside, times = [], [], []
    for frame in frames:
        start = time.perf_counter()
        labels = see(frame)
        times.append((time.perf_counter() - start) * 1e3)
        boxes = truth.get(frame.index, np.zeros((0, 4), np.float32))
        shares.append(marked(labels.classes, labels.scale, boxes))
        outside.append(_outside(labels.classes, labels.scale, boxes))
    engine.close()
    every = np.concatenate(shares)
    return {
        "boxes": len(every),
        "marked": float((every > 0).mean()),
        "marked_by_a_fifth": float((every >= 0.2).mean()),
        "marked_outside": float(np.mean(outside)),
        "ms": float(np.median(times)),
    }


def _outside(found: Image, scale: tuple[float, float], boxes: Boxes) -> float:
    """Return the share of the marked cells that lie in no true box widened by a cell."""
    rest = found > 0
    total = int(rest.sum())
    for x0, y0, x1, y1 in (boxes / np.tile(np.asarray(scale, np.float32), 2)).tolist():
        rest[max(0, int(y0) - 1) : int(y1) + 2, max(0, int(x0) - 1) : int(x1) + 2] = False
    return int(rest.sum()) / max(1, total)
